"""Prompt pairs of one's own, kept as CSV files so that links, settings and other tabs find them again.

A set lies below HOME/prompts as `<hash>--<name>--<number of pairs>.csv`, the hash being that of its
content: the same pairs are one file, and a file never changes. The command line reads the same
file by `--prompts`. No Streamlit here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from eapgp.errors import FormatError, RunError
from eapgp.prompts.files import read_prompts, write_prompts
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.library import default_home

PREFIX = "own-"
USUAL_NAME = "own-pairs"
_DIGITS = 12
_NAME = re.compile(r"([0-9a-f]{12})--(.+)--(\d+)\.csv")
_UNSAFE = re.compile(r"[^\w.]+")
_REMOVED = ".removed"


@dataclass(frozen=True)
class KeptPrompts:
    """One kept set. id: `own-` and the beginning of its SHA-256; name: what its runs have as their task."""

    id: str
    name: str
    n_pairs: int
    path: Path

    @property
    def title(self) -> str:
        """How lists show it."""
        return f"{self.name} ({self.n_pairs:,} own pair{'s' if self.n_pairs != 1 else ''})"

    def read(self) -> PromptSet:
        """The pairs. Errors: PromptError or FormatError where the file was damaged or is gone."""
        return _read(os.fspath(self.path))


@lru_cache(maxsize=16)
def _read(path: str) -> PromptSet:
    return read_prompts(path)


def safe_name(text: str) -> str:
    """A name of letters, digits, dots and hyphens, short enough for a file."""
    return _UNSAFE.sub("-", text).strip("-.")[:60] or USUAL_NAME


class PromptStore:
    """The prompt sets below one home folder."""

    def __init__(self, home: Path | None = None) -> None:
        self.folder = (home if home is not None else default_home()) / "prompts"

    def all(self) -> list[KeptPrompts]:
        """Every kept set, newest first."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                kept = _entry(Path(entry.path))
                if kept is not None:
                    found.append((entry.stat().st_mtime, kept))
        return [kept for _, kept in sorted(found, key=lambda pair: (-pair[0], pair[1].id))]

    def get(self, set_id: str) -> KeptPrompts | None:
        """The set of this id, or None."""
        if not set_id.startswith(PREFIX):
            return None
        return next((kept for kept in self.all() if kept.id == set_id), None)

    def at(self, path: str | Path) -> KeptPrompts | None:
        """The set that lies at a path, or None if that is none of this store."""
        place = Path(path)
        return _entry(place) if place.parent == self.folder and place.is_file() else None

    def add(self, prompts: PromptSet, *, name: str | None = None) -> KeptPrompts:
        """Keep a set under a name (the set's task without one); what is there already is not kept twice.

        Errors: PromptError if texts and token ids are mixed as answers; FormatError for text that a
        CSV file cannot hold; RunError where the folder cannot be written.
        """
        named = replace(prompts, task=safe_name(name or prompts.task))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder.parent) as folder:
                fresh = Path(folder) / "pairs.csv"
                write_prompts(named, fresh)
                if read_prompts(fresh).pairs != named.pairs:
                    raise FormatError(
                        f"{named.task}: expected pairs that a CSV file can hold, got control characters. Remove them."
                    )
                digest = hashlib.sha256(fresh.read_bytes()).hexdigest()[:_DIGITS]
                target = self.folder / f"{digest}--{named.task}--{len(named)}.csv"
                if not target.is_file():
                    fresh.replace(target)
        except OSError as error:
            raise RunError(f"{self.folder}: expected a folder that can be written, got {error.strerror}.") from None
        return KeptPrompts(PREFIX + digest, named.task, len(named), target)

    def remove(self, set_id: str) -> None:
        """Set a kept set aside; `restore` brings it back. Runs that used it keep their own copy."""
        kept = self.get(set_id)
        if kept is not None:
            kept.path.replace(kept.path.with_name(kept.path.name + _REMOVED))

    def restore(self, set_id: str) -> None:
        """Bring back a set that was removed; no effect where there is none."""
        for path in self.folder.glob(f"{set_id.removeprefix(PREFIX)}--*{_REMOVED}"):
            path.replace(path.with_name(path.name.removesuffix(_REMOVED)))

    def purge(self) -> None:
        """Delete for good what was removed."""
        for path in self.folder.glob(f"*{_REMOVED}"):
            path.unlink(missing_ok=True)


def _entry(path: Path) -> KeptPrompts | None:
    match = _NAME.fullmatch(path.name)
    return None if match is None else KeptPrompts(PREFIX + match[1], match[2], int(match[3]), path)
