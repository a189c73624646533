"""What runs differ in: what each source writes, what takes its place where an edge is cut, how far outputs are apart.

- A head writes z_h W_O[h] (after a post-norm: ⊙ γ_post / σ_post with the run's own σ_post); an
  MLP writes its output; `input` writes the embedding. Output biases are equal in both runs and
  drop out of every difference.
- ‖G(γ) − G(x′)‖² is how far the output is from the corrupted run's (Zhang et al. 2025, section 4).
  G is the logits. With h the tensor that the unembedding W_U reads, G(γ) − G(x′) = (h − h′) W_U, so
  the squared norm is (h − h′) K (h − h′)ᵀ with K = W_U W_Uᵀ `[d_model, d_model]`, computed once per
  model. That is exact, and d_model columns take the place of the whole vocabulary. Models with a
  soft-cap on their logits, and runs too small to repay K, take the logits themselves.
- z′ is the corrupted run's, zero, or the mean over a reference set of prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from eapgp.engine.batches import make_batch, split_batches
from eapgp.engine.passes import Capture, Tokens, capture
from eapgp.errors import OptionError, UnknownNameError
from eapgp.models.model import Layer, Model, widen
from eapgp.prompts.encode import EncodedPairs


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


def source_differences(
    model: Model, run: Capture, other: Capture, shared: int = 0
) -> Float[Tensor, "pair src pos d_model"]:
    """z_u − z′_u for every source, in float32 or wider. shared: leading positions that are left out."""
    return _stack(model, run, other, shared)


def _stack(model: Model, run: Capture, other: Capture | None, shared: int = 0) -> Float[Tensor, "pair src pos d_model"]:
    """Laid out source by source in memory, so that a head's rows are written and read in one piece."""
    first = _change(run.input, None if other is None else other.input, shared)
    out = first.new_empty((model.graph.n_sources, *first.shape))
    out[0] = first
    heads = model.graph.n_heads
    for layer in range(model.graph.n_layers):
        row = model.graph.head_source(layer, 0)
        _write_heads(model, run, other, layer, shared, out[row : row + heads])
        out[row + heads] = _change(run.mlp[layer], None if other is None else other.mlp[layer], shared).to(out.device)
    return out.transpose(0, 1)


def _change(
    value: Float[Tensor, "pair positions *axes"], other: Float[Tensor, "pair positions *axes"] | None, shared: int
) -> Float[Tensor, "pair pos *axes"]:
    """A value, or how far it is from another run's, after the shared positions."""
    value = widen(value.detach()[:, shared:])
    return value if other is None else value - widen(other.detach()[:, shared:])


def _write_heads(
    model: Model,
    run: Capture,
    other: Capture | None,
    layer: int,
    shared: int,
    out: Float[Tensor, "head pair pos d_model"],
) -> None:
    """What the heads of one layer wrote, or how that differs between two runs."""
    view = model.layers[layer]
    if view.attn_post is None:  # linear in z: one product for both runs
        z = _change(run.z[layer], None if other is None else other.z[layer], shared)
        weight = view.w_o
        by_head = z.permute(2, 0, 1, 3).flatten(1, 2)
        if weight.device == out.device:
            torch.bmm(by_head, weight, out=out.view(*by_head.shape[:2], -1))
        else:
            out.copy_(torch.bmm(by_head, weight).view(out.shape))
        return
    written = layer_heads(model, run, layer)
    out.copy_((written if other is None else written - layer_heads(model, other, layer))[:, :, shared:])


# ---- outputs -------------------------------------------------------------------------------------

Objective = Literal["all", "last"]


@dataclass(frozen=True)
class OutputTarget:
    """The output G(x′) that a path heads for, by what its unembedding reads.

    mask: 1 where a position's logits count. use_gram: whether K takes the place of the vocabulary.
    """

    hidden: Float[Tensor, "pair pos d_model"]
    mask: Float[Tensor, "pair pos"]
    use_gram: bool = True

    def distance(self, model: Model, hidden: Float[Tensor, "pair pos d_model"]) -> Float[Tensor, " pair"]:
        """‖G(γ) − G(x′)‖² of a run whose unembedding read `hidden`, differentiable in it."""
        return output_distance(model, hidden, self.hidden, self.mask, use_gram=self.use_gram)


def position_mask(tokens: Tokens, objective: Objective) -> Float[Tensor, "pair pos"]:
    """1 where a position's logits count: every real position, or the answer's alone."""
    if objective == "all":
        return tokens.mask.float()
    answers = torch.zeros_like(tokens.mask, dtype=torch.float32)
    answers[torch.arange(answers.shape[0], device=answers.device), tokens.last] = 1.0
    return answers


def output_distance(
    model: Model,
    hidden: Float[Tensor, "pair pos d_model"],
    reference: Float[Tensor, "pair pos d_model"],
    mask: Float[Tensor, "#pair pos"],
    *,
    use_gram: bool = True,
) -> Float[Tensor, " pair"]:
    """Σ over masked positions of ‖G − G′‖², differentiable in `hidden`.

    hidden, reference: what the unembedding reads in the two runs.
    """
    if model.soft_cap is not None or not use_gram:
        squares = (full_logits(model, hidden) - full_logits(model, reference)).square().sum(-1)
    else:
        difference = widen(hidden) - widen(reference)
        squares = ((difference @ gram(model)) * difference).sum(-1)
    return (squares * mask.to(squares.device)).sum(-1)


def gram(model: Model) -> Float[Tensor, "d_model d_model"]:
    """K = W_U W_Uᵀ, made once per model."""
    if "unembed.gram" not in model.cache:
        weight = widen(model.bridge.unembed.original_component.weight.detach())
        model.cache["unembed.gram"] = weight.T @ weight
    return model.cache["unembed.gram"]


def gram_pays(model: Model, evaluations: int) -> bool:
    """Whether K costs less than the logits of that many token positions would."""
    return "unembed.gram" in model.cache or evaluations > model.d_model // 2


def full_logits(model: Model, hidden: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes vocab"]:
    """Logits of what the unembedding reads, soft-cap included, float32 or wider."""
    component = model.bridge.unembed.original_component
    logits = widen(torch.nn.functional.linear(hidden, component.weight))
    if component.bias is not None:
        logits = logits + widen(component.bias)
    return logits if model.soft_cap is None else model.soft_cap * torch.tanh(logits / model.soft_cap)


# ---- what takes the place of a source ------------------------------------------------------------

INTERVENTIONS = ("patching", "zero", "mean", "mean-positional")


@dataclass(frozen=True)
class Intervention:
    """kind: one of `INTERVENTIONS`. means: of the mean kinds, at one position where they are taken over all."""

    kind: str
    means: Float[Tensor, "src positions d_model"] | None = None

    def values(self, length: int, device: torch.device) -> Float[Tensor, "1 sources positions width"]:
        """z′ `[1, src, pos, d_model]` for prompts of `length` positions (not for patching); 1 where it is the same.

        Positions beyond those seen in the reference prompts take the last one's mean.
        """
        if self.kind == "zero":
            return torch.zeros((1, 1, 1, 1), device=device)
        assert self.means is not None
        means = self.means.to(device)
        if means.shape[1] == 1:
            return means.unsqueeze(0)
        positions = torch.arange(length).clamp_max(means.shape[1] - 1).to(device)
        return means[:, positions].unsqueeze(0)


def make_intervention(kind: str, model: Model, reference: EncodedPairs, allowed: tuple[str, ...]) -> Intervention:
    """Prepare an intervention; the means are taken over the corrupted prompts of `reference`.

    Errors: UnknownNameError, or OptionError where a method does not allow it.
    """
    if kind not in INTERVENTIONS:
        raise UnknownNameError.of("intervention", kind, INTERVENTIONS)
    if kind not in allowed:
        raise OptionError(f"intervention {kind!r} does not fit this method: it allows {', '.join(allowed)}.")
    if kind in ("patching", "zero"):
        return Intervention(kind)
    return Intervention(kind, _means(model, reference, positional=kind == "mean-positional"))


def _means(model: Model, reference: EncodedPairs, *, positional: bool) -> Float[Tensor, "src positions d_model"]:
    longest = int(reference.lengths.max())
    total = torch.zeros((model.graph.n_sources, longest, model.d_model), dtype=torch.float64)
    count = torch.zeros(longest, dtype=torch.float64)
    for part in split_batches(model, reference, None):
        tokens = make_batch(model, reference, part).corrupted
        with torch.no_grad():
            values = source_values(model, capture(model, tokens))
        values = (values * tokens.mask[:, None, :, None].to(values.device)).sum(0)
        total[:, : values.shape[1]] += values.double().cpu()
        count[: values.shape[1]] += tokens.mask.sum(0).double().cpu()
    if positional:
        return (total / count[None, :, None]).float()
    return (total.sum(1, keepdim=True) / count.sum()).float()
