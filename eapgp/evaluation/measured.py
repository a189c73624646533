"""What circuits did when they were run, kept per pair: every band, area and difference is taken from it in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eapgp.circuits.circuit import Circuit
from eapgp.evaluation.areas import area_shares
from eapgp.evaluation.runner import CircuitRuns
from eapgp.evaluation.statistics import (
    USUAL,
    Area,
    Band,
    Difference,
    Resampling,
    bootstrap_area,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
)
from eapgp.types import Floats


@dataclass(frozen=True)
class Measured:
    """Circuits on one prompt set, in the order in which they were asked for.

    n_edges: of the graph. selected, kept: `[circuit]` edges before and after pruning. runs: `[circuit, pair]`;
    accuracy and KL are empty where the metric alone was kept.
    """

    n_edges: int
    selected: tuple[int, ...]
    kept: tuple[int, ...]
    runs: CircuitRuns

    @classmethod
    def of(cls, circuits: Sequence[Circuit], runs: CircuitRuns) -> Measured:
        """Circuits and what their runner gave."""
        n_edges = circuits[0].graph.n_edges if circuits else 0
        selected = tuple(circuit.n_selected for circuit in circuits)
        return cls(n_edges, selected, tuple(circuit.n_kept for circuit in circuits), runs)

    @property
    def faithfulness(self) -> tuple[float, ...]:
        """`[circuit]` normalised faithfulness; NaN where M(clean) and M(corrupted) are too close."""
        return tuple(float(value) for value in self.runs.faithfulness)

    @property
    def metric(self) -> tuple[float, ...]:
        """`[circuit]` the metric, mean over pairs."""
        return tuple(float(value) for value in self.runs.metric.mean(axis=1))

    @property
    def clean(self) -> float:
        """M(clean), mean over pairs."""
        return float(self.runs.metric_clean.mean())

    @property
    def corrupted(self) -> float:
        """M(corrupted), mean over pairs."""
        return float(self.runs.metric_corrupted.mean())

    @property
    def whole(self) -> bool:
        """Whether accuracy and KL were kept too (bundled examples keep the metric alone)."""
        return self.runs.kl.shape == self.runs.metric.shape

    def has(self, quantity: str) -> bool:
        """Whether a quantity can be told."""
        return self.whole or quantity in ("faithfulness", "metric")

    @property
    def shares(self) -> Floats:
        """`[circuit]` what areas are taken over, see `area_shares`."""
        return area_shares(self.selected, self.n_edges)

    def take(self, places: Sequence[int]) -> Measured:
        """Some of the circuits."""
        runs, at = self.runs, list(places)
        some = replace(runs, metric=runs.metric[at], correct=runs.correct[at], kl=runs.kl[at])
        selected, kept = (tuple(values[place] for place in at) for values in (self.selected, self.kept))
        return Measured(self.n_edges, selected, kept, some)

    def band(self, quantity: str = "faithfulness", *, how: Resampling = USUAL) -> Band:
        """`[circuit]` one quantity with its interval over prompt pairs drawn with replacement."""
        runs = self.runs
        if quantity == "faithfulness":
            return bootstrap_ratio(runs.metric, runs.metric_clean, runs.metric_corrupted, how=how)
        values = {"metric": runs.metric, "accuracy": runs.correct.astype(np.float64), "kl": runs.kl}[quantity]
        return bootstrap_mean(values, how=how)

    def areas(self, *, how: Resampling = USUAL) -> tuple[Band, Band] | None:
        """Areas under faithfulness and between it and 1 over `shares`, CPR and CMD on MIB's grid; None for one size."""
        keep = np.unique(self.shares, return_index=True)[1]
        if len(keep) < 2:
            return None
        arguments = (self.shares[keep], self.runs.metric[keep], self.runs.metric_clean, self.runs.metric_corrupted)
        return bootstrap_area(*arguments, area="cpr", how=how), bootstrap_area(*arguments, area="cmd", how=how)

    def minus(self, other: Measured, *, area: Area | None = None, how: Resampling = USUAL) -> Difference:
        """Faithfulness of this minus the other on the same resamples of the same pairs; with `area`, of the areas."""
        return bootstrap_difference(
            self.runs.metric,
            other.runs.metric,
            self.runs.metric_clean,
            self.runs.metric_corrupted,
            fractions=None if area is None else self.shares,
            area=area,
            how=how,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back, bit for bit."""
        runs = self.runs
        return {
            "n_edges": self.n_edges,
            "selected": list(self.selected),
            "kept": list(self.kept),
            "metric": exact(runs.metric),
            "correct": runs.correct.astype(int).tolist(),
            "kl": exact(runs.kl),
            "metric_clean": exact(runs.metric_clean),
            "metric_corrupted": exact(runs.metric_corrupted),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measured:
        """Inverse of `to_dict`; null is NaN."""
        selected, kept = (tuple(map(int, values[name])) for name in ("selected", "kept"))
        correct = np.asarray(values["correct"], dtype=bool)
        metric, kl, clean, corrupted = (read_exact(values[name]) for name in _ARRAYS)
        return cls(int(values["n_edges"]), selected, kept, CircuitRuns(metric, correct, kl, clean, corrupted))


_ARRAYS = ("metric", "kl", "metric_clean", "metric_corrupted")


def exact(values: Floats) -> Any:
    """Numbers of a model as nested lists: the shortest decimals that are these float32 values."""
    rows = np.asarray(values, dtype=np.float32)
    return [exact(row) for row in rows] if rows.ndim > 1 else [float(str(value)) for value in rows]


def read_exact(values: Any) -> Floats:
    """Inverse of `exact`, in double precision; null is NaN."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)
