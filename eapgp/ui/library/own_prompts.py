"""Prompt pairs of one's own, kept as CSV files so that links, settings and other tabs find them again.

A set lies below HOME/prompts as `<hash>--<name>--<number of pairs>.csv`, the hash being that of its
content: the same pairs are one file, and a file never changes. The command line reads the same
file by `--prompts`. No Streamlit here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from eapgp.errors import FormatError
from eapgp.prompts.files import read_prompts, write_prompts
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.kept_files import FileStore
from eapgp.ui.base.policy import policy

PREFIX = "own-"
USUAL_NAME = "own-pairs"
_NAME = re.compile(r"([0-9a-f]{12})--(.+)--(\d+)\.csv")
_UNSAFE = re.compile(r"[^\w.]+")


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


class PromptStore(FileStore[KeptPrompts]):
    """The prompt sets below one home folder."""

    prefix = PREFIX

    def __init__(self, home: Path) -> None:
        super().__init__(home / "prompts")

    def entry(self, path: Path) -> KeptPrompts | None:
        """The set that a path names, or None."""
        match = _NAME.fullmatch(path.name)
        return None if match is None else KeptPrompts(PREFIX + match[1], match[2], int(match[3]), path)

    def of(self, prompts: PromptSet) -> KeptPrompts | None:
        """The kept set of this name that holds these pairs, or None."""
        alike = (kept for kept in self.all() if (kept.name, kept.n_pairs) == (prompts.task, len(prompts)))
        return next((kept for kept in alike if kept.read().pairs == prompts.pairs), None)

    def add(self, prompts: PromptSet, *, name: str | None = None) -> KeptPrompts:
        """Keep a set under a name (the set's task without one); what is there already is not kept twice.

        Errors: PromptError if texts and token ids are mixed as answers; FormatError for text that a
        CSV file cannot hold; RunError where the folder cannot be written or is full.
        """
        policy().check_room(self.folder.parent)
        named = replace(prompts, task=safe_name(name or prompts.task))

        def write(path: Path) -> None:
            write_prompts(named, path)
            if read_prompts(path).pairs != named.pairs:
                raise FormatError(
                    f"{named.task}: expected pairs that a CSV file can hold, got control characters. Remove them."
                )

        return self.keep(f"{named.task}--{len(named)}.csv", write)
