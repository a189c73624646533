"""Gradients of the metric at every destination, per head, at the cost of the backward pass.

With g the gradient at a head's raw q (or k, v), W its projection `[d_model, d_head]`, γ, β the
norm's weight and bias, x̂ the normalised residual and σ its scale,

    u = γ ⊙ (W g)
    ∂M/∂x through that head = (u − mean(u) − x̂ · mean(x̂ ⊙ u)) / σ       (RMSNorm: without mean(u))
    mean(x̂ ⊙ u) = g · (q − b − β W) / d_model

Sums over path points stay in head space: Σ_j g_j/σ_j is projected once. `[dst, pos, d_model]` is made for a
few layers at a time, whose columns of the scores are then one matrix product over all positions.
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

    constant_scale: treat every norm's σ as a constant (the rule of RelP). shared: leading positions that are left
    out, since no source differs there; every `pos` below counts from the first one after them.
    """

    model: Model
    constant_scale: bool = False
    shared: int = 0
    layers: list[LayerGradients] = field(default_factory=list)
    final: Float[Tensor, "pair pos d_model"] | None = None

    def __post_init__(self) -> None:
        self.layers = [LayerGradients() for _ in self.model.layers]

    def add(self, run: Capture, gradients: list[Tensor], weight: float = 1.0) -> None:
        """Add one point: its capture and the gradients of `run.destinations()`, in that order."""
        gradients = [g[:, self.shared :] for g in gradients]
        for at, view in enumerate(self.model.layers[run.start :]):
            index = at + run.start
            part = self.layers[index]
            q, k, v, mlp = (widen(g) * weight for g in gradients[4 * at : 4 * at + 4])
            self._add_attention(view, part, run, index, {"q": q, "k": k, "v": v})
            mlp_gradient = norm_gradient(
                view.mlp_norm, run.mlp_residual[at][:, self.shared :], mlp, self.constant_scale
            )
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
            normed, sigma = norm.statistics(run.attn_residual[at][:, self.shared :])
            scaled = {letter: g / sigma.unsqueeze(-1) for letter, g in grads.items()}
            if not self.constant_scale:
                part.normed.append(normed)
                for letter, g in scaled.items():
                    raw = widen(getattr(run, letter)[at].detach()[:, self.shared :])
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
    view: Layer,
    letter: str,
    g: Float[Tensor, "pair pos head d_head"],
    out: Float[Tensor, "head pair pos d_model"] | None = None,
) -> Float[Tensor, "head pair pos d_model"]:
    """u − mean(u) with u = γ ⊙ (W g). out: where it is written, if that is there already."""
    weight = view.weight(letter)
    norm = view.attn_norm
    if norm is not None:
        gamma = norm.gamma
        weight = weight if gamma is None else weight * gamma[None, :, None]
        weight = weight - weight.mean(1, keepdim=True) if norm.centred else weight
    pairs, length, heads, d_head = g.shape
    by_head = g.permute(2, 0, 1, 3).reshape(heads, pairs * length, d_head)
    place = None if out is None else out.view(heads, pairs * length, -1)
    rows = torch.bmm(by_head, weight.transpose(1, 2), out=place)
    return rows.view(heads, pairs, length, -1)


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
        model.cache[key] = torch.einsum("hbem,hbfm->hef", rows, rows)
    return model.cache[key]


TOGETHER = 112
"""Destinations whose columns are one matrix product. Fewer make it slow; more read sources in vain."""


def contract(
    model: Model, difference: Float[Tensor, "pair rows pos d_model"], total: GradientSum, *, first: int = 0
) -> Float[Tensor, "pair src dst"]:
    """First-order effect on the metric of corrupting each edge.

    score(u→v) = Σ_pos (z_u − z′_u) · Σ_j w_j ∂M/∂x_v(γ_j), positive where the edge supports the
    behaviour; 0 where no edge is. The rows of `difference` are the sources from row `first` on, its positions
    those of `total`; destinations of layers that `total` has not seen score 0.

    Source: Syed, Rager & Conmy 2023, arXiv:2310.10348.
    """
    graph, (pairs, count) = model.graph, difference.shape[:2]
    scores = difference.new_zeros((pairs, graph.n_sources, graph.n_destinations))
    store: Tensor | None = None
    for layers in _groups(model, total):
        start = graph.qkv_slice(layers[0], "q").start
        rows = store = _rows(model, total, layers, store)
        stop = start + len(rows)
        read = min(int(graph.prefix[stop - 1]) - first, count)
        if read > 0:
            written = difference[:, :read].to(rows.device).reshape(pairs, read, -1)
            block = written @ rows.flatten(2).permute(1, 2, 0)
            scores[:, first : first + read, start:stop] = block.to(scores.device)
    edges = torch.from_numpy(graph.mask).to(scores.device)  # a group's earlier layers do not read its later sources
    return scores.masked_fill_(~edges, 0.0)


def _groups(model: Model, total: GradientSum) -> list[list[int]]:
    """Layers that have been seen, a few neighbours on one device at a time."""
    most = max(1, TOGETHER // (3 * model.graph.n_heads + 1))
    groups: list[list[int]] = []
    for index, part in enumerate(total.layers):
        if part.mlp is None:
            continue
        last = groups[-1] if groups else []
        before = total.layers[last[-1]].mlp if last else None
        if before is not None and len(last) < most and before.device == part.mlp.device:
            last.append(index)
        else:
            groups.append([index])
    return groups


def _rows(
    model: Model, total: GradientSum, layers: list[int], store: Float[Tensor, "room pair pos d_model"] | None
) -> Float[Tensor, "dst pair pos d_model"]:
    """Gradients at every destination of some layers, and at the logits' with the last layer.

    store: written over if it has room; memory that is new to the process costs as much as the product.
    """
    width, ends = 3 * model.graph.n_heads + 1, layers[-1] == model.graph.n_layers - 1
    first = total.layers[layers[0]].mlp
    assert first is not None and total.final is not None
    count = len(layers) * width + ends
    fits = store is not None and len(store) >= count and store.device == first.device
    rows = store[:count] if store is not None and fits else first.new_empty((count, *first.shape))
    for index, place in zip(layers, rows.split(width), strict=False):
        _layer_rows(model.layers[index], total.layers[index], place)
    if ends:
        rows[-1] = total.final
    return rows


def _layer_rows(view: Layer, part: LayerGradients, rows: Float[Tensor, "inputs pair pos d_model"]) -> None:
    """Write the gradients at a layer's 3 · head query, key and value inputs and at its MLP's."""
    assert part.mlp is not None
    heads = rows[:-1]
    for letter, place in zip(QKV, heads.chunk(len(QKV)), strict=True):
        project_heads(view, letter, part.heads[letter], place)
    for j, normed in enumerate(part.normed):
        along = torch.cat([part.coefficients[letter][j] for letter in QKV], -1).permute(2, 0, 1)
        heads.addcmul_(along.unsqueeze(-1), normed, value=-1)
    rows[-1] = part.mlp
