"""`exact`: activation patching, one edge or node at a time. No gradient; the ground truth of a single edge."""

from __future__ import annotations

from dataclasses import replace

import torch

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome
from eapgp.engine.passes import Keep
from eapgp.engine.patching import patch


def run(ctx: Context) -> Outcome:
    """score(u→v) = M(clean) − M(the clean run with only this edge corrupted).

    A node's score is M(clean) − M(the clean run with all of its outgoing edges corrupted): not the sum of
    its edges' scores, because the edges act together. With `edges` given it is NaN unless all are among them.
    """
    # `patch` says how far it is, and takes whole residuals
    silent = replace(ctx, tick=lambda: None, batch=replace(ctx.batch, shared=0))
    clean = silent.reference(ctx.batch.clean, Keep.SOURCES | Keep.RESIDUALS)
    corrupted = silent.reference(ctx.batch.corrupted)
    base = ctx.values(clean)
    with torch.no_grad():
        difference = silent.difference(clean, corrupted)
    patched = patch(ctx.model, ctx.batch, ctx.metric, clean, difference, ctx.options["edges"], ctx.tick)
    ctx.passes.forward += patched.cost
    start = base.to(patched.edges.device)
    scores = start[:, None, None] - patched.edges
    mask = torch.from_numpy(ctx.model.graph.mask).to(scores.device)
    values = ctx.values(corrupted)
    return Outcome(torch.where(mask, scores, 0.0), base, values, nodes=start[:, None] - patched.nodes)
