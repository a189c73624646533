"""Why a curve falls: of the edges that a larger circuit adds, the few whose removal gives back what was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select_many
from eapgp.runs.compute import load_for
from eapgp.runs.library import RunLibrary
from eapgp.study.plan import Cell
from eapgp.study.worker import Worker
from eapgp.types import Bools

Run = Callable[[Sequence[NDArray[np.int64]]], Sequence[float]]
"""Faithfulness of the larger circuit without some of the added edges, set by set."""
DIP = "dip"
NAMED = 12  # as many edges are told by name


@dataclass(frozen=True)
class Cause:
    """added: how many edges the larger circuit adds; small, large: faithfulness of both; edges: whose removal gives
    back `without`, by strength; steps: (edges removed, faithfulness) of each halving that was kept.
    """

    added: int
    small: float
    large: float
    edges: NDArray[np.int64]
    without: float
    steps: tuple[tuple[int, float], ...]


def cause(run: Run, added: NDArray[np.int64], small: float, large: float, *, enough: float = 0.5) -> Cause:
    """Halve the added edges, strongest first, while taking out one of the halves gives back `enough` of the fall."""
    blamed, without, steps = added, small, []
    while len(blamed) > 1:
        halves = np.array_split(blamed, 2)
        values = run(halves)
        best = int(np.argmax(values))
        if values[best] - large < enough * (small - large):
            break
        blamed, without = halves[best], float(values[best])
        steps.append((len(blamed), without))
    return Cause(len(added), small, large, blamed, without, tuple(steps))


def explain(cell: Cell, fraction: float, library: RunLibrary) -> Mapping[str, Any]:
    """What makes a cell's curve on the grid fall at `fraction` of the edges: a record for the study's file.

    The cell is computed where the library does not hold it.
    """
    worker = Worker(library)
    run = library.open(str(worker.compute(cell)["run"]))
    scores, spec = run.scores(), cell.spec
    grid = next(entry for entry in cell.evaluations if entry.name == "grid")
    sizes = list(grid.question.edges(scores.graph.n_edges))
    at = int(np.argmin([abs(n / scores.graph.n_edges - fraction) for n in sizes]))
    small, large = select_many(scores, sizes[at - 1 : at + 1])
    runner = worker.runner(load_for(spec, worker.load), worker.judged_on(spec, grid) or run.prompts())
    added = np.argwhere(large.edges & ~small.edges)
    order = np.argsort(-np.abs(scores.values[tuple(added.T)]), kind="stable")

    def without(sets: Sequence[NDArray[np.int64]]) -> Sequence[float]:
        circuits = [replace(large, edges=_taken_out(large, some)) for some in sets]
        return [float(value) for value in runner.run(circuits).faithfulness]

    before, after = (float(value) for value in runner.run([small, large]).faithfulness)
    found = cause(without, added[order], before, after)
    return {
        "part": DIP,
        "task": spec.task,
        "seed": spec.seed,
        "label": cell.label,
        "sizes": sizes[at - 1 : at + 1],
        "faithfulness": [found.small, found.large],
        "added": found.added,
        "edges": [large.graph.edge_name(source, destination) for source, destination in found.edges.tolist()],
        "without": found.without,
        "steps": [list(step) for step in found.steps],
    }


def _taken_out(circuit: Circuit, some: NDArray[np.int64]) -> Bools:
    edges = circuit.edges.copy()
    edges[tuple(some.T)] = False
    return edges


def told(record: Mapping[str, Any]) -> str:
    """The explanation in words."""
    small, large = record["faithfulness"]
    edges: Sequence[str] = record["edges"]
    last = (
        f"{len(edges):,} of the {record['added']:,} edges that are added"
        if len(edges) > 1
        else f"one edge of {record['added']:,}"
    )
    named = ", ".join(f"`{edge}`" for edge in edges[:NAMED]) + (" …" if len(edges) > NAMED else "")
    way = "; ".join(f"{n:,}: {value:.3f}" for n, value in record["steps"])
    return (
        f"The deepest but random scores', down to the edges that cause it: {record['task']}, `{record['label']}`, "
        f"seed {record['seed']}: "
        f"from {record['sizes'][0]:,} to {record['sizes'][1]:,} edges faithfulness falls from {small:.3f} to "
        f"{large:.3f}. Halving what is added, each time keeping the half whose removal gives back more, leads to "
        f"{last} ({named}{_ends(edges)}): the larger circuit without them keeps {record['without']:.3f}. The "
        f"way there, edges taken out and what is kept: {way}."
    )


def _ends(edges: Sequence[str]) -> str:
    """Which destination most of many edges share."""
    if len(edges) <= NAMED:
        return ""
    name, count = Counter(edge.rpartition("->")[2] for edge in edges).most_common(1)[0]
    return f"; {count} of them into `{name}`"
