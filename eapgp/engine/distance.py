"""‖G(γ) − G(x′)‖²: how far the output is from the corrupted run's (Zhang et al. 2025, section 4).

G is the logits. With h the tensor that the unembedding W_U reads, G(γ) − G(x′) = (h − h′) W_U, so
the squared norm is (h − h′) K (h − h′)ᵀ with K = W_U W_Uᵀ `[d_model, d_model]`, computed once per
model. That is exact, and d_model columns take the place of the whole vocabulary. Models with a
soft-cap on their logits, and runs too small to repay K, take the logits themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.engine.passes import Tokens
from eapgp.models.adapter import widen
from eapgp.models.model import Model

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
