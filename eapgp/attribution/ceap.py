"""`ceap`: per-step increments along the straight line instead of one multiplier.

Source: arXiv:2606.16920; second-hand: the formula was read from re-implementations.
"""

from __future__ import annotations

from eapgp.attribution.context import Context
from eapgp.attribution.increments import bare
from eapgp.attribution.method import Outcome
from eapgp.attribution.straight import outcome, record_point, record_run, straight_part


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ_j (z_u(γ_{j+1}) − z_u(γ_j)) · ∂M/∂x_v(γ_j), γ from x′ to x in k equal steps.

    The line is walked from the clean end, so each increment ends where the last one began. The
    record runs from the clean to the corrupted end. Sums over the input's edges approach
    M(clean) − M(corrupted) as k grows.
    """
    steps = ctx.options["steps"]
    clean, corrupted = ctx.reference(ctx.batch.clean), ctx.reference(ctx.batch.corrupted)
    part = straight_part(ctx, clean, corrupted)
    record_run(ctx, part, clean, corrupted)
    x, x_prime = clean.input, corrupted.input
    scores, upper = None, clean
    for step in reversed(range(steps)):
        point = ctx.point(x_prime + step / steps * (x - x_prime), sources=True)
        record_point(ctx, part, point, corrupted)
        added = ctx.increment(upper, point.run, point)
        scores = added if scores is None else scores + added
        upper = bare(point.run)
    assert scores is not None
    return outcome(ctx, scores, ctx.values(clean), ctx.values(corrupted), [part])
