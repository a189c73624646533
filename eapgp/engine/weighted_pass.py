"""Run a network whose edges carry weights, with gradient: x_v = Σ_u m_uv z_u + (1 − m_uv) z′_u.

A circuit is the case m ∈ {0, 1}; a network mixed evenly is the case of one m for all. Every
destination has an input of its own, as in `circuit_pass`; here it stays on the autograd graph.

1. Sources are kept as they are written, as z_u − z′_u.
2. Before each branch the inputs of its destinations are put together, x_v = r′_v + Σ_u m_uv (z_u − z′_u),
   and take the place of the model's own at raw q, k, v, at the MLP's input and at the final norm.
3. On the way back z_u receives Σ_v b_uv ∂M/∂x_v: b may differ from m, so that an edge that is all
   but cut still hands a gradient on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from eapgp.engine.differences import head_outputs, source_values
from eapgp.engine.passes import Capture, Hook, Tokens, answer_hook, call
from eapgp.graph import QKV, Graph
from eapgp.models.model import Layer, Model, widen


@dataclass(frozen=True)
class WeightedRun:
    """What a weighted run leaves behind, on the autograd graph.

    inputs: per layer x_v of its q, k and v destinations (3 · head of them) and of its MLP; last that of
    the logits. differences: z_u − z′_u, detached. logits: at the answer position.
    """

    inputs: list[Float[Tensor, "_ pair pos d_model"]]
    differences: Float[Tensor, "pair src pos d_model"]
    logits: Float[Tensor, "pair vocab"]


class _Weigh(torch.autograd.Function):
    """Weighted sums over sources, whose backward pass has weights of its own."""

    @staticmethod
    def forward(
        ctx: Any,
        written: Float[Tensor, "src values"],
        weights: Float[Tensor, "dst src"],
        backward: Float[Tensor, "dst src"],
    ) -> Float[Tensor, "dst values"]:
        ctx.save_for_backward(backward)
        return weights @ written

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        return weights.T @ grads[0], None, None


class _Run:
    """State of one run: what has been written so far, and the inputs made from it."""

    def __init__(
        self,
        model: Model,
        corrupted: Capture,
        weights: Float[np.ndarray, "src dst"],
        backward: Float[np.ndarray, "src dst"],
    ) -> None:
        self.model, self.corrupted = model, corrupted
        with torch.no_grad():
            self.reference = source_values(model, corrupted)
        self.weights, self.backward = (torch.from_numpy(np.ascontiguousarray(w.T)) for w in (weights, backward))
        self.written: dict[int, Tensor] = {}
        self.inputs: list[Tensor] = []
        self.qkv: dict[str, Tensor] = {}

    def enter(self, x: Float[Tensor, "pair pos d_model"]) -> Float[Tensor, "pair pos d_model"]:
        leaf = x.detach().clone().requires_grad_(True)
        self.write(0, leaf)
        return leaf

    def write(self, row: int, value: Float[Tensor, "pair pos d_model"]) -> None:
        wide = widen(value)
        self.written[row] = wide - self.reference[:, row].to(wide)

    def write_heads(
        self,
        layer: int,
        z: Float[Tensor, "pair pos head d_head"],
        scale: Float[Tensor, "pair pos 1"] | None,
    ) -> None:
        first = self.model.graph.head_source(layer, 0)
        for head, output in enumerate(head_outputs(self.model.layers[layer], z, scale)):
            self.write(first + head, output)

    def read(
        self, columns: slice, corrupted: Float[Tensor, "pair pos d_model"]
    ) -> Float[Tensor, "column pair pos d_model"]:
        """Inputs of the destinations in `columns`, kept."""
        count = int(self.model.graph.prefix[columns.start])
        wide = widen(corrupted)
        stack = torch.stack([self.written[row].to(wide) for row in range(count)])
        weights, backward = (w[columns, :count].to(wide) for w in (self.weights, self.backward))
        summed = _Weigh.apply(stack.flatten(1), weights, backward)
        inputs = wide + summed.reshape(-1, *wide.shape)  # type: ignore[no-untyped-call]
        self.inputs.append(inputs)
        return inputs

    def attention(self, layer: int, own: Float[Tensor, "pair pos d_model"]) -> None:
        """Raw q, k and v of the layer, every head from its own input."""
        view, heads = self.model.layers[layer], self.model.graph.n_heads
        start = self.model.graph.qkv_slice(layer, "q").start
        inputs = self.read(slice(start, start + 3 * heads), self.corrupted.attn_residual[layer]).to(own)
        normed = inputs if view.attn_norm is None else view.attn_norm.apply(inputs)
        for number, letter in enumerate(QKV):
            part = widen(normed[number * heads : (number + 1) * heads])
            out = torch.einsum("hbpm,hmd->bphd", part, view.weight(letter))
            bias = view.bias(letter)
            self.qkv[letter] = (out if bias is None else out + bias).to(own.dtype)

    def mlp(self, layer: int, own: Float[Tensor, "pair pos d_model"]) -> Float[Tensor, "pair pos d_model"]:
        column = self.model.graph.mlp_destination(layer)
        read = self.read(slice(column, column + 1), self.corrupted.mlp_residual[layer])[0].to(own)
        norm = self.model.layers[layer].mlp_norm
        return read if norm is None else norm.apply(read)

    def final(self, own: Float[Tensor, "pair pos d_model"]) -> Float[Tensor, "pair pos d_model"]:
        last = self.model.graph.n_destinations - 1
        return self.read(slice(last, last + 1), self.corrupted.final_residual)[0].to(own)


def weighted_run(
    model: Model,
    tokens: Tokens,
    corrupted: Capture,
    weights: Float[np.ndarray, "src dst"],
    backward: Float[np.ndarray, "src dst"],
) -> WeightedRun:
    """Run `tokens` with edge weights m, and b on the way back. corrupted: a run with residuals."""
    run = _Run(model, corrupted, weights, backward)
    hooks: list[Hook] = [(model.layers[0].hook_in, run.enter)]
    for index, layer in enumerate(model.layers):
        hooks += _layer_hooks(run, index, layer)
    hooks += [(model.bridge.ln_final.hook_in, run.final), answer_hook(model, tokens)]
    with torch.enable_grad():
        logits = call(model, tokens, hooks)
    order = sorted(run.written)
    differences = torch.stack([run.written[row].detach() for row in order], dim=1)
    return WeightedRun(run.inputs, differences, widen(logits[:, -1]))


def _layer_hooks(run: _Run, index: int, layer: Layer) -> list[Hook]:
    pending: dict[str, Tensor] = {}

    def attention(x: Tensor) -> None:
        run.attention(index, x)

    def z(x: Tensor) -> None:
        if layer.attn_post is None:
            run.write_heads(index, x, None)
        else:
            pending["z"] = x

    def scale(x: Tensor) -> None:
        assert layer.attn_post is not None
        run.write_heads(index, pending.pop("z"), layer.attn_post.scale(x))

    hooks: list[Hook] = [(layer.attn_residual, attention)]
    hooks += [(layer.hook(letter), _replace(run, letter)) for letter in QKV]
    hooks.append((layer.hook_z, z))
    if layer.attn_post is not None:
        hooks.append((layer.attn_post_in, scale))
    mlp = run.model.graph.mlp_source(index)
    hooks.append((layer.mlp_in, lambda x: run.mlp(index, x)))
    hooks.append((layer.mlp_out, lambda x: run.write(mlp, x)))
    return hooks


def _replace(run: _Run, letter: str) -> Callable[[Tensor], Tensor]:
    return lambda x: run.qkv.pop(letter).reshape(x.shape)


def weighted_scores(
    model: Model,
    run: WeightedRun,
    gradients: list[Float[Tensor, "_ pair pos d_model"]],
    mask: Float[Tensor, "pair pos 1"],
) -> Float[Tensor, "pair src dst"]:
    """Σ_pos (z_u(m) − z′_u) · ∂M/∂x_v. gradients: of `run.inputs`, in that order."""
    graph = model.graph
    difference = run.differences * mask.unsqueeze(1).to(run.differences)
    scores = difference.new_zeros((difference.shape[0], graph.n_sources, graph.n_destinations))
    first = 0
    for gradient in gradients:
        stop, count = first + gradient.shape[0], int(graph.prefix[first])
        block = torch.einsum("bspm,dbpm->bsd", difference[:, :count], widen(gradient).to(difference))
        scores[:, :count, first:stop] = block
        first = stop
    return scores


def strongest(graph: Graph, scores: Float[np.ndarray, "src dst"], n: int) -> Bool[np.ndarray, "src dst"]:
    """The n edges of largest |score| (ties by position) that lie on an input→logits path."""
    key = np.where(graph.mask, np.abs(scores), -np.inf)
    top = np.zeros(graph.mask.shape, dtype=bool)
    top.ravel()[np.argsort(-key, axis=None, kind="stable")[:n]] = True
    links = np.zeros((len(graph.nodes), len(graph.nodes)), dtype=bool)
    rows, columns = np.nonzero(top)
    links[rows, graph.destination_nodes[columns]] = True
    ahead, behind = _reached(links, 0), _reached(links.T, len(graph.nodes) - 1)
    return top & ahead[:-1, None] & behind[graph.destination_nodes][None, :]


def _reached(links: Bool[np.ndarray, "node node"], start: int) -> Bool[np.ndarray, " node"]:
    """What can be reached from `start`."""
    reached = np.zeros(len(links), dtype=bool)
    reached[start] = True
    while True:
        wider = reached | links[reached].any(axis=0)
        if (wider == reached).all():
            return reached
        reached = wider
