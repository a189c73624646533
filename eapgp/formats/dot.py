"""DOT: a circuit for Graphviz. Written only; every name is quoted and escaped.

Blue edges support the behaviour, orange ones work against it; the width follows |score|. The
residual stream runs upwards and each layer's nodes share a rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.types import Bools, Floats

SUPPORTS, OPPOSES, UNSCORED = "#2563eb", "#ea580c", "#9ca3af"
THINNEST, WIDEST = 0.6, 5.0


def quote(text: str) -> str:
    """A DOT string: in double quotes, with quotes, backslashes and line breaks escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n")
    return f'"{escaped}"'


def write(
    path: Path, scores: EdgeScores, circuit: Circuit, node_scores: Floats | None, *, listed: Bools, title: str = ""
) -> None:
    """Write the listed edges `[src, dst]`; dashed where they are not in the circuit."""
    path.write_text("\n".join(_lines(scores, circuit, node_scores, listed, title)) + "\n", encoding="utf-8")


def _lines(
    scores: EdgeScores, circuit: Circuit, node_scores: Floats | None, listed: Bools, title: str
) -> Iterator[str]:
    graph = scores.graph
    touched = Circuit(graph, listed, int(listed.sum())).node_names()
    yield "digraph circuit {"
    yield f'  graph [rankdir="BT", label={quote(title)}, labelloc="t", fontname="Helvetica"];'
    yield '  node [shape="box", style="rounded", fontname="Helvetica"];'
    for layer in range(-1, graph.n_layers + 1):
        names = [name for name in touched if graph.node_layer(name) == layer]
        for name in names:
            yield f"  {quote(name)} [{_node_attributes(name, graph.nodes.index(name), node_scores)}];"
        heads = [name for name in names if name.startswith("a")]
        if len(heads) > 1:
            yield "  { rank=same; " + "; ".join(map(quote, heads)) + "; }"
    rows, columns = np.nonzero(listed)
    values = scores.values[rows, columns].astype(float)
    largest = np.nanmax(np.abs(values), initial=0.0) if not np.isnan(values).all() else 0.0
    for row, column, value in zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True):
        source, destination = quote(graph.sources[row]), quote(graph.destinations[column].split("<")[0])
        drawn = _edge_attributes(value, largest, graph.destination_types[column], bool(circuit.edges[row, column]))
        yield f"  {source} -> {destination} [{drawn}];"
    yield "}"


def _node_attributes(name: str, index: int, node_scores: Floats | None) -> str:
    label = f"label={quote(name)}"
    if node_scores is None or index >= len(node_scores) or np.isnan(node_scores[index]):
        return label
    return f'{label}, score="{float(node_scores[index])!r}"'


def _edge_attributes(value: float, largest: float, kind: str, in_circuit: bool) -> str:
    unscored = value != value
    colour = UNSCORED if unscored else SUPPORTS if value >= 0 else OPPOSES
    share = abs(value) / largest if largest > 0 and not unscored else 0.0
    parts = [f'type="{kind}"', f'color="{colour}"', f'penwidth="{THINNEST + (WIDEST - THINNEST) * share:.3f}"']
    if not unscored:
        parts.append(f'score="{value!r}"')
    if kind in ("q", "k", "v"):
        parts.append(f'headlabel="{kind}"')
    if not in_circuit:
        parts.append('style="dashed"')
    return ", ".join(parts)
