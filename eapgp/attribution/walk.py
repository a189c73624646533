"""Walk GradPath through the input space of a batch, recording every point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from eapgp.attribution.context import Context, Point
from eapgp.attribution.gradpath import Steps, pair_norm, random_direction
from eapgp.attribution.options import AT_START
from eapgp.attribution.outcome import PathPart
from eapgp.engine.differences import OutputTarget
from eapgp.engine.passes import Capture
from eapgp.models.model import widen

NORMS = "norms"  # beside a method's options: ‖g_1‖ … ‖g_k‖ over all pairs of the run


@dataclass(frozen=True)
class Walk:
    """A GradPath that has been started: γ_0 = x has been run.

    metric: M(γ_0); gradient, distance: the path gradient and ‖G − G(x′)‖² there. clean: what the sources wrote at γ_0.
    first: γ_0 itself where its gradients enter the scores, until it has been taken.
    """

    metric: Float[Tensor, " pair"]
    gradient: Float[Tensor, "pair pos d_model"]
    distance: Float[Tensor, " pair"]
    clean: Capture
    corrupted: Capture
    target: OutputTarget
    part: PathPart
    steps: Steps
    first: list[Point]

    def points(self, ctx: Context, *, sources: bool = False) -> Iterator[Point]:
        """γ_1 … γ_k (or γ_0 … γ_{k−1}), each with the metric's gradients."""
        last = self.steps.count
        late = not self.first
        if self.first:
            yield self.first.pop()
        value, gradient, distance = self.part.clean, self.gradient, self.distance
        for number in range(1, last + 1):
            value = self.steps.advance(number - 1, value, gradient, distance)
            used = late or number < last
            path = self.target if number < last else None
            point = ctx.point(value, path=path, metric_gradient=used, sources=sources)
            distance = ctx.distance(point.run, self.target) if point.distance is None else point.distance
            _record(ctx, self.part, value, point, distance)
            if point.path_gradient is not None:
                gradient = widen(point.path_gradient)
            if used:
                yield point
            del point  # a generator's frame would hold it until the next one is made


def start_walk(ctx: Context) -> Walk:
    """Run x′ without gradient and γ_0 = x for the first path gradient."""
    count = ctx.options["steps"]
    early = ctx.options.get("points") == AT_START
    corrupted = ctx.reference(ctx.batch.corrupted)
    target = ctx.target(corrupted, runs=2 * count + 1)
    start = ctx.point(None, metric_gradient=early, path=target, sources=True)
    x, x_prime = widen(start.run.input), widen(corrupted.input)
    keep = bool(ctx.options.get("keep_points", True))
    part = PathPart("gradpath", x, x_prime, ctx.model.graph.n_destinations, keep)
    assert start.distance is not None
    assert start.path_gradient is not None
    _record(ctx, part, x, start, start.distance)
    return Walk(
        start.metric,
        widen(start.path_gradient),
        start.distance,
        start.run.sources_only(),
        corrupted,
        target,
        part,
        _steps(ctx, x, x_prime),
        [start] if early else [],
    )


def _steps(ctx: Context, x: Float[Tensor, "pair pos d_model"], x_prime: Float[Tensor, "pair pos d_model"]) -> Steps:
    """The steps that the options ask for."""
    options = ctx.options
    plain = Steps(options["step"], options["steps"], pair_norm(x * ctx.mask - x_prime * ctx.mask), options.get(NORMS))
    if options["direction"] == "random":
        along = random_direction(ctx.batch.clean, ctx.batch.corrupted, options["seed"], x)
        return replace(plain, along=along)
    return replace(plain, away=options["direction"] == "reversed")


def _record(
    ctx: Context,
    part: PathPart,
    value: Float[Tensor, "pair pos d_model"],
    point: Point,
    distance: Float[Tensor, " pair"],
) -> None:
    """Write a point down, with the gradients that were taken there."""
    used = point.gradients is not None
    norms = None if point.gradients is None else point.gradients.norms()
    part.add(value, point.metric, distance, input_gradient=point.input_gradient, norms=norms, used=used)


def survey_norms(
    batches: Sequence[Context], total: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> dict[str, Any]:
    """‖g_1‖ … ‖g_k‖ over all pairs of the run: they walk in step, before any is scored.

    total: the sum over processes. k forward and k backward passes, and the corrupted one.
    """
    count = int(batches[0].options["steps"])
    norms = [0.0] * count
    walkers = [_start(ctx, norms) for ctx in batches]
    for number in range(count):
        squares = sum(float(pair_norm(one.gradient).double().square().sum()) for one in walkers)
        norms[number] = float(np.sqrt(total(np.array([squares]))[0]))
        if number + 1 < count:
            walkers = [one.ahead(number) for one in walkers]
    return {NORMS: norms}


@dataclass(frozen=True)
class _Walker:
    """A batch at a point of its path. gradient: the path gradient there; distance: ‖G − G(x′)‖²."""

    ctx: Context
    target: OutputTarget
    steps: Steps
    value: Float[Tensor, "pair pos d_model"]
    gradient: Float[Tensor, "pair pos d_model"]
    distance: Float[Tensor, " pair"]

    def ahead(self, number: int) -> _Walker:
        """At γ_{number+1}, from γ_number."""
        value = self.steps.advance(number, self.value, self.gradient, self.distance)
        point = self.ctx.point(value, metric_gradient=False, path=self.target)
        assert point.path_gradient is not None and point.distance is not None
        return replace(self, value=value, gradient=widen(point.path_gradient), distance=point.distance)


def _start(ctx: Context, norms: Sequence[float]) -> _Walker:
    """At γ_0. norms: filled in as the walkers get on."""
    corrupted = ctx.reference(ctx.batch.corrupted)
    target = ctx.target(corrupted, runs=2 * len(norms) + 1)
    point = ctx.point(None, metric_gradient=False, path=target)
    assert point.path_gradient is not None and point.distance is not None
    x = widen(point.run.input)
    steps = replace(_steps(ctx, x, widen(corrupted.input)), norms=norms)
    return _Walker(ctx, target, steps, x, widen(point.path_gradient), point.distance)
