"""`eap-gp-conductance`: GradPath with the per-step increments of the method that it comes from (IG²)."""

from __future__ import annotations

from dataclasses import replace

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome, input_sum
from eapgp.attribution.walk import start_walk


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ_{j=1..k} (z_u(γ_{j−1}) − z_u(γ_j)) · ∂M/∂x_v(γ_j).

    Sums over the input's edges approach M(γ_0) − M(γ_k), the change along the path itself; that
    is M(clean) − M(corrupted) only where the path arrives at the corrupted output.
    """
    ctx = replace(ctx, batch=replace(ctx.batch, shared=0))  # a path changes the positions that both prompts share
    walk = start_walk(ctx)
    scores, before, last = None, walk.clean, walk.metric
    for point in walk.points(ctx, sources=True):
        added = ctx.increment(before, point.run, ctx.gradients_at(point))
        scores = added if scores is None else scores + added
        before, last = point.run.sources_only(), point.metric
        del point  # its tensors, before the next point's are made
    assert scores is not None
    gap = walk.metric - last
    complete = (input_sum(scores).to(gap.device), gap)
    return Outcome(scores, walk.metric, ctx.values(walk.corrupted), {"gradpath": walk.part}, complete)
