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

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.engine.passes import Capture
from eapgp.graph import QKV
from eapgp.models.model import Layer, Model, Norm, widen


def gradients_of(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    *,
    arrived: Sequence[Tensor] | None = None,
    retain_graph: bool = False,
) -> list[Tensor]:
    """∂ of a scalar at every input; zero where it does not depend on one. arrived: ∂ at the outputs, of which it is one
    where it is left out."""
    partial = torch.autograd.grad(outputs, inputs, arrived, retain_graph=retain_graph, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, partial, strict=True)]


@dataclass(frozen=True)
class LayerPoint:
    """One layer's gradients at a point; `inputs` counts the heads' queries, then their keys, then their values.

    heads: g/σ, or g where attention has no norm before it. mlp: ∂M/∂x. normed: x̂, inner: mean(x̂ ⊙ u)/σ; both None
    without that norm, or where its scale is held constant.
    """

    heads: Float[Tensor, "pair pos inputs d_head"]
    mlp: Float[Tensor, "pair pos d_model"]
    normed: Float[Tensor, "pair pos d_model"] | None = None
    inner: Float[Tensor, "pair pos inputs"] | None = None


@dataclass(frozen=True)
class PointGradients:
    """∂M/∂x_v at one point for every destination v of the layers from `start` on, in the compact form above.

    before: those at earlier positions, which were run by themselves and enter no score.
    """

    model: Model
    start: int
    layers: list[LayerPoint]
    final: Float[Tensor, "pair pos d_model"]
    before: PointGradients | None = None

    def norms(self) -> Float[Tensor, "pair dst"]:
        """‖∂M/∂x_v‖ over positions and d_model for every destination, of a point whose layers were all run."""
        squares = self._squares()
        return (squares if self.before is None else squares + self.before._squares()).sqrt()

    def _squares(self) -> Float[Tensor, "pair dst"]:
        columns = []
        for index, part in enumerate(self.layers, self.start):
            columns += [_head_squares(self.model, index, part), part.mlp.square().sum((1, 2))[:, None]]
        columns.append(self.final.square().sum((1, 2))[:, None])
        return torch.cat([column.cpu() for column in columns], dim=1)


def point_gradients(
    model: Model, run: Capture, gradients: list[Tensor], *, constant_scale: bool = False
) -> PointGradients:
    """Bring the gradients of `run.destinations()`, in that order, into the compact form; the list is emptied.

    constant_scale: treat every norm's σ as a constant (the rule of RelP).
    """
    flat, layers = gradients[::-1], []
    gradients.clear()
    with torch.no_grad():
        for at, view in enumerate(model.layers[run.start :]):
            qkv = torch.cat([widen(flat.pop()) for _ in QKV], dim=2)
            heads, normed, inner = _at_heads(model, run, at, qkv, constant_scale)
            mlp = norm_gradient(view.mlp_norm, run.mlp_residual[at], widen(flat.pop()), constant_scale)
            layers.append(LayerPoint(heads, mlp, normed, inner))
    return PointGradients(model, run.start, layers, widen(flat.pop()))


def _at_heads(
    model: Model, run: Capture, at: int, g: Float[Tensor, "pair pos inputs d_head"], constant_scale: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """g/σ, x̂ and mean(x̂ ⊙ u)/σ of a layer, counted from where the run started."""
    norm = model.layers[run.start + at].attn_norm
    if norm is None:
        return g, None, None
    normed, sigma = norm.statistics(run.attn_residual[at])
    heads = g / sigma.unsqueeze(-1)
    if constant_scale:
        return heads, None, None
    raw = torch.cat([widen(getattr(run, letter)[at].detach()) for letter in QKV], dim=2)
    inner = (heads * (raw - projection_bias(model, run.start + at))).sum(-1) / model.d_model
    return heads, normed, inner


@dataclass
class LayerGradients:
    """Weighted sums over path points for one layer.

    heads: Σ w g/σ. normed: x̂ per point; coefficients: w · mean(x̂ ⊙ u)/σ per point. mlp: Σ w ∂M/∂x.
    """

    heads: Float[Tensor, "pair pos inputs d_head"] | None = None
    normed: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)
    coefficients: list[Float[Tensor, "pair pos inputs"]] = field(default_factory=list)
    mlp: Float[Tensor, "pair pos d_model"] | None = None

    def add(self, part: LayerPoint, weight: float, shared: int) -> None:
        """Add one point; shared: leading positions that are left out."""
        self.heads = _plus(self.heads, part.heads[:, shared:], weight)
        self.mlp = _plus(self.mlp, part.mlp[:, shared:], weight)
        if part.normed is not None and part.inner is not None:
            self.normed.append(part.normed[:, shared:].contiguous())
            self.coefficients.append(part.inner[:, shared:] * weight)


def _plus(total: Tensor | None, value: Tensor, weight: float) -> Tensor:
    """The sum with one more term, in the sum's own memory."""
    return value * weight if total is None else total.add_(value, alpha=weight)


@dataclass
class GradientSum:
    """Σ_j w_j ∂M/∂x_v(γ_j) for every destination v of a batch, in the compact form above.

    shared: leading positions that are left out, since no source differs there; every `pos` of the sums counts from
    the first one after them.
    """

    model: Model
    shared: int = 0
    layers: list[LayerGradients] = field(default_factory=list)
    final: Float[Tensor, "pair pos d_model"] | None = None

    def __post_init__(self) -> None:
        self.layers = [LayerGradients() for _ in self.model.layers]

    def add(self, point: PointGradients, weight: float = 1.0) -> None:
        """Add one point."""
        with torch.no_grad():
            for index, part in enumerate(point.layers, point.start):
                self.layers[index].add(part, weight, self.shared)
            self.final = _plus(self.final, point.final[:, self.shared :], weight)


def projection_bias(model: Model, index: int) -> Float[Tensor, "inputs d_head"]:
    """b + β W of a layer's queries, keys and values: what the projections give for x̂ = 0."""
    key = f"bias.{index}"
    if key not in model.cache:
        model.cache[key] = torch.cat([_projection_bias(model.layers[index], letter) for letter in QKV])
    return model.cache[key]


def _projection_bias(view: Layer, letter: str) -> Float[Tensor, "head d_head"]:
    bias, beta = view.bias(letter), view.attn_norm.beta if view.attn_norm else None
    weight = view.weight(letter)
    total = torch.zeros(weight.shape[0], weight.shape[2], device=weight.device, dtype=weight.dtype)
    if bias is not None:
        total = total + bias
    return total if beta is None else total + torch.einsum("m,hmd->hd", beta, weight)


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


def _head_squares(model: Model, index: int, part: LayerPoint) -> Float[Tensor, "pair inputs"]:
    """‖u − mean u‖² − d c² (2 − mean x̂²), c = mean(x̂ ⊙ u), over σ², summed over positions."""
    pairs, length, count = part.heads.shape[:3]
    by_head = part.heads.permute(2, 0, 1, 3).flatten(1, 2)  # [inputs, pair · pos, d_head]
    squares = ((by_head @ _gram(model, index)) * by_head).sum(-1).view(count, pairs, length).permute(1, 2, 0)
    if part.normed is not None and part.inner is not None:
        spread = part.normed.square().mean(-1, keepdim=True)
        squares = squares - model.d_model * part.inner.square() * (2 - spread)
    return squares.sum(1).clamp_min(0)


def _gram(model: Model, index: int) -> Float[Tensor, "inputs d_head d_head"]:
    """Inner products of the columns of a layer's centred, weighted projections."""
    key = f"gram.{index}"
    if key not in model.cache:
        model.cache[key] = torch.cat([_projection_gram(model.layers[index], letter) for letter in QKV])
    return model.cache[key]


def _projection_gram(view: Layer, letter: str) -> Float[Tensor, "head d_head d_head"]:
    weight = view.weight(letter)
    heads, _, d_head = weight.shape
    eye = torch.eye(d_head, device=weight.device, dtype=weight.dtype)[None, :, None, :]
    rows = project_heads(view, letter, eye.expand(1, d_head, heads, d_head))
    return torch.einsum("hbem,hbfm->hef", rows, rows)


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
    assert part.mlp is not None and part.heads is not None
    heads = rows[:-1]
    for letter, g, place in zip(QKV, part.heads.chunk(len(QKV), dim=2), heads.chunk(len(QKV)), strict=True):
        project_heads(view, letter, g, place)
    for normed, inner in zip(part.normed, part.coefficients, strict=True):
        heads.addcmul_(inner.permute(2, 0, 1).unsqueeze(-1), normed, value=-1)
    rows[-1] = part.mlp
