"""Pruning: keep the edges that lie on a path from `input` to `logits`.

1. forward: which nodes can be reached from `input` through the circuit's edges;
2. backward: from which nodes `logits` can be reached;
3. an edge u→v stays where u is reached by 1 and v's node by 2.

Paths run over nodes: a head's query, key and value inputs all feed its one output. Nodes are
stored in the order in which they are computed, so one sweep over the layers is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from eapgp.circuits.circuit import Circuit
from eapgp.graph import QKV, Graph
from eapgp.types import Bools


def forward_reach(graph: Graph, edges: Bools, start: Iterable[int]) -> Bools:
    """`[node]` true for the start nodes and whatever they reach through `edges` `[src, dst]`."""
    reached = np.zeros(len(graph.nodes), dtype=bool)
    reached[list(start)] = True
    for layer in range(graph.n_layers):
        first = graph.head_source(layer, 0)
        heads = np.zeros(graph.n_heads, dtype=bool)
        rows = np.flatnonzero(reached[:first])
        for letter in QKV:
            heads |= edges[rows, graph.qkv_slice(layer, letter)].any(axis=0)
        reached[first : first + graph.n_heads] |= heads
        mlp = graph.mlp_source(layer)
        reached[mlp] |= bool((edges[:mlp, graph.mlp_destination(layer)] & reached[:mlp]).any())
    reached[-1] |= bool((edges[:, -1] & reached[:-1]).any())
    return reached


def backward_reach(graph: Graph, edges: Bools, end: Iterable[int]) -> Bools:
    """`[node]` true for the end nodes and whatever reaches them through `edges` `[src, dst]`."""
    reaching = np.zeros(len(graph.nodes), dtype=bool)
    reaching[list(end)] = True
    if reaching[-1]:
        reaching[:-1] |= edges[:, -1]
    for layer in reversed(range(graph.n_layers)):
        if reaching[graph.mlp_source(layer)]:
            reaching[:-1] |= edges[:, graph.mlp_destination(layer)]
        first = graph.head_source(layer, 0)
        heads = np.flatnonzero(reaching[first : first + graph.n_heads])
        for letter in QKV:
            columns = heads + graph.qkv_slice(layer, letter).start
            reaching[:first] |= edges[:first, columns].any(axis=1)
    return reaching


def prune_edges(graph: Graph, edges: Bools) -> Bools:
    """`[src, dst]` the edges that lie on an input→logits path; `edges` is left as it is."""
    forward = forward_reach(graph, edges, [0])
    backward = backward_reach(graph, edges, [len(graph.nodes) - 1])
    return edges & forward[:-1, None] & backward[graph.destination_nodes][None, :]


def prune(circuit: Circuit) -> Circuit:
    """The circuit without the edges that lie on no input→logits path; `n_selected` is kept.

    Such edges carry nothing from the prompt to the answer. The circuit given stays as it is.

    Source: Hanna et al. 2024, arXiv:2403.17806.
    """
    return replace(circuit, edges=prune_edges(circuit.graph, circuit.edges))
