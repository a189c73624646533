"""EAP-IG the way the field does it: split q/k/v inputs, per-head results, one buffer of differences.

Kept for the benchmark only, as what the closed form is measured against. It needs TransformerLens'
split flags, which multiply the activations by the number of heads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from eapgp.graph import QKV
from eapgp.models.model import Model


@contextlib.contextmanager
def split_inputs(bridge: Any) -> Iterator[None]:
    """Switch the split flags on for the duration."""
    flags = (bridge.set_use_split_qkv_input, bridge.set_use_attn_result, bridge.set_use_hook_mlp_in)
    for flag in flags:
        flag(True)
    try:
        yield
    finally:
        for flag in flags:
            flag(False)


def _reads(model: Model) -> Iterator[tuple[str, int, int]]:
    """(hook name, first column, number of columns) of every destination."""
    graph = model.graph
    for layer in range(graph.n_layers):
        for letter in QKV:
            yield f"blocks.{layer}.hook_{letter}_input", graph.qkv_slice(layer, letter).start, graph.n_heads
        yield f"blocks.{layer}.hook_mlp_in", graph.mlp_destination(layer), 1
    yield "ln_final.hook_in", graph.n_destinations - 1, 1


def _writes(model: Model) -> Iterator[tuple[str, int, int]]:
    """(hook name, first row, number of rows) of every source."""
    graph = model.graph
    yield "blocks.0.hook_in", 0, 1
    for layer in range(graph.n_layers):
        yield f"blocks.{layer}.attn.hook_result", graph.head_source(layer, 0), graph.n_heads
        yield f"blocks.{layer}.hook_mlp_out", graph.mlp_source(layer), 1


def eap_ig(model: Model, clean: Tensor, corrupted: Tensor, metric: Callable[[Tensor], Tensor], steps: int) -> Tensor:
    """`[src, dst]` summed over pairs; clean, corrupted: token ids `[pair, pos]`; metric of answer logits."""
    graph, bridge = model.graph, model.bridge
    difference = torch.zeros((*clean.shape, graph.n_sources, model.d_model))
    scores = torch.zeros((graph.n_sources, graph.n_destinations))
    inputs: dict[float, Tensor] = {}
    with split_inputs(bridge):
        for sign, ids in ((-1.0, corrupted), (1.0, clean)):
            hooks = [(name, _store(difference, row, count, sign)) for name, row, count in _writes(model)]
            hooks.append(("blocks.0.hook_in", _remember(inputs, sign)))
            with torch.no_grad(), bridge.hooks(fwd_hooks=hooks):
                bridge(ids, use_cache=False)
        backward = [(name, _contract(difference, scores, graph, col, n)) for name, col, n in _reads(model)]
        for step in range(steps):
            value = (inputs[-1.0] + step / steps * (inputs[1.0] - inputs[-1.0])).requires_grad_(True)
            forward = [("blocks.0.hook_in", lambda x, hook, value=value: value)]
            with bridge.hooks(fwd_hooks=forward, bwd_hooks=backward):
                metric(bridge(clean, use_cache=False)[:, -1]).sum().backward()
    return scores / steps


def _store(difference: Tensor, row: int, count: int, sign: float) -> Callable[..., None]:
    def hook(value: Tensor, hook: Any) -> None:
        rows = value if value.ndim == 4 else value.unsqueeze(2)
        difference[:, :, row : row + count] += sign * rows.detach()

    return hook


def _remember(place: dict[float, Tensor], key: float) -> Callable[..., None]:
    def hook(value: Tensor, hook: Any) -> None:
        place[key] = value.detach().clone()

    return hook


def _contract(difference: Tensor, scores: Tensor, graph: Any, column: int, count: int) -> Callable[..., None]:
    prefix = int(graph.prefix[column])

    def hook(gradient: Tensor, hook: Any) -> None:
        columns = gradient if gradient.ndim == 4 else gradient.unsqueeze(2)
        added = torch.einsum("bpsm,bprm->sr", difference[:, :, :prefix], columns)
        scores[:prefix, column : column + count] += added

    return hook
