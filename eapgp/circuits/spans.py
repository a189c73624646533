"""Circuits of (edge, span): which edges are kept in which part of the prompts.

`select_spans` takes the n (edge, span) of largest |score|. Pruned are those whose edge lies on no path from `input` to
`logits` through the edges that are kept in any span: a head carries what it reads at one position to later ones, so
paths change spans within heads.

Source: Haklay et al. 2025, arXiv:2502.04577.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eapgp.attribution.result import SpanScores
from eapgp.circuits.circuit import Circuit, prune_edges
from eapgp.circuits.select import check_size
from eapgp.errors import OptionError
from eapgp.graph import Graph
from eapgp.types import Bools


@dataclass(frozen=True, eq=False)
class SpanCircuit:
    """The (edge, span) that are kept. edges: `[span, src, dst]`; n_selected: how many before pruning."""

    graph: Graph
    spans: tuple[str, ...]
    edges: Bools
    n_selected: int

    @property
    def n_kept(self) -> int:
        """Number of (edge, span)."""
        return int(self.edges.sum())

    @property
    def n_edges(self) -> int:
        """Number of edges that are kept in at least one span."""
        return int(self.edges.any(axis=0).sum())

    def at(self, span: str) -> Circuit:
        """The edges that are kept in one span; they need not lie on a path within it."""
        edges = self.edges[self.spans.index(span)]
        return Circuit(self.graph, edges, int(edges.sum()), f"at {span}")

    @classmethod
    def everywhere(cls, circuit: Circuit, spans: tuple[str, ...]) -> SpanCircuit:
        """A circuit that is blind to positions: its edges are kept in every span."""
        edges = np.repeat(circuit.edges[None], len(spans), axis=0)
        return cls(circuit.graph, spans, edges, circuit.n_selected * len(spans))


def select_spans(scores: SpanScores, n: int, *, prune: bool = True) -> SpanCircuit:
    """The circuit of the n (edge, span) of largest |score|, ties by position.

    Errors: OptionError when n is negative or above their number, or a score is not a number.
    """
    graph = scores.graph
    n = check_size(n, graph.n_edges * len(scores.spans), "edges and spans")
    if np.isnan(scores.values[:, graph.mask]).any():
        raise OptionError("a score is NaN: expected numbers for every edge and span.")
    key = np.where(graph.mask, np.abs(scores.values), -1.0)
    edges = np.zeros(key.shape, dtype=bool)
    edges.flat[np.argsort(-key, axis=None, kind="stable")[:n]] = True
    if prune:
        edges &= prune_edges(graph, np.asarray(edges.any(axis=0)))
    return SpanCircuit(graph, scores.spans, edges, n)
