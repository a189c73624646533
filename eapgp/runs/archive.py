"""Runs in a zip file: written plainly, read with suspicion."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from eapgp.errors import DISK_FULL, FormatError, InputError, RunError
from eapgp.runs.arrays import SCORES_FILE
from eapgp.runs.files import REPAIR, sync_file, whole
from eapgp.runs.info import info_of
from eapgp.runs.run import EVALUATION_FILE, KNOWN_FILES, META_FILE, PROMPTS_FILE, RUN_FILE, Run, read_run

MAX_FILE_BYTES = 8 * 1024**3
MAX_TOTAL_BYTES = 32 * 1024**3
MAX_RUNS = 10_000
MAX_RATIO = 200  # bytes unpacked per byte packed; our JSON packs 3 to 20 times
CHUNK = 1024 * 1024


def write_archive(runs: Sequence[Run], target: Path) -> Path:
    """Write runs to a zip file, whole or not at all.

    Errors: RunError if a run is damaged or the file cannot be written.
    """
    try:
        with whole(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for run in runs:
                run.verify()
                for name in KNOWN_FILES:
                    if (run.path / name).is_file():
                        packing = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
                        archive.write(run.path / name, f"{run.id}/{name}", packing)
    except OSError as error:
        raise RunError(f"{target}: expected a file that can be written, got {error.strerror}; name another.") from None
    return target


def read_archive(source: Path, folder: Path) -> list[Path]:
    """Unpack the runs of a zip file below `folder` and check every hash; their folders.

    Errors: FormatError if the file is no zip of runs or is unsafe (paths that leave the folder,
    links, unknown names, bombs); RunError if a run in it is damaged, or where there is no room for it.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = _checked(archive, source)
            for info, run, name in members:
                (folder / run).mkdir(exist_ok=True)
                with archive.open(info) as packed, (folder / run / name).open("wb") as unpacked:
                    _copy(packed, unpacked, info, source)  # type: ignore[arg-type]
                sync_file(folder / run / name)
    except FileNotFoundError:
        raise FormatError(f"{source}: expected a zip file of runs, found no such file.") from None
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise RunError(
                f"{folder.parent}: expected room for the runs of {source}, got {error.strerror}; free space and import "
                "them again."
            ) from None
        detail = " ".join(str(error).split())[:160]
        raise FormatError(f"{source}: expected a whole zip file of runs, got {detail}; export it again.") from None
    folders = [folder / run for run in dict.fromkeys(run for _, run, _ in members)]
    for path in folders:
        try:
            _check_run(path, source)
        except RunError as error:  # its text names a folder that is gone in a moment, and a run that nobody has
            text = str(error).replace(f"{folder}{os.sep}", f"{source}: ").replace(REPAIR, "export it again.")
            raise RunError(text) from None
    return folders


def _checked(archive: zipfile.ZipFile, source: Path) -> list[tuple[zipfile.ZipInfo, str, str]]:
    members, seen, total = [], set(), 0
    for info in archive.infolist():
        if info.is_dir():
            continue
        run, name = _split(info, source)
        if (run, name) in seen:
            raise FormatError(f"{source}: {info.filename!r} is in it twice; export it again.")
        seen.add((run, name))
        total += info.file_size
        bomb = info.file_size > CHUNK and info.file_size > MAX_RATIO * max(1, info.compress_size)
        if info.file_size > MAX_FILE_BYTES or total > MAX_TOTAL_BYTES or bomb:
            raise FormatError(
                f"{source}: {info.filename!r} would unpack to {info.file_size} bytes; refused as too large."
            )
        members.append((info, run, name))
    if not members or len({run for _, run, _ in members}) > MAX_RUNS:
        raise FormatError(f"{source}: expected 1 to {MAX_RUNS} runs, got {len(members)} files; export it again.")
    return members


def _split(info: zipfile.ZipInfo, source: Path) -> tuple[str, str]:
    run, slash, name = info.filename.partition("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    safe_run = bool(run) and all(letter in "0123456789abcdef" for letter in run)
    known_packing = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if not (slash and safe_run and name in KNOWN_FILES and kind in (0, stat.S_IFREG) and known_packing):
        raise FormatError(
            f"{source}: expected only files of runs such as <id>/{RUN_FILE}, got {info.filename!r}; refused as unsafe."
        )
    return run, name


def _copy(packed: BinaryIO, unpacked: BinaryIO, info: zipfile.ZipInfo, source: Path) -> None:
    left = info.file_size
    while chunk := packed.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            raise FormatError(f"{source}: {info.filename!r} is larger than it claims; refused as unsafe.")
        unpacked.write(chunk)


def _check_run(folder: Path, source: Path) -> None:
    run = read_run(folder)
    if run.id != folder.name:
        raise RunError(f"{source}: expected run {folder.name} in that folder, got {run.id}; export it again.")
    listed = {RUN_FILE, EVALUATION_FILE, META_FILE, *run.record["files"]}
    if PROMPTS_FILE not in listed:
        raise RunError(f"{source}: expected {PROMPTS_FILE} in run {run.id}, found none; export it again.")
    extra = sorted(path.name for path in folder.iterdir() if path.name not in listed)
    if extra:
        raise RunError(f"{source}: run {run.id} holds {extra[0]!r}, which its {RUN_FILE} does not list; refused.")
    run.verify()
    result = run.attribution()
    for field, values in (("metric_clean", result.metric_clean), ("metric_corrupted", result.metric_corrupted)):
        numbers = np.array(run.record[field]["pairs"], dtype=np.float64)
        if not np.array_equal(numbers, np.asarray(values, dtype=np.float64), equal_nan=True):
            raise RunError(f"{folder / RUN_FILE}: {field}: expected the numbers of {SCORES_FILE}, got others; {REPAIR}")
    if len(run.prompts()) != (n_pairs := run.request["prompts"]["n_pairs"]):
        raise RunError(f"{folder / PROMPTS_FILE}: expected {n_pairs} pairs, got {len(run.prompts())}; {REPAIR}")
    run.evaluation()
    info_of(run)
