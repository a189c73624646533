"""What comes out of the study's records: means, paired differences and their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eapgp.evaluation.statistics import LEVEL
from eapgp.study.uncertainty import Drawn, Methods, draw, over_seeds
from eapgp.types import Floats

AREA, SMALL_CELL, HEADLINE_CELL, GREEDY_CELL = "area", "0.6 %", "2.5 %", "2.5 % greedy"
QUANTITIES = (AREA, SMALL_CELL, HEADLINE_CELL, GREEDY_CELL)
LOW, HIGH = 0.0015, 0.25  # fractions of MIB's grid between which the area's mean is taken: 0.2 to 20 %
DEEP = 0.05


@dataclass(frozen=True)
class Measured:
    """A mean with its interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, or `tie` where the interval includes 0."""
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "tie"

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Cells:
    """One method on one task: per prompt seed its quantities.

    values `[seed, quantity]`; draws `[seed, resample, quantity]`.
    """

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Floats
    draws: Floats

    def minus(self, other: Cells) -> Cells:
        """Paired difference over the seeds that both have."""
        seeds = [seed for seed in self.seeds if seed in other.seeds]
        mine, theirs = ([cells.seeds.index(seed) for seed in seeds] for cells in (self, other))
        prompts = tuple(self.prompts[i] for i in mine)
        if prompts != tuple(other.prompts[i] for i in theirs):
            raise ValueError("two methods were judged on other pairs at the same seed")
        values, draws = self.values[mine] - other.values[theirs], self.draws[mine] - other.draws[theirs]
        return Cells(prompts, tuple(seeds), values, draws)

    @cached_property
    def resampled(self) -> Floats:
        """`[resample, quantity]` means over seeds that are drawn anew."""
        return over_seeds(self.draws, self.prompts)


class Outcome:
    """The records of one part of the study."""

    def __init__(self, records: Iterable[Mapping[str, Any]], part: str) -> None:
        self.records = [record for record in records if record["part"] == part]
        groups = draw(self.records)
        self.tasks = tuple(dict.fromkeys(task for _, _, task, _ in groups))
        self._cells = {
            (task, label): cells
            for task in self.tasks
            for label, cells in _by_label({name: group for (_, _, of, name), group in groups.items() if of == task})
        }
        self.labels = tuple(dict.fromkeys(label for _, label in self._cells))

    def cells(self, task: str, label: str) -> Cells:
        """One method on one task."""
        return self._cells[task, label]

    def has(self, task: str, label: str) -> bool:
        """Whether a method was run on a task."""
        return (task, label) in self._cells

    def mean(self, label: str, quantity: str, tasks: Sequence[str] | None = None) -> Measured:
        """Mean over seeds, then over tasks that count equally."""
        return _over_tasks([self._cells[task, label] for task in tasks or self.tasks], quantity)

    def difference(self, a: str, b: str, quantity: str, tasks: Sequence[str] | None = None) -> Measured:
        """Paired mean difference a − b."""
        return _over_tasks([self.paired(task, a, b) for task in tasks or self.tasks], quantity)

    def flips(self, a: str, b: str, quantity: str, tasks: Sequence[str] | None = None) -> tuple[int, int]:
        """In how many cells (task and seed) the order is not that of the mean; of how many."""
        at = QUANTITIES.index(quantity)
        signs = np.concatenate([np.sign(self.paired(task, a, b).values[:, at]) for task in tasks or self.tasks])
        mean = np.sign(self.difference(a, b, quantity, tasks).value)
        return int((signs != mean).sum()), len(signs)

    def dips(self) -> list[tuple[float, str, str, int, float]]:
        """Where a curve on the grid falls: by how much, task, method, seed and the fraction at its lower end."""
        drops = []
        for (_, _, task, name), methods in draw(self.records, resamples=1).items():
            if name != "grid":
                continue
            for (label, _), seeds in methods.items():
                for seed, one in seeds.items():
                    steps = np.diff(one.value)
                    at = int(np.argmin(steps))
                    drops.append((float(-steps[at]), task, label, seed, float(one.fractions[at + 1])))
        return sorted(drops, reverse=True)

    def cost(self, label: str) -> tuple[float, float, float]:
        """Forward and backward passes per pair, and the median of seconds per cell."""
        mine = [record for record in self.records if record["asked"]["label"] == label]
        passes = [float(np.mean([one[name] for one in mine])) for name in ("forward_passes", "backward_passes")]
        return passes[0], passes[1], float(np.median([one["attribution_seconds"] for one in mine]))

    def paired(self, task: str, a: str, b: str) -> Cells:
        """Differences a − b, seed by seed.

        Errors: ValueError where two seeds were judged on other pairs."""
        return self._cells[task, a].minus(self._cells[task, b])


def signed(one: Measured) -> str:
    """`+0.039 [+0.020, +0.060]`."""
    return f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def _by_label(evaluations: Mapping[str, Methods]) -> Iterable[tuple[str, Cells]]:
    for label, options in evaluations["grid"]:
        drawn = {name: methods[label, options] for name, methods in evaluations.items() if (label, options) in methods}
        seeds = tuple(sorted(set.intersection(*(set(one) for one in drawn.values()))))
        if len(drawn) < len(evaluations) or not seeds:
            continue
        rows = [_quantities({name: one[seed] for name, one in drawn.items()}) for seed in seeds]
        prompts = tuple(drawn["grid"][seed].prompts for seed in seeds)
        yield label, Cells(prompts, seeds, np.stack([v for v, _ in rows]), np.stack([d for _, d in rows]))


def _quantities(drawn: Mapping[str, Drawn]) -> tuple[Floats, Floats]:
    """The protocol's quantities of one cell `[quantity]`, and of its resamples `[resample, quantity]`."""
    grid, cells, greedy = drawn["grid"], drawn["cells"], drawn["greedy"]
    inside = (grid.fractions > LOW) & (grid.fractions < HIGH)

    def of(area: Floats, top: Floats, grown: Floats) -> Floats:
        mean = np.clip(area[..., inside], 0, 1).mean(axis=-1)
        return np.stack([mean, top[..., 0], top[..., 1], grown[..., 1]], axis=-1)

    return of(grid.value, cells.value, greedy.value), of(grid.draws, cells.draws, greedy.draws)


def _over_tasks(cells: Sequence[Cells], quantity: str) -> Measured:
    """Mean over tasks; each task's resamples are independent of the others'."""
    at, rng = QUANTITIES.index(quantity), np.random.default_rng(0)
    draws = np.mean([rng.permutation(one.resampled[:, at]) for one in cells], axis=0)
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Measured(float(np.mean([one.values[:, at].mean() for one in cells])), float(low), float(high))
