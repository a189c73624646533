"""`eapgp compare`: how far two sets of scores agree."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eapgp.cli.command import HomeOption, command
from eapgp.cli.output import Output, Reply, stacked, table
from eapgp.cli.sources import RunsOption, ScoreFilesOption, two_sources

PANEL = "Weigh the evidence"
CORRELATIONS = ("pearson", "pearson_abs", "spearman", "kendall", "sign_agreement")
WARNING = "Agreement is not faithfulness: scores that agree with exact patching can still make worse circuits."


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    examples = (
        "eapgp compare --run A --run B",
        "eapgp compare --scores A.json --scores B.json --json",
        "eapgp compare --run A --scores published.json -k 100 -k 500",
    )

    @command(app, "compare", examples=examples, panel=PANEL)
    def compare(
        out: Output,
        run: RunsOption = None,
        scores: ScoreFilesOption = None,
        k: Annotated[list[int] | None, typer.Option("-k", help="Sizes of the top sets. Repeatable.")] = None,
        reference: Annotated[
            int | None,
            typer.Option(help="How many of B's best edges count as right.", show_default="5 % of the edges"),
        ] = None,
        seed: Annotated[int, typer.Option(help="Seed of the sample on which Kendall's tau is taken.")] = 0,
        home: HomeOption = None,
    ) -> Reply:
        """Compare two sets of scores over the edges that both have: correlations, signs, overlap of the top k."""
        from eapgp.evaluation.agreement import agreement

        a, b = two_sources(run, scores, home)
        found = agreement(a.scores, b.scores, ks=k or None, reference_n=reference, seed=seed).to_dict()
        payload = {"a": a.label, "b": b.label, **found}
        return Reply(payload, _text(payload))


def _text(payload: dict[str, Any]) -> Any:
    layers = [
        (f"to layer {name}" if name.isdigit() else "to the logits", group) for name, group in payload["layers"].items()
    ]
    types = [(f"to {name}", group) for name, group in payload["types"].items() if name != "logits"]
    groups = [("all", payload), *layers, *types]
    columns = ("edges", "number", *CORRELATIONS)
    rows = [(name, group["n_edges"], *(group[key] for key in CORRELATIONS)) for name, group in groups]
    overlap = [
        (int(k), payload["jaccard"][k], payload["precision"][k], payload["recall"][k]) for k in payload["jaccard"]
    ]
    return stacked(
        f"A {payload['a']}\nB {payload['b']}",
        table(columns, rows, right=columns[1:]),
        table(("k", "jaccard", "precision", "recall"), overlap, right=("k", "jaccard", "precision", "recall")),
        f"precision and recall: A's top k against B's top {payload['reference_n']}. {WARNING}",
    )
