"""One layer's output at a time: the `-activations` methods.

A component is the input, the attention of one layer (all its heads) or one MLP. Its output to the
residual stream is replaced, everything after it follows, everything else stays clean. The model is run
from the component's layer on; nothing before it is run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.attribution.context import Context, Point
from eapgp.attribution.outcome import Outcome
from eapgp.engine.differences import OutputTarget
from eapgp.engine.gradients import GradientSum
from eapgp.engine.passes import Capture, Keep
from eapgp.models.model import widen


@dataclass(frozen=True)
class Component:
    """Output of one layer's branch in both runs; hook None for the input.

    rows: the sources that make it up. start: the layer to run from; residual: what enters it.
    """

    rows: slice
    start: int
    residual: Float[Tensor, "pair pos d_model"]
    hook: Any | None
    clean: Float[Tensor, "pair pos d_model"]
    corrupted: Float[Tensor, "pair pos d_model"]

    def point(
        self,
        ctx: Context,
        value: Float[Tensor, "pair pos d_model"],
        *,
        path: OutputTarget | None = None,
        metric_gradient: bool = True,
    ) -> Point:
        """Run with the component's output at `value`, gradients included."""
        if self.hook is None:
            return ctx.point(value, path=path, metric_gradient=metric_gradient)
        leaf = value.detach().to(self.clean.dtype).clone().requires_grad_(True)
        return replace(ctx, leaf=leaf).point(
            self.residual,
            start=self.start,
            path=path,
            metric_gradient=metric_gradient,
            extra=((self.hook, lambda _x: leaf),),
        )


def components(ctx: Context, clean: Capture, corrupted: Capture) -> Iterator[Component]:
    """Every component, in the order in which they are written. The runs keep outputs and residuals."""
    graph = ctx.model.graph
    yield Component(slice(0, 1), 0, clean.input, None, clean.input, corrupted.input)
    stream = clean.streams
    for index, layer in enumerate(ctx.model.layers):
        first, mlp = graph.head_source(index, 0), graph.mlp_source(index)
        attention = (clean.attention[index], corrupted.attention[index])
        yield Component(slice(first, mlp), index, stream[index], layer.attn_out, *attention)
        outputs = (clean.mlp[index], corrupted.mlp[index])
        yield Component(slice(mlp, mlp + 1), index, stream[index], layer.mlp_out, *outputs)


def reference_components(ctx: Context) -> tuple[Capture, Capture]:
    """The clean and the corrupted run with everything that `components` needs."""
    keep = Keep.SOURCES | Keep.OUTPUTS
    return ctx.reference(ctx.batch.clean, keep), ctx.reference(ctx.batch.corrupted, keep)


class ComponentScores:
    """Scores put together component by component."""

    def __init__(self, ctx: Context, clean: Capture, corrupted: Capture) -> None:
        self.ctx, self.clean, self.corrupted = ctx, clean, corrupted
        with torch.no_grad():
            self.difference = ctx.difference(clean, corrupted)
        self.scores: Float[Tensor, "pair src dst"] | None = None

    def add(self, component: Component, total: GradientSum) -> None:
        """Contract a component's own sources with the gradients taken along its path."""
        rows = component.rows
        added = self.ctx.contract(self.difference[:, rows], total, first=rows.start)
        self.scores = added if self.scores is None else self.scores + added

    def outcome(self) -> Outcome:
        """The finished result."""
        assert self.scores is not None
        ctx = self.ctx
        return Outcome.of_inputs(self.scores, ctx.values(self.clean), ctx.values(self.corrupted))


def between(component: Component, alpha: float) -> Float[Tensor, "pair pos d_model"]:
    """x′ + α (x − x′) in the component's output space."""
    low, high = widen(component.corrupted), widen(component.clean)
    return low + alpha * (high - low)
