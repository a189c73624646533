"""What `make torture` measured: rows, the tables made of them, and docs/reliability.md.

A part is a module of this folder with `run(setting: Setting) -> list[Row]` and a line in `PARTS`. The page has a
section per part; a later run replaces the sections of the parts that it ran and leaves the others, each with the day,
the load and the versions it was measured on.
"""

from __future__ import annotations

import itertools
import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

SHOWN = 20
"""Violations of a row that a table lists; the rest is counted."""
LIBRARIES = ("torch", "transformers", "tokenizers", "pyarrow", "streamlit")
HEAD = """# Reliability

Written by `make torture` (`python -m tools.torture --report docs/reliability.md`), which tries what a stranger, a bad
machine or a full class could do. A violation is an outcome that is not the right one; the right ones stand in
[SECURITY.md](../SECURITY.md), and the module of each part in `tools/torture/` says what it checks.
"""


@dataclass(frozen=True)
class Part:
    """A part of `make torture`. module: its name in this folder. seconds: what it may take on two idle cores."""

    module: str
    title: str
    seconds: float


PARTS: dict[str, Part] = {
    "inputs": Part("inputs", "Inputs of strangers", 720.0),
    "faults": Part("faults", "Faults of the machine", 240.0),
    "determinism": Part("determinism", "Determinism", 60.0),
    "cluster": Part("cluster", "A cluster", 120.0),
    "load": Part("load", "Load", 900.0),
}
"""In the order in which they run; one whose module is not there yet is left out and named."""


@dataclass(frozen=True)
class Setting:
    """How a part is run.

    folder: an empty one for whatever it writes, removed afterwards. quick: the few seconds of it in `make test`.
    """

    folder: Path
    seed: int = 0
    seconds: float = 600.0
    quick: bool = False
    workers: int = 2

    def say(self, text: str) -> None:
        """One line of progress on standard error."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


@dataclass(frozen=True)
class Row:
    """One line of a part's table: what was tried, its figures by column, and what was not as it should be.

    figures: plain numbers or short texts; rows of one part may differ in columns. violations: one line each, with what
    is needed to see it again. skipped: why it was not run, "" where it was. summed: of a row that sums others, how many
    violations those have; they are not counted again.
    """

    name: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    violations: tuple[str, ...] = ()
    skipped: str = ""
    summed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a part gave, and on what."""

    part: str
    rows: tuple[Row, ...]
    machine: str

    @property
    def violations(self) -> int:
        """How many there are in all rows."""
        return sum(len(row.violations) for row in self.rows)


def machine(load: float, seconds: float, seed: int, scope: str = "") -> str:
    """One line on what a part was measured: the day, the load before it, the versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{time.strftime('%Y-%m-%d')}; {seconds:.0f} s, seed {seed}{scope}; load average before {load:.1f} on "
        f"{os.cpu_count()} processors; Python {platform.python_version()}, {versions}; {platform.system()} "
        f"{platform.release()}."
    )


def table(rows: Sequence[Row]) -> str:
    """The rows of one part as a Markdown table, one for each where they share no column, and the violations below."""
    shared = any(set(one.figures) & set(other.figures) for one, other in itertools.pairwise(rows))
    groups = [rows] if shared or not rows else [[row] for row in rows]
    lines = [line for group in groups for line in [*_rows(group), ""]][:-1]
    for row in rows:
        lines += [f"- {row.name}: {_shown(one)}" for one in row.violations[:SHOWN]]
        if len(row.violations) > SHOWN:
            lines.append(f"- {row.name}: and {len(row.violations) - SHOWN} more")
    first = next((number for number, line in enumerate(lines) if line.startswith("- ")), len(lines))
    return "\n".join([*lines[:first], *([""] if first < len(lines) else []), *lines[first:]])


def _rows(rows: Sequence[Row]) -> list[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines = [_line(["", *columns, "violations"]), "|---" * (len(columns) + 2) + "|"]
    for row in rows:
        last = f"not run: {row.skipped}" if row.skipped else str(len(row.violations) + row.summed)
        lines.append(_line([row.name, *(_cell(row.figures.get(name, "")) for name in columns), last]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_shown(cell).replace("|", "\\|") for cell in cells) + " |"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _shown(text: str) -> str:
    return text.encode("ascii" if not text.isprintable() else "utf-8", "backslashreplace").decode().replace("\n", " ")


def text_of(outcome: Outcome) -> str:
    """The section of a part: its title, what it was measured on, its table."""
    return f"## {PARTS[outcome.part].title}\n\n{outcome.machine}\n\n{table(outcome.rows)}\n"


def write_report(page: Path, outcomes: Sequence[Outcome]) -> None:
    """Put the sections of these parts into the page, in place of their former ones."""
    former = page.read_text("utf-8") if page.is_file() else ""
    sections = dict(re.findall(r"^<!-- (\w+) -->\n(.*?)(?=^<!-- |\Z)", former, flags=re.MULTILINE | re.DOTALL))
    sections |= {outcome.part: text_of(outcome) for outcome in outcomes}
    ordered = [f"<!-- {part} -->\n{sections[part].rstrip()}\n" for part in PARTS if part in sections]
    page.write_text("\n".join([HEAD, *ordered]).rstrip() + "\n", encoding="utf-8")
