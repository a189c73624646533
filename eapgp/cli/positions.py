"""`eapgp positions`: at which words a run's edges matter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eapgp.attribution.result import SpanScores
from eapgp.circuits.spans import select_spans
from eapgp.cli.command import DeviceOption, HomeOption, command
from eapgp.cli.output import Output, Reply
from eapgp.cli.sources import RunOption, only_run
from eapgp.errors import OptionError
from eapgp.formats.spans import read_spans, write_spans
from eapgp.numerals import percent, signed
from eapgp.prompts.spans import TOKENS, Marks
from eapgp.runs.evaluate import Running
from eapgp.runs.positions import AS_MANY, AS_WIDE, BLIND, run_span_scores, span_curve
from eapgp.runs.run import Run

PANEL = "Weigh the evidence"
EXAMPLES = (
    "eapgp positions --run DIR",
    "eapgp positions --run DIR --pair 1 --edge 'a3.h1->logits'",
    "eapgp positions --run DIR --edges 20 --edges 50 --json",
    "eapgp positions --run DIR --mark subject=Mary,John --mark verb=gave,took",
    "eapgp positions --run DIR --edges 50 --write spans.json",
)
PairOption = Annotated[int | None, typer.Option(min=1, help="One pair alone, token by token.")]
EdgeOption = Annotated[list[str] | None, typer.Option("--edge", help="The spans of this edge. Repeatable.")]
SizesOption = Annotated[
    list[int] | None,
    typer.Option("--edges", "-e", help="Run the circuit of this many edges beside one of (edge, span). Repeatable."),
]
MarkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mark",
        metavar="NAME=WORD,WORD",
        help="A part of one's own: its name and the words that stand for it. Repeatable. Or tokens: every position for "
        "itself, where prompts are equally long. The task's parts otherwise.",
    ),
]
ReadOption = Annotated[
    Path | None, typer.Option("--read", help="Take the scores by span from a file that --write has written.")
]
WriteOption = Annotated[
    Path | None,
    typer.Option(
        "--write",
        help="File of the scores by span (.json or .csv), with the circuit of as many (edge, span) as --edges.",
    ),
]
TopOption = Annotated[int, typer.Option(min=0, help="How many of the strongest (edge, span) are listed.")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    command(app, "positions", examples=EXAMPLES, panel=PANEL)(positions)


def positions(
    out: Output,
    run: RunOption = None,
    pair: PairOption = None,
    edge: EdgeOption = None,
    edges: SizesOption = None,
    mark: MarkOption = None,
    read: ReadOption = None,
    write: WriteOption = None,
    top: TopOption = 10,
    device: DeviceOption = None,
    home: HomeOption = None,
) -> Reply:
    """Tell the scores of a run's edges apart by the words at which they arise.

    The score of an edge is a sum over positions. Spans are the parts of the task's prompts, or with --pair the
    tokens of one pair. With --edges, circuits that keep an edge in some spans only are run beside the circuit that
    keeps as many edges everywhere: with as many (edge, span) as it has edges, and with as many as it has (edge, span)
    where the two prompts differ.
    """
    opened = only_run(run, home)
    if pair is not None and edges:
        raise OptionError("--edges: expected without --pair; circuits are run on all pairs of a run.")
    if read is not None and pair is not None:
        raise OptionError("--read: expected without --pair; a file holds the parts of all pairs.")
    if pair is not None and mark:
        raise OptionError("--mark: expected without --pair, whose parts are its tokens.")
    if write is not None and len(edges or ()) > 1:
        raise OptionError(f"--write: expected at most one --edges, whose circuit is written; got {len(edges or ())}.")
    marks: Marks = TOKENS if mark == [TOKENS] else dict(map(_mark, mark or ()))
    with out.progress() as progress:
        how = Running(device or "auto", progress=progress)
        if read is None:
            scores = run_span_scores(opened, pair=None if pair is None else pair - 1, marks=marks, how=how)
        else:
            scores = _read(read, opened)
        shares = abs(scores.values).sum(axis=(1, 2))
        payload: dict[str, Any] = {
            "run": str(opened.path),
            "method": scores.method,
            "spans": list(scores.spans),
            "shares": (shares / shares.sum()).tolist(),
            "top": [{"edge": name, "span": span, "score": value} for name, span, value in scores.top(top)],
            "edges": {name: scores.of_edge(name) for name in edge or ()},
        }
        if pair is not None:
            payload["pair"] = pair
        if edges:
            payload["curve"] = span_curve(opened, scores, edges, marks=marks, how=how).to_dict()
        if write is not None:
            circuit = select_spans(scores, edges[0]) if edges else None
            payload["written"] = str(write_spans(write, scores, circuit))
    return Reply(payload, _text(payload))


def _read(path: Path, run: Run) -> SpanScores:
    """Scores by span of a file. Errors: OptionError for those of another graph."""
    scores, graph = read_spans(path)[0], run.scores().graph
    if scores.graph != graph:
        raise OptionError(f"{path.name}: scores of {scores.graph}, and the run is of {graph}.")
    return scores


def _mark(text: str) -> tuple[str, tuple[str, ...]]:
    """The name of a part and its words. Errors: OptionError for another form."""
    name, equals, words = text.partition("=")
    found = tuple(word.strip() for word in words.split(",") if word.strip())
    if not name.strip() or not equals or not found:
        raise OptionError(f"--mark: expected NAME=WORD,WORD, got {text!r}.")
    return name.strip(), found


def _text(payload: dict[str, Any]) -> str:
    lines = ["share of |score| by span:"]
    lines += [f"  {percent(share):>6}  {name}" for name, share in zip(payload["spans"], payload["shares"], strict=True)]
    if payload["top"]:
        lines += ["", "strongest:"]
        lines += [f"  {signed(one['score']):>9}  {one['edge']} at {one['span']}" for one in payload["top"]]
    for name, parts in payload["edges"].items():
        lines += ["", f"{name}: {signed(sum(parts.values()))}"]
        lines += [f"  {signed(value):>9}  {span}" for span, value in parts.items()]
    for row in payload.get("curve", ()):
        lines += ["", _kept(row[BLIND], f"{row[BLIND]['edges']:,} edges at all words")]
        for name in (AS_MANY, AS_WIDE):
            one = row[name]
            apart = ", ".join(signed(one[f"difference_{end}"]) for end in ("low", "high"))
            lines.append(
                _kept(one, f"{one['kept']:,} (edge, span) of {one['edges']:,} edges")
                + f", {signed(one['difference'])} [{apart}]"
            )
    if "written" in payload:
        lines += ["", f"written: {payload['written']}"]
    return "\n".join(lines)


def _kept(one: dict[str, Any], what: str) -> str:
    low, high = (percent(one[f"faithfulness_{end}"]).removesuffix(" %") for end in ("low", "high"))
    return f"{what} keep {percent(one['faithfulness'])} [{low}, {high}]"
