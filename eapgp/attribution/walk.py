"""Walk GradPath through the input space of a batch, recording every point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from eapgp.attribution.context import Context, Point
from eapgp.attribution.gradpath import advance, step_sizes
from eapgp.attribution.outcome import PathPart
from eapgp.engine.differences import OutputTarget
from eapgp.engine.passes import Capture
from eapgp.models.model import widen


@dataclass(frozen=True)
class Walk:
    """A GradPath that has been started: γ_0 = x has been run.

    metric: M(γ_0); gradient: the path gradient there; sizes: step length s. clean: what the sources wrote at γ_0.
    """

    metric: Float[Tensor, " pair"]
    gradient: Float[Tensor, "pair pos d_model"]
    clean: Capture
    corrupted: Capture
    target: OutputTarget
    part: PathPart
    sizes: Float[Tensor, " pair"]

    def points(self, ctx: Context, *, sources: bool = False) -> Iterator[Point]:
        """γ_1 … γ_k, each with the metric's gradients."""
        steps = ctx.options["steps"]
        value, gradient = self.part.clean, self.gradient
        for step in range(1, steps + 1):
            value = advance(value, gradient, self.sizes)
            point = ctx.point(value, path=self.target if step < steps else None, sources=sources)
            distance = ctx.distance(point.run, self.target) if point.distance is None else point.distance
            self.part.add(value, point.metric, distance, input_gradient=point.input_gradient, norms=ctx.norms(point))
            if point.path_gradient is not None:
                gradient = widen(point.path_gradient)
            yield point
            del point  # a generator's frame would hold it until the next one is made


def start_walk(ctx: Context) -> Walk:
    """Run x′ without gradient and γ_0 = x for the first path gradient."""
    steps = ctx.options["steps"]
    corrupted = ctx.reference(ctx.batch.corrupted)
    target = ctx.target(corrupted, runs=2 * steps + 1)
    start = ctx.point(None, metric_gradient=False, path=target, sources=True)
    x, x_prime = widen(start.run.input), widen(corrupted.input)
    keep = bool(ctx.options.get("keep_points", True))
    part = PathPart("gradpath", x, x_prime, ctx.model.graph.n_destinations, keep)
    assert start.distance is not None
    assert start.path_gradient is not None
    part.add(x, start.metric, start.distance, used=False)
    sizes = step_sizes(ctx.options["step"], x * ctx.mask, x_prime * ctx.mask, steps)
    return Walk(start.metric, widen(start.path_gradient), start.run.sources_only(), corrupted, target, part, sizes)
