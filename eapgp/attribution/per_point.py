"""What every point of a path adds to the score of each edge.

1. Run the method as it is; its gradient sum also keeps the gradients of every point apart.
2. Contract each point's share with the difference that the whole sum is contracted with.

Contraction is linear, so the parts add up to the scores: score(u→v) = Σ_j part_j(u→v), where
part_j = (z_u − z′_u) · w_j ∂M/∂x_v(γ_j) (for the increments of `ceap` with its own difference per step).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from eapgp.attribution.api import prepare
from eapgp.attribution.context import Context
from eapgp.attribution.registry import get_method
from eapgp.attribution.survey import survey_pairs
from eapgp.engine.batches import make_batch, run_halving, split_batches
from eapgp.engine.differences import make_intervention
from eapgp.engine.gradients import GradientSum, PointGradients
from eapgp.errors import OptionError
from eapgp.metrics import Compute
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs
from eapgp.prompts.pairs import PromptSet
from eapgp.types import Progress

METHODS_BY_POINT = ("eap-gp", "eap-ig", "ceap", "eap-gp-conductance")


@dataclass
class _Apart(GradientSum):
    """A gradient sum that also keeps each point's own term."""

    points: list[GradientSum] = field(default_factory=list)

    def add(self, point: PointGradients, weight: float = 1.0) -> None:
        super().add(point, weight)
        one = GradientSum(self.model, self.shared)
        one.add(point, weight)
        self.points.append(one)


@dataclass(frozen=True)
class _PointContext(Context):
    """A context that contracts every point by itself. parts: one per point, Σ over the batch's pairs."""

    parts: list[Float[np.ndarray, "src dst"]] = field(default_factory=list)

    def total(self) -> GradientSum:
        return _Apart(self.model, self.shared)

    def contract(
        self, difference: Float[Tensor, "pair rows pos d_model"], total: GradientSum, *, first: int = 0
    ) -> Float[Tensor, "pair src dst"]:
        assert isinstance(total, _Apart)
        for point in total.points:
            part = super().contract(difference, point, first=first)
            self.parts.append(part.double().sum(0).cpu().numpy())
        return super().contract(difference, total, first=first)


def point_scores(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    *,
    method: str = "eap-gp",
    metric: str | Compute | None = None,
    pair: int | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Float[np.ndarray, "point src dst"]:
    """What each used point of the method's path adds to the scores, mean over pairs.

    Points are in the order of `PathRecord.used`; their sum is what `attribute` gives. pair: this pair
    alone (from 0). Units of the metric.
    Errors: OptionError for a method that follows no path in the input space, or a pair out of range.
    """
    if method not in METHODS_BY_POINT:
        raise OptionError(f"method {method!r} has no points to tell apart: expected {', '.join(METHODS_BY_POINT)}.")
    row = get_method(method)
    settings = {**row.every_option(options), "keep_points": False}
    encoded, measure = prepare(model, prompts, metric)
    if pair is not None and not 0 <= pair < encoded.n:
        raise OptionError(f"pair {pair} does not exist: expected 0 … {encoded.n - 1}.")
    intervention = make_intervention("patching", model, encoded, row.interventions)

    def context(index: NDArray[np.int64]) -> _PointContext:
        return _PointContext(model, make_batch(model, encoded, index, measure), measure, settings, intervention)

    settings |= survey_pairs(row, settings, split_batches(model, encoded, batch_size), context).facts
    if pair is not None:
        encoded = encoded.take(np.array([pair]))

    def work(index: NDArray[np.int64]) -> NDArray[np.float64]:
        ctx = context(index)
        row.run(ctx)
        return np.stack(ctx.parts)

    total, done = None, 0
    for index, parts in run_halving(split_batches(model, encoded, batch_size), work, lambda message: None):
        total = parts if total is None else total + parts
        done += len(index)
        if progress is not None:
            progress("taking the gradients at every point", done / encoded.n)
    assert total is not None  # prepare refuses an empty prompt set
    result: NDArray[np.float64] = total / encoded.n
    return result


__all__ = ["METHODS_BY_POINT", "point_scores"]
