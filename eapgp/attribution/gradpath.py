"""GradPath: the path that EAP-GP takes its gradients along.

1. γ_0 = x, the clean input (embedding and position).
2. g_{j+1} = ∇_γ ‖G(γ_j) − G(x′)‖², with G the output logits.
3. γ_{j+1} = γ_j − s · g_{j+1} / ‖g_{j+1}‖₂, for j = 0 … k−1. The norm is taken per pair over its
   positions × d_model, so that a pair's path never depends on its batch; ‖g‖ = 0 stops it.

Source: Zhang et al. 2025, arXiv:2502.06852, section 4 (their step is s = 1, `unit` here).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def step_sizes(
    step: str | float,
    clean: Float[Tensor, "pair pos d_model"],
    corrupted: Float[Tensor, "pair pos d_model"],
    steps: int,
) -> Float[Tensor, " pair"]:
    """s: ‖x − x′‖ / k per pair (`relative`), 1 (`unit`), or the number given."""
    distance = pair_norm(clean - corrupted)
    if step == "relative":
        return distance / steps
    return distance * 0 + (1.0 if step == "unit" else float(step))


def pair_norm(values: Float[Tensor, "pair pos d_model"]) -> Float[Tensor, " pair"]:
    """‖·‖₂ over positions × d_model."""
    return values.flatten(1).norm(dim=1)


def advance(
    point: Float[Tensor, "pair pos d_model"], gradient: Float[Tensor, "pair pos d_model"], size: Float[Tensor, " pair"]
) -> Float[Tensor, "pair pos d_model"]:
    """γ − s · g / ‖g‖ per pair; a pair whose gradient is zero stays where it is."""
    norm = pair_norm(gradient)
    scale = (size / norm.clamp_min(1e-30)) * (norm > 0)
    return point - scale[:, None, None] * gradient
