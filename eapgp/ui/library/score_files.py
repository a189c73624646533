"""Edge-score files that were imported into the dashboard: read once, checked, and kept as they came.

They lie below HOME/scores as `<hash>--<name>`, so that a link to them works after a restart and for
every tab. Nothing pickled is read or kept. No Streamlit here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from eapgp.formats import Imported, format_of, read_file
from eapgp.runs.kept_files import FileStore, file_name
from eapgp.ui.base.policy import policy
from eapgp.ui.jobs.untrusted import try_scores

PREFIX = "file-"
_UNSAFE = re.compile(r"[^\w.\-]+")
_TASKS = {"ioi": "ioi", "greater-than": "greater-than", "greater_than": "greater-than", "greater.than": "greater-than"}


@dataclass(frozen=True)
class ScoreFile:
    """One kept file. id: `file-` and the beginning of its SHA-256; name: as it was called."""

    id: str
    name: str
    path: Path

    @property
    def title(self) -> str:
        """What lists and legends call it: its name without the ending that says the format."""
        return self.name.removesuffix(self.path.suffix).replace("_", " ")

    @property
    def task(self) -> str:
        """The task that the name speaks of, or ""."""
        lowered = self.name.lower()
        return next((task for word, task in _TASKS.items() if word in lowered), "")

    def read(self) -> Imported:
        """Scores, circuit and node scores. Errors: FormatError."""
        return read_file(self.path)


class ScoreFiles(FileStore[ScoreFile]):
    """The files below one home folder."""

    prefix = PREFIX

    def __init__(self, home: Path) -> None:
        super().__init__(home / "scores")

    def entry(self, path: Path) -> ScoreFile:
        """The file that a path names."""
        digest, _, name = path.name.partition("--")
        return ScoreFile(PREFIX + digest, name, path)

    def rename(self, file: ScoreFile, title: str) -> ScoreFile:
        """Give a kept file another name; its id, content and ending stay. Errors: OSError where that is not allowed."""
        stem = _UNSAFE.sub("_", file_name(title.strip(), "scores"))
        target = file.path.with_name(f"{file.path.name.partition('--')[0]}--{stem}{file.path.suffix}")
        return self.entry(file.path if stem == file.title.replace(" ", "_") else file.path.replace(target))

    def add(self, name: str, data: bytes) -> ScoreFile:
        """Check a file and keep it; one that is there already is not kept twice.

        Errors: FormatError for what cannot be read as edge scores; ComputationError where reading it, in a process of
        its own, died or took too much; RunError where the folder cannot be written or is full.
        """
        policy().check_room(self.folder.parent)
        safe = _UNSAFE.sub("-", file_name(name, "scores"))
        format_of(safe)

        def write(path: Path) -> None:
            path.write_bytes(data)
            try_scores(path)

        return self.keep(safe, write)
