"""`ceap`: per-step increments along the straight line instead of one multiplier.

Source: arXiv:2606.16920; second-hand: the formula was read from re-implementations.
"""

from __future__ import annotations

from eapgp.attribution.context import Context, Point
from eapgp.attribution.outcome import Outcome, PathPart
from eapgp.attribution.straight import record_point, record_run, straight_part
from eapgp.engine.differences import OutputTarget
from eapgp.engine.gradients import GradientSum
from eapgp.engine.passes import Capture


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ_j (z_u(γ_{j+1}) − z_u(γ_j)) · ∂M/∂x_v(γ_j), γ from x′ to x in k equal steps.

    γ_0 = x′ is the corrupted run itself, and the last increment ends at the clean run. The record
    is turned round, to run from the clean to the corrupted end as the others do. Sums over the
    input's edges approach M(clean) − M(corrupted) as k grows.
    """
    ctx, steps = ctx.after_shared(), ctx.options["steps"]
    clean = ctx.reference(ctx.batch.clean)
    point = ctx.point(None, tokens=ctx.batch.corrupted, sources=True)
    part, target = straight_part(ctx, clean, point.run), ctx.target(point.run)
    x, x_prime, end = clean.input, point.run.input.detach(), point.metric
    scores, here = None, _compact(ctx, part, target, point)
    del point  # its tensors, before the next point's are made
    for step in range(1, steps + 1):
        gradients, lower = here
        if step < steps:
            here = _compact(ctx, part, target, ctx.point(x_prime + step / steps * (x - x_prime), sources=True))
        added = ctx.increment(here[1] if step < steps else clean, lower, gradients)
        scores = added if scores is None else scores.add_(added)
        del added
    record_run(ctx, part, clean, target)
    part.reverse()
    assert scores is not None
    return Outcome.of_inputs(scores, ctx.values(clean), end, [part])


def _compact(ctx: Context, part: PathPart, target: OutputTarget, point: Point) -> tuple[GradientSum, Capture]:
    """Write a point down; what increments take from it, a quarter of its tensors."""
    record_point(ctx, part, point, target)
    return ctx.gradients_at(point), point.run.sources_only()
