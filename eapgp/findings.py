"""What a result says, in one sentence with its numbers and their uncertainty. NumPy only.

Every number of a sentence stands in `Finding.numbers` too, unrounded. Intervals are those of
`eapgp.evaluation.statistics`: percentiles over prompt pairs drawn with replacement. They say how far other pairs of the
same kind would move the number, not how far other scores or another model would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eapgp.attribution.result import PathRecord
from eapgp.circuits.circuit import Circuit
from eapgp.errors import OptionError
from eapgp.evaluation.runner import Measured
from eapgp.evaluation.statistics import USUAL, Band, Resampling, bootstrap_mean, bootstrap_ratio, resampled_faithfulness
from eapgp.ground_truth.compare import precision_recall
from eapgp.numerals import count, number, percent, percent_with, signed_with

PATHS = {"gradpath": "GradPath", "straight": "The straight line"}
ENOUGH = 0.9
"""The share of the behaviour that a curve's sentence asks for."""
_NAMED = 3  # missed edges that a sentence names


@dataclass(frozen=True)
class Finding:
    """A sentence and the numbers in it.

    numbers: by name, plain values, unrounded; NaN where undefined. remark: why it deserves little trust, or "".
    """

    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        plain = {name: None if _is_nan(value) else value for name, value in self.numbers.items()}
        return {"text": self.text, "numbers": plain, **({"remark": self.remark} if self.remark else {})}


def of_circuit(measured: Measured, at: int = 0, *, how: Resampling = USUAL) -> Finding:
    """How much of the behaviour one measured circuit keeps: `47 of 479 edges keep 94 % [92, 96] of the behaviour`.

    at: which of the measured circuits. The share is the normalised faithfulness; one pair alone has no interval.
    """
    band = measured.band(how=how)
    value, low, high = _ends(band.value[at], band.low[at], band.high[at], measured.runs.metric.shape[1])
    kept, n_edges = measured.kept[at], measured.n_edges
    numbers = {"edges": kept, "n_edges": n_edges, "faithfulness": value, "low": low, "high": high}
    text = keeps(kept, measured.selected[at], n_edges, (value, low, high))
    return Finding(text, numbers, band.reason)


def keeps(kept: int, selected: int, n_edges: int, faithfulness: tuple[float, float, float]) -> str:
    """The sentence of `of_circuit` from its numbers; faithfulness: value and ends of its interval, NaN where none."""
    edges = f"{count(kept)} of {count(n_edges)} edges"
    if not kept:
        return f"None of the {count(selected)} strongest edges lies on a way from input to logits."
    if math.isnan(faithfulness[0]):
        return f"What {edges} keep of the behaviour is undefined."
    return f"{edges} {'keeps' if kept == 1 else 'keep'} {percent_with(*faithfulness)} of the behaviour."


def of_difference(names: tuple[str, str], first: Measured, second: Measured, *, how: Resampling = USUAL) -> Finding:
    """Which of two methods' circuits keeps more, on the same resamples of the same pairs.

    names: what the sentence calls the two. first, second: one circuit each (`Measured.take`), of the same pairs. It is
    a tie where the interval of the difference holds 0. Errors: OptionError for several circuits, as
    `bootstrap_difference`.
    """
    if len(first.selected) != 1 or len(second.selected) != 1:
        raise OptionError(f"a difference of two circuits: got {len(first.selected)} and {len(second.selected)}.")
    gap = first.minus(second, how=how)
    value, low, high = _ends(gap.value[0], gap.low[0], gap.high[0], first.runs.metric.shape[1])
    sizes = first.kept[0], second.kept[0]
    numbers = {"difference": value, "low": low, "high": high, "edges": list(sizes), "n_edges": first.n_edges}
    a, b = names if value >= 0 or math.isnan(value) else names[::-1]
    if value < 0:
        value, low, high = -value, -high, -low
    if math.isnan(value):
        text = f"Which of {a} and {b} keeps more at this size is undefined"
    elif math.isnan(low):
        more = "more than" if value else "as much as"
        text = f"{a} keeps {more} {b} on this one pair: {signed_with(value, low, high)}"
    elif low > 0:
        text = f"{a} keeps more than {b} at this size: {signed_with(value, low, high)}"
    else:
        text = f"{a} and {b} are a tie at this size: {signed_with(value, low, high)}"
    return Finding(f"{text}.", numbers, gap.reason)


def of_path(record: PathRecord, pair: int | None = None, *, how: Resampling = USUAL) -> Finding:
    """Whether a path came nearer to the corrupted output: the share of the distance ‖G(γ) − G(x′)‖² that is left.

    The share is Σ over pairs at the end over Σ at the start. The straight line ends at x′ itself, so of it the last
    point whose gradient counts is told. pair: of one pair alone (from 0), without an interval.
    """
    name, straight = PATHS.get(record.kind, record.kind), record.kind == "straight"
    last = int(np.flatnonzero(record.used)[-1]) if straight else record.n_points - 1
    chosen = slice(None) if pair is None else slice(pair, pair + 1)
    start = np.asarray(record.output_distance[0][chosen], dtype=np.float64)
    end = np.asarray(record.output_distance[last][chosen], dtype=np.float64)
    band = bootstrap_ratio(end, start, np.zeros_like(start), how=how)
    value, low, high = _ends(band.value, band.low, band.high, len(start))
    nearer, n = int((end < start).sum()), len(start)
    numbers = {"left": value, "low": low, "high": high, "nearer": nearer, "pairs": n, "step": last}
    left = percent_with(value, low, high)
    if math.isnan(value):
        text = f"{name} begins at the corrupted output already"
    elif straight:
        text = f"{name} takes its last gradient with {left} of the distance to the corrupted output left"
    elif low <= 1 <= high:
        text = f"{name} came neither nearer to the corrupted output nor moved away: {left} of the distance is left"
    elif value < 1:
        text = f"{name} came nearer to the corrupted output on {_of(nearer, n)}: {left} of the distance is left"
    else:
        times = f"{number(value)} times" + ("" if math.isnan(low) else f" [{number(low)}, {number(high)}]")
        text = f"{name} moved away from the corrupted output on {_of(n - nearer, n)}: {times} the distance at the start"
    return Finding(f"{text}.", numbers)


def of_curve(measured: Measured, share: float = ENOUGH, *, how: Resampling = USUAL) -> Finding:
    """The fewest measured edges that keep a share of the behaviour: `47 of 479 edges [24, 71] are enough for 90 % …`.

    Circuits in increasing size; of nodes where they were selected by nodes. Per resample of the pairs the first size
    that reaches the share is taken, and the interval is that of these sizes.
    """
    runs, of = measured.runs, "nodes" if measured.nodes else "edges"
    kept, total = (measured.nodes, measured.n_nodes) if measured.nodes else (measured.kept, measured.n_edges)
    faithfulness = np.asarray(measured.faithfulness)
    numbers: dict[str, Any] = {"share": share, f"n_{of}": total}
    reason = measured.band(how=how).reason
    if np.isnan(faithfulness).all():
        return Finding(f"How many {of} keep the behaviour is undefined.", numbers, reason)
    at = _first(faithfulness, share)
    if at is None:
        best = int(np.nanargmax(faithfulness))
        numbers |= {of: kept[best], "faithfulness": float(faithfulness[best])}
        most = f"the best, of {count(kept[best])} {of}, keeps {percent(float(faithfulness[best]))}"
        return Finding(f"No measured circuit keeps {percent(share)} of the behaviour: {most}.", numbers, reason)
    n_pairs = runs.metric.shape[1]
    drawn = resampled_faithfulness(runs.metric, runs.metric_clean, runs.metric_corrupted, how.weights(n_pairs))
    sizes = [kept[-1] if place is None else kept[place] for place in (_first(row, share) for row in drawn)]
    tails = (1 - how.level) / 2, (1 + how.level) / 2
    low, high = (int(one) for one in np.quantile(sizes, tails, method="inverted_cdf"))
    numbers |= {of: kept[at], "low": low, "high": high, "faithfulness": float(faithfulness[at])}
    between = "" if n_pairs == 1 else f" [{count(low)}, {count(high)}]"
    are = "is" if kept[at] == 1 else "are"
    some = f"{count(kept[at])} of {count(total)} {of}{between}"
    return Finding(f"{some} {are} enough to keep {percent(share)} of the behaviour.", numbers, reason)


def of_clusters(n_clusters: int, edges: int, one: Band, own: Band, over: tuple[Band, Band], at: int = 0) -> Finding:
    """Whether clusters of pairs are served better by circuits of their own than by one for all, at equal size.

    edges: of each circuit. one, own: faithfulness of the circuit for all and of the clusters' own, `[size]`. over: own
    minus one, and own minus circuits of random clusters of the same sizes. at: which size. Separate circuits are worth
    it where both intervals lie above 0.
    """
    gap, control = over
    ends = {
        name: _ends(band.value[at], band.low[at], band.high[at], 2)
        for name, band in (("one", one), ("own", own), ("gap", gap), ("control", control))
    }
    numbers = {
        "clusters": n_clusters,
        "edges": edges,
        **{
            f"{name}_{end}": value
            for name, three in ends.items()
            for end, value in zip(("value", "low", "high"), three, strict=True)
        },
    }
    if math.isnan(ends["gap"][0]):
        return Finding("What circuits of these clusters keep is undefined.", numbers, one.reason)
    if ends["gap"][1] > 0 and ends["control"][1] > 0:
        verdict = f"{count(n_clusters)} circuits serve these pairs better than one"
    elif ends["gap"][2] < 0:
        verdict = "One circuit serves these pairs better than one for each cluster"
    else:
        verdict = "One circuit serves these pairs as well as one for each cluster"
    kept = f"they keep {percent_with(*ends['own'])}, one for all {percent_with(*ends['one'])}"
    text = f"{verdict}: with {count(edges)} edges each {kept} ({signed_with(*ends['gap'])})."
    return Finding(text, numbers, one.reason)


def of_reference(name: str, rule: str, edges: int, own: Band, best: Band, gap: Band, at: int = 0) -> Finding:
    """How far a method's circuit is from the best one that is known at its size.

    name: the method; rule: how its circuit was selected. own, best: faithfulness of its circuit and of a learned mask,
    `[size]`; gap: best minus own, paired. at: which size.
    """
    bands = {"own": own, "best": best, "gap": gap}
    ends = {key: _ends(band.value[at], band.low[at], band.high[at], 2) for key, band in bands.items()}
    numbers: dict[str, Any] = {"edges": edges, "rule": rule}
    for key, three in ends.items():
        numbers |= {f"{key}_{end}": value for end, value in zip(("value", "low", "high"), three, strict=True)}
    if math.isnan(ends["gap"][0]):
        return Finding("How far these circuits are from the best is undefined.", numbers, own.reason)
    kept = f"with {count(edges)} edges {name}'s keeps {percent_with(*ends['own'])}, a learned mask "
    kept += f"{percent_with(*ends['best'])} ({signed_with(*ends['gap'])})"
    if ends["gap"][1] > 0:
        verdict = f"The best known circuit keeps more than {name}'s"
    elif ends["gap"][2] < 0:
        verdict = f"{name}'s circuit keeps more than the learned one"
    else:
        verdict = f"No better circuit than {name}'s was found"
    return Finding(f"{verdict}: {kept}.", numbers, own.reason)


def of_truth(circuit: Circuit, truth: Circuit, *, name: str, of: str = "known") -> Finding:
    """Which edges of a known circuit another one holds: `EAP finds 7 of the 8 planted edges; it misses m1->m2`.

    name: what found the circuit. of: what the sentence calls the known edges. Errors: OptionError for another graph.
    """
    overlap = precision_recall(circuit, truth)
    missed = sorted(set(truth.edge_names()) - set(circuit.edge_names()), key=truth.edge_names().index)
    numbers = {"hits": overlap.hits, "known": overlap.n_true, "kept": overlap.n_found, "missed": missed}
    among = f"among the {count(overlap.n_found)} it keeps"
    if not missed:
        text = f"{name} finds all {count(overlap.n_true)} {of} edges {among}"
    else:
        text = f"{name} finds {count(overlap.hits)} of the {count(overlap.n_true)} {of} edges {among}"
        text += f"; it misses {_listed(missed)}"
    return Finding(f"{text}.", numbers)


def of_prompts(n_right: int, n_pairs: int, *, name: str, how: Resampling = USUAL) -> Finding:
    """On how many prompts a model is right: `demo gets 63 of 64 prompts right, 98 % [95, 100]`.

    name: what the sentence calls the model. Errors: OptionError without a pair or for more right ones than pairs.
    """
    if not 0 <= n_right <= n_pairs or not n_pairs:
        raise OptionError(f"right answers: expected 0 to {n_pairs} of at least one pair, got {n_right}.")
    band = bootstrap_mean(np.arange(n_pairs) < n_right, how=how)
    value, low, high = _ends(band.value, band.low, band.high, n_pairs)
    numbers = {"right": n_right, "pairs": n_pairs, "share": value, "low": low, "high": high}
    if n_pairs == 1:
        return Finding(f"{name} gets this prompt {'right' if n_right else 'wrong'}.", numbers)
    return Finding(f"{name} gets {_of(n_right, n_pairs, 'prompt')} right, {percent_with(value, low, high)}.", numbers)


def of_methods(values: Mapping[str, Mapping[str, tuple[float, float, float]]], *, share: float) -> Finding:
    """Which method's circuits are the most faithful on how many tasks.

    values: task → method → (faithfulness, low, high) at one size. share: that size's share of the edges. A task is
    clear where the best method's interval lies above every other's value. Errors: OptionError without a task.
    """
    if not values:
        raise OptionError("methods on tasks: expected at least one task, got none.")
    best = {task: max(methods, key=lambda name: methods[name][0]) for task, methods in values.items()}
    clear = [
        task
        for task, name in best.items()
        if all(values[task][name][1] > other[0] for one, other in values[task].items() if one != name)
    ]
    wins = {name: list(best.values()).count(name) for name in dict.fromkeys(best.values())}
    ranked = sorted(wins, key=lambda name: -wins[name])
    first, rest = ranked[0], ranked[1:]
    numbers = {"share": share, "tasks": len(values), "wins": wins, "clear": clear}
    text = f"With {percent(share, 1)} of the edges {first} keeps most on {_of(wins[first], len(values), 'task')}"
    text += "".join(f", {name} on {count(wins[name])}" for name in rest)
    return Finding(f"{text}; clearly, by its interval, on {count(len(clear))}.", numbers)


def _ends(value: Any, low: Any, high: Any, n_pairs: int) -> tuple[float, float, float]:
    """Plain floats; one pair drawn again and again is no interval."""
    if n_pairs == 1:
        return float(value), float("nan"), float("nan")
    return float(value), float(low), float(high)


def _first(faithfulness: Sequence[float] | np.ndarray, share: float) -> int | None:
    """The first place that reaches a share."""
    places = np.flatnonzero(np.asarray(faithfulness) >= share)
    return int(places[0]) if len(places) else None


def _of(some: int, n: int, noun: str = "pair") -> str:
    return f"{count(some)} of {count(n)} {noun}{'' if n == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_NAMED])
    if len(names) > _NAMED:
        return f"{', '.join(shown)} and {count(len(names) - _NAMED)} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
