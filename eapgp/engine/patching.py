"""Exact patching: corrupt one edge or one node, run the rest of the model, read the metric.

An edge changes only what its destination reads, so nothing before the destination's layer is run
again. Edges into one layer are stacked along the batch; the norm and the projections of
x_v − (z_u − z′_u) are computed once per source and shared by all heads of the layer. A node changes
what every later node reads, which is the residual stream itself: nothing has to be put together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eapgp.engine.batches import Batch
from eapgp.engine.differences import full_logits
from eapgp.engine.passes import Capture, Hook, answer_hook, at_positions, call
from eapgp.graph import QKV
from eapgp.metrics import Metric
from eapgp.models.model import Model, Norm, widen

T = TypeVar("T")
STACK_BUDGET = 4 * 2**20  # elements of one residual stream that are stacked in one replay


@dataclass(frozen=True)
class _Job:
    """What every replay of a batch needs."""

    model: Model
    batch: Batch
    metric: Metric
    clean: Capture
    difference: Float[Tensor, "pair src pos d_model"]


@dataclass(frozen=True)
class Patched:
    """M with only that edge, or all of that node's outgoing edges, corrupted; NaN where not asked for.

    cost: forward passes per pair.
    """

    edges: Float[Tensor, "pair src dst"]
    nodes: Float[Tensor, "pair src"]
    cost: float


def patch(
    model: Model,
    batch: Batch,
    metric: Metric,
    clean: Capture,
    difference: Float[Tensor, "pair src pos d_model"],
    edges: Iterable[str] | None,
    tick: Callable[[float], None],
) -> Patched:
    """Patch each edge alone, and each node of which every outgoing edge is asked for (None: all edges).

    clean: a run with residuals; difference: z_u − z′_u. tick: told again and
    again which share of the cost is spent.
    """
    wanted, job = _wanted(model, edges), _Job(model, batch, metric, clean, difference)
    whole = (wanted == model.graph.mask).all(axis=1)
    edge_work = [_edges_into(model, wanted, layer) for layer in range(model.graph.n_layers)]
    node_work = [_nodes_of(model, whole, layer) for layer in range(model.graph.n_layers)]
    per_layer = enumerate(zip(edge_work, node_work, strict=True))
    cost = sum(_share(model, layer) * (len(into) + len(rows)) for layer, (into, rows) in per_layer)
    spent = 0.0

    def pay(layer: int, count: int) -> None:
        nonlocal spent
        spent += _share(model, layer) * count
        tick(spent / cost)

    with torch.no_grad():
        by_edge = _edges(job, edge_work, np.flatnonzero(wanted[:, -1]), pay)
        by_node = _nodes(job, node_work, pay)
    return Patched(by_edge, by_node, cost)


def _share(model: Model, layer: int) -> float:
    """What a replay from this layer on costs, in forward passes."""
    return (model.graph.n_layers - layer) / model.graph.n_layers


def _edges_into(model: Model, wanted: Bool[np.ndarray, "src dst"], layer: int) -> list[tuple[int, int]]:
    columns = np.flatnonzero(model.graph.destination_layers == layer)
    return [(int(s), int(d)) for d in columns for s in np.flatnonzero(wanted[:, d])]


def _nodes_of(model: Model, wanted: Bool[np.ndarray, " src"], layer: int) -> list[int]:
    heads = model.graph.head_source(layer, 0)
    first = 0 if layer == 0 else heads  # the input is written before the first layer
    return [row for row in range(first, heads + model.graph.n_heads + 1) if wanted[row]]


def _edges(
    job: _Job,
    work: Sequence[list[tuple[int, int]]],
    into_logits: Int[np.ndarray, " row"],
    pay: Callable[[int, int], None],
) -> Float[Tensor, "pair src dst"]:
    model, batch, graph = job.model, job.batch, job.model.graph
    out = torch.full((batch.size, graph.n_sources, graph.n_destinations), float("nan"))
    for layer, into in enumerate(work):
        for part in _chunks(into, _stack_size(model, batch)):
            values = _replay(job, layer, len(part), _overrides(job, layer, part))
            for (source, column), value in zip(part, values, strict=True):
                out[:, source, column] = value.cpu()
            pay(layer, len(part))
    for row in into_logits:
        out[:, int(row), -1] = _patch_logits(job, int(row)).cpu()
    return out


def _nodes(job: _Job, work: Sequence[list[int]], pay: Callable[[int, int], None]) -> Float[Tensor, "pair src"]:
    out = torch.full((job.batch.size, job.model.graph.n_sources), float("nan"))
    for layer, rows in enumerate(work):
        for part in _chunks(rows, _stack_size(job.model, job.batch)):
            values = _replay(job, layer, len(part), _writes(job, layer, part))
            out[:, part] = values.T.to(out)
            pay(layer, len(part))
    return out


def _wanted(model: Model, edges: Iterable[str] | None) -> Bool[np.ndarray, "src dst"]:
    if edges is None:
        return model.graph.mask
    wanted = np.zeros_like(model.graph.mask)
    for name in edges:
        wanted[model.graph.edge_index(name)] = True
    return wanted


def _stack_size(model: Model, batch: Batch) -> int:
    return max(1, STACK_BUDGET // (batch.clean.ids.numel() * model.d_model))


def _chunks(items: list[T], size: int) -> Iterable[list[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _replay(job: _Job, layer: int, count: int, changes: list[Hook]) -> Float[Tensor, "entry pair"]:
    """Metric of `count` clean runs from `layer` on, each with its own changes."""
    model, batch = job.model, job.batch
    tokens = batch.clean.repeat(count)
    value = job.clean.attn_residual[layer].repeat(count, 1, 1)
    hooks = [(model.layers[layer].hook_in, lambda _x: value), *changes, answer_hook(model, tokens)]
    logits = widen(call(model, tokens, hooks, start=layer)[:, -1])
    return job.metric.compute(logits, batch.targets.repeat(count)).reshape(count, batch.size)


def _overrides(job: _Job, layer: int, edges: Sequence[tuple[int, int]]) -> list[Hook]:
    """Hooks that put the patched q, k, v and MLP inputs in their place."""
    graph, view, pairs = job.model.graph, job.model.layers[layer], job.batch.size
    hooks: list[Hook] = []
    for letter in QKV:
        columns = graph.qkv_slice(layer, letter)
        into_heads = [(e, s, d - columns.start) for e, (s, d) in enumerate(edges) if columns.start <= d < columns.stop]
        if into_heads:
            hooks.append((view.hook(letter), _head_override(job, layer, letter, into_heads)))
    column = graph.mlp_destination(layer)
    into_mlp = [(e, s) for e, (s, d) in enumerate(edges) if d == column]
    if into_mlp:
        sources = [s for _, s in into_mlp]
        patched = _normed(view.mlp_norm, job.clean.mlp_residual[layer], job.difference, sources)

        def mlp(x: Float[Tensor, "entry_pair pos d_model"]) -> Float[Tensor, "entry_pair pos d_model"]:
            new = x.clone().reshape(-1, pairs, *x.shape[1:])
            new[[e for e, _ in into_mlp]] = patched.to(x.dtype)
            return new.reshape(x.shape)

        hooks.append((view.mlp_in, mlp))
    return hooks


def _writes(job: _Job, layer: int, rows: Sequence[int]) -> list[Hook]:
    """Hooks that take z_u − z′_u from what each entry's source writes to the stream."""
    graph, view = job.model.graph, job.model.layers[layer]
    mlp = graph.mlp_source(layer)
    by_place: dict[int, list[tuple[int, int]]] = {0: [], 1: [], 2: []}
    for entry, row in enumerate(rows):
        by_place[0 if row == 0 else 2 if row == mlp else 1].append((entry, row))
    points = {0: view.hook_in, 1: view.attn_out, 2: view.mlp_out}

    def changed(
        entries: list[tuple[int, int]], x: Float[Tensor, "entry_pair pos d_model"]
    ) -> Float[Tensor, "entry_pair pos d_model"]:
        new = x.clone().reshape(-1, job.batch.size, *x.shape[1:])
        for entry, row in entries:
            new[entry] -= job.difference[:, row].to(new)
        return new.reshape(x.shape)

    return [(points[place], partial(changed, entries)) for place, entries in by_place.items() if entries]


def _normed(
    norm: Norm | None,
    residual: Float[Tensor, "pair pos d_model"],
    difference: Float[Tensor, "pair src pos d_model"],
    sources: Sequence[int],
) -> Float[Tensor, "source pair pos d_model"]:
    """Norm of the residual with one source corrupted."""
    changed = residual.unsqueeze(0) - difference[:, list(sources)].transpose(0, 1).to(residual.device, residual.dtype)
    return changed if norm is None else norm.apply(changed)


def _head_override(
    job: _Job, layer: int, letter: str, edges: Sequence[tuple[int, int, int]]
) -> Callable[[Tensor], Tensor]:
    """Replace head h's slice in entry e by the projection of its patched input. edges: (entry, source, head)."""
    view, pairs = job.model.layers[layer], job.batch.size
    sources = sorted({source for _, source, _ in edges})
    position = {source: i for i, source in enumerate(sources)}
    normed = _normed(view.attn_norm, job.clean.attn_residual[layer], job.difference, sources)
    projected = torch.einsum("sbpm,hmd->sbphd", widen(normed), view.weight(letter))
    bias = view.bias(letter)
    if bias is not None:
        projected = projected + bias

    def hook(x: Float[Tensor, "entry_pair pos head d_head"]) -> Float[Tensor, "entry_pair pos head d_head"]:
        new = x.clone().reshape(-1, pairs, *x.shape[1:])
        for entry, source, head in edges:
            new[entry, :, :, head] = projected[position[source], :, :, head].to(x.dtype)
        return new.reshape(x.shape)

    return hook


def _patch_logits(job: _Job, source: int) -> Float[Tensor, " pair"]:
    """Metric with one edge into `logits` corrupted: no block is run again."""
    last = job.batch.clean.last
    changed = at_positions(job.clean.final_residual, last)
    changed = changed - at_positions(job.difference[:, source], last).to(changed.device, changed.dtype)
    hidden = job.model.final_norm.apply(changed)[:, 0]
    return job.metric.compute(full_logits(job.model, hidden), job.batch.targets)
