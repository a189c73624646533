"""What a circuit asks of its run: which destinations keep every edge, none, or some of them.

Pure bookkeeping on `[src, dst]` masks; `circuit_pass` carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int8

from eapgp.graph import Graph


@dataclass(frozen=True)
class Place:
    """The destinations that read at one place: a layer's q, k and v inputs, an MLP's, or the logits'.

    empty, some: destinations, counted within the place, that keep none or a part of their edges; those
    in neither keep all. weights: over the circuit's first sources in `CircuitPlan.rows`, +1 to add a
    kept edge to r′ (from_corrupted), −1 to take a removed one from r.
    """

    empty: Int[np.ndarray, " empty"]
    some: Int[np.ndarray, " some"]
    weights: Int8[np.ndarray, "some slot"]
    from_corrupted: bool

    @property
    def full(self) -> bool:
        """Whether every destination keeps every edge."""
        return not len(self.empty) and not len(self.some)


@dataclass(frozen=True)
class CircuitPlan:
    """rows: the sources that any place sums, ascending; places per layer (attention; MLP) and for the logits."""

    rows: Int[np.ndarray, " row"]
    attention: tuple[Place, ...]
    mlp: tuple[Place, ...]
    final: Place


@dataclass(frozen=True)
class _Split:
    """A place before the circuit's sources are known. signed: over all the sources that it reads."""

    empty: Int[np.ndarray, " empty"]
    some: Int[np.ndarray, " some"]
    signed: Int8[np.ndarray, "src some"]
    from_corrupted: bool


def plan(graph: Graph, edges: Bool[np.ndarray, "src dst"], *, add_only: bool = False) -> CircuitPlan:
    """What one circuit asks for. add_only: always sum kept edges, however many there are."""
    heads, layers = 3 * graph.n_heads, range(graph.n_layers)
    starts = [graph.qkv_slice(layer, "q").start for layer in layers]
    attention = [_split(graph, edges, slice(start, start + heads), add_only) for start in starts]
    mlp = [_split(graph, edges, slice(start + heads, start + heads + 1), add_only) for start in starts]
    last = graph.n_destinations - 1
    final = _split(graph, edges, slice(last, last + 1), add_only)
    needed = np.zeros(graph.n_sources, dtype=bool)
    for split in (*attention, *mlp, final):
        needed[: len(split.signed)] |= split.signed.any(axis=1)
    rows = np.flatnonzero(needed)
    return CircuitPlan(
        rows, tuple(_place(s, rows) for s in attention), tuple(_place(s, rows) for s in mlp), _place(final, rows)
    )


def _split(graph: Graph, edges: Bool[np.ndarray, "src dst"], columns: slice, add_only: bool) -> _Split:
    """Sort a place's destinations, and take the side on which fewer edges have to be summed."""
    members = edges[: int(graph.prefix[columns.start]), columns]
    counts = members.sum(axis=0)
    some = np.flatnonzero((counts > 0) & (counts < len(members)))
    from_corrupted = add_only or bool(2 * counts[some].sum() <= len(members) * len(some))
    part = members[:, some]
    signed = part.astype(np.int8) if from_corrupted else part.astype(np.int8) - np.int8(1)
    return _Split(np.flatnonzero(counts == 0), some, signed, from_corrupted)


def _place(split: _Split, rows: Int[np.ndarray, " row"]) -> Place:
    read = rows[: int(np.searchsorted(rows, len(split.signed)))]
    return Place(split.empty, split.some, np.ascontiguousarray(split.signed[read].T), split.from_corrupted)
