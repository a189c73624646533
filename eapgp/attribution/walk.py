"""Walk GradPath through the input space of a batch, recording every point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from eapgp.attribution.context import Context, Point
from eapgp.attribution.gradpath import advance, step_sizes
from eapgp.attribution.recorder import PathPart
from eapgp.attribution.straight import distance_of
from eapgp.engine.distance import gram_pays
from eapgp.engine.passes import Capture
from eapgp.models.adapter import widen


@dataclass(frozen=True)
class Walk:
    """A GradPath that has been started: γ_0 = x has been run, with its path gradient.

    sizes `[pair]`: step length s.
    """

    start: Point
    clean: Capture
    corrupted: Capture
    part: PathPart
    sizes: Tensor

    def points(self, ctx: Context, *, sources: bool = False) -> Iterator[Point]:
        """γ_1 … γ_k, each with the metric's gradients."""
        steps, objective = ctx.options["steps"], ctx.options["objective"]
        assert self.start.path_gradient is not None
        value, gradient = self.part.clean, widen(self.start.path_gradient)
        for step in range(1, steps + 1):
            value = advance(value, gradient, self.sizes)
            path = (self.corrupted.hidden, objective) if step < steps else None
            point = ctx.point(value, path=path, sources=sources)
            distance = distance_of(ctx, point.run, self.corrupted) if point.distance is None else point.distance
            self.part.add(value, point.metric, distance, input_gradient=point.input_gradient, norms=ctx.norms(point))
            yield point
            if point.path_gradient is not None:
                gradient = widen(point.path_gradient)


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
    part.add(x, start.metric, start.distance, used=False)
    sizes = step_sizes(ctx.options["step"], x * ctx.mask, x_prime * ctx.mask, steps)
    return Walk(start, start.run, corrupted, part, sizes)
