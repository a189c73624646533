"""One run: one folder. Reading it needs neither torch nor the model.

run.json             provenance: request, device, versions, time, passes, metric, file hashes
prompts.json         the prompt pairs themselves
scores.safetensors   scores, pair_scores?, node_scores?, metric per pair, completeness
path.safetensors     every path record, only for path methods
evaluation.json      evaluations added later, by name          (changes)
meta.json            the user's name and note for the run      (changes)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.errors import RunError
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.runs import arrays
from eapgp.runs.arrays import FORMAT_VERSION, PATH_FILE, SCORES_FILE, migrate_arrays, migrate_record
from eapgp.runs.files import (
    LOCK_NAME,
    REPAIR,
    content_key,
    file_hash,
    folder_size,
    known_hash,
    locked,
    plain,
    read_json,
    remove_folder,
    sync_folder,
    temporary_folder,
    twice,
    write_json,
)
from eapgp.runs.record import check_evaluation, check_meta, check_prompts, check_record
from eapgp.runs.spec import RunSpec, library_versions, request_key

RUN_FILE, PROMPTS_FILE = "run.json", "prompts.json"
EVALUATION_FILE, META_FILE = "evaluation.json", "meta.json"
CONTENT_FILES = (PROMPTS_FILE, SCORES_FILE, PATH_FILE)
KNOWN_FILES = (RUN_FILE, *CONTENT_FILES, EVALUATION_FILE, META_FILE)


@dataclass(frozen=True)
class Run:
    """A stored run. `record` is run.json; `cached` tells that it was there before it was asked for."""

    path: Path
    record: Mapping[str, Any] = field(repr=False)
    cached: bool = field(default=False, compare=False)

    @property
    def id(self) -> str:
        """The hash of the request."""
        return str(self.record["id"])

    @property
    def content(self) -> str:
        """What pages remember of the run they remember by this: an archive may bring other scores under the same id."""
        return f"{self.path} {self.record['created']} {content_key(self.record['files'])}"

    @property
    def request(self) -> dict[str, Any]:
        """What decided the numbers."""
        return dict(self.record["request"])

    @property
    def provenance(self) -> dict[str, Any]:
        """All of run.json."""
        return dict(self.record)

    @cached_property
    def spec(self) -> RunSpec | None:
        """What was asked for, where it is known: enough to ask again."""
        return RunSpec.from_dict(self.record["spec"]) if self.record.get("spec") else None

    @property
    def meta(self) -> dict[str, str]:
        """The user's name and note."""
        path = self.path / META_FILE
        stored = read_json(path) if path.is_file() else {}
        check_meta(stored, path)
        return {"name": str(stored.get("name", "")), "note": str(stored.get("note", ""))}

    @property
    def name(self) -> str:
        """The user's name for the run, or ""."""
        return self.meta["name"]

    def scores(self) -> EdgeScores:
        """The edge scores alone. Errors: as `attribution`."""
        return arrays.edge_scores(self.record, self._arrays(SCORES_FILE), self.path / SCORES_FILE)

    def attribution(self) -> Attribution:
        """The whole result, bit for bit as it was computed.

        Errors: RunError naming the damaged or altered file.
        """
        paths = self._arrays(PATH_FILE) if self.record.get("paths") else {}
        try:
            return arrays.attribution_of(
                self.record, self._arrays(SCORES_FILE), paths, self.path / SCORES_FILE, self.path / PATH_FILE
            )
        except (KeyError, TypeError) as error:
            raise RunError(f"{self.path / RUN_FILE}: expected {error} in it, found none; {REPAIR}") from None

    def prompts(self) -> PromptSet:
        """The prompt pairs.

        Errors: RunError if they are damaged or not those of the request.
        """
        path = self.path / PROMPTS_FILE
        stored = read_json(path)
        check_prompts(stored, path)
        try:
            pairs = tuple(_pair(values) for values in stored["pairs"])
            prompts = PromptSet(str(stored["task"]), pairs, str(stored["metric"]), dict(stored.get("origin", {})))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path}: expected prompt pairs, got {error!r}; {REPAIR}") from None
        expected = self.record["request"].get("prompts", {}).get("hash")
        if expected != prompts.hash:
            raise RunError(f"{path}: expected pairs with hash {expected}, got {prompts.hash}; {REPAIR}")
        self._check(PROMPTS_FILE, known_hash)
        return prompts

    def evaluation(self) -> dict[str, Any]:
        """The evaluations added so far, by name; empty if none."""
        path = self.path / EVALUATION_FILE
        return read_evaluation(path) if path.is_file() else {}

    def add_evaluation(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Store an evaluation beside the run (replacing one of the same name); all of them after it.

        Safe at the same time as other processes doing the same. NaN becomes null.
        """
        return self.change_evaluation(name, lambda stored: values)

    def change_evaluation(self, name: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
        """Store what `change` makes of the evaluation of that name (empty if there is none), as `add_evaluation`."""
        with locked(self.path):
            stored = self.evaluation()
            merged = {**stored, name: plain(change(stored.get(name, {})), where=name)}
            write_json(self.path / EVALUATION_FILE, merged)
        return merged

    def set_meta(self, *, name: str | None = None, note: str | None = None) -> dict[str, str]:
        """Change the user's name or note; None leaves one as it is."""
        with locked(self.path):
            changes = {key: value for key, value in (("name", name), ("note", note)) if value is not None}
            merged = {**self.meta, **changes}
            write_json(self.path / META_FILE, merged)
        return merged

    def size(self) -> int:
        """Bytes on disk."""
        return folder_size(self.path)

    def check(self) -> None:
        """Check scores and prompts against their stored hashes, once per process while the files stay as they are.

        The paths, which may be large, are checked when they are read. Errors: RunError naming the altered file.
        """
        self._check_id()
        for name in (PROMPTS_FILE, SCORES_FILE):
            self._check(name, known_hash)

    def verify(self) -> None:
        """Check every immutable file against its stored hash, and the name against the request.

        Errors: RunError naming the first file that differs.
        """
        twice(self._verify, self.path)

    def _check_id(self) -> None:
        if request_key(self.record["request"]) != self.id:
            raise RunError(f"{self.path / RUN_FILE}: expected the request's hash {self.id}, got another; {REPAIR}")

    def _verify(self) -> None:
        self._check_id()
        for name in self.record["files"]:
            self._check(name, file_hash)

    def _check(self, name: str, hash_of: Callable[[Path], str]) -> None:
        came, wanted = hash_of(self.path / name), _stored_hash(self.record, name)
        if came == wanted:
            return
        now = read_json(self.path / RUN_FILE)  # another process may have replaced the run since it was opened
        if came != _stored_hash(now, name):
            raise RunError(
                f"{self.path / name}: expected SHA-256 {wanted[:12]}…, got {came[:12]}; it was altered: {REPAIR}"
            )

    def _arrays(self, file: str) -> arrays.Arrays:
        path = self.path / file
        values = migrate_arrays(arrays.read_arrays(path), file, self.record["read_version"], path)
        self._check(file, known_hash)
        return values


def read_evaluation(path: Path) -> dict[str, Any]:
    """The evaluations of a file, by name. Errors: RunError where one is not as it has to be."""
    values = read_json(path)
    check_evaluation(values, path)
    return values


def _stored_hash(record: Mapping[str, Any], name: str) -> str:
    return str(record.get("files", {}).get(name, {}).get("sha256", "none"))


def _pair(values: Mapping[str, Any]) -> PromptPair:
    return PromptPair(
        str(values["clean"]),
        str(values["corrupted"]),
        tuple(values["correct"]),
        tuple(values["incorrect"]),
        str(values.get("note", "")),
    )


def open_run(path: str | Path) -> Run:
    """Read a run folder, in the library or anywhere.

    Errors: RunError if it is missing, incomplete, damaged or of a newer version.
    """
    return twice(lambda: read_run(Path(path)), Path(path))


def read_run(folder: Path) -> Run:
    """As `open_run`, of a folder that nobody else replaces meanwhile."""
    if not (folder / RUN_FILE).is_file():
        raise RunError(f"{folder}: expected a run folder with {RUN_FILE}, found none; give a run's folder or id.")
    record = migrate_record(read_json(folder / RUN_FILE), folder / RUN_FILE)
    check_record(record, folder / RUN_FILE)
    for name, about in record["files"].items():
        if name not in CONTENT_FILES:
            raise RunError(f"{folder / RUN_FILE}: expected only files of a run, got {name!r}; {REPAIR}")
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != about.get("bytes"):
            came = "no file" if size is None else f"{size} bytes"
            raise RunError(f"{folder / name}: expected {about.get('bytes')} bytes, got {came}; {REPAIR}")
    return Run(folder, record)


def fill_run(
    folder: Path,
    attribution: Attribution,
    request: Mapping[str, Any],
    prompts: PromptSet,
    *,
    device: str = "",
    spec: RunSpec | None = None,
) -> None:
    """Write a run's files into an empty folder; run.json comes last, so a folder without it is unfinished."""
    write_json(
        folder / PROMPTS_FILE,
        {"task": prompts.task, "metric": prompts.metric, "origin": prompts.origin, "pairs": _pair_dicts(prompts)},
    )
    arrays.write_arrays(folder / SCORES_FILE, arrays.score_arrays(attribution))
    if attribution.paths:
        arrays.write_arrays(folder / PATH_FILE, arrays.path_arrays(attribution))
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_hash(folder / name)}
        for name in CONTENT_FILES
        if (folder / name).is_file()
    }
    write_json(folder / RUN_FILE, _record(attribution, request, device, spec, files))


def _pair_dicts(prompts: PromptSet) -> list[dict[str, Any]]:
    return [asdict(pair) for pair in prompts.pairs]


def _record(
    attribution: Attribution,
    request: Mapping[str, Any],
    device: str,
    spec: RunSpec | None,
    files: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "id": request_key(request),
        "request": request,
        "spec": spec.to_dict() if spec else None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "libraries": library_versions(),
        "graph": attribution.graph.to_dict(),
        "n_edges": attribution.graph.n_edges,
        **arrays.plain_fields(attribution),
        "metric_clean": _summary(attribution.metric_clean),
        "metric_corrupted": _summary(attribution.metric_corrupted),
        **({} if attribution.right is None else {"accuracy": float(attribution.right.mean())}),
        "completeness": {name: _summary(values) for name, values in attribution.completeness.items()},
        "paths": {name: {"kind": path.kind, "points": path.n_points} for name, path in attribution.paths.items()},
        "provenance": attribution.provenance,
        "files": files,
    }


def _summary(values: Any) -> dict[str, Any]:
    numbers = np.asarray(values, dtype=np.float64)
    return {"mean": float(numbers.mean()) if numbers.size else None, "pairs": numbers.tolist()}


def write_run(
    folder: str | Path,
    attribution: Attribution,
    request: Mapping[str, Any],
    prompts: PromptSet,
    *,
    device: str = "",
    spec: RunSpec | None = None,
) -> Run:
    """Write a run to a folder outside the library, whole or not at all.

    A run that lies there is replaced. Errors: RunError if the folder holds anything else.
    """
    target = Path(folder).absolute()
    check_target(target)
    temporary = temporary_folder(target.parent, f".{target.name}")
    try:
        fill_run(temporary, attribution, request, prompts, device=device, spec=spec)
        move_into_place(temporary, target)
    except BaseException:
        remove_folder(temporary)
        raise
    return open_run(target)


def copy_run(run: Run, folder: str | Path) -> Run:
    """Copy a run, its evaluations and its note to a folder, by the rules of `write_run`."""
    target = Path(folder).absolute()
    if target == run.path.absolute():
        return run
    run.verify()
    check_target(target)
    temporary = temporary_folder(target.parent, f".{target.name}")
    try:
        for name in KNOWN_FILES:
            if (run.path / name).is_file():
                shutil.copyfile(run.path / name, temporary / name)
        move_into_place(temporary, target)
    except BaseException:
        remove_folder(temporary)
        raise
    return Run(target, run.record, run.cached)


def check_target(folder: Path) -> None:
    """Raise unless a run may be written to this folder: absent, empty, or a run."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a folder for the run, got a file; name another.")
    ours = _is_ours if _is_run(folder) else is_partial  # files of these names alone may be anybody's
    foreign = sorted(path.name for path in folder.iterdir() if not ours(path.name))
    if foreign:
        raise RunError(
            f"{folder}: expected an empty folder, a new one or a run, got one that holds {foreign[0]!r}; name another."
        )


def _is_run(folder: Path) -> bool:
    """Whether a folder holds a run, damaged or not."""
    try:
        return {"format_version", "request"} <= {*read_json(folder / RUN_FILE)}
    except RunError:
        return False


def _is_ours(name: str) -> bool:
    return name in (*KNOWN_FILES, LOCK_NAME) or is_partial(name)


def is_partial(name: str) -> bool:
    """True for the temporary name of a JSON file that was being written."""
    return any(name.startswith(f".{file}-") for file in KNOWN_FILES)


def move_into_place(temporary: Path, target: Path) -> None:
    """Rename a finished folder to its name, replacing a run that lies there; an empty folder stays and is filled."""
    temporary.chmod(0o755)
    sync_folder(temporary)
    if target.exists() and (not _is_run(target) or target.samefile(Path.cwd())):
        for name in (RUN_FILE, EVALUATION_FILE, META_FILE):
            (target / name).unlink(missing_ok=True)
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == RUN_FILE):  # it says that all is there
            path.replace(target / path.name)
        temporary.rmdir()
    elif target.exists():
        aside = temporary_folder(target.parent, f".{target.name}-old")
        target.replace(aside / target.name)
        temporary.rename(target)
        remove_folder(aside)
    else:
        temporary.rename(target)
    sync_folder(target.parent)
