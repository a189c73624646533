"""EAP-IG the way the field does it: split q/k/v inputs, per-head results, one buffer of differences.

Kept for the benchmark only, as what the closed form is measured against. As in the EAP-IG library:

1. Every head's query, key and value input is a copy of the residual of its own, every head's result
   is kept apart, parameters require gradients, and logits are computed at every position.
2. The corrupted and the clean run fill one buffer of differences `[pair, pos, src, d_model]`.
3. At each of k inputs a hook per layer and letter (and per MLP, and at the end) contracts the gradient
   of its destinations with the buffer's earlier sources.

The copies and results come from TransformerLens' split flags. How per-head results are computed differs:
TransformerLens 4 sums over d_head in one einsum; HookedTransformer, which the EAP-IG library needs and
which TransformerLens had up to 3.9, multiplies z by W_O entry by entry into
`[pair, pos, head, d_head, d_model]` and then sums. `entrywise_results` does the latter.
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


@contextlib.contextmanager
def entrywise_results(model: Model) -> Iterator[None]:
    """Compute every head's result as HookedTransformer does, for the duration."""
    attentions = [layer.attn for layer in model.layers]
    try:
        for attn in attentions:
            object.__setattr__(attn, "_compute_per_head_result", _entrywise(attn))  # a bridge would pass it on
        yield
    finally:
        for attn in attentions:
            attn.__dict__.pop("_compute_per_head_result", None)


def _entrywise(attn: Any) -> Callable[[Tensor, int, int], Tensor]:
    def results(z: Tensor, _n_heads: int, _d_head: int) -> Tensor:
        products = z.unsqueeze(-1) * attn.W_O  # [pair, pos, head, d_head, d_model]
        summed = attn.hook_result(products.sum(-2)).sum(-2)
        return summed if attn.b_O is None else summed + attn.b_O

    return results


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
