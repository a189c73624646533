"""Methods that take gradients at points of the straight line between x and x′."""

from __future__ import annotations

import torch
from torch import Tensor

from eapgp.attribution.context import Context, Point
from eapgp.attribution.recorder import PathPart
from eapgp.engine.distance import output_distance, position_mask
from eapgp.engine.passes import Capture


def reference_runs(ctx: Context) -> tuple[Capture, Capture]:
    """The clean and the corrupted run, without gradient."""
    return ctx.reference(ctx.batch.clean), ctx.reference(ctx.batch.corrupted)


def distance_of(ctx: Context, run: Capture, corrupted: Capture) -> Tensor:
    """`[pair]` ‖G(γ) − G(x′)‖² of a run, over the positions of the objective."""
    mask = position_mask(ctx.batch.clean, ctx.options.get("objective", "all"))
    with torch.no_grad():
        return output_distance(ctx.model, run.hidden.detach(), corrupted.hidden.detach(), mask, use_gram=ctx.use_gram)


def straight_part(ctx: Context, clean: Capture, corrupted: Capture) -> PathPart:
    """An empty record of the straight line."""
    return PathPart(
        "straight",
        clean.input.detach().float(),
        corrupted.input.detach().float(),
        ctx.model.graph.n_destinations,
        bool(ctx.options.get("keep_points", True)),
    )


def record_point(ctx: Context, part: PathPart, point: Point, corrupted: Capture, *, used: bool = True) -> None:
    """Write a point down, with its gradients."""
    part.add(
        point.run.input.detach(),
        point.metric,
        distance_of(ctx, point.run, corrupted),
        input_gradient=point.input_gradient,
        norms=ctx.norms(point),
        used=used,
    )


def record_run(ctx: Context, part: PathPart, run: Capture, corrupted: Capture) -> None:
    """Write a run without gradient down."""
    part.add(run.input, ctx.values(run), distance_of(ctx, run, corrupted), used=False)
