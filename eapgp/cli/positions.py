"""`eapgp positions`: at which words a run's edges matter."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eapgp.cli.command import DeviceOption, HomeOption, command
from eapgp.cli.output import Output, Reply
from eapgp.cli.sources import RunOption, only_run
from eapgp.errors import OptionError
from eapgp.numerals import percent, signed
from eapgp.runs.evaluate import Running
from eapgp.runs.positions import AS_MANY, AS_WIDE, BLIND, run_span_scores, span_curve

PANEL = "Weigh the evidence"
EXAMPLES = (
    "eapgp positions --run DIR",
    "eapgp positions --run DIR --pair 1 --edge 'a3.h1->logits'",
    "eapgp positions --run DIR --edges 20 --edges 50 --json",
)
PairOption = Annotated[int | None, typer.Option(min=1, help="One pair alone, token by token.")]
EdgeOption = Annotated[list[str] | None, typer.Option("--edge", help="The spans of this edge. Repeatable.")]
SizesOption = Annotated[
    list[int] | None,
    typer.Option("--edges", "-e", help="Run the circuit of this many edges beside one of (edge, span). Repeatable."),
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
    with out.progress() as progress:
        how = Running(device or "auto", progress=progress)
        scores = run_span_scores(opened, pair=None if pair is None else pair - 1, how=how)
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
            payload["curve"] = span_curve(opened, scores, edges, how=how).to_dict()
    return Reply(payload, _text(payload))


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
    return "\n".join(lines)


def _kept(one: dict[str, Any], what: str) -> str:
    low, high = (percent(one[f"faithfulness_{end}"]).removesuffix(" %") for end in ("low", "high"))
    return f"{what} keep {percent(one['faithfulness'])} [{low}, {high}]"
