"""`ifr`: information flow routes. No metric, no corruption, no gradient."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome
from eapgp.engine.differences import source_values
from eapgp.engine.passes import Keep
from eapgp.models.model import widen


def run(ctx: Context) -> Outcome:
    """score(u→v) = mean over positions of max(0, ‖x_v‖₁ − ‖x_v − z_u‖₁), normalised over u.

    Source: Ferrando & Voita 2024, arXiv:2403.00824, eq. 4–5 (proximity), read at every destination
    of the edge graph; a layer's q, k and v inputs read one residual and so share their scores.
    """
    clean = ctx.reference(ctx.batch.clean, Keep.SOURCES | Keep.RESIDUALS)
    corrupted = ctx.reference(ctx.batch.corrupted)
    graph = ctx.model.graph
    with torch.no_grad():
        values = source_values(ctx.model, clean)
        scores = values.new_zeros((ctx.batch.size, graph.n_sources, graph.n_destinations))
        for layer in range(graph.n_layers):
            column = graph.qkv_slice(layer, "q").start
            count = int(graph.prefix[column])
            flow = _flow(values[:, :count], clean.attn_residual[layer], ctx.mask)
            scores[:, :count, column : column + 3 * graph.n_heads] = flow.unsqueeze(-1)
            column = graph.mlp_destination(layer)
            count = int(graph.prefix[column])
            scores[:, :count, column] = _flow(values[:, :count], clean.mlp_residual[layer], ctx.mask)
        scores[:, :, -1] = _flow(values, clean.final_residual, ctx.mask)
    return Outcome(scores, ctx.values(clean), ctx.values(corrupted))


def _flow(
    values: Float[Tensor, "pair src pos d_model"],
    residual: Float[Tensor, "pair pos d_model"],
    mask: Float[Tensor, "pair pos 1"],
) -> Float[Tensor, "pair src"]:
    """What comes from each source, given the residual that all of them add up to."""
    whole = widen(residual).to(values.device)
    norm = whole.abs().sum(-1)
    proximity = (norm.unsqueeze(1) - (whole.unsqueeze(1) - values).abs().sum(-1)).clamp_min(0)
    share = proximity / proximity.sum(1, keepdim=True).clamp_min(1e-30)
    real = mask.squeeze(-1).to(values.device)
    return (share * real.unsqueeze(1)).sum(-1) / real.sum(-1, keepdim=True)
