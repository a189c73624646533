"""`eapgp compare` and `eapgp ground-truth`: scores against other scores, and against circuits that are known."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eapgp.cli.command import HomeOption, command
from eapgp.cli.output import Output, Reply, stacked, table
from eapgp.cli.sources import RunOption, RunsOption, ScoreFilesOption, ScoresOption, Source, one_source, two_sources
from eapgp.errors import OptionError
from eapgp.evaluation.agreement import agreement
from eapgp.ground_truth import GROUND_TRUTHS, precision_recall_at, roc
from eapgp.ground_truth import ground_truth as manual
from eapgp.runs.info import differences

PANEL = "Weigh the evidence"
TRUTH_SIZES = (100, 200, 400, 800, 1600)
CORRELATIONS = ("pearson", "pearson_abs", "spearman", "kendall", "sign_agreement")
WARNING = "Agreement is not faithfulness: scores that agree with exact patching can still make worse circuits."


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    _compare(app)
    _ground_truth(app)


def _compare(app: typer.Typer) -> None:
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
            typer.Option(min=1, help="How many of B's best edges count as right.", show_default="5 % of the edges"),
        ] = None,
        seed: Annotated[int, typer.Option(help="Seed of the sample on which Kendall's tau is taken.")] = 0,
        home: HomeOption = None,
    ) -> Reply:
        """Compare two sets of scores over the edges that both have: correlations, signs, overlap of the top k."""
        a, b = two_sources(run, scores, home)
        answer = agreement(a.scores, b.scores, ks=k or None, reference_n=reference, seed=seed).to_dict()
        unlike = differences([a.run.request, b.run.request]) if a.run is not None and b.run is not None else []
        payload = {"a": a.label, "b": b.label, "differ_in": unlike, **answer}
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
        f"A {payload['a']}\nB {payload['b']}" + _unlike(payload["differ_in"]),
        table(columns, rows, right=columns[1:]),
        table(("k", "jaccard", "precision", "recall"), overlap, right=("k", "jaccard", "precision", "recall")),
        f"precision and recall: A's top k against B's top {payload['reference_n']}. {WARNING}",
    )


def _unlike(differ_in: list[str]) -> str:
    """What the runs differ in beside the method, which is then part of what the numbers say."""
    apart = [name for name in differ_in if name not in ("method", "step settings")]
    units = "; scores of different metrics have different units" if "metric" in apart else ""
    return f"\nthey differ in {', '.join(apart)}: part of the disagreement comes from that{units}." if apart else ""


def _ground_truth(app: typer.Typer) -> None:
    examples = (
        "eapgp ground-truth --list",
        "eapgp ground-truth --scores scores.json --variant ioi/hanna2024",
        "eapgp ground-truth --run DIR --edges 200 --edges 800 --json",
    )

    @command(app, "ground-truth", examples=examples, panel=PANEL)
    def ground_truth(
        out: Output,
        run: RunOption = None,
        scores: ScoresOption = None,
        variant: Annotated[
            str | None,
            typer.Option(help="Manual circuit, as task or task/variant.", show_default="that of the run's task"),
        ] = None,
        edges: Annotated[
            list[int] | None, typer.Option("--edges", "-e", help="Sizes of the circuits. Repeatable.")
        ] = None,
        signed: Annotated[bool, typer.Option("--signed", help="Rank by score, not by |score|.")] = False,
        no_mlps: Annotated[
            bool, typer.Option("--no-mlps", help="Leave MLPs out on both sides, as Hanna et al. 2024 do.")
        ] = False,
        list_all: Annotated[bool, typer.Option("--list", help="List the manual circuits.")] = False,
        home: HomeOption = None,
    ) -> Reply:
        """Hold scores against a manually found circuit of GPT-2 small: precision, recall, ROC."""
        if list_all:
            return _known([_about(truth) for truth in GROUND_TRUTHS.values()])
        source = one_source(run, scores, home)
        if variant is None and source.run is None:
            raise OptionError(f"--variant: expected one of {', '.join(GROUND_TRUTHS)} with --scores, got none.")
        truth = manual(variant or source.run.request["task"])  # type: ignore[union-attr]
        sizes = edges or list(dict.fromkeys((truth.circuit.n_kept, *TRUTH_SIZES)))
        return _against(source, truth, sizes, absolute=not signed, mlps=not no_mlps)


def _about(truth: Any) -> dict[str, Any]:
    return {
        "name": truth.name,
        "task": truth.task,
        "variant": truth.variant,
        "title": truth.title,
        "source": truth.source,
        "note": truth.note,
        "n_edges": truth.circuit.n_kept,
        "n_nodes": len(truth.circuit.node_names()),
        "roles": {node: role.name for node, role in truth.roles.items()},
    }


def _known(entries: list[dict[str, Any]]) -> Reply:
    columns = ("name", "title", "nodes", "edges", "source")
    rows = [(entry["name"], entry["title"], entry["n_nodes"], entry["n_edges"], entry["source"]) for entry in entries]
    return Reply({"ground_truths": entries}, table(columns, rows, right=("nodes", "edges")))


def _against(source: Source, truth: Any, sizes: list[int], *, absolute: bool, mlps: bool) -> Reply:
    overlaps = precision_recall_at(source.scores, truth, sizes, absolute=absolute, mlps=mlps)
    entries: list[dict[str, Any]] = [
        {
            "edges_selected": at.n_selected,
            "edges_kept": at.n_kept,
            "edges": _overlap(at.edges),
            "nodes": _overlap(at.nodes),
        }
        for at in overlaps
    ]
    curves = {
        level: roc(source.scores, truth, level=level, absolute=absolute, mlps=mlps)  # type: ignore[arg-type]
        for level in ("edges", "nodes")
    }
    payload = {
        "source": source.label,
        **_about(truth),
        "mlps": mlps,
        "auroc": {level: curve.auroc for level, curve in curves.items()},
        "average_precision": {level: curve.average_precision for level, curve in curves.items()},
        "sizes": entries,
    }
    columns = ("selected", "kept", "edge precision", "edge recall", "node precision", "node recall")
    rows = [
        (
            at["edges_selected"],
            at["edges_kept"],
            *(at[level][key] for level in curves for key in ("precision", "recall")),
        )
        for at in entries
    ]
    head = (
        f"{source.label} against {truth.name} ({payload['n_nodes']} nodes, {payload['n_edges']:,} edges)\n"
        f"AUROC {curves['edges'].auroc:.3f} over edges, {curves['nodes'].auroc:.3f} over nodes"
    )
    return Reply(payload, stacked(head, table(columns, rows, right=columns), f"{truth.source}. {truth.note}"))


def _overlap(overlap: Any) -> dict[str, Any]:
    return {key: getattr(overlap, key) for key in ("n_found", "n_true", "hits", "precision", "recall", "f1")}
