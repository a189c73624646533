"""`exact`: activation patching, one edge at a time. No gradient; the ground truth of a single edge."""

from __future__ import annotations

import torch

from eapgp.attribution.context import Context
from eapgp.attribution.method import Outcome
from eapgp.engine.patching import patch_edges


def run(ctx: Context) -> Outcome:
    """score(u→v) = M(clean) − M(the clean run with only this edge corrupted)."""
    clean = ctx.reference(ctx.batch.clean, residuals=True)
    corrupted = ctx.reference(ctx.batch.corrupted)
    base = ctx.values(clean)
    with torch.no_grad():
        difference = ctx.difference(clean, corrupted)
    patched, cost = patch_edges(ctx.model, ctx.batch, ctx.metric, clean, difference, ctx.options["edges"], ctx.tick)
    ctx.passes.forward += cost
    scores = torch.where(torch.isnan(patched), patched, base.to(patched.device)[:, None, None] - patched)
    mask = torch.from_numpy(ctx.model.graph.mask).to(scores.device)
    return Outcome(torch.where(mask, scores, 0.0), base, ctx.values(corrupted))
