"""How sure a sweep's curves and comparisons are: prompt seeds are resampled, then the pairs within each.

Two methods are compared where both were judged on the same prompts, seed by seed and on the same
resamples, so that differences are paired. Cells whose evaluations kept no pairs are left out.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eapgp.evaluation.areas import MIB_NAMES, is_mib
from eapgp.evaluation.statistics import LEVEL, RESAMPLES, cpr_cmd, resample_weights, resampled_faithfulness
from eapgp.runs.files import canonical
from eapgp.study.table import model_named
from eapgp.types import Floats

if TYPE_CHECKING:
    import pandas as pd

Group = tuple[str, str, str, str]
Name = tuple[str, str]

GROUP = ("model", "dtype", "task", "evaluation")
MOST_COMPARED = 30
"""Up to this many methods are compared each with each; of more, each with the first."""

DIFFERENCES_FILE = "differences.parquet"


@dataclass(frozen=True)
class Drawn:
    """One method's circuits on one prompt seed.

    prompts: hash of the pairs they were run on. selected, fractions, value `[size]`; draws
    `[resample, size]` of normalised faithfulness.
    """

    prompts: str
    selected: NDArray[np.int64]
    fractions: Floats
    value: Floats
    draws: Floats


Methods = dict[Name, dict[int, Drawn]]
"""(label, options) → prompt seed → what was drawn."""


def draw(records: Iterable[Mapping[str, Any]], *, resamples: int = RESAMPLES) -> dict[Group, Methods]:
    """Resample every finished cell; equal prompts get equal resamples."""
    groups: dict[Group, Methods] = {}
    weights: dict[str, Floats] = {}
    for record in records:
        if record["status"] != "done":
            continue
        spec = record["asked"]["spec"]
        method = (str(record["asked"]["label"]), canonical(spec["options"]))
        for evaluation, answer in record["evaluations"].items():
            if "pairs" not in answer:
                continue
            prompts = str(answer["prompts"])
            if prompts not in weights:
                count = len(answer["pairs"]["metric_clean"])
                weights[prompts] = resample_weights(count, resamples, zlib.crc32(prompts.encode()))
            group = (model_named(spec), spec["dtype"], str(spec["task"]), evaluation)
            seeds = groups.setdefault(group, {}).setdefault(method, {})
            seeds.setdefault(spec["seed"], _drawn(answer, prompts, weights[prompts]))
    return groups


def _drawn(answer: Mapping[str, Any], prompts: str, weights: Floats) -> Drawn:
    pairs = answer["pairs"]
    metric, clean, corrupted = (
        np.array(pairs[key], dtype=np.float64) for key in ("metric", "metric_clean", "metric_corrupted")
    )
    return Drawn(
        prompts,
        np.array([entry["edges_selected"] for entry in answer["curve"]], dtype=np.int64),
        np.array(pairs["fractions"], dtype=np.float64),
        np.array([entry["faithfulness"] for entry in answer["curve"]], dtype=np.float64),
        resampled_faithfulness(metric, clean, corrupted, weights),
    )


def over_seeds(draws: Floats, prompts: Iterable[str]) -> Floats:
    """`[resample, …]` mean over seeds of `[seed, resample, …]`, with the seeds themselves drawn anew.

    Seeds with prompts of their own are resampled independently; seeds that were judged on the same
    prompts share their resamples of the pairs.
    """
    count, resamples = draws.shape[:2]
    names = list(prompts)
    rng = np.random.default_rng(0)
    seeds = rng.integers(count, size=(count, resamples))
    which = rng.integers(resamples, size=(count, resamples))
    if len(set(names)) < len(names):
        which = np.broadcast_to(np.arange(resamples), which.shape)
    return np.asarray(draws[seeds, which].mean(axis=0))


def curve_bands(groups: Mapping[Group, Methods]) -> pd.DataFrame:
    """One row per method and size: mean faithfulness over seeds, its interval, and how many seeds."""
    import pandas as pd

    rows = []
    for group, methods in groups.items():
        for (label, options), seeds in methods.items():
            one = next(iter(seeds.values()))
            same = [d for d in seeds.values() if d.selected.tolist() == one.selected.tolist()]
            low, high = _interval(over_seeds(np.stack([d.draws for d in same]), (d.prompts for d in same)))
            value = np.mean([d.value for d in same], axis=0)
            head = {**dict(zip(GROUP, group, strict=True)), "label": label, "options": options, "seeds": len(same)}
            rows += [
                {**head, "edges_selected": int(n), "faithfulness": v, "low": a, "high": b}
                for n, v, a, b in zip(one.selected, value, low, high, strict=True)
            ]
    columns = [*GROUP, "label", "options", "seeds", "edges_selected", "faithfulness", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def method_differences(groups: Mapping[Group, Methods]) -> pd.DataFrame:
    """One row per two methods and quantity: a − b, its interval, and how often the order flips.

    quantity: `cpr` and `cmd` on MIB's grid, `area` and `area_to_one` over other sizes; or `faithfulness` at
    `edges_selected`. verdict: `higher`, `lower`, or `tie`
    where the interval includes 0.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for group, methods in groups.items():
        for a, b in _couples(list(methods)):
            head = dict(zip(GROUP, group, strict=True))
            head |= {"a": a[0], "a_options": a[1], "b": b[0], "b_options": b[1]}
            rows += [{**head, **entry} for entry in _compare(methods[a], methods[b])]
    columns = [*GROUP, "a", "a_options", "b", "b_options", "seeds", "quantity", "edges_selected"]
    numbers = ["difference", "low", "high", "flips"]
    frame = pd.DataFrame(rows, columns=[*columns, *numbers, "verdict"])
    return frame.astype({"edges_selected": "Int64", "seeds": "Int64", **dict.fromkeys(numbers, "Float64")})


def _couples(names: list[Name]) -> Iterator[tuple[Name, Name]]:
    if len(names) <= MOST_COMPARED:
        return itertools.combinations(names, 2)
    return ((name, names[0]) for name in names[1:])


def _compare(a: Mapping[int, Drawn], b: Mapping[int, Drawn]) -> list[dict[str, Any]]:
    """Differences of two methods over the seeds in which both ran circuits of the same sizes on the same prompts."""
    couples = [(a[seed], b[seed]) for seed in a if seed in b and _alike(a[seed], b[seed])]
    couples = [couple for couple in couples if _alike(couple[0], couples[0][0], prompts=False)]
    if not couples:
        return []
    first, prompts = couples[0][0], [x.prompts for x, _ in couples]
    entries = [
        {"quantity": "faithfulness", "edges_selected": int(n), **numbers}
        for n, numbers in zip(
            first.selected,
            _numbers(
                np.stack([x.value - y.value for x, y in couples]),
                np.stack([x.draws - y.draws for x, y in couples]),
                prompts,
            ),
            strict=True,
        )
    ]
    keep = np.unique(first.fractions, return_index=True)[1]
    if len(keep) >= 2:
        values, draws = (
            np.stack([_areas(read(x), x, keep) - _areas(read(y), y, keep) for x, y in couples])
            for read in (lambda d: d.value, lambda d: d.draws)
        )
        names = MIB_NAMES.values() if is_mib(first.fractions) else MIB_NAMES
        areas = zip(names, _numbers(values, draws, prompts), strict=True)
        entries = [{"quantity": name, **numbers} for name, numbers in areas] + entries
    return [{"seeds": len(couples), **entry} for entry in entries]


def _alike(x: Drawn, y: Drawn, *, prompts: bool = True) -> bool:
    same = x.selected.tolist() == y.selected.tolist() and x.fractions.tolist() == y.fractions.tolist()
    return same and (not prompts or x.prompts == y.prompts)


def _areas(faithfulness: Floats, drawn: Drawn, keep: NDArray[np.int64]) -> Floats:
    """`[…, 2]` areas under `[…, size]` and between it and 1."""
    return np.stack(cpr_cmd(drawn.fractions[keep], faithfulness[..., keep]), axis=-1)


def _numbers(values: Floats, draws: Floats, prompts: list[str]) -> list[dict[str, Any]]:
    """Mean over `[seed, item]` with the interval and flips of `[seed, resample, item]`, per item."""
    value, drawn = values.mean(axis=0), _defined(over_seeds(draws, prompts))
    low, high = _interval(drawn)
    against = np.sign(drawn) * np.sign(value)
    shares = (against < 0).mean(axis=0) + 0.5 * (drawn == 0).mean(axis=0) if len(drawn) else np.full(len(value), np.nan)
    flips = np.where((value == 0) | np.isnan(value), np.nan, shares)
    return [
        {"difference": v, "low": a, "high": b, "flips": f, "verdict": _verdict(a, b)}
        for v, a, b, f in zip(value.tolist(), low.tolist(), high.tolist(), flips.tolist(), strict=True)
    ]


def _verdict(low: float, high: float) -> str:
    if np.isnan(low):
        return "undefined"
    return "higher" if low > 0 else "lower" if high < 0 else "tie"


def _defined(draws: Floats) -> Floats:
    """The resamples in which everything was defined."""
    return draws[~np.isnan(draws).any(axis=tuple(range(1, draws.ndim)))]


def _interval(draws: Floats) -> tuple[Floats, Floats]:
    """Percentile interval over `[resample, …]`."""
    defined = _defined(draws)
    if not len(defined):
        nothing = np.full(draws.shape[1:], np.nan)
        return nothing, nothing
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
