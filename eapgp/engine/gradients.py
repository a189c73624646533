"""Gradients of the metric at every destination, per head, at the cost of the backward pass.

With g the gradient at a head's raw q (or k, v), W its projection `[d_model, d_head]`, γ, β the
norm's weight and bias, x̂ the normalised residual and σ its scale,

    u = γ ⊙ (W g)
    ∂M/∂x through that head = (u − mean(u) − x̂ · mean(x̂ ⊙ u)) / σ       (RMSNorm: without mean(u))
    mean(x̂ ⊙ u) = g · (q − b − β W) / d_model

Sums over path points stay in head space: Σ_j g_j/σ_j is projected once, and the x̂ term needs only
⟨z_u − z′_u, x̂_j⟩ per source and position. No `[dst, pos, d_model]` buffer is made per point.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.engine.passes import Capture
from eapgp.graph import QKV
from eapgp.models.model import Layer, Model, Norm, widen


@dataclass
class LayerGradients:
    """Weighted sums over path points for one layer.

    heads: letter → Σ w g/σ. normed: x̂ per point; coefficients: letter → w · mean(x̂ ⊙ u)/σ per point;
    both empty where attention has no norm before it, or where the norm's scale is held constant.
    mlp: Σ w ∂M/∂x.
    """

    heads: dict[str, Float[Tensor, "pair pos head d_head"]] = field(default_factory=dict)
    normed: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)
    coefficients: dict[str, list[Float[Tensor, "pair pos head"]]] = field(
        default_factory=lambda: {letter: [] for letter in QKV}
    )
    mlp: Float[Tensor, "pair pos d_model"] | None = None


@dataclass
class GradientSum:
    """Σ_j w_j ∂M/∂x_v(γ_j) for every destination v of a batch, in the compact form above.

    constant_scale: treat every norm's σ as a constant (the rule of RelP).
    """

    model: Model
    constant_scale: bool = False
    layers: list[LayerGradients] = field(default_factory=list)
    final: Float[Tensor, "pair pos d_model"] | None = None

    def __post_init__(self) -> None:
        self.layers = [LayerGradients() for _ in self.model.layers]

    def add(self, run: Capture, gradients: list[Tensor], weight: float = 1.0) -> None:
        """Add one point: its capture and the gradients of `run.destinations()`, in that order."""
        for at, view in enumerate(self.model.layers[run.start :]):
            index = at + run.start
            part = self.layers[index]
            q, k, v, mlp = (widen(g) * weight for g in gradients[4 * at : 4 * at + 4])
            self._add_attention(view, part, run, index, {"q": q, "k": k, "v": v})
            mlp_gradient = norm_gradient(view.mlp_norm, run.mlp_residual[at], mlp, self.constant_scale)
            part.mlp = mlp_gradient if part.mlp is None else part.mlp + mlp_gradient
        last = widen(gradients[-1]) * weight
        self.final = last if self.final is None else self.final + last

    def _add_attention(
        self, view: Layer, part: LayerGradients, run: Capture, index: int, grads: dict[str, Tensor]
    ) -> None:
        norm, at = view.attn_norm, index - run.start
        if norm is None:
            scaled = grads
        else:
            normed, sigma = norm.statistics(run.attn_residual[at])
            scaled = {letter: g / sigma.unsqueeze(-1) for letter, g in grads.items()}
            if not self.constant_scale:
                part.normed.append(normed)
                for letter, g in scaled.items():
                    raw = widen(getattr(run, letter)[at].detach())
                    part.coefficients[letter].append(mean_product(self.model, index, letter, g, raw))
        for letter, g in scaled.items():
            part.heads[letter] = g if letter not in part.heads else part.heads[letter] + g


def projection_bias(model: Model, index: int, letter: str) -> Float[Tensor, "head d_head"]:
    """b + β W: what a projection gives for x̂ = 0."""
    key = f"bias.{index}.{letter}"
    if key not in model.cache:
        view = model.layers[index]
        bias, beta = view.bias(letter), view.attn_norm.beta if view.attn_norm else None
        weight = view.weight(letter)
        total = torch.zeros(weight.shape[0], weight.shape[2], device=weight.device, dtype=weight.dtype)
        if bias is not None:
            total = total + bias
        if beta is not None:
            total = total + torch.einsum("m,hmd->hd", beta, weight)
        model.cache[key] = total
    return model.cache[key]


def mean_product(
    model: Model,
    index: int,
    letter: str,
    g: Float[Tensor, "pair pos head d_head"],
    raw: Float[Tensor, "pair pos head d_head"],
) -> Float[Tensor, "pair pos head"]:
    """mean(x̂ ⊙ u) = g · (q − b − βW) / d_model."""
    return (g * (raw - projection_bias(model, index, letter))).sum(-1) / model.d_model


def norm_gradient(
    norm: Norm | None,
    residual: Float[Tensor, "*axes d_model"],
    g: Float[Tensor, "*axes d_model"],
    constant_scale: bool = False,
) -> Float[Tensor, "*axes d_model"]:
    """Gradient at a norm's input from the gradient at its output."""
    if norm is None:
        return g
    normed, sigma = norm.statistics(residual)
    gamma = norm.gamma
    u = g if gamma is None else g * gamma
    if norm.centred:
        u = u - u.mean(-1, keepdim=True)
    if not constant_scale:
        u = u - normed * (normed * u).mean(-1, keepdim=True)
    return u / sigma


def project_heads(
    view: Layer, letter: str, g: Float[Tensor, "pair pos head d_head"]
) -> Float[Tensor, "pair head pos d_model"]:
    """u − mean(u) with u = γ ⊙ (W g)."""
    weight = view.weight(letter)
    norm = view.attn_norm
    if norm is not None:
        gamma = norm.gamma
        weight = weight if gamma is None else weight * gamma[None, :, None]
        weight = weight - weight.mean(1, keepdim=True) if norm.centred else weight
    pairs, length, heads, d_head = g.shape
    rows = g.permute(2, 0, 1, 3).reshape(heads, pairs * length, d_head) @ weight.transpose(1, 2)
    return rows.reshape(heads, pairs, length, -1).transpose(0, 1)


def gradient_norms(model: Model, run: Capture, gradients: list[Tensor]) -> Float[Tensor, "pair dst"]:
    """‖∂M/∂x_v‖ over positions and d_model for every destination."""
    columns = []
    for index, view in enumerate(model.layers):
        *qkv, mlp = gradients[4 * index : 4 * index + 4]
        for letter, g in zip(QKV, qkv, strict=True):
            columns.append(_head_norms(model, run, index, letter, widen(g)))
        at_residual = norm_gradient(view.mlp_norm, run.mlp_residual[index], widen(mlp))
        columns.append(at_residual.square().sum((1, 2)).sqrt()[:, None])
    columns.append(widen(gradients[-1]).square().sum((1, 2)).sqrt()[:, None])
    return torch.cat([column.cpu() for column in columns], dim=1)


def _head_norms(
    model: Model, run: Capture, index: int, letter: str, g: Float[Tensor, "pair pos head d_head"]
) -> Float[Tensor, "pair head"]:
    """‖u − mean u‖² − d c² (2 − mean x̂²), over σ², summed over positions."""
    view = model.layers[index]
    by_head = g.permute(2, 0, 1, 3).flatten(1, 2)  # [head, pair · pos, d_head]
    squares = ((by_head @ _gram(model, index, letter)) * by_head).sum(-1)
    squares = squares.reshape(g.shape[2], g.shape[0], g.shape[1]).permute(1, 2, 0)
    if view.attn_norm is None:
        return squares.sum(1).clamp_min(0).sqrt()
    normed, sigma = view.attn_norm.statistics(run.attn_residual[index])
    c = mean_product(model, index, letter, g, widen(getattr(run, letter)[index].detach()))
    spread = normed.square().mean(-1, keepdim=True)
    squares = (squares - model.d_model * c.square() * (2 - spread)) / sigma.square()
    return squares.sum(1).clamp_min(0).sqrt()


def _gram(model: Model, index: int, letter: str) -> Float[Tensor, "head d_head d_head"]:
    """Inner products of the centred, weighted projection's columns."""
    key = f"gram.{index}.{letter}"
    if key not in model.cache:
        weight = model.layers[index].weight(letter)
        heads, _, d_head = weight.shape
        eye = torch.eye(d_head, device=weight.device, dtype=weight.dtype)[None, :, None, :]
        rows = project_heads(model.layers[index], letter, eye.expand(1, d_head, heads, d_head))
        model.cache[key] = torch.einsum("bhem,bhfm->hef", rows, rows)
    return model.cache[key]


def contract(
    model: Model, difference: Float[Tensor, "pair rows pos d_model"], total: GradientSum, *, first: int = 0
) -> Float[Tensor, "pair src dst"]:
    """First-order effect on the metric of corrupting each edge.

    score(u→v) = Σ_pos (z_u − z′_u) · Σ_j w_j ∂M/∂x_v(γ_j), positive where the edge supports the
    behaviour; 0 where no edge is. The rows of `difference` are the sources from row `first` on;
    destinations of layers that `total` has not seen score 0.

    Source: Syed, Rager & Conmy 2023, arXiv:2310.10348.
    """
    graph = model.graph
    scores = difference.new_zeros((difference.shape[0], graph.n_sources, graph.n_destinations))
    end = first + difference.shape[1]
    for index, part in enumerate(total.layers):
        if part.mlp is None:
            continue
        start, column = graph.qkv_slice(index, "q").start, graph.mlp_destination(index)
        local = difference.to(part.mlp.device)
        both = max(first, min(int(graph.prefix[start]), end))
        if both > first:
            block = _layer_scores(model, index, part, local[:, : both - first])
            scores[:, first:both, start : column + 1] = block.to(scores.device)
        stop = min(int(graph.prefix[column]), end)
        if stop > both:  # the layer's own heads, which only its MLP reads
            scores[:, both:stop, column] = _dot(local[:, both - first : stop - first], part.mlp).to(scores.device)
    assert total.final is not None
    scores[:, first:end, -1] = _dot(difference, total.final.to(difference.device))
    return scores


def _dot(
    difference: Float[Tensor, "pair src pos d_model"], gradient: Float[Tensor, "pair pos d_model"]
) -> Float[Tensor, "pair src"]:
    """Inner products over positions and d_model."""
    pairs, count = difference.shape[:2]
    return (difference.reshape(pairs, count, -1) @ gradient.reshape(pairs, -1, 1)).squeeze(-1)


def _layer_scores(
    model: Model, index: int, part: LayerGradients, difference: Float[Tensor, "pair src pos d_model"]
) -> Float[Tensor, "pair src inputs"]:
    """Scores of edges into the 3 · head query, key and value inputs of one layer and its MLP."""
    view, (pairs, count) = model.layers[index], difference.shape[:2]
    assert part.mlp is not None
    heads = [project_heads(view, letter, part.heads[letter]).transpose(0, 1) for letter in QKV]
    rows = torch.cat([*heads, part.mlp.unsqueeze(0)]).transpose(0, 1)  # destination by destination in memory
    width = rows.shape[1] - 1
    points = [torch.cat([part.coefficients[x][j] for x in QKV], -1) for j in range(len(part.normed))]
    finish = len(points) * width <= count  # fewer destinations than sources: finish their gradients first
    if finish:
        for normed, coefficient in zip(part.normed, points, strict=True):
            rows[:, :width].addcmul_(normed.unsqueeze(1), coefficient.transpose(1, 2).unsqueeze(-1), value=-1)
    block = difference.reshape(pairs, count, -1) @ rows.reshape(pairs, width + 1, -1).transpose(1, 2)
    if points and not finish:
        along = difference.transpose(1, 2) @ torch.stack(part.normed, dim=-1)  # [pair, pos, src, point]
        block[:, :, :width] -= (along @ torch.stack(points, dim=2)).sum(1)
    return block
