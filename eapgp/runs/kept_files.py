"""Files that a user brought, kept by their content: `<hash>--<name>` below one folder.

The same content is one file, and a file never changes, so links to it hold after a restart and for every tab. What is
removed is set aside until it is purged.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from eapgp.errors import RunError

DIGITS = 12
_NAME = re.compile(rf"[0-9a-f]{{{DIGITS}}}--.+")
_REMOVED = ".removed"
_LONGEST = 120  # bytes of a name, which stores put more in front of and behind
_PATHS = re.compile(r"[/\\]")


def file_name(name: str, usual: str) -> str:
    """A name that a file can have, of whatever name a stranger's file came with; its suffix stays.

    Without the folders in it, what nobody can see or read, and dots at its ends; cut where it is long. usual: in place
    of a name of which nothing is left.
    """
    plain = "".join(char if char.isprintable() else "-" for char in _PATHS.split(name)[-1]).strip(". ")
    stem, dot, suffix = plain.rpartition(".")
    ending = f".{suffix}" if dot and len(suffix) <= 16 and suffix.isascii() else ""
    short = (stem if ending else plain).encode()[:_LONGEST].decode(errors="ignore").strip(". ")
    return f"{short or usual}{ending}"


class KeptFile(Protocol):
    """What a store knows of one file. id: the store's prefix and the beginning of the SHA-256."""

    @property
    def id(self) -> str: ...
    @property
    def path(self) -> Path: ...


F = TypeVar("F", bound=KeptFile)


class FileStore(ABC, Generic[F]):
    """The files below one folder; a subclass says how a path is read (`entry`) and what its ids begin with."""

    prefix = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def entry(self, path: Path) -> F | None:
        """The file that a path names, or None."""

    def all(self) -> list[F]:
        """Every kept file, newest first."""
        files = []
        with contextlib.suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                entry = self._entry(path)
                if entry is not None and path.is_file():
                    files.append((-path.stat().st_mtime, entry.id, entry))
        return [entry for _, _, entry in sorted(files, key=lambda file: file[:2])]

    def get(self, file_id: str) -> F | None:
        """The file of this id, or None."""
        if not file_id.startswith(self.prefix):
            return None
        return next((file for file in self.all() if file.id == file_id), None)

    def at(self, path: str | Path) -> F | None:
        """The file that lies at a path, or None if that is none of this store."""
        place = Path(path)
        return self._entry(place) if place.parent == self.folder and place.is_file() else None

    def keep(self, name: str, write: Callable[[Path], object]) -> F:
        """Keep what `write` writes to a path, under a name; content that is there already is not kept twice.

        Errors: those of `write`; RunError where the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder.parent) as folder:
                fresh = Path(folder) / name
                write(fresh)
                digest = hashlib.sha256(fresh.read_bytes()).hexdigest()[:DIGITS]
                file = self.get(self.prefix + digest)
                if file is None:
                    target = self.folder / f"{digest}--{name}"
                    fresh.replace(target)
                    file = self._entry(target)
        except OSError as error:
            raise RunError(f"{self.folder}: expected a folder that can be written, got {error.strerror}.") from None
        assert file is not None
        return file

    def remove(self, file_id: str) -> None:
        """Set a kept file aside; `restore` brings it back. No effect where it is gone."""
        file = self.get(file_id)
        if file is not None:
            file.path.replace(file.path.with_name(file.path.name + _REMOVED))

    def restore(self, file_id: str) -> None:
        """Bring back a file that was removed; no effect where there is none."""
        for path in self.folder.glob(f"{file_id.removeprefix(self.prefix)}--*{_REMOVED}"):
            path.replace(path.with_name(path.name.removesuffix(_REMOVED)))

    def purge(self) -> None:
        """Delete for good what was removed."""
        for path in self.folder.glob(f"*{_REMOVED}"):
            path.unlink(missing_ok=True)

    def _entry(self, path: Path) -> F | None:
        return self.entry(path) if _NAME.fullmatch(path.name) and path.suffix != _REMOVED else None
