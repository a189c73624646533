"""A look at all pairs before any is scored, for methods whose steps depend on the whole run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from eapgp.attribution.context import Context, Passes
from eapgp.attribution.registry import Method
from eapgp.engine.batches import run_halving

Total = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Surveyed:
    """What came of it: what stands beside the options of every batch, and the passes that it took, per pair."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    passes: Passes = field(default_factory=Passes)


def survey_pairs(
    method: Method,
    options: Mapping[str, Any],
    parts: list[Int[np.ndarray, " _"]],
    context: Callable[[Int[np.ndarray, " pair"]], Context],
    total: Total | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Surveyed:
    """Let the method look at all pairs, where its options make it.

    parts: pair indices per batch. total: the sum over processes, None where this one has all pairs; they would get
    out of step if one of them began again, so that a batch which does not fit in memory is halved only without it.
    """
    look = method.survey(options)
    if look is None:
        return Surveyed()
    order, survey = np.concatenate(parts), look

    def work(first: NDArray[np.int64]) -> Surveyed:
        batches = [context(order[start : start + len(first)]) for start in range(0, len(order), len(first))]
        facts, passes = survey(batches, total or (lambda values: values)), Passes()
        for ctx in batches:
            passes = passes.plus(ctx.passes.times(ctx.batch.size / len(order)))
        return Surveyed(facts, passes)

    if total is not None:
        return work(parts[0])
    return next(run_halving(parts[:1], work, say))[1]
