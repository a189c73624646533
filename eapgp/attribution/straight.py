"""Methods that take gradients at points of the straight line between x and x′."""

from __future__ import annotations

from eapgp.attribution.context import Context, Point
from eapgp.attribution.outcome import PathPart
from eapgp.engine.differences import OutputTarget
from eapgp.engine.passes import Capture
from eapgp.models.model import widen


def straight_part(ctx: Context, clean: Capture, corrupted: Capture) -> PathPart:
    """An empty record of the straight line."""
    return PathPart(
        "straight",
        ctx.whole(widen(clean.input)),
        ctx.whole(widen(corrupted.input)),
        ctx.model.graph.n_destinations,
        bool(ctx.options.get("keep_points", True)),
    )


def record_point(ctx: Context, part: PathPart, point: Point, target: OutputTarget) -> None:
    """Write a point down, with its gradients."""
    part.add(
        ctx.whole(point.run.input),
        point.metric,
        ctx.distance(point.run, target),
        input_gradient=point.input_gradient,
        norms=None if point.gradients is None else point.gradients.norms(),
    )


def record_run(ctx: Context, part: PathPart, run: Capture, target: OutputTarget) -> None:
    """Write a run without gradient down."""
    part.add(ctx.whole(run.input), ctx.values(run), ctx.distance(run, target), used=False)
