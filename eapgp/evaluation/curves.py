"""Faithfulness over circuit sizes, completeness, minimality, and the random baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.ops import complement, remove_edges
from eapgp.circuits.select import select_many
from eapgp.evaluation.areas import area_entries, area_shares, is_mib
from eapgp.evaluation.statistics import (
    LEVEL,
    RESAMPLES,
    Band,
    Difference,
    Resampling,
    bootstrap_area,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    mib_sizes,
)
from eapgp.types import Floats, Progress

if TYPE_CHECKING:
    from eapgp.evaluation.runner import CircuitRunner, CircuitRuns

DEFAULT_FRACTIONS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Curve:
    """Circuits of growing size on one prompt set.

    selected, kept `[size]`: edges before and after pruning. runs: metric, accuracy and KL
    `[size, pair]`. faithfulness, metric, accuracy, kl: means over pairs with bootstrap intervals.
    shares `[size]`: what areas are taken over, see `area_shares`. area, area_to_one: areas under faithfulness and
    between it and 1, None for fewer than two sizes.
    """

    name: str
    n_edges: int
    selected: NDArray[np.int64]
    kept: NDArray[np.int64]
    runs: CircuitRuns
    faithfulness: Band
    metric: Band
    accuracy: Band
    kl: Band
    shares: Floats
    area: Band | None
    area_to_one: Band | None

    @property
    def cpr(self) -> Band | None:
        """MIB's CPR: the area under faithfulness over MIB's grid; None over other sizes."""
        return self.area if is_mib(self.shares) else None

    @property
    def cmd(self) -> Band | None:
        """MIB's CMD: the area between faithfulness and 1 over MIB's grid; None over other sizes."""
        return self.area_to_one if is_mib(self.shares) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values: one entry per size under `curve`."""
        entries = []
        for index, (selected, kept) in enumerate(zip(self.selected, self.kept, strict=True)):
            entry: dict[str, Any] = {"edges_selected": int(selected), "edges_kept": int(kept)}
            for key in ("metric", "faithfulness", "accuracy", "kl"):
                band: Band = getattr(self, key)
                entry[key] = _number(band.value[index])
                entry[f"{key}_low"], entry[f"{key}_high"] = _number(band.low[index]), _number(band.high[index])
            entries.append(entry)
        areas = (self.area, self.area_to_one)
        return {
            "name": self.name,
            "n_edges": self.n_edges,
            "metric_clean": float(self.runs.metric_clean.mean()),
            "metric_corrupted": float(self.runs.metric_corrupted.mean()),
            "n_pairs": len(self.runs.metric_clean),
            "level": self.faithfulness.level,
            "resamples": self.faithfulness.resamples,
            "remark": self.faithfulness.reason,
            **area_entries(self.shares, *(None if band is None else band.to_dict() for band in areas)),
            "curve": entries,
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def default_sizes(n_edges: int, fractions: Sequence[float] = DEFAULT_FRACTIONS) -> list[int]:
    """Distinct circuit sizes at the given fractions of the edges, at least 1."""
    return sorted({max(1, size) for size in mib_sizes(n_edges, fractions)})


def faithfulness_curve(
    runner: CircuitRunner,
    scores: EdgeScores,
    sizes: Sequence[int] | None = None,
    *,
    name: str = "",
    rule: str = "top-n",
    absolute: bool = True,
    prune: bool = True,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    progress: Progress | None = None,
) -> Curve:
    """Select, prune and run one circuit per size: normalised faithfulness (1 = the whole model, 0 = the corrupted run).

    sizes: edges selected; None takes `default_sizes`. rule, absolute, prune: as `select`. resamples, level,
    seed: of the bootstrap intervals over prompt pairs. CPR and CMD exist where the
    sizes are MIB's (`mib_curve`).

    Errors: OptionError for a size out of range; InputError for scores of another graph.
    """
    EdgeScores.check(scores)
    sizes = default_sizes(scores.graph.n_edges) if sizes is None else list(sizes)
    circuits = select_many(scores, sizes, rule=rule, absolute=absolute, prune=prune)  # type: ignore[arg-type]
    runs = runner.run(circuits, progress=progress)
    return summarise(name, circuits, runs, resamples=resamples, level=level, seed=seed)


def mib_curve(runner: CircuitRunner, scores: EdgeScores, **options: Any) -> Curve:
    """Curve over MIB's grid, whose CPR and CMD are the benchmark's.

    Source: Mueller et al. 2025, arXiv:2504.13151.
    """
    sizes = mib_sizes(scores.graph.n_edges)
    return faithfulness_curve(runner, scores, sizes, **options)


def summarise(
    name: str,
    circuits: Sequence[Circuit],
    runs: CircuitRuns,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Curve:
    """Means, intervals and areas of circuits that have been run."""
    how = Resampling(resamples, level, seed)
    selected = np.array([circuit.n_selected for circuit in circuits], dtype=np.int64)
    n_edges = circuits[0].graph.n_edges if circuits else 0
    shares = area_shares(selected, n_edges)
    area, area_to_one = _areas(shares, runs, how)
    return Curve(
        name=name,
        n_edges=n_edges,
        selected=selected,
        kept=np.array([circuit.n_kept for circuit in circuits], dtype=np.int64),
        runs=runs,
        faithfulness=bootstrap_ratio(runs.metric, runs.metric_clean, runs.metric_corrupted, how=how),
        metric=bootstrap_mean(runs.metric, how=how),
        accuracy=bootstrap_mean(runs.correct.astype(float), how=how),
        kl=bootstrap_mean(runs.kl, how=how),
        shares=shares,
        area=area,
        area_to_one=area_to_one,
    )


def _areas(fractions: Floats, runs: CircuitRuns, how: Resampling) -> tuple[Band | None, Band | None]:
    keep = np.unique(fractions, return_index=True)[1]
    if len(keep) < 2:
        return None, None
    args = (fractions[keep], runs.metric[keep], runs.metric_clean, runs.metric_corrupted)
    return bootstrap_area(*args, area="cpr", how=how), bootstrap_area(*args, area="cmd", how=how)


def compare_curves(a: Curve, b: Curve, *, area: str | None = None, seed: int = 0) -> Difference:
    """Faithfulness of a minus b per size (or of their areas), paired over the same prompt pairs."""
    fractions = a.shares if area is not None else None
    return bootstrap_difference(
        a.runs.metric,
        b.runs.metric,
        a.runs.metric_clean,
        a.runs.metric_corrupted,
        fractions=fractions,
        area=area,  # type: ignore[arg-type]
        how=Resampling(a.faithfulness.resamples, a.faithfulness.level, seed),
    )


@dataclass(frozen=True)
class RandomBaseline:
    """Faithfulness of random circuits: `values` `[seed, size]`, with mean and interval over seeds."""

    sizes: NDArray[np.int64]
    values: Floats
    mean: Floats
    low: Floats
    high: Floats


def random_baseline(
    runner: CircuitRunner,
    sizes: Sequence[int],
    *,
    seeds: int = 5,
    level: float = LEVEL,
    progress: Progress | None = None,
) -> RandomBaseline:
    """Faithfulness of circuits of random edges of the same sizes, one draw per seed."""
    rows = []
    for seed in range(seeds):
        if progress is not None:
            progress("random baseline", seed / seeds)
        noise = np.random.default_rng(seed).standard_normal(runner.graph.mask.shape) * runner.graph.mask
        rows.append(runner.run(select_many(EdgeScores(runner.graph, noise), sizes)).faithfulness)
    values = np.array(rows)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return RandomBaseline(np.array(sizes), values, values.mean(0), low, high)


@dataclass(frozen=True)
class Minimality:
    """What each kept edge contributes: faithfulness(circuit) − faithfulness(circuit without it)."""

    edges: tuple[str, ...]
    contribution: Band
    n_edges: int
    sampled: bool


def minimality(
    runner: CircuitRunner,
    circuit: Circuit,
    *,
    sample: int = 200,
    seed: int = 0,
    resamples: int = RESAMPLES,
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
    band = bootstrap_difference(
        whole, runs.metric[1:], runs.metric_clean, runs.metric_corrupted, how=Resampling(resamples, seed=seed)
    )
    return Minimality(tuple(str(name) for name in names), band, circuit.n_kept, sampled)


@dataclass(frozen=True)
class Completeness:
    """The circuit and its complement: faithfulness of each `[2]` with interval.

    A complete circuit leaves a complement that does not show the behaviour (near 0).
    """

    circuit: Circuit
    complement: Circuit
    faithfulness: Band


def completeness(runner: CircuitRunner, circuit: Circuit, *, resamples: int = RESAMPLES, seed: int = 0) -> Completeness:
    """Run a circuit and everything but it.

    Source: Wang et al. 2022, arXiv:2211.00593, section 4 (there over subsets; here the whole circuit).
    """
    rest = complement(circuit)
    runs = runner.run([circuit, rest])
    how = Resampling(resamples, seed=seed)
    band = bootstrap_ratio(runs.metric, runs.metric_clean, runs.metric_corrupted, how=how)
    return Completeness(circuit, rest, band)
