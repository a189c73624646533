"""`mask-ig`: integrated gradients over the edges instead of the inputs.

1. The corrupted run stores the residual r′_v that each destination reads.
2. At α every destination reads x_v = α r_v(α) + (1−α) r′_v, with r_v(α) the α-network's own residual:
   every edge carries the mixture α z_u + (1−α) z′_u. The branches (attention, MLP, final norm) read
   the mixture; the residual stream itself is left alone. The embedding is the clean one.
3. score(u→v) = (1/k) Σ_j Σ_pos (z_u(α_j) − z′_u) · ∂M/∂x_v(α_j), total derivatives.

α = 1 is the clean run and α = 0 reads like the corrupted one. d/dα of the metric is the sum over
all edges, so scores add up to M(clean) − M(corrupted) as k grows.

Ours; close to the mask gradients of auto-circuit (Miller, Chughtai & Saunders 2024, arXiv:2407.08734).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome
from eapgp.attribution.quadrature import fractions
from eapgp.engine.passes import Capture, Hook, Keep, hooked
from eapgp.models.model import Model

HALVINGS = 8  # of the interval 0 … 1 in which a calibrated α is sought
SMALL_GAP = 1e-6  # below this share of the metric a pair's own gap cannot be followed


def run(ctx: Context) -> Outcome:
    """score(u→v) = (1/k) Σ_j Σ_pos (z_u(α_j) − z′_u) · ∂M/∂x_v(α_j); k forward and k backward passes.

    Complete with the nodes at midpoints: Σ scores → M(clean) − M(corrupted).
    """
    clean, corrupted = ctx.reference(ctx.batch.clean), ctx.reference(ctx.batch.corrupted, Keep.SOURCES | Keep.RESIDUALS)
    scores, alphas = None, nodes(ctx, clean, corrupted)
    for alpha in alphas:
        with mixed(ctx.model, corrupted, alpha):
            point = ctx.point(None, sources=True)
        added = ctx.increment(point.run, corrupted, ctx.gradients_at(point)) / len(alphas)
        scores = added if scores is None else scores + added
    assert scores is not None
    value, low = ctx.values(clean), ctx.values(corrupted)
    complete = (scores.sum((1, 2)).to(value.device), value - low) if ctx.options["nodes"] == "midpoints" else None
    return Outcome(scores, value, low, complete=complete)


@contextlib.contextmanager
def mixed(model: Model, corrupted: Capture, alpha: Float[Tensor, "pair 1 1"]) -> Iterator[None]:
    """Every branch reads α r + (1−α) r′. corrupted: a run with residuals.

    Entered before a pass's own hooks are set, so that what the pass keeps are the mixed inputs.
    """
    hooks: list[Hook] = []
    for index, layer in enumerate(model.layers):
        hooks.append((layer.attn_residual, partial(_mixture, alpha, corrupted.attn_residual[index])))
        if layer.mlp_residual is not layer.attn_residual:
            hooks.append((layer.mlp_residual, partial(_mixture, alpha, corrupted.mlp_residual[index])))
    hooks.append((model.bridge.ln_final.hook_in, partial(_mixture, alpha, corrupted.final_residual)))
    with model.lock, hooked(hooks):
        yield


def _mixture(
    alpha: Float[Tensor, "pair 1 1"], corrupted: Float[Tensor, "pair pos d_model"], x: Float[Tensor, "pair pos d_model"]
) -> Float[Tensor, "pair pos d_model"]:
    """α x + (1−α) r′ of one branch's residual."""
    alpha = alpha.to(x)
    return alpha * x + (1 - alpha) * corrupted.to(x)


def nodes(ctx: Context, clean: Capture, corrupted: Capture) -> list[Float[Tensor, "pair 1 1"]]:
    """α_1 … α_k: the midpoints (j + ½)/k, or where the metric passes its own levels."""
    middles = fractions(ctx.options["steps"], "midpoint")
    if ctx.options["nodes"] == "calibrated":
        return [_crossing(ctx, clean, corrupted, level_of(middle)) for middle in middles]
    shape = (ctx.batch.size, 1, 1)
    return [torch.full(shape, middle, device=ctx.model.device, dtype=torch.float64) for middle in middles]


def level_of(middle: float) -> float:
    """The share of the metric's change at which a calibrated node lies: 20, 50 and 80 % for k = 3."""
    return 0.05 + 0.9 * middle


def _crossing(ctx: Context, clean: Capture, corrupted: Capture, level: float) -> Float[Tensor, "pair 1 1"]:
    """α at which (M(α) − M(corrupted)) / (M(clean) − M(corrupted)) passes `level`, by bisection.

    Each pair has its own α, so that its scores never depend on its batch. A pair whose metric does
    not differ between its two prompts takes α = `level`.
    """
    low_metric, gap = ctx.values(corrupted), ctx.values(clean) - ctx.values(corrupted)
    usable = gap.abs() > SMALL_GAP * ctx.values(clean).abs().clamp_min(SMALL_GAP)
    low, high = torch.zeros_like(gap), torch.ones_like(gap)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        with mixed(ctx.model, corrupted, middle[:, None, None]):
            values = ctx.values(ctx.reference(ctx.batch.clean))
        below = (values - low_metric) / gap < level
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    crossing = torch.where(usable, (low + high) / 2, torch.full_like(gap, level))
    return crossing[:, None, None]
