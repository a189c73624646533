"""A circuit: a set of edges of a graph."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eapgp.graph import Graph
from eapgp.html_table import ROWS, html_table


@dataclass(frozen=True, eq=False)
class Circuit:
    """The edges that are kept.

    edges: `[src, dst]` bool, false wherever the graph has no edge. `n_selected` is how many
    edges had been selected before pruning removed those on no input→logits path.
    """

    graph: Graph
    edges: NDArray[np.bool_]
    n_selected: int
    name: str = ""

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
