"""Where a command takes edge scores from: a run of the library, a run folder, or a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from eapgp.attribution.result import EdgeScores, Floats
from eapgp.cli import completion
from eapgp.errors import OptionError
from eapgp.formats import read_with
from eapgp.graph import Graph
from eapgp.models.catalogue import find_model
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run
from eapgp.runs.spec import RunSpec

_RUN = "Id, beginning of an id, name or folder of a run."
RunOption = Annotated[
    list[str] | None,  # a second one is refused, not silently preferred
    typer.Option(
        "--run",
        "-r",
        help=_RUN,
        metavar="RUN",
        autocompletion=completion.runs,
    ),
]
RunsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        "-r",
        help=f"{_RUN} Repeatable.",
        metavar="RUN",
        autocompletion=completion.runs,
    ),
]
ScoresOption = Annotated[list[Path] | None, typer.Option("--scores", "-s", help="File of edge scores.", metavar="FILE")]
ScoreFilesOption = Annotated[
    list[Path] | None, typer.Option("--scores", "-s", help="File of edge scores. Repeatable.", metavar="FILE")
]


def only_run(run: Sequence[str] | None, home: Path | None) -> Run:
    """The one run that is named. Errors: OptionError for none or several, as `RunLibrary.open`."""
    if run is None or len(run) != 1:
        raise OptionError(f"--run: expected one run, got {len(run or ())}.")
    return RunLibrary(home).open(run[0])


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


def no_graph() -> None:
    """For commands that know no graph: a file must say its own."""


def of_file(path: Path, graph_of: Callable[[], Graph | None] = no_graph) -> Source:
    """The scores of a file. graph_of: asked for the graph where the file does not say which it belongs to."""
    imported = read_with(path, graph_of)
    return Source(str(path), imported.scores, nodes=imported.node_scores)


def catalogue_graph(model: str | None) -> Graph | None:
    """The graph of a model of the catalogue (None: the default model); None for any other model."""
    entry = find_model(model or RunSpec().model)
    return None if entry is None else entry.graph


def one_source(
    runs: Sequence[str] | None,
    files: Sequence[Path] | None,
    home: Path | None,
    *,
    graph_of: Callable[[], Graph | None] = no_graph,
) -> Source:
    """The one source that was given; graph_of as in `of_file`.

    Errors: OptionError unless it is exactly one.
    """
    n_runs, n_files = len(runs or ()), len(files or ())
    if n_runs + n_files != 1:
        came = "both" if n_runs and n_files else f"{n_runs + n_files} of them" if n_runs + n_files else "neither"
        raise OptionError(f"expected either --run or --scores, got {came}; give one.")
    return of_run(runs[0], home) if runs else of_file(files[0], graph_of)  # type: ignore[index]


def two_sources(runs: Sequence[str] | None, files: Sequence[Path] | None, home: Path | None) -> tuple[Source, Source]:
    """The two sources that were given: runs first, then files. A file that does not say its graph has the other's.

    Errors: OptionError unless there are two.
    """
    n = len(runs or ()) + len(files or ())
    if n != 2:
        raise OptionError(f"expected two of --run and --scores together, got {n}; give A and B.")
    sources, paths = [of_run(text, home) for text in runs or ()], tuple(files or ())

    def graph_beside(other: Path) -> Graph:
        return (sources[0] if runs else of_file(other)).scores.graph

    sources += [of_file(path, partial(graph_beside, other)) for path, other in zip(paths, reversed(paths), strict=True)]
    return sources[0], sources[1]
