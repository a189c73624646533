"""JSON texts and their hashes, and writing that survives a kill: files appear whole or not at all.

Equal values give equal canonical texts in every process: keys are sorted, floats are written by their
shortest exact form, tuples become lists, NaN and infinities become null.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, TypeVar

import numpy as np
import psutil

from eapgp.errors import OptionError, RunError
from eapgp.strict_json import loads

KEY_LENGTH = 20


def plain(value: Any, *, where: str = "value") -> Any:
    """The value as JSON types: NaN and ±inf become None, arrays and tuples become lists.

    Errors: OptionError for what has no JSON form, naming `where`.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
        if isinstance(value, bool | str):
            return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), where=where)
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value), where=where)
    if isinstance(value, Mapping):
        return {str(key): plain(item, where=f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, where=f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, where=where) for item in value), key=str)
    if isinstance(value, PurePath):
        return str(value)
    raise OptionError(
        f"{where}: expected a number, text, list or mapping, got {type(value).__name__}; it cannot be stored."
    )


def canonical(value: Any) -> str:
    """The one text of a value; independent of the order of its keys."""
    return json.dumps(plain(value), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def content_key(value: Any) -> str:
    """Hash of the canonical text; 20 hex digits (80 bits)."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:KEY_LENGTH]


# ---- files ---------------------------------------------------------------------------------------

T = TypeVar("T")
LOCK_NAME = ".lock"
REPLACED_WITHIN = 1.0  # seconds for which a folder that another process replaces may be away
MAX_JSON_BYTES = 256 * 1024 * 1024


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_file(path: Path) -> None:
    """Make a written file durable."""
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def json_text(value: Any) -> str:
    """JSON for people and machines: NaN becomes null."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its name at the end of the block: it appears whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync_file(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk does not say for which file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json_text(value))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Errors: RunError naming the file if it is absent, too large, or no JSON object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise RunError(
                f"{path}: expected at most {MAX_JSON_BYTES} bytes, got {path.stat().st_size}; not a run's file."
            )
        value = loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path}: expected this file of a run, found none; {REPAIR}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: expected JSON, got {_short(error)}; {REPAIR}") from None
    if not isinstance(value, dict):
        raise RunError(f"{path}: expected a JSON object, got {type(value).__name__}; {REPAIR}")
    return value


REPAIR = "remove the run (eapgp runs rm) and compute it again."


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes; "no file" where there is none."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        return "no file"


def known_hash(path: Path) -> str:
    """`file_hash`, taken once per process while the file stays as it is."""
    return _hash_once(path, *file_stamp(path))


def file_stamp(path: str | Path) -> tuple[int, ...]:
    """What changes when a file does: inode, size and times; empty where there is none."""
    try:
        about = os.stat(path)  # noqa: PTH116 - pages ask it of every run, and a Path takes as long as the system
    except OSError:
        return ()
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


@lru_cache(maxsize=100_000)
def _hash_once(path: Path, *stamp: int) -> str:
    return file_hash(path)


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    total += folder_size(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def temporary_folder(parent: Path, label: str) -> Path:
    """A new folder whose name tells which process of which machine makes it."""
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{label}--{_host()}--{os.getpid()}--"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def is_left_over(folder: Path, *, older_than: float) -> bool:
    """True if the process that was making this folder is dead, or unknown and `older_than` s ago."""
    parts = folder.name.split("--")
    if len(parts) >= 4 and parts[-3] == _host() and parts[-2].isdigit():
        return not is_alive(int(parts[-2]))
    try:
        return time.time() - folder.stat().st_mtime > older_than
    except OSError:
        return False


def _host() -> str:
    return socket.gethostname().replace("--", "-").replace("/", "-")[:60]


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; one that nobody can look at does."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def remove_folder(folder: Path) -> None:
    """Remove a folder and what is in it; what is gone already is no error."""
    shutil.rmtree(folder, ignore_errors=True)


def twice(read: Callable[[], T], folder: Path) -> T:
    """What a reader of a run's folder gives; where it fails, once more if another process may just be replacing it."""
    try:
        return read()
    except RunError:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_ctime > REPLACED_WITHIN:  # a rename changes it
                raise
        time.sleep(0.05)
        return read()


@contextlib.contextmanager
def locked(folder: Path, *, timeout: float = 30.0) -> Iterator[None]:
    """Hold a folder's lock; the system lets it go when the process ends, however it ends.

    It is the lock of the folder that is there now: meanwhile another process may have put a new one in its place.
    Errors: RunError if the folder cannot be written or another process holds it for `timeout` s.
    """
    with contextlib.ExitStack() as held:
        handle = _hold(folder, timeout, held)
        while not _is_of(handle, folder):
            held.close()
            handle = _hold(folder, timeout, held)
        yield


def _hold(folder: Path, timeout: float, held: contextlib.ExitStack) -> int:
    handle = _open_lock(folder)
    held.callback(os.close, handle)
    _wait_for(handle, folder, timeout)
    held.callback(_release, handle)
    return handle


def _open_lock(folder: Path) -> int:
    deadline = time.monotonic() + REPLACED_WITHIN
    while True:
        try:
            return os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            if not isinstance(error, FileNotFoundError) or time.monotonic() > deadline:
                raise RunError(
                    f"{folder}: expected a run folder that can be written, got {_short(error)}; copy the run first."
                ) from None
            time.sleep(0.01)


def _is_of(handle: int, folder: Path) -> bool:
    """Whether an open lock is still the one in the folder."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), (folder / LOCK_NAME).stat())
    return False


def _wait_for(handle: int, folder: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not _try_lock(handle):
        if time.monotonic() > deadline:
            raise RunError(
                f"{folder}: another process has held this run's lock for {timeout:.0f} s; try again when it is done."
            )
        time.sleep(0.01)


if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True

    def _release(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _release(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
