"""`clean-corrupted`: gradients at the clean and at the corrupted input, averaged."""

from __future__ import annotations

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome


def run(ctx: Context) -> Outcome:
    """Mean of the two end points' gradients."""
    clean = ctx.point(None, sources=True)
    corrupted = ctx.point(None, tokens=ctx.batch.corrupted, sources=True)
    total = ctx.total()
    for point in (clean, corrupted):
        assert point.gradients is not None
        total.add(point.gradients, 0.5)
    scores = ctx.contract(ctx.difference(clean.run, corrupted.run), total)
    return Outcome(scores, clean.metric, corrupted.metric)
