"""`eap-ig`: gradients averaged over the straight line from the corrupted to the clean input."""

from __future__ import annotations

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome
from eapgp.attribution.quadrature import fractions
from eapgp.attribution.straight import record_point, record_run, straight_part


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ (z_u − z′_u) · (1/k) Σ_j ∂M/∂x_v (x′ + α_j (x − x′)).

    The record runs from the clean end to the corrupted end, as GradPath's does.
    """
    ctx = ctx.after_shared()
    clean, corrupted = ctx.references()
    part, target, total = straight_part(ctx, clean, corrupted), ctx.target(corrupted), ctx.total()
    alphas = sorted(fractions(ctx.options["steps"], ctx.options["points"]), reverse=True)
    if alphas[0] < 1:
        record_run(ctx, part, clean, target)
    for alpha in alphas:
        point = ctx.point(corrupted.input + alpha * (clean.input - corrupted.input))
        assert point.gradients is not None
        total.add(point.gradients, 1 / len(alphas))
        record_point(ctx, part, point, target)
        del point  # its tensors, before the next point's are made
    if alphas[-1] > 0:
        record_run(ctx, part, corrupted, target)
    scores = ctx.contract(ctx.difference(clean, corrupted), total)
    return Outcome.of_inputs(scores, ctx.values(clean), ctx.values(corrupted), [part])
