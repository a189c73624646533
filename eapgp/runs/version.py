"""Versions of the run format, and how older runs are read.

A run's files are never rewritten: a migration changes what was read, in memory, one version up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from eapgp.errors import RunError

FORMAT_VERSION = 1
# Raised when the same request would give other numbers than before, so that old runs no longer answer.
RESULT_VERSION = 1

Record = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Migration:
    """From one version to the next: run.json, and the arrays of a safetensors file by its name."""

    record: Callable[[Record], Record] = lambda record: record
    arrays: Callable[[str, Arrays], Arrays] = lambda _file, arrays: arrays


# {version: the step from it to version + 1}
MIGRATIONS: dict[int, Migration] = {}


def _steps(
    version: object, path: Path, migrations: Mapping[int, Migration], current: int
) -> list[tuple[int, Migration]]:
    if not isinstance(version, int) or isinstance(version, bool):
        raise RunError(f"{path}: expected a whole number under format_version, got {version!r}; this is no run.")
    if version > current:
        raise RunError(
            f"{path}: expected format version {current} or older, got {version}; "
            "a newer eapgp wrote this run: update eapgp to read it."
        )
    missing = [step for step in range(version, current) if step not in migrations]
    if missing:
        raise RunError(
            f"{path}: expected format version {current}, got {version}; "
            "this eapgp can no longer read it: compute the run again."
        )
    return [(step, migrations[step]) for step in range(version, current)]


def migrate_record(
    record: Record, path: Path, *, migrations: Mapping[int, Migration] | None = None, current: int = FORMAT_VERSION
) -> Record:
    """run.json at the current version; `read_version` keeps the version on disk.

    Errors: RunError if a newer eapgp wrote it, or no migration leads from its version.
    """
    version = record.get("format_version")
    known = MIGRATIONS if migrations is None else migrations
    for step, migration in _steps(version, path, known, current):
        record = {**migration.record(dict(record)), "format_version": step + 1}
    return {**record, "read_version": version}


def migrate_arrays(
    arrays: Arrays,
    file: str,
    version: int,
    path: Path,
    *,
    migrations: Mapping[int, Migration] | None = None,
    current: int = FORMAT_VERSION,
) -> Arrays:
    """The arrays of one file at the current version."""
    known = MIGRATIONS if migrations is None else migrations
    for _, migration in _steps(version, path, known, current):
        arrays = migration.arrays(file, dict(arrays))
    return arrays
