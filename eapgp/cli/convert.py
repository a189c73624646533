"""`eapgp import` and `eapgp export`: scores and circuits in the field's file formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from eapgp.circuits import Circuit, select
from eapgp.cli.command import HomeOption, command
from eapgp.cli.output import Output, Reply, stacked, table
from eapgp.cli.sources import RunOption, ScoresOption, Source, one_source
from eapgp.errors import OptionError
from eapgp.figures.standalone import circuit_html
from eapgp.formats import Imported, format_of, write_scores
from eapgp.runs.imported import keep_scores, read_of_model
from eapgp.runs.library import RunLibrary

PANEL = "Exchange"
READ_HELP = "mib-json, mib-pt, graphml, gexf, csv or parquet; by default the suffix decides."
WRITE_HELP = "mib-json, mib-pt, graphml, gexf, dot, csv, parquet or html; by default the suffix decides."


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    _import(app)
    _export(app)


def _import(app: typer.Typer) -> None:
    examples = (
        "eapgp import scores.json",
        "eapgp import scores.json --keep --task ioi --model gpt2",
        "eapgp import published.json --negate --to turned.json",
    )

    @command(app, "import", examples=examples, panel=PANEL)
    def import_(
        out: Output,
        file: Annotated[Path, typer.Argument(help="File of edge scores or a circuit.")],
        format: Annotated[str | None, typer.Option(help=READ_HELP)] = None,
        to: Annotated[Path | None, typer.Option(help="Write them to this file too.", metavar="FILE")] = None,
        top: Annotated[int, typer.Option(min=0, help="How many of the strongest edges to show.")] = 10,
        keep: Annotated[bool, typer.Option("--keep", help="Keep them as a run, to open in the dashboard.")] = False,
        task: Annotated[str, typer.Option(help="With --keep: the task they belong to, such as ioi.")] = "",
        model: Annotated[
            str,
            typer.Option(help="The model they belong to, such as gpt2."),
        ] = "",
        negate: Annotated[
            bool, typer.Option("--negate", help="Turn the sign of all scores: for files where negative means helpful.")
        ] = False,
        home: HomeOption = None,
    ) -> Reply:
        """Read edge scores or a circuit from a file, say what is in it, and convert it with --to.

        Nothing that could run code is read: pickled files are refused.
        """
        imported = read_of_model(file, model=model, format=format)
        imported = imported.negated() if negate else imported
        if to is not None:
            nodes = imported.node_scores if format_of(to).node_scores else None
            write_scores(imported.scores, to, circuit=imported.circuit, node_scores=nodes)
        named: dict[str, Any] = {"task": task, "model": model, "format": format, "negate": negate}
        run = keep_scores(RunLibrary(home), file, **named) if keep else None
        payload = {
            "file": str(file),
            "format": imported.format,
            "written": str(to) if to else None,
            "run": run.id if run else None,
            "negated": negate,
        }
        return _about(imported, top, payload)


def _about(imported: Imported, top: int, payload: dict[str, Any]) -> Reply:
    scores, circuit, graph = imported.scores, imported.circuit, imported.scores.graph
    n_nodes = 0 if imported.node_scores is None else int((~np.isnan(imported.node_scores)).sum())
    edges = [{"name": name, "score": score} for name, score in scores.top(top)]
    nodes = imported.top_nodes(top)
    payload |= {
        "graph": graph.to_dict(),
        "n_edges": graph.n_edges,
        "n_scored": scores.n_scored,
        "n_nodes_scored": n_nodes,
        "n_in_circuit": circuit.n_kept if circuit else None,
        "top_edges": edges,
        "top_nodes": [{"name": name, "score": score} for name, score in nodes],
    }
    head = f"{graph.n_layers} layers, {graph.n_heads} heads: {graph.n_edges:,} edges, {scores.n_scored:,} scored"
    if n_nodes:
        head += f"; {n_nodes:,} nodes scored"
    if payload.get("run"):
        head += f"; kept as run {payload['run'][:8]}"
    if circuit is not None:
        head += f", {circuit.n_kept:,} in the circuit"
    rows = [(edge["name"], edge["score"]) for edge in edges]
    of = "edge" if rows else "node"
    return Reply(payload, stacked(head, table((of, "score"), rows or nodes, right=("score",)) if rows or nodes else ""))


def _export(app: typer.Typer) -> None:
    examples = (
        "eapgp export --run 042028bc scores.json",
        "eapgp export --run DIR --edges 100 circuit.graphml",
        "eapgp export --run DIR --edges 50 circuit.html",
        "eapgp export --run DIR --nodes 10 circuit.json",
        "eapgp export --scores scores.json circuit.dot --edges 50 --signed",
    )

    @command(app, "export", examples=examples, panel=PANEL)
    def export(
        out: Output,
        target: Annotated[Path, typer.Argument(help="File to write.")],
        run: RunOption = None,
        scores: ScoresOption = None,
        format: Annotated[str | None, typer.Option(help=WRITE_HELP)] = None,
        edges: Annotated[int | None, typer.Option(help="Mark the circuit of this many top edges, pruned.")] = None,
        nodes: Annotated[
            int | None, typer.Option(help="Mark the circuit of all edges among this many best nodes.")
        ] = None,
        signed: Annotated[bool, typer.Option("--signed", help="Rank by score, not by |score|.")] = False,
        only_circuit: Annotated[
            bool,
            typer.Option(
                "--only-circuit",
                help="Leave all other edges out; GraphML, GEXF and DOT do so wherever a circuit is marked.",
            ),
        ] = False,
        home: HomeOption = None,
    ) -> Reply:
        """Write a run's edge scores, and the circuit of its strongest edges, to a file."""
        source: Source = one_source(run, scores, home)
        circuit = _marked(source, edges, nodes, absolute=not signed)
        payload = {
            "file": str(target),
            "format": _write(source, circuit, target, format, only_circuit),
            "source": source.label,
            "n_edges": source.scores.graph.n_edges,
            "edges_selected": circuit.n_selected if circuit else None,
            "edges_kept": circuit.n_kept if circuit else None,
        }
        return Reply(payload, f"written to {target}")


def _marked(source: Source, edges: int | None, nodes: int | None, *, absolute: bool) -> Circuit | None:
    """The circuit that was asked for, by edges or by nodes."""
    if edges is not None and nodes is not None:
        raise OptionError(f"circuit: expected --edges or --nodes, got both ({edges} and {nodes}); give one.")
    if nodes is not None:
        return select(source.scores, n=nodes, by="nodes", absolute=absolute, node_scores=source.node_scores)
    return None if edges is None else select(source.scores, n=edges, absolute=absolute)


def _write(source: Source, circuit: Circuit | None, target: Path, format: str | None, only_circuit: bool) -> str:
    """Write the file; the name of its format."""
    if (format or target.suffix.lower().lstrip(".")) in ("html", "htm"):
        _write_page(source, circuit, target)
        return "html"
    target_format = format_of(target, format)
    write_scores(
        source.scores,
        target,
        circuit=circuit,
        node_scores=source.node_scores if target_format.node_scores else None,
        format=format,
        only_circuit=only_circuit or None,
    )
    return target_format.name


def _write_page(source: Source, circuit: Circuit | None, target: Path) -> None:
    """A page of the circuit that needs no network and no other file."""
    provenance = source.run.request if source.run else {"scores": source.label}
    page = circuit_html(source.scores, circuit, title=source.label, provenance=provenance)
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OptionError(
            f"{target}: expected a file that can be written, got {error.strerror}; name another."
        ) from None
