"""GraphML and GEXF, through networkx, for Cytoscape, Gephi, yEd and the like.

A directed multigraph: a head's query, key and value inputs are parallel edges, told apart by the
attribute `edge_type` (q, k, v, mlp, logits). Edges carry `score` (absent where unscored), `layer` (of
the destination) and `in_graph`; nodes carry `layer`, `kind` and, where there are any, `score`.
Neither format keeps settings of the whole graph, so the node `input` carries the sizes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.formats.common import Content, graph_of_cfg, numbers, positions_of, problem, scatter, short
from eapgp.graph import EDGE_TYPES, QKV, Graph
from eapgp.types import Bools, Floats

if TYPE_CHECKING:
    import networkx

MAX_TAGS = 3_000_000
Kind = Literal["graphml", "gexf"]


def to_networkx(
    scores: EdgeScores, circuit: Circuit, node_scores: Floats | None, *, listed: Bools
) -> networkx.MultiDiGraph:
    """The listed edges `[src, dst]` and the nodes they touch, `input` and `logits` always."""
    import networkx

    graph = scores.graph
    drawn = {*Circuit(graph, listed, int(listed.sum())).node_names(), "input", "logits"}
    members = set(circuit.node_names())
    result = networkx.MultiDiGraph()
    for index, name in enumerate(graph.nodes):
        if name not in drawn:
            continue
        kind = "head" if name.startswith("a") else "mlp" if name.startswith("m") else name
        attributes: dict[str, Any] = {"layer": graph.node_layer(name), "kind": kind, "in_graph": name in members}
        if node_scores is not None and index < len(node_scores) and not np.isnan(node_scores[index]):
            attributes["score"] = float(node_scores[index])
        result.add_node(name, **attributes, **(graph.to_dict() if name == "input" else {}))
    rows, columns = np.nonzero(listed)
    values = scores.values[rows, columns].astype(np.float64).tolist()
    flags = circuit.edges[rows, columns].tolist()
    layers = graph.destination_layers[columns].tolist()
    for row, column, value, flag, layer in zip(rows.tolist(), columns.tolist(), values, flags, layers, strict=True):
        kind = graph.destination_types[column]
        score = {} if value != value else {"score": value}
        target = graph.destinations[column].split("<")[0]
        result.add_edge(graph.sources[row], target, key=kind, edge_type=kind, layer=layer, in_graph=flag, **score)
    return result


def write(
    path: Path, scores: EdgeScores, circuit: Circuit, node_scores: Floats | None, *, listed: Bools, kind: Kind
) -> None:
    """Write the listed edges as GraphML or GEXF."""
    import networkx

    document = to_networkx(scores, circuit, node_scores, listed=listed)
    if kind == "graphml":
        networkx.write_graphml_xml(document, path)
    else:
        networkx.write_gexf(document, path)


def read_graphml(path: Path, data: bytes, graph: Graph | None = None) -> Content:
    """Scores, circuit and node scores of a GraphML file in the form that `write` gives."""
    return _read(path, data, "graphml")


def read_gexf(path: Path, data: bytes, graph: Graph | None = None) -> Content:
    """Scores, circuit and node scores of a GEXF file in the form that `write` gives."""
    return _read(path, data, "gexf")


def _read(path: Path, data: bytes, kind: Kind) -> Content:
    document = _parse(path, data, kind)
    if "input" not in document:
        raise problem(path, "the node 'input', which carries n_layers and n_heads, is missing.")
    graph = graph_of_cfg(path, document.nodes["input"])
    edges = list(document.edges(data=True))
    types = [attributes.get("edge_type") for _, _, attributes in edges]
    unknown = next((i for i, kind in enumerate(types) if kind not in EDGE_TYPES), None)
    if unknown is not None:
        source, target, _ = edges[unknown]
        raise problem(
            path,
            f"edge {short(f'{source}->{target}')} needs an edge_type among {', '.join(EDGE_TYPES)}; "
            f"got {short(types[unknown])}.",
        )
    sources = [source for source, _, _ in edges]
    targets = [
        f"{target}<{kind}>" if kind in QKV else target for (_, target, _), kind in zip(edges, types, strict=True)
    ]
    rows, columns = positions_of(path, graph, sources, targets)
    raw = [attributes.get("score") for _, _, attributes in edges]
    values = numbers(path, raw, lambda i: f"the score of edge '{sources[i]}->{targets[i]}'")
    in_graph = np.zeros_like(graph.mask)
    in_graph[rows, columns] = [attributes.get("in_graph", True) is True for _, _, attributes in edges]
    return Content(graph, scatter(graph, rows, columns, values), in_graph, _node_scores(path, document, graph))


def _parse(path: Path, data: bytes, kind: Kind) -> networkx.MultiDiGraph:
    import networkx

    if b"\0" in data or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise problem(
            path, "refused: a document type or entities in a graph file are unsafe to read; export it without them."
        )
    if data.count(b"<") > MAX_TAGS:
        raise problem(path, f"more than {MAX_TAGS:,} tags; save scores of a graph that large as MIB JSON or Parquet.")
    reader = networkx.read_graphml if kind == "graphml" else networkx.read_gexf
    try:
        data.decode("utf-8")
        return networkx.MultiDiGraph(reader(io.BytesIO(data)))
    except Exception as error:
        raise problem(
            path, f"not a readable {kind} file ({short(str(error).splitlines()[0] if str(error) else error)})."
        ) from None


def _node_scores(path: Path, document: networkx.MultiDiGraph, graph: Graph) -> Floats | None:
    scored = [(n, a["score"]) for n, a in document.nodes(data=True) if "score" in a and n in set(graph.sources)]
    if not scored:
        return None
    result = np.full(graph.n_sources, np.nan)
    values = numbers(path, [value for _, value in scored], lambda i: f"the score of node {scored[i][0]!r}")
    result[[graph.source_index(name) for name, _ in scored]] = values
    return result
