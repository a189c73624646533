"""`eapgp reference`: how far are a run's circuits from the best that is known at their size?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eapgp.cli.command import DeviceOption, HomeOption, command
from eapgp.cli.output import Output, Reply
from eapgp.cli.sources import RunOption, only_run
from eapgp.evaluation.statistics import three_of
from eapgp.findings import of_reference
from eapgp.numerals import count, duration, percent_with
from eapgp.runs.evaluate import Running
from eapgp.runs.reference import STEPS, WAYS, Reference, run_reference

PANEL = "Weigh the evidence"
EXAMPLES = (
    "eapgp reference --run DIR --edges 20",
    "eapgp reference --run DIR --edges 20 --edges 50 --pruned --json",
)
SHARE = 0.05  # of the edges, where no size is named
SizesOption = Annotated[
    list[int] | None,
    typer.Option("--edges", "-e", min=1, help="Edges of each circuit; 5 % of all where none is named. Repeatable."),
]
StepsOption = Annotated[int, typer.Option(min=1, help="Steps of the learned mask, for each size.")]
PrunedOption = Annotated[
    bool, typer.Option("--pruned/--no-pruned", help="Also prune by exact effect (models of hundreds of edges).")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the judged pairs and of the mask's noise.")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    command(app, "reference", examples=EXAMPLES, panel=PANEL)(reference)


def reference(
    out: Output,
    run: RunOption = None,
    edges: SizesOption = None,
    steps: StepsOption = STEPS,
    pruned: PrunedOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    home: HomeOption = None,
) -> Reply:
    """Hold a run's circuits against learned edge masks of equal size, an upper reference.

    The mask is trained on the run's pairs by gradient descent; all circuits are then run on pairs that nothing was
    found on. It costs hundreds of passes where a method takes ten.
    """
    opened = only_run(run, home)
    sizes = edges or [round(SHARE * opened.record["n_edges"])]
    with out.progress() as progress:
        how = Running(device or "auto", progress=progress)
        answer = run_reference(opened, sizes, steps=steps, pruned=pruned, seed=seed, how=how)
    payload: dict[str, Any] = {"run": str(opened.path), **answer.to_dict()}
    payload["findings"] = [of_reference(**answer.evidence(at)).to_dict() for at in range(len(sizes))]
    return Reply(payload, _text(payload, answer))


def _text(payload: dict[str, Any], answer: Reference) -> str:
    lines = [f"{payload['judged']} pairs that nothing was found on; circuits found on {payload['found_on']}."]
    for one, row in zip(payload["findings"], payload["sizes"], strict=True):
        lines += ["", one["text"]]
        for way in answer.circuits:
            kept = percent_with(*three_of(row[way]))
            lines.append(f"  {WAYS[way]:<24} {kept}, {count(row[f'{way}_kept_edges'])} edges kept")
    for way, cost in answer.cost.items():
        lines += ["", *()] if way == "top-n" else []
        lines.append(f"cost, {WAYS[way]}: {cost.passes:,.0f} forward passes per pair, {duration(cost.seconds)}")
    return "\n".join(lines)
