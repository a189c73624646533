"""The libraries of a public server's visitors: which there are, when each was last used, and removing old ones.

    HOME/visitors/<24 hex digits>/   a visitor's library, named by the hash of the key in their cookie

A library counts as used when anything in it was written, when its visitor opened a page or asked for a job
(`mark_used`), and for as long as a process of this machine is writing a run into it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from eapgp.errors import RunError
from eapgp.runs.files import folder_size, is_left_over, remove_folder
from eapgp.runs.library import DAY, RunLibrary

FOLDER = "visitors"
_NAME = re.compile(r"[0-9a-f]{24}")
_ASIDE = "removed--"


@dataclass(frozen=True)
class VisitorLibrary:
    """One visitor's library. used: when it was last, in seconds since 1970. writing: a live process writes into it."""

    path: Path
    used: float
    writing: bool
    runs: int
    bytes: int

    @property
    def days(self) -> float:
        """Days since it was last used; 0 where the clock was set back since."""
        return max(0.0, time.time() - self.used) / DAY

    def is_older(self, days: float) -> bool:
        """Whether it was last used longer ago than this, and nobody writes into it."""
        return not self.writing and self.days > days


def mark_used(home: Path) -> None:
    """Note that a visitor is here; a library that is not there yet is not made."""
    with contextlib.suppress(OSError):
        os.utime(home)


def visitor_libraries(home: Path) -> list[VisitorLibrary]:
    """The libraries of all visitors of a server, the one that was used longest ago first. home: the server's."""
    place = home / FOLDER
    try:
        folders = [entry for entry in place.iterdir() if _NAME.fullmatch(entry.name) and not entry.is_symlink()]
    except FileNotFoundError:
        return []
    return sorted((_library(folder) for folder in folders if folder.is_dir()), key=lambda one: one.used)


def remove_older(home: Path, days: float) -> list[VisitorLibrary]:
    """Delete the libraries that were last used longer ago than this, and what an earlier removal left; those deleted.

    Each is set aside by one rename first and looked at again: one whose visitor came back meanwhile is put back.
    Errors: RunError where a folder cannot be written.
    """
    removed = []
    for library in visitor_libraries(home):
        if library.is_older(days) and _remove(library, days):
            removed.append(library)
    for left in (home / FOLDER).glob(f"{_ASIDE}*"):
        remove_folder(left)
    return removed


def _remove(library: VisitorLibrary, days: float) -> bool:
    aside = library.path.with_name(f"{_ASIDE}{library.path.name}--{time.time_ns()}")
    try:
        library.path.rename(aside)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RunError(f"{library.path}: expected a folder that can be removed, got {error.strerror}.") from None
    if not _library(aside).is_older(days) and not library.path.exists():
        aside.rename(library.path)
        return False
    remove_folder(aside)
    return True


def _library(folder: Path) -> VisitorLibrary:
    library = RunLibrary(folder)
    writing = library.temporary.is_dir() and any(
        not is_left_over(path, older_than=DAY) for path in library.temporary.iterdir()
    )
    return VisitorLibrary(folder, _last_change(folder), writing, len(library.folders()), folder_size(folder))


def _last_change(folder: Path) -> float:
    """The newest time of modification of a folder and of all below it; links are not followed."""
    newest = 0.0
    with contextlib.suppress(OSError):
        newest = folder.stat().st_mtime
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                own = entry.stat(follow_symlinks=False).st_mtime
                newest = max(newest, _last_change(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else own)
    return newest
