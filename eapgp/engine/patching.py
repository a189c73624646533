"""Exact patching: corrupt one edge, run the rest of the model, read the metric.

An edge changes only what its destination reads, so nothing before the destination's layer is run
again. Edges into one layer are stacked along the batch; the norm and the projections of
x_v − (z_u − z′_u) are computed once per source and shared by all heads of the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eapgp.engine.batches import Batch
from eapgp.engine.distance import full_logits
from eapgp.engine.passes import Capture, Hook, answer_hook, at_positions, call
from eapgp.graph import QKV
from eapgp.metrics import Metric
from eapgp.models.adapter import Norm, widen
from eapgp.models.model import Model

STACK_BUDGET = 4 * 2**20  # elements of one residual stream that are stacked in one replay


@dataclass(frozen=True)
class _Job:
    """What every replay of a batch needs."""

    model: Model
    batch: Batch
    metric: Metric
    clean: Capture
    difference: Tensor


def patch_edges(
    model: Model,
    batch: Batch,
    metric: Metric,
    clean: Capture,
    difference: Tensor,
    edges: Iterable[str] | None,
    tick: Callable[[], None],
) -> tuple[Tensor, float]:
    """M with one edge corrupted, for each edge: `[pair, src, dst]`, NaN where not asked for.

    clean: a run with residuals; difference `[pair, src, pos, d_model]` z_u − z′_u. Also returns
    the cost in forward passes per pair.
    """
    wanted = _wanted(model, edges)
    graph, job = model.graph, _Job(model, batch, metric, clean, difference)
    out = torch.full((batch.size, graph.n_sources, graph.n_destinations), float("nan"))
    cost = 0.0
    with torch.no_grad():
        for layer in range(graph.n_layers):
            columns = np.flatnonzero(graph.destination_layers == layer)
            found = [(int(s), int(d)) for d in columns for s in np.flatnonzero(wanted[:, d])]
            for part in _chunks(found, _stack_size(model, batch)):
                values = _replay(job, layer, part)
                for (source, column), value in zip(part, values, strict=True):
                    out[:, source, column] = value.cpu()
                cost += len(part) * (graph.n_layers - layer) / graph.n_layers
                tick()
        for row in np.flatnonzero(wanted[:, -1]):
            out[:, int(row), -1] = _patch_logits(job, int(row)).cpu()
    return out, cost


def _wanted(model: Model, edges: Iterable[str] | None) -> np.ndarray:
    if edges is None:
        return model.graph.mask
    wanted = np.zeros_like(model.graph.mask)
    for name in edges:
        wanted[model.graph.edge_index(name)] = True
    return wanted


def _stack_size(model: Model, batch: Batch) -> int:
    return max(1, STACK_BUDGET // (batch.clean.ids.numel() * model.d_model))


def _chunks(items: list[tuple[int, int]], size: int) -> Iterable[list[tuple[int, int]]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _replay(job: _Job, layer: int, edges: Sequence[tuple[int, int]]) -> Tensor:
    """`[edge, pair]` metric of the clean run with one edge into `layer` corrupted."""
    model, batch, count = job.model, job.batch, len(edges)
    tokens = batch.clean.repeat(count)
    value = job.clean.attn_residual[layer].repeat(count, 1, 1)
    hooks = [*_overrides(job, layer, edges), answer_hook(model, tokens)]
    hooks.append((model.layers[layer].hook_in, lambda _x: value))
    logits = widen(call(model, tokens, hooks, start=layer)[:, -1])
    return job.metric.compute(logits, batch.targets.repeat(count)).reshape(count, batch.size)


def _overrides(job: _Job, layer: int, edges: Sequence[tuple[int, int]]) -> list[Hook]:
    """Hooks that put the patched q, k, v and MLP inputs in their place."""
    graph, view, pairs = job.model.graph, job.model.layers[layer], job.batch.size
    hooks: list[Hook] = []
    for letter in QKV:
        columns = graph.qkv_slice(layer, letter)
        chosen = [(e, s, d - columns.start) for e, (s, d) in enumerate(edges) if columns.start <= d < columns.stop]
        if chosen:
            hooks.append((view.hook(letter), _head_override(job, layer, letter, chosen)))
    column = graph.mlp_destination(layer)
    into_mlp = [(e, s) for e, (s, d) in enumerate(edges) if d == column]
    if into_mlp:
        sources = [s for _, s in into_mlp]
        patched = _normed(view.mlp_norm, job.clean.mlp_residual[layer], job.difference, sources)

        def mlp(x: Tensor) -> Tensor:
            new = x.clone().reshape(-1, pairs, *x.shape[1:])
            new[[e for e, _ in into_mlp]] = patched.to(x.dtype)
            return new.reshape(x.shape)

        hooks.append((view.mlp_in, mlp))
    return hooks


def _normed(norm: Norm | None, residual: Tensor, difference: Tensor, sources: Sequence[int]) -> Tensor:
    """`[source, pair, pos, d_model]` norm of the residual with one source corrupted."""
    changed = residual.unsqueeze(0) - difference[:, list(sources)].transpose(0, 1).to(residual.device, residual.dtype)
    return changed if norm is None else norm.apply(changed)


def _head_override(
    job: _Job, layer: int, letter: str, chosen: Sequence[tuple[int, int, int]]
) -> Callable[[Tensor], Tensor]:
    """Replace head h's slice in entry e by the projection of its patched input."""
    view, pairs = job.model.layers[layer], job.batch.size
    sources = sorted({source for _, source, _ in chosen})
    position = {source: i for i, source in enumerate(sources)}
    normed = _normed(view.attn_norm, job.clean.attn_residual[layer], job.difference, sources)
    projected = torch.einsum("sbpm,hmd->sbphd", widen(normed), view.weight(letter))
    bias = view.bias(letter)
    if bias is not None:
        projected = projected + bias

    def hook(x: Tensor) -> Tensor:
        new = x.clone().reshape(-1, pairs, *x.shape[1:])
        for entry, source, head in chosen:
            new[entry, :, :, head] = projected[position[source], :, :, head].to(x.dtype)
        return new.reshape(x.shape)

    return hook


def _patch_logits(job: _Job, source: int) -> Tensor:
    """`[pair]` metric with one edge into `logits` corrupted: no block is run again."""
    last = job.batch.clean.last
    changed = at_positions(job.clean.final_residual, last)
    changed = changed - at_positions(job.difference[:, source], last).to(changed.device, changed.dtype)
    hidden = job.model.final_norm.apply(changed)[:, 0]
    return job.metric.compute(full_logits(job.model, hidden), job.batch.targets)
