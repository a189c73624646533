"""What each source writes, and how that differs between two runs.

A head writes z_h W_O[h] (after a post-norm: ⊙ γ_post / σ_post with the run's own σ_post); an
MLP writes its output; `input` writes the embedding. Output biases are equal in both runs and
drop out of every difference.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from eapgp.engine.passes import Capture
from eapgp.models.adapter import Layer, widen
from eapgp.models.model import Model


def head_outputs(
    layer: Layer,
    z: Float[Tensor, "pair pos head d_head"],
    post_scale: Float[Tensor, "pair pos 1"] | None,
    heads: Int[np.ndarray, " some"] | None = None,
) -> Float[Tensor, "written pair pos d_model"]:
    """What each head writes, without bias. heads: only these, all if left out."""
    weight = layer.w_o
    if heads is not None and len(heads) < len(weight):
        z, weight = z[:, :, heads], weight[heads]
    out = torch.einsum("bphd,hdm->hbpm", widen(z), weight)
    if layer.attn_post is None:
        return out
    assert post_scale is not None, "a post-norm needs the scale of its own run"
    gamma = layer.attn_post.gamma
    scaled = out / post_scale
    return scaled if gamma is None else scaled * gamma


def layer_heads(model: Model, run: Capture, layer: int) -> Float[Tensor, "head pair pos d_model"]:
    """What the heads of one layer wrote in a run."""
    return head_outputs(model.layers[layer], run.z[layer], run.post_scale[layer] if run.post_scale else None)


def source_values(model: Model, run: Capture) -> Float[Tensor, "pair src pos d_model"]:
    """What every source wrote in a run, without output biases."""
    return _stack(model, run, None)


def source_differences(model: Model, run: Capture, other: Capture) -> Float[Tensor, "pair src pos d_model"]:
    """z_u − z′_u for every source, in float32 or wider."""
    return _stack(model, run, other)


def _stack(model: Model, run: Capture, other: Capture | None) -> Float[Tensor, "pair src pos d_model"]:
    """Laid out source by source in memory, so that a head's rows are written and read in one piece."""
    first = widen(run.input.detach())
    pairs, length, width = first.shape
    out = first.new_empty((model.graph.n_sources, pairs, length, width)).transpose(0, 1)
    out[:, 0] = first if other is None else first - widen(other.input.detach())
    heads = model.graph.n_heads
    for layer in range(model.graph.n_layers):
        row = model.graph.head_source(layer, 0)
        out[:, row : row + heads] = _heads(model, run, other, layer).transpose(0, 1).to(out.device)
        mlp = widen(run.mlp[layer])
        out[:, row + heads] = (mlp if other is None else mlp - widen(other.mlp[layer])).to(out.device)
    return out


def _heads(model: Model, run: Capture, other: Capture | None, layer: int) -> Float[Tensor, "head pair pos d_model"]:
    view = model.layers[layer]
    if other is None:
        return layer_heads(model, run, layer)
    if view.attn_post is None:  # linear in z: one product instead of two
        return head_outputs(view, widen(run.z[layer]) - widen(other.z[layer]), None)
    return layer_heads(model, run, layer) - layer_heads(model, other, layer)
