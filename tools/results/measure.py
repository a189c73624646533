"""What the results study measures: circuits of many methods on one prompt set, with paired resamples.

Scores come from one set of prompts and circuits are run on another. All methods of a cell are resampled
alike, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eapgp.attribution.api import attribute
from eapgp.attribution.result import EdgeScores
from eapgp.attribution.usual import Variant
from eapgp.circuits.select import select_many
from eapgp.evaluation.agreement import spearman
from eapgp.evaluation.runner import CircuitRunner, CircuitRuns
from eapgp.evaluation.statistics import (
    LEVEL,
    MIB_FRACTIONS,
    cpr_cmd,
    mib_sizes,
    resample_weights,
    resampled_faithfulness,
)
from eapgp.models.model import Model
from eapgp.prompts.pairs import PromptSet
from eapgp.types import Floats

AREA_FRACTIONS = (0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2, 0.35, 0.5)


@dataclass(frozen=True)
class Estimate:
    """A number with its resamples: value, draws `[resample]`."""

    value: float
    draws: Floats

    @property
    def interval(self) -> tuple[float, float]:
        """95 % percentile interval; NaN where a resample was undefined throughout."""
        kept = self.draws[~np.isnan(self.draws)]
        if not len(kept):
            return float("nan"), float("nan")
        low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, self.draws - other.draws)

    @property
    def tie(self) -> bool:
        """Whether the interval includes 0."""
        low, high = self.interval
        return not (low > 0 or high < 0)

    @property
    def flips(self) -> float:
        """Of a difference: share of resamples in which its sign is the other one (0 counts half); NaN where it is 0."""
        kept = self.draws[~np.isnan(self.draws)]
        if self.value == 0 or not len(kept):
            return float("nan")
        against = np.sign(kept) * np.sign(self.value)
        return float((against < 0).mean() + 0.5 * (kept == 0).mean())


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Unweighted mean of independent estimates."""
    return Estimate(
        float(np.mean([e.value for e in estimates])), np.mean([e.draws for e in estimates], axis=0, dtype=np.float64)
    )


@dataclass(frozen=True)
class TaskResult:
    """All methods on one task of one model.

    metric_clean, metric_corrupted: means over the judged pairs. selected `[size]`: edges of MIB's circuits.
    By label: faithfulness at each of those sizes, cpr, cmd, spearman (with exact; empty where exact was not
    asked for), seconds, passes (forward, backward). seeds: how many prompt seeds it is the mean of.
    """

    task: str
    metric: str
    n_pairs: int
    n_edges: int
    metric_clean: float
    metric_corrupted: float
    selected: tuple[int, ...]
    faithfulness: dict[str, tuple[Estimate, ...]]
    cpr: dict[str, Estimate]
    cmd: dict[str, Estimate]
    spearman: dict[str, float]
    seconds: dict[str, float]
    passes: dict[str, tuple[float, float]]
    seeds: int = 1

    @property
    def labels(self) -> tuple[str, ...]:
        """The variants that were measured."""
        return tuple(self.cpr)


def measure_task(
    model: Model, scored: PromptSet, judged: PromptSet, variants: Sequence[Variant], *, resamples: int, seed: int = 0
) -> TaskResult:
    """Score with every variant on `scored`, run MIB's circuits on `judged`; seed: of the resamples."""
    runner = CircuitRunner(model, judged)
    sizes = mib_sizes(model.graph.n_edges)
    found = {v.label: attribute(model, scored, method=v.method, **v.options) for v in variants}
    curves = {label: _curve(runner, result.scores, sizes, resamples, seed) for label, result in found.items()}
    areas = {label: _mib_areas(curve) for label, curve in curves.items()}
    truth = next((found[v.label].scores for v in variants if v.method == "exact"), None)
    return TaskResult(
        task=judged.task,
        metric=judged.metric,
        n_pairs=len(judged),
        n_edges=model.graph.n_edges,
        metric_clean=float(runner.metric_clean.mean()),
        metric_corrupted=float(runner.metric_corrupted.mean()),
        selected=tuple(sizes),
        faithfulness=curves,
        cpr={label: both[0] for label, both in areas.items()},
        cmd={label: both[1] for label, both in areas.items()},
        spearman={} if truth is None else {label: _spearman(f.scores, truth) for label, f in found.items()},
        seconds={label: result.seconds for label, result in found.items()},
        passes={label: (result.forward_passes, result.backward_passes) for label, result in found.items()},
    )


def _curve(
    runner: CircuitRunner, scores: EdgeScores, sizes: Sequence[int], resamples: int, seed: int
) -> tuple[Estimate, ...]:
    runs = runner.run(select_many(scores, sizes))
    drawn = _resampled(runs, resamples, seed)
    return tuple(Estimate(float(value), drawn[:, i]) for i, value in enumerate(runs.faithfulness))


def _mib_areas(curve: Sequence[Estimate]) -> tuple[Estimate, Estimate]:
    values = cpr_cmd(MIB_FRACTIONS, [estimate.value for estimate in curve])
    drawn = cpr_cmd(MIB_FRACTIONS, np.stack([estimate.draws for estimate in curve], axis=1))
    cpr, cmd = (Estimate(float(value), np.asarray(draws)) for value, draws in zip(values, drawn, strict=True))
    return cpr, cmd


def over_seeds(results: Sequence[TaskResult], *, seed: int = 0) -> TaskResult:
    """One task's mean over prompt seeds; seeds are resampled, then pairs, alike for every label and number."""
    first = results[0]

    def mean(read: Callable[[TaskResult], Estimate]) -> Estimate:
        return over_cells({first.task: [read(result) for result in results]}, seed=seed)

    def average(read: Callable[[TaskResult], float]) -> float:
        return float(np.mean([read(result) for result in results]))

    labels, places = first.labels, range(len(first.selected))
    return replace(
        first,
        metric_clean=average(lambda r: r.metric_clean),
        metric_corrupted=average(lambda r: r.metric_corrupted),
        faithfulness={a: tuple(mean(lambda r, a=a, i=i: r.faithfulness[a][i]) for i in places) for a in labels},  # type: ignore[misc]
        cpr={a: mean(lambda r, a=a: r.cpr[a]) for a in labels},  # type: ignore[misc]
        cmd={a: mean(lambda r, a=a: r.cmd[a]) for a in labels},  # type: ignore[misc]
        spearman={a: average(lambda r, a=a: r.spearman[a]) for a in first.spearman},  # type: ignore[misc]
        seconds={a: average(lambda r, a=a: r.seconds[a]) for a in labels},  # type: ignore[misc]
        seeds=len(results),
    )


def _resampled(runs: CircuitRuns, resamples: int, seed: int) -> Floats:
    """`[resample, circuit]` faithfulness; equal seeds give equal resamples of the pairs."""
    weights = resample_weights(len(runs.metric_clean), resamples, seed)
    metric, clean, corrupted = (
        np.asarray(x, dtype=np.float64) for x in (runs.metric, runs.metric_clean, runs.metric_corrupted)
    )
    return resampled_faithfulness(metric, clean, corrupted, weights)


def _spearman(scores: EdgeScores, truth: EdgeScores) -> float:
    mask = scores.graph.mask
    return spearman(scores.values[mask].astype(np.float64), truth.values[mask].astype(np.float64))


def clipped_area(faithfulness: Floats) -> Floats:
    """Mean of faithfulness clipped to 0 … 1 over circuits of up to half of the edges.

    faithfulness `[…, size]` at `AREA_FRACTIONS`; f = 0 at no edge; trapezoids over the linear fraction.
    """
    clipped = np.clip(faithfulness, 0.0, 1.0)
    clipped = np.concatenate([np.zeros((*clipped.shape[:-1], 1)), clipped], axis=-1)
    fractions = np.array((0.0, *AREA_FRACTIONS))
    return np.asarray(np.trapezoid(clipped, fractions, axis=-1) / fractions[-1])


def measure_cell(
    model: Model, scored: PromptSet, judged: PromptSet, variants: Sequence[Variant], *, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Clipped area of every variant's curve in one cell, on the same resamples of the judged pairs."""
    runner = CircuitRunner(model, judged)
    sizes = mib_sizes(model.graph.n_edges, AREA_FRACTIONS)
    areas = {}
    for variant in variants:
        scores = attribute(model, scored, method=variant.method, **variant.options).scores
        runs = runner.run(select_many(scores, sizes))
        value = clipped_area(np.asarray(runs.faithfulness, dtype=np.float64))
        areas[variant.label] = Estimate(float(value), clipped_area(_resampled(runs, resamples, seed)))
    return areas


def over_cells(cells: Mapping[str, Sequence[Estimate]], *, seed: int = 0) -> Estimate:
    """Mean over tasks of the mean over a task's seeds; seeds are resampled within each task, then pairs.

    cells: task → one estimate per seed. With one seed in a task only the pairs are resampled.
    """
    rng = np.random.default_rng(seed)
    tasks = []
    for estimates in cells.values():
        draws = np.stack([estimate.draws for estimate in estimates])  # [seed, resample]
        count, resamples = draws.shape
        chosen = rng.integers(count, size=(count, resamples))
        which = rng.integers(resamples, size=(count, resamples))
        tasks.append(Estimate(float(np.mean([e.value for e in estimates])), draws[chosen, which].mean(0)))
    return mean_of(tasks)
