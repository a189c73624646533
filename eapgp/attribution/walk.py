"""Walk GradPath through the input space of a batch, recording every point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from eapgp.attribution.context import Context, Point
from eapgp.attribution.gradpath import advance, step_sizes
from eapgp.attribution.increments import bare
from eapgp.attribution.recorder import PathPart
from eapgp.attribution.straight import distance_of
from eapgp.engine.distance import gram_pays
from eapgp.engine.passes import Capture
from eapgp.models.adapter import widen


@dataclass(frozen=True)
class Walk:
    """A GradPath that has been started: γ_0 = x has been run.

    metric `[pair]`: M(γ_0); gradient `[pair, pos, d_model]`: the path gradient there; sizes `[pair]`: step
    length s. clean: what the sources wrote at γ_0.
    """

    metric: Tensor
    gradient: Tensor
    clean: Capture
    corrupted: Capture
    part: PathPart
    sizes: Tensor

    def points(self, ctx: Context, *, sources: bool = False) -> Iterator[Point]:
        """γ_1 … γ_k, each with the metric's gradients."""
        steps, objective = ctx.options["steps"], ctx.options["objective"]
        value, gradient = self.part.clean, self.gradient
        for step in range(1, steps + 1):
            value = advance(value, gradient, self.sizes)
            path = (self.corrupted.hidden, objective) if step < steps else None
            point = ctx.point(value, path=path, sources=sources)
            distance = distance_of(ctx, point.run, self.corrupted) if point.distance is None else point.distance
            self.part.add(value, point.metric, distance, input_gradient=point.input_gradient, norms=ctx.norms(point))
            if point.path_gradient is not None:
                gradient = widen(point.path_gradient)
            yield point
            del point


def start_walk(ctx: Context) -> Walk:
    """Run x′ without gradient and γ_0 = x for the first path gradient."""
    steps, objective = ctx.options["steps"], ctx.options["objective"]
    ctx.use_gram = gram_pays(ctx.model, ctx.batch.clean.mask.numel() * (2 * steps + 1))
    corrupted = ctx.reference(ctx.batch.corrupted)
    start = ctx.point(None, metric_gradient=False, path=(corrupted.hidden, objective), sources=True)
    x, x_prime = widen(start.run.input.detach()), widen(corrupted.input)
    keep = bool(ctx.options.get("keep_points", True))
    part = PathPart("gradpath", x, x_prime, ctx.model.graph.n_destinations, keep)
    assert start.distance is not None
    assert start.path_gradient is not None
    part.add(x, start.metric, start.distance, used=False)
    sizes = step_sizes(ctx.options["step"], x * ctx.mask, x_prime * ctx.mask, steps)
    return Walk(start.metric, widen(start.path_gradient), bare(start.run), corrupted, part, sizes)
