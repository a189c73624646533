"""At which words an edge matters: its score told apart by spans of the prompt.

The score of an edge is a sum over positions, score(u→v) = Σ_p (z_u − z′_u)(p) · Σ_j w_j ∂M/∂x_v(p)(γ_j), so that
part_s(u→v), the sum over the positions of span s alone, needs no further pass: only the contraction is done span by
span. The parts add up to the score.

Source: Haklay, Orgad, Bau, Mueller & Belinkov 2025, arXiv:2502.04577 (edges with positions, and spans that prompts of
unequal length share).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from eapgp.attribution.api import prepare
from eapgp.attribution.context import Context
from eapgp.attribution.registry import METHODS_BY_POSITION, get_method
from eapgp.attribution.result import SpanScores
from eapgp.attribution.survey import survey_pairs
from eapgp.engine.batches import make_batch, run_halving, split_batches
from eapgp.engine.differences import make_intervention
from eapgp.engine.gradients import GradientSum
from eapgp.errors import OptionError
from eapgp.metrics import Compute
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs
from eapgp.prompts.pairs import PromptSet
from eapgp.prompts.spans import Spans
from eapgp.types import Progress


@dataclass(frozen=True)
class _SpanContext(Context):
    """A context whose contractions are done span by span. spans: `[pair, pos]` of the batch; parts: `[src, dst]` per
    span, Σ over the batch's pairs and over contractions."""

    spans: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    parts: list[Float[np.ndarray, "src dst"]] = field(default_factory=list)

    def contract(
        self, difference: Float[Tensor, "pair rows pos d_model"], total: GradientSum, *, first: int = 0
    ) -> Float[Tensor, "pair src dst"]:
        start = self.batch.start + self.shared
        places = torch.from_numpy(self.spans[:, start : start + difference.shape[2]]).to(difference.device)
        whole: Tensor | None = None
        for span in range(len(self.parts)):
            inside = (places == span)[:, None, :, None]
            if not bool(inside.any()):
                continue
            part = super().contract(difference * inside, total, first=first)
            self.parts[span] += part.double().sum(0).cpu().numpy()
            whole = part if whole is None else whole + part
        return super().contract(difference, total, first=first) if whole is None else whole


def span_scores(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    spans: Spans,
    *,
    method: str = "eap-gp",
    metric: str | Compute | None = None,
    intervention: str = "patching",
    progress: Progress | None = None,
    **options: Any,
) -> SpanScores:
    """What every span adds to the score of every edge, mean over pairs, in units of the metric.

    Summed over spans it is what `attribute` gives. Errors: OptionError for a method that does not score by
    contracting activations with gradients, or spans of other pairs; as `attribute`.
    """
    if method not in METHODS_BY_POSITION:
        raise OptionError(
            f"method {method!r} does not tell positions apart: expected {', '.join(METHODS_BY_POSITION)}."
        )
    row = get_method(method)
    settings = {**row.every_option(options), "keep_points": False}
    encoded, measure = prepare(model, prompts, metric, contrast=row.needs_contrast(intervention))
    if spans.of.shape != encoded.clean.shape:
        raise OptionError(
            f"spans of {spans.of.shape[0]} pairs of {spans.of.shape[1]} positions: expected those of these prompts, "
            f"{encoded.n} pairs of {encoded.clean.shape[1]}."
        )
    ablation = make_intervention(intervention, model, encoded, row.interventions)

    def context(index: NDArray[np.int64]) -> _SpanContext:
        batch, shape = make_batch(model, encoded, index, measure), model.graph.mask.shape
        if row.after_shared and intervention == "patching":
            batch = batch.after_shared(model)
        parts = [np.zeros(shape) for _ in spans.names]
        return _SpanContext(model, batch, measure, settings, ablation, spans=spans.of[index], parts=parts)

    parts = split_batches(model, encoded, None)
    settings |= survey_pairs(row, settings, parts, context).facts
    total, done = np.zeros((len(spans.names), *model.graph.mask.shape)), 0

    def work(index: NDArray[np.int64]) -> list[Float[np.ndarray, "src dst"]]:
        ctx = context(index)
        row.run(ctx)
        return ctx.parts

    for index, found in run_halving(parts, work, lambda message: None):
        total += np.stack(found)
        done += len(index)
        if progress is not None:
            progress("telling positions apart", done / encoded.n)
    return SpanScores(model.graph, spans.names, (total / encoded.n).astype(np.float32), method)
