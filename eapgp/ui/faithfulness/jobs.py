"""What the Faithfulness page computes: the jobs, what they keep beside a run, and the bands over it.

1. A curve runs one circuit per size and keeps metric, accuracy and KL per pair, so that every band,
   area and difference is taken from it in NumPy, without the model.
2. The baseline runs random circuits of the same sizes, one draw per seed.
3. The evidence on one circuit: its complement, and what each kept edge and some edges outside add.

A result is kept in the run's evaluation.json (bundled examples are left as they are), and found there
when the server has been started anew. No Streamlit here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.ops import add_edges, complement
from eapgp.circuits.select import select_many
from eapgp.evaluation.curves import Minimality, minimality
from eapgp.evaluation.runner import CircuitRuns
from eapgp.evaluation.sizes import curve_sizes
from eapgp.evaluation.statistics import (
    MIB_FRACTIONS,
    Band,
    Difference,
    bootstrap_area,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    mib_sizes,
)
from eapgp.graph import Graph
from eapgp.runs.canonical import content_key
from eapgp.runs.run import Run
from eapgp.runs.version import RESULT_VERSION
from eapgp.types import Floats
from eapgp.ui.jobs.manager import Progress
from eapgp.ui.jobs.workshop import Workshop, with_gradients

Work = Callable[[Progress], Any]
Values = dict[str, Any]
QUANTITIES = ("faithfulness", "metric", "accuracy", "kl")
SEEDS = 5
SAMPLE = 200  # kept edges whose own contribution is measured; a seeded sample of a larger circuit
OUTSIDE = 50  # edges outside the circuit that are added one at a time


def grid_of(n_edges: int, grid: str) -> tuple[list[int], Floats]:
    """Circuit sizes of a grid, and the shares of the edges over which the areas are taken.

    `quick`: the sizes at which the bundled examples were measured; `mib`: int(p · n) edges at the
    benchmark's shares p, whose areas are its CPR and CMD (a small graph may have sizes of 0).
    """
    if grid == "mib":
        return mib_sizes(n_edges), np.asarray(MIB_FRACTIONS)
    sizes = curve_sizes(n_edges)
    return sizes, np.asarray(sizes, dtype=np.float64) / n_edges


def circuits_key(name: str, run_id: str, circuits: Sequence[Circuit]) -> str:
    """Name of a result: what was run, on which run's model and prompts."""
    edges = hashlib.sha256(b"".join(np.packbits(circuit.edges).tobytes() for circuit in circuits)).hexdigest()
    selected = [circuit.n_selected for circuit in circuits]
    return f"{name}-{content_key({'run': run_id, 'edges': edges, 'n': selected, 'version': RESULT_VERSION})[:16]}"


@dataclass(frozen=True)
class Measured:
    """Circuits of growing size on one prompt set. selected, kept: `[size]` edges."""

    selected: tuple[int, ...]
    kept: tuple[int, ...]
    runs: CircuitRuns

    @property
    def whole(self) -> bool:
        """Whether accuracy and KL were kept too (bundled examples keep the metric alone)."""
        return self.runs.kl.shape == self.runs.metric.shape

    def has(self, quantity: str) -> bool:
        """Whether a quantity can be drawn."""
        return self.whole or quantity in ("faithfulness", "metric")

    def to_dict(self) -> Values:
        """Plain values; `from_dict` reads them back."""
        runs = self.runs
        return {
            "selected": list(self.selected),
            "kept": list(self.kept),
            "metric": runs.metric.round(7).tolist(),
            "correct": runs.correct.astype(int).tolist(),
            "kl": runs.kl.round(7).tolist(),
            "metric_clean": runs.metric_clean.tolist(),
            "metric_corrupted": runs.metric_corrupted.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measured:
        """Inverse of `to_dict`."""

        def array(name: str) -> Floats:
            return np.asarray(values[name], dtype=np.float64)

        runs = CircuitRuns(
            array("metric"),
            array("correct").astype(bool),
            array("kl"),
            array("metric_clean"),
            array("metric_corrupted"),
        )
        return cls(tuple(map(int, values["selected"])), tuple(map(int, values["kept"])), runs)


def band_of(measured: Measured, quantity: str) -> Band:
    """`[size]` one quantity with its 95 % interval over prompt pairs drawn with replacement."""
    runs = measured.runs
    if quantity == "faithfulness":
        return bootstrap_ratio(runs.metric, runs.metric_clean, runs.metric_corrupted)
    values = {"metric": runs.metric, "accuracy": runs.correct.astype(np.float64), "kl": runs.kl}[quantity]
    return bootstrap_mean(values)


def areas_of(measured: Measured, fractions: Floats) -> tuple[Band, Band]:
    """Areas under faithfulness and between it and 1, over shares of the edges `[size]`; CPR and CMD on MIB's."""
    runs = measured.runs
    arguments = (fractions, runs.metric, runs.metric_clean, runs.metric_corrupted)
    return bootstrap_area(*arguments, area="cpr"), bootstrap_area(*arguments, area="cmd")


def difference_of(a: Measured, b: Measured, fractions: Floats | None = None) -> Difference:
    """Faithfulness of a minus b on the same resamples of the same pairs; with fractions, the areas under them."""
    return bootstrap_difference(
        a.runs.metric,
        b.runs.metric,
        a.runs.metric_clean,
        a.runs.metric_corrupted,
        fractions=fractions,
        area=None if fractions is None else "cpr",
    )


@dataclass(frozen=True)
class Baseline:
    """Random circuits: each quantity as `[seed, size]`, means over pairs."""

    sizes: tuple[int, ...]
    values: Mapping[str, Floats]

    def spread(self, quantity: str) -> tuple[Floats, Floats, Floats]:
        """`[size]` mean, and ends of the 95 % range over seeds."""
        drawn = self.values[quantity]
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        return drawn.mean(axis=0), low, high

    def to_dict(self) -> Values:
        """Plain values; `from_dict` reads them back."""
        return {"sizes": list(self.sizes), "values": {name: drawn.tolist() for name, drawn in self.values.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Baseline:
        """Inverse of `to_dict`; null is undefined."""
        drawn = {name: np.array(rows, dtype=np.float64) for name, rows in values["values"].items()}
        return cls(tuple(map(int, values["sizes"])), drawn)


@dataclass(frozen=True)
class Evidence:
    """One circuit looked at closely.

    faithfulness: Band `[2]` of the circuit and of its complement. minimality: what each kept edge
    contributes. outside `[edge]`: what edges outside add when one of them joins the circuit.
    """

    kept: int
    rest: int
    faithfulness: Band
    minimality: Minimality
    outside: Floats

    @property
    def outside_range(self) -> tuple[float, float] | None:
        """Ends of the middle 95 % of what edges outside add; None where there are none."""
        if not len(self.outside) or np.isnan(self.outside).any():
            return None
        low, high = np.quantile(self.outside, [0.025, 0.975])
        return float(low), float(high)

    def to_dict(self) -> Values:
        """Plain values; `from_dict` reads them back."""
        return {
            "kept": self.kept,
            "rest": self.rest,
            "faithfulness": self.faithfulness.to_dict(),
            "edges": list(self.minimality.edges),
            "contribution": self.minimality.contribution.to_dict(),
            "sampled": self.minimality.sampled,
            "outside": self.outside.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evidence:
        """Inverse of `to_dict`."""
        kept = int(values["kept"])
        own = Minimality(tuple(values["edges"]), _band(values["contribution"]), kept, bool(values["sampled"]))
        outside = np.array(values["outside"], dtype=np.float64)
        return cls(kept, int(values["rest"]), _band(values["faithfulness"]), own, outside)


def _band(values: Mapping[str, Any]) -> Band:
    arrays = {name: np.array(values[name], dtype=np.float64) for name in ("value", "low", "high")}
    rest = (float(values["level"]), int(values["resamples"]), str(values["reason"]), float(values["undefined"]))
    return Band(arrays["value"], arrays["low"], arrays["high"], *rest)


def keeping(run: Run, name: str, kind: Any, compute: Work, *, keep: bool) -> Work:
    """The work that answers from evaluation.json, else computes and (with `keep`) stores there.

    kind: the result's class, with `to_dict` and `from_dict`.
    """

    def work(progress: Progress) -> Any:
        known = run.evaluation().get(name)
        if known is not None:
            return kind.from_dict(known)
        result = with_gradients(compute)(progress)
        if keep:
            run.add_evaluation(name, result.to_dict())
        return result

    return work


def curve_work(shop: Workshop, lane: str, run: Run, circuits: Sequence[Circuit]) -> Work:
    """Run circuits of growing size; the result is a `Measured`."""

    def work(progress: Progress) -> Measured:
        runs = shop.runner(lane, run, progress).run(circuits, progress=progress)
        selected = tuple(circuit.n_selected for circuit in circuits)
        return Measured(selected, tuple(circuit.n_kept for circuit in circuits), runs)

    return work


def random_circuits(graph: Graph, sizes: Sequence[int], seed: int) -> list[Circuit]:
    """Circuits of random edges, pruned like any other; the draws of `eapgp evaluate --baseline`."""
    noise = np.random.default_rng(seed).standard_normal(graph.mask.shape) * graph.mask
    return select_many(EdgeScores(graph, noise), sizes)


def baseline_work(shop: Workshop, lane: str, run: Run, sizes: Sequence[int], *, seeds: int = SEEDS) -> Work:
    """Run random circuits; the result is a `Baseline`."""

    def work(progress: Progress) -> Baseline:
        runner = shop.runner(lane, run, progress)
        drawn: dict[str, list[Floats]] = {name: [] for name in QUANTITIES}
        for seed in range(seeds):
            progress(f"random circuits, draw {seed + 1} of {seeds}", seed / seeds)
            runs = runner.run(random_circuits(runner.graph, sizes, seed))
            means = (runs.faithfulness, runs.metric.mean(1), runs.correct.mean(1), runs.kl.mean(1))
            for name, values in zip(QUANTITIES, means, strict=True):
                drawn[name].append(np.asarray(values, dtype=np.float64))
        return Baseline(tuple(sizes), {name: np.array(rows) for name, rows in drawn.items()})

    return work


def evidence_work(shop: Workshop, lane: str, run: Run, circuit: Circuit) -> Work:
    """Look at one circuit closely; the result is an `Evidence`."""

    def work(progress: Progress) -> Evidence:
        runner = shop.runner(lane, run, progress)
        own = minimality(runner, circuit, sample=SAMPLE, progress=_phase(progress, "each kept edge taken away"))
        rest = complement(circuit)
        joined = [add_edges(circuit, [name]) for name in outside_edges(circuit)]
        runs = runner.run([circuit, rest, *joined], progress=_phase(progress, "edges outside added"))
        band = bootstrap_ratio(runs.metric[:2], runs.metric_clean, runs.metric_corrupted)
        outside = np.asarray(runs.faithfulness[2:] - runs.faithfulness[0], dtype=np.float64)
        return Evidence(circuit.n_kept, rest.n_kept, band, own, outside)

    return work


def outside_edges(circuit: Circuit, n: int = OUTSIDE, *, seed: int = 0) -> list[str]:
    """A seeded sample of the edges that the circuit lacks."""
    rows, columns = np.nonzero(circuit.graph.mask & ~circuit.edges)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:n])
    return [circuit.graph.edge_name(int(rows[i]), int(columns[i])) for i in chosen]


def _phase(progress: Progress, phase: str) -> Progress:
    return lambda _, fraction: progress(phase, fraction)
