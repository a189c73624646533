"""Run circuits: every edge outside carries z′, every edge inside the activation of the run itself.

For a destination v, x_v = r′_v + Σ_{u in the circuit} (z_u − z′_u), where r′_v is what v reads when
everything it reads is corrupted. The model's own residual stream is what v would read with every
edge kept, so x_v = r_v − Σ_{u removed} (z_u − z′_u) too: whichever sum is shorter is taken.

1. `plan` finds, for a stack of circuits, which destinations have to be rebuilt in each layer, from
   which sources and from which side.
2. `run_circuits` runs the stack as one batch: at raw q, k, v, at the MLP's input and at the final
   norm the rebuilt inputs replace the model's own. Destinations that keep every edge are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eapgp.engine.batches import Batch
from eapgp.engine.differences import head_outputs, source_values
from eapgp.engine.interventions import Intervention
from eapgp.engine.passes import Capture, Hook, answer_hook, at_positions, call, capture
from eapgp.graph import QKV, Graph
from eapgp.models.adapter import Layer, widen
from eapgp.models.model import Model


@dataclass(frozen=True)
class Base:
    """What a batch's circuit runs start from, computed once.

    reference `[pair, src, pos, d_model]` z′; attn, mlp: r′ per layer, final: r′ of the final norm,
    each `[pair, pos, d_model]`; logits of the clean and corrupted runs `[pair, vocab]`. add_only: always
    add kept edges to r′. Under zero ablation a destination may read nothing at all, and what rounding
    leaves of r minus every source would be blown up to full size by norms without a bias.
    """

    batch: Batch
    reference: Tensor
    attn: list[Tensor]
    mlp: list[Tensor]
    final: Tensor
    clean_logits: Tensor
    corrupted_logits: Tensor
    add_only: bool = False


@dataclass(frozen=True)
class Part:
    """Destinations read at one place that have to be rebuilt.

    columns: which of the place's destinations; rows: the sources summed over; weights
    `[circuit, column, row]`: +1 to add a kept edge to r′, −1 to take a removed one from r; empty
    `[circuit, column]`: keeps no edge at all, and so reads exactly r′.
    """

    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    empty: NDArray[np.bool_]
    from_corrupted: bool


@dataclass(frozen=True)
class Plan:
    """Parts per layer (attention inputs; MLP) and for the logits; `rows` are all sources needed."""

    attention: list[Part | None]
    mlp: list[Part | None]
    final: Part | None
    rows: NDArray[np.int64]


def make_base(model: Model, batch: Batch, intervention: Intervention) -> Base:
    """Run the clean and the corrupted prompts and keep what every circuit run needs."""
    with torch.no_grad():
        corrupted = capture(model, batch.corrupted, residuals=True)
        clean = capture(model, batch.clean)
        if intervention.kind == "patching":
            reference = source_values(model, corrupted)
            streams = (corrupted.attn_residual, corrupted.mlp_residual, corrupted.final_residual)
        else:
            reference, streams = _ablated(model, clean, intervention)
    attn, mlp, final = ([widen(x) for x in s] if isinstance(s, list) else widen(s) for s in streams)
    add_only = intervention.kind == "zero"
    return Base(batch, reference, attn, mlp, final, clean.logits, corrupted.logits, add_only)  # type: ignore[arg-type]


def _ablated(
    model: Model, clean: Capture, intervention: Intervention
) -> tuple[Tensor, tuple[list[Tensor], list[Tensor], Tensor]]:
    """z′ and r′ for zero and mean: r′_v = Σ_u z′_u over the sources that v reads, plus the output biases."""
    values = source_values(model, clean)
    reference = intervention.values(values.shape[2], values.device).expand_as(values).contiguous()
    heads = model.graph.n_heads
    stream, attn, mlp = reference[:, 0], [], []
    for index, layer in enumerate(model.layers):
        first = model.graph.head_source(index, 0)
        attn.append(stream)
        after = stream + reference[:, first : first + heads].sum(1)
        if layer.attn_post is None and layer.attn.b_O is not None:
            after = after + widen(layer.attn.b_O).to(after)
        mlp.append(stream if model.graph.parallel else after)
        stream = after + reference[:, first + heads]
    return reference, (attn, mlp, stream)


def plan(graph: Graph, edges: Sequence[NDArray[np.bool_]], *, add_only: bool = False) -> Plan:
    """What has to be rebuilt for a stack of circuits, each `[src, dst]` bool."""
    stack = np.stack(edges)
    attention, mlp = [], []
    for layer in range(graph.n_layers):
        start = graph.qkv_slice(layer, "q").start
        attention.append(_part(graph, stack, np.arange(start, start + 3 * graph.n_heads), add_only))
        mlp.append(_part(graph, stack, np.array([graph.mlp_destination(layer)]), add_only))
    final = _part(graph, stack, np.array([graph.n_destinations - 1]), add_only)
    parts = [part for part in (*attention, *mlp, final) if part is not None]
    rows = np.unique(np.concatenate([part.rows for part in parts])) if parts else np.zeros(0, dtype=np.int64)
    return Plan(attention, mlp, final, rows)


def _part(graph: Graph, stack: NDArray[np.bool_], columns: NDArray[np.int64], add_only: bool) -> Part | None:
    count = int(graph.prefix[columns[0]])
    kept = stack[:, :count, columns]
    chosen = np.flatnonzero(~kept.all(axis=(0, 1)))
    if not len(chosen):
        return None
    kept = kept[:, :, chosen]
    from_corrupted = add_only or bool(kept.sum() * 2 <= kept.size)
    summed = kept if from_corrupted else ~kept
    rows = np.flatnonzero(summed.any(axis=(0, 2)))
    sign = np.float32(1.0 if from_corrupted else -1.0)
    weights = summed[:, rows].transpose(0, 2, 1).astype(np.float32) * sign
    empty: NDArray[np.bool_] = np.logical_not(kept.any(axis=1))
    return Part(chosen, rows, weights, empty, from_corrupted)


class _Run:
    """State of one stacked run: z_u − z′_u of the sources needed, written as the run goes."""

    def __init__(self, model: Model, base: Base, todo: Plan, n_circuits: int) -> None:
        self.model, self.base, self.todo, self.n = model, base, todo, n_circuits
        pairs, _, length, width = base.reference.shape
        self.shape = (n_circuits, pairs, length, width)
        self.place = {int(row): i for i, row in enumerate(todo.rows)}
        self.store = base.reference.new_zeros((n_circuits, len(todo.rows), pairs, length, width))
        self.qkv: dict[str, tuple[NDArray[np.int64], Tensor]] = {}

    def write(self, row: int, value: Tensor) -> None:
        """Keep source `row`: value `[circuit · pair, pos, d_model]` minus its reference."""
        if row in self.place:
            difference = widen(value).reshape(self.shape).to(self.store.device) - self.base.reference[:, row]
            self.store[:, self.place[row]] = difference

    def write_heads(self, view: Layer, layer: int, z: Tensor, scale: Tensor | None) -> None:
        """Keep the heads of a layer that are needed."""
        first = self.model.graph.head_source(layer, 0)
        if any(first + head in self.place for head in range(self.model.graph.n_heads)):
            outputs = head_outputs(view, z, scale)
            for head in range(self.model.graph.n_heads):
                self.write(first + head, outputs[head])

    def inputs(self, part: Part, corrupted: Tensor, own: Tensor) -> Tensor:
        """`[circuit, column, pair, pos, d_model]` what the part's destinations read."""
        start = corrupted if part.from_corrupted else widen(own).reshape(self.shape)
        start = start.expand(self.shape).unsqueeze(1).to(self.store.device)
        if not len(part.rows):
            return start.expand(-1, len(part.columns), -1, -1, -1)
        index = [self.place[int(row)] for row in part.rows]
        chosen = self.store if len(index) == self.store.shape[1] else self.store[:, index]
        weights = torch.from_numpy(part.weights).to(chosen)
        summed = weights @ chosen.reshape(self.n, len(index), -1)
        read = start + summed.reshape(self.n, len(part.columns), *self.shape[1:])
        if part.from_corrupted or not part.empty.any():
            return read
        empty = torch.from_numpy(part.empty).to(read.device)[:, :, None, None, None]
        return torch.where(empty, corrupted.to(read)[None, None], read)

    def attention(self, layer: int, own: Tensor) -> None:
        """Rebuild the raw q, k, v of the layer's destinations from the residual `own`."""
        part = self.todo.attention[layer]
        self.qkv = {}
        if part is None:
            return
        view, heads = self.model.layers[layer], self.model.graph.n_heads
        inputs = self.inputs(part, self.base.attn[layer], own)
        dtype = own.dtype
        normed = inputs.to(dtype) if view.attn_norm is None else view.attn_norm.apply(inputs.to(dtype))
        for number, letter in enumerate(QKV):
            mine = np.flatnonzero((part.columns >= number * heads) & (part.columns < (number + 1) * heads))
            if len(mine):
                which = part.columns[mine] - number * heads
                out = torch.einsum("chbpm,hmd->cbphd", widen(normed[:, mine]), view.weight(letter)[which])
                bias = view.bias(letter)
                self.qkv[letter] = (which, out if bias is None else out + bias[which])

    def head_override(self, letter: str, x: Tensor) -> Tensor | None:
        """Put rebuilt heads in their place in raw q, k or v `[circuit · pair, pos, head, d_head]`."""
        if letter not in self.qkv:
            return None
        which, values = self.qkv[letter]
        new = x.clone()
        new[:, :, torch.from_numpy(which).to(x.device)] = values.reshape(x.shape[0], x.shape[1], len(which), -1).to(x)
        return new

    def mlp_override(self, layer: int, own: Tensor) -> Tensor | None:
        """The MLP's normalised input, or None where it keeps every edge. `own`: the run's residual."""
        part = self.todo.mlp[layer]
        if part is None:
            return None
        inputs = self.inputs(part, self.base.mlp[layer], own)[:, 0].reshape(own.shape).to(own)
        norm = self.model.layers[layer].mlp_norm
        return inputs if norm is None else norm.apply(inputs)

    def final_override(self, own: Tensor) -> Tensor | None:
        """The final residual with the answer position rebuilt."""
        part = self.todo.final
        if part is None:
            return None
        last = self.base.batch.clean.last
        pairs = torch.arange(len(last), device=last.device)
        split = own.clone().reshape(self.shape)
        start = at_positions(self.base.final, last)[:, 0] if part.from_corrupted else widen(split[:, pairs, last])
        index = [self.place[int(row)] for row in part.rows]
        store = self.store[:, index][:, :, pairs, last]
        weights = torch.from_numpy(part.weights[:, 0]).to(store)
        read = start + torch.einsum("cr,crbm->cbm", weights, store)
        empty = torch.from_numpy(part.empty[:, 0]).to(read.device)[:, None, None]
        read = torch.where(empty, at_positions(self.base.final, last)[:, 0].to(read), read)
        split[:, pairs, last] = read.to(own)
        return split.reshape(own.shape)


def run_circuits(model: Model, base: Base, edges: Sequence[NDArray[np.bool_]]) -> Tensor:
    """`[circuit, pair, vocab]` logits at the answer position of each circuit `[src, dst]`."""
    n = len(edges)
    run = _Run(model, base, plan(model.graph, edges, add_only=base.add_only), n)
    tokens = base.batch.clean.repeat(n)
    with torch.no_grad():
        logits = call(model, tokens, [*_hooks(model, run), answer_hook(model, tokens)])
    return widen(logits[:, -1]).reshape(n, base.batch.size, -1)


def _hooks(model: Model, run: _Run) -> list[Hook]:
    hooks: list[Hook] = [(model.layers[0].hook_in, lambda x: run.write(0, x))]
    for index, layer in enumerate(model.layers):
        hooks += _layer_hooks(model, run, index, layer)
    hooks.append((model.bridge.ln_final.hook_in, run.final_override))
    return hooks


def _layer_hooks(model: Model, run: _Run, index: int, layer: Layer) -> list[Hook]:
    streams: dict[str, Tensor] = {}
    shared = layer.mlp_residual is layer.attn_residual

    def attention(x: Tensor) -> None:
        streams.setdefault("attn", x)
        run.attention(index, x)
        if shared:
            streams["mlp"] = x

    def middle(x: Tensor) -> None:
        streams["mlp"] = x

    def scale(x: Tensor) -> None:
        assert layer.attn_post is not None
        run.write_heads(layer, index, streams.pop("z"), layer.attn_post.scale(x))

    def z(x: Tensor) -> None:
        if layer.attn_post is None:
            run.write_heads(layer, index, x, None)
        else:
            streams["z"] = x

    hooks: list[Hook] = [(layer.attn_residual, attention)]
    if not shared:
        hooks.append((layer.mlp_residual, middle))
    hooks += [(layer.hook(letter), _head_hook(run, letter)) for letter in QKV]
    hooks.append((layer.hook_z, z))
    if layer.attn_post is not None:
        hooks.append((layer.attn_post_in, scale))
    hooks.append((layer.mlp_in, lambda _x: run.mlp_override(index, streams["mlp"])))
    first = model.graph.mlp_source(index)
    hooks.append((layer.mlp_out, lambda x: run.write(first, x)))
    return hooks


def _head_hook(run: _Run, letter: str) -> Callable[[Tensor], Tensor | None]:
    return lambda x: run.head_override(letter, x)
