"""`mask-ig-refined`: mask-ig, and then gradients at the states of the circuits that it finds.

1. Round 0: mask-ig's scores S; acc = S / Σ|S|.
2. For f = 0.5, 0.2, 0.1, 0.05 of the edges: C = the pruned top f by |acc|. Run the network with edge
   weights 0.9 in C and 0 outside, and back with 0.9 in C and 0.5 outside.
   a(u→v) = Σ_pos (z_u(m) − z′_u) · ∂M/∂x_v, and acc += a / Σ|a|.

Circuits are judged with most edges cut, so the ranking is corrected where it will be used. Each round
goes through all pairs, since the circuits are those of the whole prompt set: no pair's scores depend
on its batch. acc is scaled by Σ|S| over the number of rounds (see `rounds`), which changes no ranking and
keeps the unit of the metric. Ours.
"""

from __future__ import annotations

import numpy as np

from eapgp.attribution import mask_ig
from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome, accumulated
from eapgp.engine.gradients import gradients_of
from eapgp.engine.passes import Keep
from eapgp.engine.weighted_pass import strongest, weighted_run, weighted_scores

FRACTIONS = (0.5, 0.2, 0.1, 0.05)
INSIDE, OUTSIDE, OUTSIDE_BACKWARD = 0.9, 0.0, 0.5


def run(ctx: Context) -> Outcome:
    """One round on one batch: mask-ig first, then a gradient at the circuit of the earlier rounds."""
    if not ctx.earlier:
        first = mask_ig.run(ctx)
        return Outcome(first.scores, first.metric_clean, first.metric_corrupted)
    fraction = FRACTIONS[len(ctx.earlier) - 1]
    graph = ctx.model.graph
    circuit = strongest(graph, accumulated(ctx.earlier), int(fraction * graph.n_edges))
    corrupted = ctx.reference(ctx.batch.corrupted, Keep.SOURCES | Keep.RESIDUALS)
    weights, backward = (np.where(circuit, INSIDE, outside) * graph.mask for outside in (OUTSIDE, OUTSIDE_BACKWARD))
    weighted = weighted_run(ctx.model, ctx.batch.clean, corrupted, weights, backward)
    values = ctx.metric.compute(weighted.logits, ctx.batch.targets)
    gradients = gradients_of(values.sum(), weighted.inputs)
    ctx.passes.forward += 1
    ctx.passes.backward += 1
    ctx.tick()
    scores = weighted_scores(ctx.model, weighted, gradients, ctx.mask)
    return Outcome(scores, values.detach(), ctx.values(corrupted))
