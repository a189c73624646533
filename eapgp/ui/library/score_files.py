"""Edge-score files that were imported into the dashboard: read once, checked, and kept as they came.

They lie below HOME/scores as `<hash>--<name>`, so that a link to them works after a restart and for
every tab. Nothing pickled is read or kept. No Streamlit here.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from eapgp.errors import FormatError, RunError
from eapgp.formats import FORMATS, Imported, format_of, read_file

PREFIX = "file-"
_DIGITS = 12
_REMOVED = ".removed"
_UNSAFE = re.compile(r"[^\w.\-]+")
_TASKS = {"ioi": "ioi", "greater-than": "greater-than", "greater_than": "greater-than", "greater.than": "greater-than"}


@dataclass(frozen=True)
class ScoreFile:
    """One kept file. id: `file-` and the beginning of its SHA-256; name: as it was called."""

    id: str
    name: str
    path: Path

    @property
    def task(self) -> str:
        """The task that the name speaks of, or ""."""
        lowered = self.name.lower()
        return next((task for word, task in _TASKS.items() if word in lowered), "")

    def read(self) -> Imported:
        """Scores, circuit and node scores. Errors: FormatError."""
        return read_file(self.path)


class ScoreFiles:
    """The files below one home folder."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "scores"

    def all(self) -> list[ScoreFile]:
        """Every kept file, newest first."""
        try:
            paths = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        except FileNotFoundError:
            return []
        shown = [path for path in paths if "--" in path.name and path.suffix != _REMOVED]
        return [_entry(path) for path in shown if path.is_file()]

    def get(self, file_id: str) -> ScoreFile | None:
        """The file of this id, or None."""
        return next((file for file in self.all() if file.id == file_id), None)

    def add(self, name: str, data: bytes) -> ScoreFile:
        """Check a file and keep it; one that is there already is not kept twice.

        Errors: FormatError for what cannot be read as edge scores; RunError where the folder
        cannot be written.
        """
        safe = _UNSAFE.sub("-", Path(name).name).strip("-.") or "scores"
        if format_of(safe).name == "dot":
            readable = ", ".join(entry.suffixes[0] for entry in FORMATS.values() if entry.reads)
            raise FormatError(f"{safe}: DOT files are written, not read; expected one of {readable}.")
        target = self.folder / f"{hashlib.sha256(data).hexdigest()[:_DIGITS]}--{safe}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder.parent) as folder:
                fresh = Path(folder) / safe
                fresh.write_bytes(data)
                read_file(fresh).check_scored()
                known = self.get(_entry(target).id)
                if known is not None:
                    return known
                fresh.replace(target)
        except OSError as error:
            raise RunError(f"{self.folder}: expected a folder that can be written, got {error.strerror}.") from None
        return _entry(target)

    def remove(self, file_id: str) -> None:
        """Set a kept file aside; `restore` brings it back. No effect where it is gone."""
        file = self.get(file_id)
        if file is not None:
            file.path.replace(file.path.with_name(file.path.name + _REMOVED))

    def restore(self, file_id: str) -> None:
        """Bring back a file that was removed; no effect where there is none."""
        for path in self.folder.glob(f"{file_id.removeprefix(PREFIX)}--*{_REMOVED}"):
            path.replace(path.with_name(path.name.removesuffix(_REMOVED)))

    def purge(self) -> None:
        """Delete for good what was removed."""
        for path in self.folder.glob(f"*{_REMOVED}"):
            path.unlink(missing_ok=True)


def _entry(path: Path) -> ScoreFile:
    digest, _, name = path.name.partition("--")
    return ScoreFile(PREFIX + digest, name, path)
