"""What reaches the logits directly: each source's output through the final norm's frozen scale.

The final norm is x̂ ⊙ γ + β with x̂ = (r − mean r) / σ (RMSNorm: without the mean). With σ as the run
itself had it the norm is linear, and so every source adds its own part to every logit:

    logit_t = Σ_u ((z_u − mean z_u) / σ ⊙ γ) · W_U[t]  +  the same for output biases  +  β · W_U[t] + b_U[t]

(before a soft cap, where the model has one). Source: "direct logit attribution", Elhage et al. 2021,
"A Mathematical Framework for Transformer Circuits".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.engine.differences import head_outputs
from eapgp.engine.passes import Hook, Keep, Tokens, at_positions, capture
from eapgp.models.model import Model, widen


@dataclass(frozen=True)
class FinalStream:
    """The parts of the final residual stream at the answer position.

    bias: what the attention layers' output biases add; scale: σ; residual: their sum as the model had it.
    """

    sources: Float[Tensor, "src pair d_model"]
    bias: Float[Tensor, "pair d_model"]
    scale: Float[Tensor, "pair 1"]
    residual: Float[Tensor, "pair d_model"]


def final_stream(model: Model, tokens: Tokens, *, extra: Sequence[Hook] = ()) -> FinalStream:
    """Run the prompts and take the final residual stream apart. extra: what else is to be seen of that run."""
    run = capture(model, tokens, keep=Keep.SOURCES | Keep.RESIDUALS, extra=extra)
    last = tokens.last
    residual = widen(at_positions(run.final_residual, last))[:, 0]
    parts = [widen(at_positions(run.input, last))[:, 0]]
    bias = torch.zeros_like(parts[0])
    for index, layer in enumerate(model.layers):
        scale = at_positions(run.post_scale[index], last) if run.post_scale else None
        heads = head_outputs(layer, at_positions(run.z[index], last), scale)[:, :, 0]
        parts += [*heads.to(residual.device), widen(at_positions(run.mlp[index], last))[:, 0].to(residual.device)]
        bias = bias + _output_bias(model, index, scale, bias)
    return FinalStream(torch.stack(parts), bias, model.final_norm.scale(residual), residual)


def _output_bias(
    model: Model, index: int, scale: Float[Tensor, "pair 1 1"] | None, like: Float[Tensor, "pair d_model"]
) -> Float[Tensor, "pair d_model"]:
    """What a layer's attention adds besides its heads: b_O, through the post-norm where there is one."""
    layer = model.layers[index]
    bias = layer.attn.b_O
    offset = torch.zeros_like(like) if bias is None else widen(bias.detach()).to(like).expand_as(like)
    if layer.attn_post is None:
        return offset
    assert scale is not None, "a post-norm needs the scale of its own run"
    gamma, beta = layer.attn_post.gamma, layer.attn_post.beta
    offset = offset / scale[:, 0].to(like)
    offset = offset if gamma is None else offset * gamma.detach().to(like)
    return offset if beta is None else offset + beta.detach().to(like)


def normed(
    model: Model, vectors: Float[Tensor, "*axes pair d_model"], scale: Float[Tensor, "pair 1"]
) -> Float[Tensor, "*axes pair d_model"]:
    """Parts of the residual stream through the frozen norm, without β."""
    norm = model.final_norm
    centred = vectors - vectors.mean(-1, keepdim=True) if norm.centred else vectors
    out = centred / scale
    return out if norm.gamma is None else out * norm.gamma.detach().to(out)


def unembedding(model: Model) -> tuple[Float[Tensor, "vocab d_model"], Float[Tensor, " vocab"] | None]:
    """W_U, and b_U or None, as the model keeps them."""
    module = model.bridge.unembed.original_component
    bias = getattr(module, "bias", None)
    return module.weight.detach(), None if bias is None else bias.detach()


def norm_bias(model: Model) -> Float[Tensor, " d_model"] | None:
    """β of the final norm, or None."""
    beta = model.final_norm.beta
    return None if beta is None else beta.detach()
