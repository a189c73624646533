"""Where a command takes edge scores from: a run of the library, a run folder, or a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from eapgp.attribution.result import EdgeScores, Floats
from eapgp.cli import completion
from eapgp.errors import OptionError
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run

_RUN = "Id, beginning of an id, name or folder of a run."
RunOption = Annotated[
    list[str] | None,  # a second one is refused, not silently preferred
    typer.Option(
        "--run",
        "-r",
        help="Id, beginning of an id, name or folder of a run.",
        metavar="RUN",
        autocompletion=completion.runs,
    ),
]
RunsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        "-r",
        help="Id, beginning of an id, name or folder of a run. Repeatable.",
        metavar="RUN",
        autocompletion=completion.runs,
    ),
]
ScoresOption = Annotated[list[Path] | None, typer.Option("--scores", "-s", help="File of edge scores.", metavar="FILE")]
ScoreFilesOption = Annotated[
    list[Path] | None, typer.Option("--scores", "-s", help="File of edge scores. Repeatable.", metavar="FILE")
]


@dataclass(frozen=True)
class Source:
    """Edge scores, what to call them, and the run or the node scores beside them, if any."""

    label: str
    scores: EdgeScores
    run: Run | None = None
    nodes: Floats | None = None

    @property
    def node_scores(self) -> Floats | None:
        """`[src]` attribution of each node's output, where the run or the file has it."""
        return self.nodes if self.run is None else self.run.attribution().node_scores


def of_run(text: str, home: Path | None) -> Source:
    """The scores of a run."""
    run = RunLibrary(home).open(text)
    return Source(run.name or text, run.scores(), run)


def of_file(path: Path) -> Source:
    """The scores of a file."""
    from eapgp.formats import read_file

    read = read_file(path)
    return Source(str(path), read.scores, nodes=read.node_scores)


def one_source(runs: Sequence[str] | None, files: Sequence[Path] | None, home: Path | None) -> Source:
    """The one source that was given.

    Errors: OptionError unless it is exactly one.
    """
    n_runs, n_files = len(runs or ()), len(files or ())
    if n_runs + n_files != 1:
        came = "both" if n_runs and n_files else f"{n_runs + n_files} of them" if n_runs + n_files else "neither"
        raise OptionError(f"expected either --run or --scores, got {came}; give one.")
    return of_run(runs[0], home) if runs else of_file(files[0])  # type: ignore[index]


def two_sources(runs: Sequence[str] | None, files: Sequence[Path] | None, home: Path | None) -> tuple[Source, Source]:
    """The two sources that were given: runs first, then files.

    Errors: OptionError unless there are two; FormatError where they belong to different graphs.
    """
    found = [of_run(text, home) for text in runs or ()] + [of_file(path) for path in files or ()]
    if len(found) != 2:
        raise OptionError(f"expected two of --run and --scores together, got {len(found)}; give A and B.")
    return found[0], found[1]
