"""`eap`: gradients at the clean input."""

from __future__ import annotations

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ (z_u − z′_u) · ∂M/∂x_v (x): one pass with gradient, one corrupted pass."""
    corrupted = ctx.reference(ctx.batch.corrupted)
    point = ctx.point(None, sources=True)
    assert point.gradients is not None
    total = ctx.total()
    total.add(point.gradients)
    scores = ctx.contract(ctx.difference(point.run, corrupted), total)
    return Outcome(scores, point.metric, ctx.values(corrupted))
