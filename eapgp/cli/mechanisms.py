"""`eapgp mechanisms`: do a run's pairs share one circuit?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eapgp.cli.command import DeviceOption, HomeOption, command
from eapgp.cli.output import Output, Reply
from eapgp.cli.sources import RunOption, only_run
from eapgp.findings import of_clusters
from eapgp.numerals import decimal, percent
from eapgp.runs.evaluate import Running
from eapgp.runs.mechanisms import Separation, run_mechanisms

PANEL = "Weigh the evidence"
EXAMPLES = (
    "eapgp mechanisms --run DIR --edges 20",
    "eapgp mechanisms --run DIR --edges 20 --edges 50 --clusters 3 --json",
)
SHARE = 0.05  # of the edges, where no size is named
SizesOption = Annotated[
    list[int] | None,
    typer.Option("--edges", "-e", min=1, help="Edges of each circuit; 5 % of all where none is named. Repeatable."),
]
ClustersOption = Annotated[
    int | None,
    typer.Option(min=2, help="How many clusters; where none is named the number that stands furthest apart, 2 to 6."),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the judged pairs and of the random clusters.")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    command(app, "mechanisms", examples=EXAMPLES, panel=PANEL)(mechanisms)


def mechanisms(
    out: Output,
    run: RunOption = None,
    edges: SizesOption = None,
    clusters: ClustersOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    home: HomeOption = None,
) -> Reply:
    """Cluster the pairs of a run by the edges that they use, and run a circuit for each cluster.

    Circuits are run on pairs that nothing was scored on: each cluster's own beside one for all of equal size, and
    beside circuits of clusters drawn at random.
    """
    opened = only_run(run, home)
    sizes = edges or [round(SHARE * opened.record["n_edges"])]
    with out.progress() as progress:
        answer = run_mechanisms(
            opened, sizes, clusters=clusters, seed=seed, how=Running(device or "auto", progress=progress)
        )
    payload: dict[str, Any] = {"run": str(opened.path), **answer.to_dict(), "typical": answer.typical()}
    payload["findings"] = [of_clusters(**answer.evidence(at)).to_dict() for at in range(len(sizes))]
    return Reply(payload, _text(payload, answer))


def _text(payload: dict[str, Any], answer: Separation) -> str:
    silhouette = decimal(answer.mechanisms.silhouette, 2)
    lines = [f"{payload['clusters']} clusters of {sum(payload['pairs'])} pairs, mean silhouette {silhouette}:"]
    for place, (size, prompts) in enumerate(zip(payload["pairs"], payload["typical"], strict=True), 1):
        lines += [f"  {place}: {size} pairs, {payload['judged'][place - 1]} judged"]
        lines += [f"     {prompt}" for prompt in prompts]
    for one, row in zip(payload["findings"], payload["sizes"], strict=True):
        lines += ["", one["text"]]
        lines += [f"  circuit of cluster {at}: " + _across(kept) for at, kept in enumerate(row["across"], 1)]
    return "\n".join(lines)


def _across(kept: list[float | None]) -> str:
    return ", ".join(f"{'–' if value is None else percent(value)} on pairs of {at}" for at, value in enumerate(kept, 1))
