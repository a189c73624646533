"""`random`: seeded noise, the baseline that every curve is drawn against."""

from __future__ import annotations

import numpy as np
import torch

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome


def run(ctx: Context) -> Outcome:
    """Independent standard normal scores, equal for every pair."""
    graph = ctx.model.graph
    noise = np.random.default_rng(ctx.options["seed"]).standard_normal((graph.n_sources, graph.n_destinations))
    scores = torch.from_numpy(np.where(graph.mask, noise, 0.0)).float()
    clean, corrupted = ctx.reference(ctx.batch.clean), ctx.reference(ctx.batch.corrupted)
    return Outcome(scores.expand(ctx.batch.size, -1, -1), ctx.values(clean), ctx.values(corrupted))
