"""Greedy pruning by exact effect: what removing an edge from the circuit at hand does, measured for every edge.

1. C = all edges.
2. For every edge e of C: run C without e; harm(e) = mean over pairs of ((M(clean) − M(C∖e)) / g)², with g² the mean
   over pairs of (M(clean) − M(corrupted))².
3. Remove the least harmful tenth of C (at least one edge, never past the next size asked for); go on at 2.

Close to ACDC (Conmy et al. 2023, arXiv:2304.14997), which goes through the edges once in a fixed order with a
threshold; here every edge is tried again in every round, so that what became redundant is seen. Some n_edges² circuit
runs over ten: for models of hundreds of edges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eapgp.circuits.circuit import Circuit, prune
from eapgp.circuits.select import check_size
from eapgp.errors import OptionError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.types import Bools, Floats, Progress

SHARE = 0.1
MOST_EDGES = 3_000
"""Edges up to which it is tried; above it takes hours."""


def prune_by_effect(
    runner: CircuitRunner, sizes: Sequence[int], *, share: float = SHARE, progress: Progress | None = None
) -> tuple[list[Circuit], int]:
    """The circuits of these sizes on the way down from all edges, and how many circuits were run for it.

    Each is pruned to input→logits paths. share: of the circuit that goes at once; less takes longer, more carefully.
    Errors: OptionError for sizes or a share out of range and for more than 3,000 edges.
    """
    graph = runner.graph
    wanted = {check_size(n, graph.n_edges, "edges") for n in sizes}
    if not 0 < share < 1:
        raise OptionError(f"share: expected a number between 0 and 1, got {share}.")
    if graph.n_edges > MOST_EDGES:
        raise OptionError(
            f"pruning by exact effect runs the model for every edge, round after round: expected at most "
            f"{MOST_EDGES:,} edges, got {graph.n_edges:,}; take a learned mask."
        )
    edges, found, n_runs = graph.mask.copy(), {}, 0
    while True:
        count = int(edges.sum())
        if count in wanted:
            found[count] = _circuit(runner, edges)
        left = [n for n in wanted if n < count]
        if not left:
            return [found[n] for n in sizes], n_runs
        if progress is not None:
            progress("pruning by effect", np.log(graph.n_edges / count) / np.log(graph.n_edges / max(1, min(wanted))))
        harms = _harms(runner, edges)
        n_runs += count
        gone = min(max(1, int(share * count)), count - max(left))
        places = np.argwhere(edges)[np.argsort(harms, kind="stable")[:gone]]
        edges[places[:, 0], places[:, 1]] = False


def _circuit(runner: CircuitRunner, edges: Bools) -> Circuit:
    return prune(Circuit(runner.graph, edges.copy(), int(edges.sum()), "pruned by effect"))


def _harms(runner: CircuitRunner, edges: Bools) -> Floats:
    """`[edge]` of the circuit, row by row: the loss without each."""
    circuits = []
    for source, destination in np.argwhere(edges):
        without = edges.copy()
        without[source, destination] = False
        circuits.append(Circuit(runner.graph, without, int(without.sum())))
    runs = runner.run(circuits)
    gap = np.mean((runs.metric_clean - runs.metric_corrupted) ** 2)
    return np.asarray(np.mean((runs.metric_clean - runs.metric) ** 2, axis=1) / gap)
