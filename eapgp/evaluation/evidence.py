"""What stands for or against a circuit beside its own faithfulness: random circuits, its complement, single edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.ops import add_edges, remove_edges
from eapgp.circuits.select import select_many
from eapgp.evaluation.runner import Measured
from eapgp.evaluation.statistics import LEVEL, USUAL, Band, Resampling, bootstrap_difference
from eapgp.graph import Graph
from eapgp.types import Floats, Progress

if TYPE_CHECKING:
    from eapgp.evaluation.runner import CircuitRunner

SEEDS = 5
"""Draws of random circuits."""
SAMPLE = 200
"""Kept edges whose own contribution is measured; a seeded sample of a larger circuit."""
OUTSIDE = 50
"""Edges outside a circuit that are added one at a time."""


@dataclass(frozen=True)
class RandomBaseline:
    """Circuits of random edges of the same sizes, one draw per seed."""

    draws: tuple[Measured, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """`[size]` edges selected."""
        return self.draws[0].selected

    def values(self, quantity: str = "faithfulness") -> Floats:
        """`[seed, size]` one quantity, mean over pairs."""
        return np.array([_means(draw, quantity) for draw in self.draws])

    def spread(self, quantity: str = "faithfulness", level: float = LEVEL) -> tuple[Floats, Floats, Floats]:
        """`[size]` mean, and ends of the range over seeds."""
        values = self.values(quantity)
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return values.mean(axis=0), low, high


def _means(draw: Measured, quantity: str) -> Floats:
    runs = draw.runs
    if quantity == "faithfulness":
        return runs.faithfulness
    values = {"metric": runs.metric, "accuracy": runs.correct, "kl": runs.kl}[quantity]
    return np.asarray(values.mean(axis=1), dtype=np.float64)


def random_circuits(graph: Graph, sizes: Sequence[int], seed: int) -> list[Circuit]:
    """Circuits of random edges, pruned like any other."""
    noise = np.random.default_rng(seed).standard_normal(graph.mask.shape) * graph.mask
    return select_many(EdgeScores(graph, noise), sizes)


@dataclass(frozen=True)
class Minimality:
    """What each kept edge contributes: faithfulness(circuit) − faithfulness(circuit without it)."""

    edges: tuple[str, ...]
    contribution: Band
    n_edges: int
    sampled: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        about = {"n_edges": self.n_edges, "sampled": self.sampled}
        return {"edges": list(self.edges), "contribution": self.contribution.to_dict(), **about}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Minimality:
        """Inverse of `to_dict`."""
        band = Band.from_dict(values["contribution"])
        return cls(tuple(values["edges"]), band, int(values["n_edges"]), bool(values["sampled"]))


def minimality(
    runner: CircuitRunner,
    circuit: Circuit,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    how: Resampling = USUAL,
    progress: Progress | None = None,
) -> Minimality:
    """Remove each kept edge alone and run the rest; above `sample` edges a seeded sample is taken.

    The rest is run as it stands, without pruning again.
    """
    names = np.array(circuit.edge_names())
    sampled = len(names) > sample
    if sampled:
        names = names[np.sort(np.random.default_rng(seed).choice(len(names), sample, replace=False))]
    without = [remove_edges(circuit, [str(name)]) for name in names]
    runs = runner.run([circuit, *without], progress=progress)
    whole = np.broadcast_to(runs.metric[0], (len(without), runs.metric.shape[1]))
    band = bootstrap_difference(whole, runs.metric[1:], runs.metric_clean, runs.metric_corrupted, how=how)
    return Minimality(tuple(str(name) for name in names), band, circuit.n_kept, sampled)


@dataclass(frozen=True)
class Outside:
    """What edges outside a circuit add when one of them joins it: faithfulness(circuit with it) − faithfulness."""

    added: Floats

    @property
    def spread(self) -> tuple[float, float] | None:
        """Ends of the middle 95 %; None where there are none."""
        if not len(self.added) or np.isnan(self.added).any():
            return None
        low, high = np.quantile(self.added, [0.025, 0.975])
        return float(low), float(high)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        return {"added": self.added.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outside:
        """Inverse of `to_dict`."""
        return cls(np.array(values["added"], dtype=np.float64))


def outside(runner: CircuitRunner, circuit: Circuit, *, progress: Progress | None = None) -> Outside:
    """Add each of a seeded sample of the edges that a circuit lacks, alone, and run it."""
    joined = [add_edges(circuit, [name]) for name in outside_edges(circuit)]
    values = runner.run([circuit, *joined], progress=progress).faithfulness
    return Outside(np.asarray(values[1:] - values[0], dtype=np.float64))


def outside_edges(circuit: Circuit, n: int = OUTSIDE, *, seed: int = 0) -> list[str]:
    """A seeded sample of the edges that the circuit lacks."""
    rows, columns = np.nonzero(circuit.graph.mask & ~circuit.edges)
    sample = np.sort(np.random.default_rng(seed).permutation(len(rows))[:n])
    return [circuit.graph.edge_name(int(rows[i]), int(columns[i])) for i in sample]
