"""MIB JSON: the circuit track's exchange format (Mueller et al. 2025, arXiv:2504.13151).

    {"cfg": {"n_layers", "n_heads", "parallel_attn_mlp", "d_model"},
     "nodes": {name: {"in_graph": bool, "score"?: number}},       older files: {name: bool}
     "edges": {"src->dst" or "src->dst<q|k|v>": {"score": number, "in_graph": bool}}}

Scores are written as the shortest decimals that read back to the same float64, edges in the order
of the reference library, so a file that it wrote comes back byte for byte. NaN (and null) means
unscored. Neuron-level fields are not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.formats.common import MAX_POSITIONS, Content, graph_of_cfg, numbers, positions_of, problem, scatter, short
from eapgp.graph import QKV, Graph
from eapgp.strict_json import MAX_VALUES, check_amount, check_value
from eapgp.types import Bools, Floats

PER_EDGE, OVERHEAD = 16, 100_000
"""Values per edge or node, and beside them."""


def read(path: Path, data: bytes, graph: Graph | None = None) -> Content:
    """Scores, circuit and node scores of a MIB JSON file. `graph` must equal the file's, if given."""
    try:
        check_amount(data, _most(data))
        document = json.loads(data)
        check_value(document)
    except (ValueError, RecursionError) as error:
        raise problem(
            path, f"not a readable JSON file ({short(str(error))}); expected the MIB circuit format."
        ) from None
    if not isinstance(document, Mapping):
        raise problem(path, f"expected a JSON object with cfg, nodes and edges; got {short(type(document).__name__)}.")
    for key in ("cfg", "edges"):
        if key not in document:
            keys = ", ".join(list(document)[:8]) or "nothing"
            raise problem(path, f"{key!r} is missing; expected cfg, nodes and edges, got {short(keys)}.")
    own = graph_of_cfg(path, document["cfg"])
    values, in_graph = _edges(path, own, document["edges"])
    return Content(own, values, in_graph, _node_scores(path, own, document.get("nodes", {})))


_SIZE = rb'"%s"\s*:\s*(\d{1,6})\b'


def _most(data: bytes) -> int:
    """Values that a file of its sizes may hold, by its commas and brackets; with room for fields of neurons."""
    sizes = [re.search(_SIZE % key, data) for key in (b"n_layers", b"n_heads", b"d_model")]
    layers, heads, width = (int(size.group(1)) if size else 0 for size in sizes)
    if not layers or not heads:
        return MAX_VALUES
    graph = Graph(layers, heads)
    return OVERHEAD + PER_EDGE * min(graph.n_edges, MAX_POSITIONS) + graph.n_sources * (width + PER_EDGE)


def _edges(path: Path, graph: Graph, edges: object) -> tuple[Floats, Bools]:
    if not isinstance(edges, Mapping):
        raise problem(path, f"edges must be an object of edge names; got {short(edges)}.")
    names = list(edges)
    sources, destinations = [], []
    for name in names:
        left, _, right = name.partition("->")
        sources.append(left)
        destinations.append(right)
    rows, columns = positions_of(path, graph, sources, destinations)
    try:
        raw = [entry["score"] for entry in edges.values()]
        flags = [entry.get("in_graph", False) for entry in edges.values()]
    except (KeyError, TypeError, AttributeError, IndexError):
        name = next(n for n, e in edges.items() if not (isinstance(e, Mapping) and "score" in e))
        raise problem(
            path, f'edge {name!r} must hold {{"score": number, "in_graph": bool}}; got {short(edges[name])}.'
        ) from None
    values = numbers(path, raw, lambda i: f"the score of edge {names[i]!r}")
    in_graph = np.zeros_like(graph.mask)
    in_graph[rows, columns] = _flags(path, flags, names)
    return scatter(graph, rows, columns, values), in_graph


def _flags(path: Path, flags: list[object], names: list[str]) -> Bools:
    if not {type(flag) for flag in flags} <= {bool}:
        first = next(i for i, flag in enumerate(flags) if type(flag) is not bool)
        raise problem(path, f"in_graph of {names[first]!r} must be true or false; got {short(flags[first])}.")
    return np.array(flags, dtype=bool)


def _node_scores(path: Path, graph: Graph, nodes: object) -> Floats | None:
    if not isinstance(nodes, Mapping):
        raise problem(path, f"nodes must be an object of node names; got {short(nodes)}.")
    unknown = next((name for name in nodes if name not in set(graph.nodes)), None)
    if unknown is not None:
        raise problem(
            path, f"unknown node {short(unknown)} for a graph of {graph.n_layers} layers × {graph.n_heads} heads."
        )
    odd = next((n for n, entry in nodes.items() if not isinstance(entry, (bool, Mapping))), None)
    if odd is not None:
        raise problem(path, f'node {odd!r} must be true, false or {{"in_graph": bool}}; got {short(nodes[odd])}.')
    scored = [n for n, entry in nodes.items() if isinstance(entry, Mapping) and "score" in entry and n != "logits"]
    if not scored:
        return None
    result = np.full(graph.n_sources, np.nan)
    rows = [graph.source_index(name) for name in scored]
    result[rows] = numbers(path, [nodes[n]["score"] for n in scored], lambda i: f"the score of node {scored[i]!r}")
    return result


def write(path: Path, scores: EdgeScores, circuit: Circuit, node_scores: Floats | None) -> None:
    """Write scores with the circuit's membership; every edge is listed."""
    graph = scores.graph
    members = set(circuit.node_names())
    nodes: dict[str, dict[str, bool | float]] = {}
    for index, name in enumerate(graph.nodes):
        nodes[name] = {"in_graph": name in members or name == "logits"}
        if node_scores is not None and name != "logits" and not np.isnan(node_scores[index]):
            nodes[name]["score"] = float(node_scores[index])
    body = ", ".join(_edge_entries(scores, circuit))
    head = f'{{"cfg": {json.dumps(graph.to_dict())}, "nodes": {json.dumps(nodes)}, "edges": {{'
    path.write_text(head + body + "}}", encoding="utf-8")


def _edge_entries(scores: EdgeScores, circuit: Circuit) -> Iterator[str]:
    """One `"name": {…}` per edge, in the order in which the reference library lists them."""
    graph = scores.graph
    for columns, n_rows in _column_blocks(graph):
        names = [graph.destinations[column] for column in columns]
        block = scores.values[:n_rows][:, columns].astype(np.float64).tolist()
        members = circuit.edges[:n_rows][:, columns].tolist()
        for source, row, flags in zip(graph.sources, block, members, strict=False):
            for name, score, flag in zip(names, row, flags, strict=True):
                number = "NaN" if score != score else repr(score)
                yield f'"{source}->{name}": {{"score": {number}, "in_graph": {"true" if flag else "false"}}}'


def _column_blocks(graph: Graph) -> Iterator[tuple[list[int], int]]:
    """Destinations written together, with how many sources each reads: heads, MLP, …, logits.

    In parallel blocks the reference library lists the MLP's edge after each source's edges to the heads.
    """
    for layer in range(graph.n_layers):
        first = [graph.qkv_slice(layer, letter).start for letter in QKV]
        heads = [start + head for head in range(graph.n_heads) for start in first]
        mlp = graph.mlp_destination(layer)
        if graph.parallel:
            yield [*heads, mlp], graph.head_source(layer, 0)
        else:
            yield heads, graph.head_source(layer, 0)
            yield [mlp], graph.mlp_source(layer)
    yield [graph.n_destinations - 1], graph.n_sources
