"""A circuit: a set of edges of a graph; and pruning: keep the edges that lie on a path from `input` to `logits`.

1. forward: which nodes can be reached from `input` through the circuit's edges;
2. backward: from which nodes `logits` can be reached;
3. an edge u→v stays where u is reached by 1 and v's node by 2.

Paths run over nodes: a head's query, key and value inputs all feed its one output. Nodes are
stored in the order in which they are computed, so one sweep over the layers is enough.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eapgp.graph import QKV, Graph
from eapgp.html_table import ROWS, html_table
from eapgp.types import Bools


@dataclass(frozen=True, eq=False)
class Circuit:
    """The edges that are kept.

    edges: `[src, dst]` bool, false wherever the graph has no edge. `n_selected` is how many
    edges had been selected before pruning removed those on no input→logits path. `nodes`: how many nodes
    had been selected, of how many with a score, where the circuit was selected by nodes.
    """

    graph: Graph
    edges: NDArray[np.bool_]
    n_selected: int
    name: str = ""
    nodes: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        assert self.edges.shape == self.graph.mask.shape
        assert not (self.edges & ~self.graph.mask).any(), "a circuit holds an edge that the graph lacks"

    @property
    def n_kept(self) -> int:
        """Number of edges in the circuit."""
        return int(self.edges.sum())

    @cached_property
    def key(self) -> str:
        """Hash of the edges: circuits that share it do the same on a model."""
        return hashlib.sha256(np.packbits(self.edges).tobytes()).hexdigest()[:16]

    @classmethod
    def full(cls, graph: Graph) -> Circuit:
        """Every edge."""
        return cls(graph, graph.mask.copy(), graph.n_edges, "full")

    @classmethod
    def empty(cls, graph: Graph) -> Circuit:
        """No edge."""
        return cls(graph, np.zeros_like(graph.mask), 0, "empty")

    @classmethod
    def of_names(cls, graph: Graph, names: Iterable[str], name: str = "") -> Circuit:
        """A circuit from edge names, taken as they are (no pruning)."""
        edges = np.zeros_like(graph.mask)
        for edge in names:
            edges[graph.edge_index(edge)] = True
        return cls(graph, edges, int(edges.sum()), name)

    def edge_names(self) -> list[str]:
        """Names of the kept edges, row by row."""
        return [self.graph.edge_name(int(s), int(d)) for s, d in zip(*np.nonzero(self.edges), strict=True)]

    def node_names(self) -> list[str]:
        """Nodes that at least one kept edge touches, in node order."""
        touched = np.zeros(len(self.graph.nodes), dtype=bool)
        touched[: self.graph.n_sources] |= self.edges.any(axis=1)
        np.logical_or.at(touched, self.graph.destination_nodes, self.edges.any(axis=0))
        return list(itertools.compress(self.graph.nodes, touched))

    def _repr_html_(self) -> str:
        graph = self.graph
        named = f" {self.name}" if self.name else ""
        head = (
            f"Circuit{named}: {self.n_kept:,} of {graph.n_edges:,} edges ({self.n_kept / graph.n_edges:.2%}), "
            f"{self.n_selected:,} selected before pruning, {len(self.node_names())} nodes"
        )
        pairs = zip(*(index[:ROWS] for index in np.nonzero(self.edges)), strict=True)
        rows = [(graph.edge_name(int(source), int(destination)),) for source, destination in pairs]
        if self.n_kept > len(rows):
            rows.append((f"… and {self.n_kept - len(rows):,} more",))
        return html_table(head, ("edge",), rows)


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
