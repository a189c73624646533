"""DOT: a circuit for Graphviz; every name is quoted and escaped.

What is read is what `write` gives, line by line: the graph's line carries the sizes, as attributes that Graphviz does
not know. Other DOT is refused.

Blue edges support the behaviour, orange ones work against it; the width follows |score|. The
residual stream runs upwards and each layer's nodes share a rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.formats.common import Content, graph_of_cfg, numbers, positions_of, problem, scatter, short
from eapgp.graph import QKV, Graph
from eapgp.sheet import TRUTH, decode
from eapgp.types import Bools, Floats

SUPPORTS, OPPOSES, UNSCORED = "#2563eb", "#ea580c", "#9ca3af"
THINNEST, WIDEST = 0.6, 5.0
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_EDGE = re.compile(rf"\s*{_QUOTED} -> {_QUOTED} \[(.*)\];\s*")
_NODE = re.compile(rf"\s*{_QUOTED} \[(.*)\];\s*")
_GRAPH = re.compile(r"\s*graph \[(.*)\];\s*")
_ATTRIBUTE = re.compile(rf"(\w+)={_QUOTED}")


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
    sizes = ", ".join(f"{name}={quote(str(size).lower())}" for name, size in graph.to_dict().items())
    yield f'  graph [rankdir="BT", label={quote(title)}, labelloc="t", fontname="Helvetica", {sizes}];'
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


def read(path: Path, data: bytes, graph: Graph | None = None) -> Content:
    """Scores, circuit and node scores of a file in the form that `write` gives."""
    lines = decode(data, path.name).splitlines()
    graph = _graph(path, lines)
    edges = [(match[1], match[2], dict(_ATTRIBUTE.findall(match[3]))) for match in map(_EDGE.fullmatch, lines) if match]
    sources = [source for source, _, _ in edges]
    types = [attributes.get("type") for _, _, attributes in edges]
    targets = [
        f"{target}<{kind}>" if kind in QKV else target for (_, target, _), kind in zip(edges, types, strict=True)
    ]
    rows, columns = positions_of(path, graph, sources, targets)
    values = numbers(path, _scores(path, edges), lambda i: f"the score of edge '{sources[i]}->{targets[i]}'")
    in_graph = np.zeros_like(graph.mask)
    in_graph[rows, columns] = [attributes.get("style") != "dashed" for _, _, attributes in edges]
    return Content(graph, scatter(graph, rows, columns, values), in_graph, _node_scores(path, lines, graph))


def _graph(path: Path, lines: list[str]) -> Graph:
    match = next((match for match in map(_GRAPH.fullmatch, lines) if match), None)
    sizes = dict(_ATTRIBUTE.findall(match[1])) if match else {}
    if "n_layers" not in sizes or "n_heads" not in sizes:
        raise problem(path, "its graph line carries no n_layers and n_heads; expected a DOT file as eapgp writes it.")
    names = ("n_layers", "n_heads", "d_model", "parallel_attn_mlp")
    return graph_of_cfg(path, {name: _size(sizes[name]) for name in names if name in sizes})


def _size(text: str) -> object:
    return int(text) if text.isdecimal() and len(text) < 10 else TRUTH.get(text, text)


def _scores(path: Path, named: list[tuple[str, str, dict[str, str]]]) -> list[float | None]:
    """The numbers of edges, None where one is unscored."""
    values = []
    for source, target, attributes in named:
        text = attributes.get("score")
        try:
            values.append(None if text is None else float(text))
        except ValueError:
            raise problem(path, f"the score of '{source}->{target}' must be a number; got {short(text)}.") from None
    return values


def _node_scores(path: Path, lines: list[str], graph: Graph) -> Floats | None:
    nodes = [(match[1], dict(_ATTRIBUTE.findall(match[2]))) for match in map(_NODE.fullmatch, lines) if match]
    scored = [(name, "", attributes) for name, attributes in nodes if "score" in attributes and name in graph.sources]
    if not scored:
        return None
    result = np.full(graph.n_sources, np.nan)
    values = numbers(path, _scores(path, scored), lambda i: f"the score of node {scored[i][0]!r}")
    result[[graph.source_index(name) for name, _, _ in scored]] = values
    return result
