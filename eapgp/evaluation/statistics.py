"""Uncertainty of faithfulness, areas under curves, and how stable the selected edges are.

Everything is resampled over prompt pairs, and paired: the circuits, both methods and both baselines
see the same resample. A resample is a row of weights over pairs, so that a bootstrap of means is one
matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eapgp.circuits.select import check_size
from eapgp.errors import NotFiniteError, OptionError
from eapgp.graph import Graph
from eapgp.types import Floats

MIB_FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The MIB circuit track's grid of edge fractions (Mueller et al. 2025, arXiv:2504.13151)."""

RESAMPLES, LEVEL = 1000, 0.95

TINY_GAP = 1e-6
"""A gap |M(clean) − M(corrupted)| below this share of the metric's size is float32 noise."""

Area = Literal["cpr", "cmd"]


@dataclass(frozen=True)
class Band:
    """Point values with percentile intervals.

    value, low, high: `[…]` of one shape. reason: why the values are NaN, or why they deserve
    little trust; empty otherwise. undefined: share of resamples in which the value was undefined.
    """

    value: Floats
    low: Floats
    high: Floats
    level: float
    resamples: int
    reason: str = ""
    undefined: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON: NaN becomes None."""
        arrays = {key: _plain(getattr(self, key)) for key in ("value", "low", "high")}
        return {
            **arrays,
            "level": self.level,
            "resamples": self.resamples,
            "reason": self.reason,
            "undefined": self.undefined,
        }

    def at(self, place: int) -> dict[str, float | None]:
        """Value and ends of one of several, for JSON."""
        return {key: _plain(getattr(self, key)[place : place + 1])[0] for key in ("value", "low", "high")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Band:
        """Inverse of `to_dict`; null is NaN. Of a `Difference` the flips are left out."""
        value, low, high = (np.array(values[name], dtype=np.float64) for name in ("value", "low", "high"))
        rest = (float(values["level"]), int(values["resamples"]), str(values["reason"]), float(values["undefined"]))
        return Band(value, low, high, *rest)


def three_of(values: Mapping[str, float | None]) -> tuple[float, float, float]:
    """Value, low and high end of what `Band.at` gave; NaN where undefined."""
    value, low, high = (float("nan") if (end := values[key]) is None else end for key in ("value", "low", "high"))
    return value, low, high


@dataclass(frozen=True)
class Difference(Band):
    """a − b with its interval, and how often the order of the two flips.

    flips: `[…]` share of resamples in which the sign of a − b is the other one (a tie counts half);
    NaN where a and b are equal, for then there is no order.
    """

    flips: Floats | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: NaN becomes None."""
        assert self.flips is not None
        return {**super().to_dict(), "flips": _plain(self.flips)}


def mib_sizes(n_edges: int, fractions: Sequence[float] = MIB_FRACTIONS) -> list[int]:
    """Circuit sizes int(p·n), as MIB takes them."""
    return [int(fraction * n_edges) for fraction in fractions]


def cpr_cmd(fractions: ArrayLike, faithfulness: ArrayLike) -> tuple[Any, Any]:
    """MIB's CPR = area under f and CMD = area of |1 − f|, by trapezoids over the linear fraction.

    fractions: `[size]` increasing; faithfulness: `[…, size]`; the results have the shape `[…]`.
    Higher CPR and lower CMD are better. NaN in a curve gives NaN. No area is taken left of the first
    fraction. Errors: OptionError for fewer than two sizes or fractions that do not increase.
    """
    x, f = np.asarray(fractions, dtype=np.float64), np.asarray(faithfulness, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or f.shape[-1:] != x.shape:
        raise OptionError(f"an area needs at least two sizes, one per value; got {x.shape} and {f.shape}.")
    if not (np.diff(x) > 0).all() or not 0 <= x[0] <= x[-1] <= 1:
        raise OptionError(f"fractions must increase within 0 … 1; got {x.tolist()}.")
    cpr, cmd = np.trapezoid(f, x, axis=-1), np.trapezoid(np.abs(1 - f), x, axis=-1)
    return (float(cpr), float(cmd)) if f.ndim == 1 else (cpr, cmd)


def resample_weights(n_pairs: int, resamples: int, seed: int, groups: ArrayLike | None = None) -> Floats:
    """`[resample, pair]` weights that sum to 1 per row.

    Without groups: n pairs drawn with replacement. With groups `[pair]` (a prompt seed, a template):
    groups are drawn with replacement, then as many pairs within each as it has.
    """
    if n_pairs < 1 or resamples < 1:
        raise OptionError(f"a bootstrap needs at least one pair and one resample; got {n_pairs} and {resamples}.")
    rng = np.random.default_rng(seed)
    if groups is None:
        return rng.multinomial(n_pairs, np.full(n_pairs, 1 / n_pairs), size=resamples) / n_pairs
    labels = np.asarray(groups)
    if labels.shape != (n_pairs,):
        raise OptionError(f"groups must name one group for each of the {n_pairs} pairs; got shape {labels.shape}.")
    names = np.unique(labels)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    counts = np.zeros((resamples, n_pairs))
    for index, name in enumerate(names):
        members = np.flatnonzero(labels == name)
        share = np.full(len(members), 1 / len(members))
        counts[:, members] = rng.multinomial(len(members) * drawn[:, index], share)
    return counts / counts.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Resampling:
    """How a bootstrap draws: how often, the share of resamples its intervals hold, and from which groups of pairs."""

    resamples: int = RESAMPLES
    level: float = LEVEL
    seed: int = 0
    groups: ArrayLike | None = None

    def weights(self, n_pairs: int) -> Floats:
        """`[resample, pair]` as `resample_weights` draws them, to be read alone: without groups they are drawn once."""
        if self.groups is None:
            return _weights(n_pairs, self.resamples, self.seed)
        return resample_weights(n_pairs, self.resamples, self.seed, self.groups)


@lru_cache(maxsize=4)
def _weights(n_pairs: int, resamples: int, seed: int) -> Floats:
    weights = resample_weights(n_pairs, resamples, seed)
    weights.setflags(write=False)
    return weights


USUAL = Resampling()


def bootstrap_mean(values: ArrayLike, *, how: Resampling = USUAL) -> Band:
    """Mean over pairs of `[…, pair]` with its interval. Errors: NotFiniteError for NaN in the metric."""
    array = _finite(values, "the metric")
    weights = how.weights(array.shape[-1])
    return _band(array.mean(axis=-1), _means(array, weights), how.level)


def bootstrap_ratio(circuits: ArrayLike, clean: ArrayLike, corrupted: ArrayLike, *, how: Resampling = USUAL) -> Band:
    """Normalised faithfulness (mean M(circuit) − mean M(corrupted)) / (mean M(clean) − mean M(corrupted)).

    circuits: `[circuit, pair]` (or `[pair]`); clean, corrupted: `[pair]`. All NaN, with the reason,
    where |M(clean) − M(corrupted)| is tiny. A reason is also given where the gap's own interval
    includes 0: the ratio then says little.
    Errors: OptionError for shapes that do not fit; NotFiniteError for NaN in a metric.
    """
    runs, clean_, corrupted_ = _checked(circuits, clean, corrupted)
    weights = how.weights(len(clean_))
    value, reason = _point_faithfulness(runs, clean_, corrupted_)
    samples = resampled_faithfulness(runs, clean_, corrupted_, weights)
    return _band(value, samples, how.level, reason or _weak_gap(clean_, corrupted_, weights, how.level))


def bootstrap_area(
    fractions: ArrayLike,
    circuits: ArrayLike,
    clean: ArrayLike,
    corrupted: ArrayLike,
    *,
    area: Area = "cpr",
    how: Resampling = USUAL,
) -> Band:
    """CPR or CMD of one curve with its interval; circuits `[size, pair]` in the order of the fractions."""
    runs, clean_, corrupted_ = _checked(circuits, clean, corrupted)
    weights = how.weights(len(clean_))
    value, reason = _point_faithfulness(runs, clean_, corrupted_)
    samples = resampled_faithfulness(runs, clean_, corrupted_, weights)
    which = _which(area)
    drawn = np.asarray(cpr_cmd(fractions, samples)[which])
    reason = reason or _weak_gap(clean_, corrupted_, weights, how.level)
    return _band(np.asarray(cpr_cmd(fractions, value)[which]), drawn, how.level, reason)


def bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    clean: ArrayLike,
    corrupted: ArrayLike,
    *,
    fractions: ArrayLike | None = None,
    area: Area | None = None,
    how: Resampling = USUAL,
) -> Difference:
    """Normalised faithfulness of a minus that of b, on the same resamples.

    a, b: `[circuit, pair]` metrics of two methods' circuits. With `area` and `fractions` `[circuit]`
    the two curves' CPR or CMD are compared instead.
    Errors: as `bootstrap_ratio`; OptionError where a and b differ in shape.
    """
    runs_a, clean_, corrupted_ = _checked(a, clean, corrupted)
    runs_b, _, _ = _checked(b, clean, corrupted)
    if runs_a.shape != runs_b.shape:
        raise OptionError(f"both methods need the same circuits × pairs; got {runs_a.shape} and {runs_b.shape}.")
    if (area is None) != (fractions is None):
        raise OptionError("area and fractions belong together; got only one of them.")
    weights = how.weights(len(clean_))
    point, reason = _point_faithfulness(np.stack([runs_a, runs_b]), clean_, corrupted_)
    samples = resampled_faithfulness(np.stack([runs_a, runs_b]), clean_, corrupted_, weights)
    if area is not None and fractions is not None:
        which = _which(area)
        point, samples = cpr_cmd(fractions, point)[which], cpr_cmd(fractions, samples)[which]
    value, drawn = np.asarray(point[0] - point[1]), samples[:, 0] - samples[:, 1]
    band = _band(value, drawn, how.level, reason or _weak_gap(clean_, corrupted_, weights, how.level))
    return Difference(**vars(band), flips=_flips(value, drawn))


def resampled_faithfulness(circuits: Floats, clean: Floats, corrupted: Floats, weights: Floats) -> Floats:
    """`[resample, …]` normalised faithfulness of `[…, pair]` metrics; NaN where the gap is tiny."""
    low = weights @ corrupted
    gap = weights @ clean - low
    gap[np.abs(gap) <= _tiny(clean, corrupted)] = np.nan
    axes = (slice(None), *[None] * (circuits.ndim - 1))
    return (_means(circuits, weights) - low[axes]) / gap[axes]


def stability(
    pair_scores: NDArray[np.floating[Any]],
    graph: Graph,
    n: int,
    *,
    resamples: int = 200,
    seed: int = 0,
    absolute: bool = True,
) -> Floats:
    """`[src, dst]` share of resamples over pairs in which each edge is among the top n.

    pair_scores: `[pair, src, dst]`, each pair's own contribution. Ties by position; edges that some
    pair leaves unscored (NaN) are never in the top n. Rows sum to n over edges (fewer if fewer are
    scored). Errors: OptionError for shapes that do not fit or n out of range.
    """
    shape = (graph.n_sources, graph.n_destinations)
    if pair_scores.ndim != 3 or pair_scores.shape[1:] != shape or not len(pair_scores):
        raise OptionError(f"pair scores must have shape (pairs, {shape[0]}, {shape[1]}); got {pair_scores.shape}.")
    n = check_size(n, graph.n_edges, "edges")
    weights = resample_weights(len(pair_scores), resamples, seed)
    scored = graph.mask & ~np.isnan(pair_scores).any(axis=0)
    values = pair_scores[:, scored].astype(np.float64)
    n = min(n, values.shape[1])
    counts = np.zeros(values.shape[1])
    for row in weights:  # row by row: all resamples at once would not fit for millions of edges
        key = row @ values
        key = np.abs(key) if absolute else key
        counts += _top_mask(key, n)
    share = np.zeros(shape)
    share[scored] = counts / resamples
    return share


def _top_mask(key: Floats, n: int) -> NDArray[np.bool_]:
    """`[edge]` true for the n largest, ties by position."""
    if n == 0:
        return np.zeros(len(key), dtype=bool)
    limit = -np.partition(-key, n - 1)[n - 1]
    top = key > limit
    top[np.flatnonzero(key == limit)[: n - int(top.sum())]] = True
    return top


def _means(values: Floats, weights: Floats) -> Floats:
    """`[resample, …]` weighted means of `[…, pair]`."""
    flat = values.reshape(-1, values.shape[-1])
    return (weights @ flat.T).reshape(len(weights), *values.shape[:-1])


def _tiny(clean: Floats, corrupted: Floats) -> float:
    """The gap below which faithfulness is undefined."""
    return TINY_GAP * float(max(np.abs(clean).mean(), np.abs(corrupted).mean()))


def _point_faithfulness(runs: Floats, clean: Floats, corrupted: Floats) -> tuple[Floats, str]:
    low = corrupted.mean()
    gap = float(clean.mean() - low)
    if abs(gap) <= _tiny(clean, corrupted):
        reason = (
            f"undefined: M(clean) − M(corrupted) = {gap:.3g} is too small against the metric "
            f"({clean.mean():.4g}) to divide by; the corruption does not change the behaviour."
        )
        return np.full(runs.shape[:-1], np.nan), reason
    return (runs.mean(axis=-1) - low) / gap, ""


def _weak_gap(clean: Floats, corrupted: Floats, weights: Floats, level: float) -> str:
    low, high = _quantiles(weights @ (clean - corrupted), level)
    if low <= 0 <= high and len(clean) > 1:
        return (
            f"the {level:.0%} interval of M(clean) − M(corrupted), [{low:.3g}, {high:.3g}], includes 0: "
            "the ratio says little; use more pairs or another corruption."
        )
    return ""


def _quantiles(samples: Floats, level: float) -> tuple[Any, Any]:
    if not 0 < level < 1:
        raise OptionError(f"level must lie between 0 and 1; got {level}.")
    tails = ((1 - level) / 2, (1 + level) / 2)
    if np.isnan(samples).any():
        complete = ~np.isnan(samples).reshape(len(samples), -1).any(axis=1)
        samples = samples[complete]
    if not len(samples):
        nothing = np.full(samples.shape[1:], np.nan)
        return nothing, nothing
    low, high = np.quantile(samples, tails, axis=0)
    return low, high


def _band(value: Floats, samples: Floats, level: float, reason: str = "") -> Band:
    low, high = _quantiles(samples, level)
    value = np.asarray(value, dtype=np.float64)
    undefined = float(np.isnan(samples).reshape(len(samples), -1).any(axis=1).mean())
    if np.isnan(value).all():
        low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    return Band(value, np.asarray(low), np.asarray(high), level, len(samples), reason, undefined)


def _flips(value: Floats, samples: Floats) -> Floats:
    resamples = samples[~np.isnan(samples).reshape(len(samples), -1).any(axis=1)]
    if not len(resamples):
        return np.full_like(value, np.nan)
    against = np.sign(resamples) * np.sign(value)
    share = (against < 0).mean(axis=0) + 0.5 * (resamples == 0).mean(axis=0)
    return np.asarray(np.where(np.isnan(value) | (value == 0), np.nan, share))


def _which(area: str) -> int:
    if area not in ("cpr", "cmd"):
        raise OptionError(f"area must be 'cpr' or 'cmd'; got {area!r}.")
    return 0 if area == "cpr" else 1


def _checked(circuits: ArrayLike, clean: ArrayLike, corrupted: ArrayLike) -> tuple[Floats, Floats, Floats]:
    runs, clean_, corrupted_ = (
        _finite(values, what)
        for values, what in ((circuits, "M(circuit)"), (clean, "M(clean)"), (corrupted, "M(corrupted)"))
    )
    if clean_.ndim != 1 or clean_.shape != corrupted_.shape or runs.shape[-1:] != clean_.shape:
        raise OptionError(
            "metrics must be [circuit, pair], [pair] and [pair] over the same pairs; "
            f"got {runs.shape}, {clean_.shape} and {corrupted_.shape}."
        )
    return runs, clean_, corrupted_


def _plain(values: Floats) -> Any:
    """Nested lists with None for NaN."""
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    return plain.tolist()


def _finite(values: ArrayLike, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not array.ndim or not array.shape[-1]:
        raise OptionError(f"{what} must hold at least one pair; got shape {array.shape}.")
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        raise NotFiniteError(f"{what} is {array[tuple(wrong[0])]} for pair {wrong[0][-1]}; expected a finite number.")
    return array
