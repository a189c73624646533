"""One forward pass with the tensors that attribution needs.

1. The embedding is replaced by a leaf (or by a given value), so that no weight gradient is ever
   computed and any point of the input space can be run.
2. Sources are read where they are written: z per head, the MLP's output after its post-norm.
3. Destinations are captured where a gradient per head costs nothing extra: at raw q, k, v and
   at the MLP's normalised input (Syed et al. 2023 need split inputs for this; the closed form
   in `gradients` does not).
4. Only the answer position reaches the unembedding, unless more is asked for.

A pass may start at a later layer with a given residual stream; the blocks before it are skipped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from eapgp.models.adapter import Layer, widen
from eapgp.models.model import Model

Hook = tuple[Any, Callable[[Tensor], Tensor | None]]


@dataclass(frozen=True)
class Tokens:
    """Token ids of one side of a batch.

    ids, mask: `[pair, pos]`, right-padded; last: `[pair]` index of the answer position.
    """

    ids: Tensor
    mask: Tensor
    last: Tensor

    def repeat(self, times: int) -> Tokens:
        """The same prompts `times` times over: entry e·pair + p is pair p."""
        return Tokens(self.ids.repeat(times, 1), self.mask.repeat(times, 1), self.last.repeat(times))


@dataclass
class Capture:
    """What one pass left behind. Lists are by layer from `start` on; empty where not asked for.

    input `[pair, pos, d_model]`: the embedding, a leaf if the pass was run with gradient.
    z `[pair, pos, head, d_head]`, attention and mlp `[pair, pos, d_model]` (what the branch adds,
    biases included), post_scale σ `[pair, pos, 1]` of
    the norm after attention: detached.
    streams `[pair, pos, d_model]`: what enters each block.
    attn_residual, mlp_residual, final_residual `[pair, pos, d_model]`: detached residual streams.
    q, k, v `[pair, pos, head, d_head]`, mlp_in, final, hidden `[pair, pos, d_model]`: on the
    graph if the pass was run with gradient; hidden is what the unembedding reads.
    logits `[pair, vocab]` at the answer position, float32 or wider.
    """

    start: int = 0
    input: Tensor = field(default_factory=lambda: torch.empty(0))
    streams: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)
    mlp: list[Tensor] = field(default_factory=list)
    post_scale: list[Tensor] = field(default_factory=list)
    attn_residual: list[Tensor] = field(default_factory=list)
    mlp_residual: list[Tensor] = field(default_factory=list)
    final_residual: Tensor = field(default_factory=lambda: torch.empty(0))
    q: list[Tensor] = field(default_factory=list)
    k: list[Tensor] = field(default_factory=list)
    v: list[Tensor] = field(default_factory=list)
    mlp_in: list[Tensor] = field(default_factory=list)
    final: Tensor = field(default_factory=lambda: torch.empty(0))
    hidden: Tensor = field(default_factory=lambda: torch.empty(0))
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    def destinations(self) -> list[Tensor]:
        """Captured destination tensors in one flat order: per layer q, k, v, mlp_in; then final."""
        flat = []
        for layer in range(len(self.q)):
            flat += [self.q[layer], self.k[layer], self.v[layer], self.mlp_in[layer]]
        return [*flat, self.final]

    def release(self) -> None:
        """Let go of the autograd graph; every value stays."""
        for name in ("q", "k", "v", "mlp_in"):
            setattr(self, name, [x.detach() for x in getattr(self, name)])
        for name in ("input", "final", "hidden", "logits"):
            setattr(self, name, getattr(self, name).detach())


@contextlib.contextmanager
def hooked(hooks: Sequence[Hook]) -> Iterator[None]:
    """Attach functions to hook points for the duration; a function returns a tensor to replace the value."""
    handles = []
    try:
        for point, function in hooks:
            handles.append((point, point.add_hook(_adapt(function))))
        yield
    finally:
        for point, handle in handles:
            handle.hook.remove()
            point.fwd_hooks.remove(handle)


def _adapt(function: Callable[[Tensor], Tensor | None]) -> Callable[..., Tensor | None]:
    def hook(value: Tensor, *, hook: Any) -> Tensor | None:
        return function(value)

    return hook


@contextlib.contextmanager
def skipped(model: Model, start: int) -> Iterator[None]:
    """Blocks before `start` hand their input on unchanged."""
    if start == 0:
        yield
        return
    as_tuple = _blocks_return_tuples(model)

    def hand_on(*args: Any, **kwargs: Any) -> Any:
        value = args[0] if args else kwargs["hidden_states"]
        return (value,) if as_tuple else value

    blocks = [layer.block for layer in model.layers[:start]]
    try:
        for block in blocks:
            object.__setattr__(block, "forward", hand_on)  # a bridge would pass a plain assignment on
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


def _blocks_return_tuples(model: Model) -> bool:
    """Whether the model's blocks return a tuple, found once by running one token."""
    if "tuples" not in model.cache:
        seen: list[Any] = []
        handle = model.layers[0].block.register_forward_hook(lambda _m, _a, out: seen.append(out))
        try:
            ids = torch.zeros((1, 1), dtype=torch.long, device=model.device)
            with torch.no_grad():
                model.bridge(ids, use_cache=False)
        finally:
            handle.remove()
        model.cache["tuples"] = isinstance(seen[0], tuple)
    return bool(model.cache["tuples"])


def call(model: Model, tokens: Tokens, hooks: Sequence[Hook], *, start: int = 0) -> Tensor:
    """Run the model on a batch with hooks; returns the logits that come out, `[pair, pos or 1, vocab]`."""
    mask = None if bool(tokens.mask.all()) else tokens.mask.long()
    if start:
        _blocks_return_tuples(model)  # found before the hooks are on
    with model.lock, hooked(hooks), skipped(model, start):
        return model.bridge(tokens.ids, attention_mask=mask, use_cache=False)


def at_positions(hidden: Tensor, last: Tensor) -> Tensor:
    """`[pair, 1, d_model]` rows of `hidden` at each pair's answer position."""
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), last.to(hidden.device)].unsqueeze(1)


def answer_hook(model: Model, tokens: Tokens) -> Hook:
    """Let only the answer position reach the unembedding."""
    return model.bridge.unembed.hook_in, lambda hidden: at_positions(hidden, tokens.last)


def capture(
    model: Model,
    tokens: Tokens,
    *,
    value: Tensor | None = None,
    start: int = 0,
    grad: bool = False,
    sources: bool = True,
    outputs: bool = False,
    residuals: bool = False,
    inputs: bool = False,
    extra: Sequence[Hook] = (),
) -> Capture:
    """Run one pass and keep what attribution needs.

    value: replaces the embedding (start = 0) or the residual stream that enters layer `start`.
    grad: make it a leaf and keep destinations on the graph. sources: keep z and MLP outputs.
    outputs: keep what enters each block and what its attention adds.
    residuals: keep the residual streams; inputs: keep raw q, k, v and the MLPs' inputs (both are always
    kept with grad). Layers before `start` leave nothing.
    """
    kept = Capture(start=start)
    hooks = [_input_hook(model, kept, value, start, grad)]
    for layer in model.layers[start:]:
        hooks += _layer_hooks(layer, kept, grad=grad, sources=sources, residuals=residuals or grad)
        if inputs and not grad:
            hooks += [(layer.hook(letter), _watch(getattr(kept, letter))) for letter in "qkv"]
            hooks.append((layer.mlp_in, _watch(kept.mlp_in)))
        if outputs:
            hooks += [(layer.attn_out, _watch(kept.attention)), (layer.hook_in, _watch(kept.streams))]
    hooks += _head_hooks(model, kept, tokens, grad)
    with torch.set_grad_enabled(grad):
        logits = call(model, tokens, [*hooks, *extra], start=start)
    kept.logits = widen(logits[:, -1])
    return kept


def _input_hook(model: Model, kept: Capture, value: Tensor | None, start: int, grad: bool) -> Hook:
    def enter(x: Tensor) -> Tensor | None:
        kept.input = x.detach() if value is None else value.detach().to(x.dtype).to(x.device)
        if grad:
            kept.input = kept.input.clone().requires_grad_(True)
        return kept.input if grad or value is not None else None

    return model.layers[start].hook_in, enter


def _layer_hooks(layer: Layer, kept: Capture, *, grad: bool, sources: bool, residuals: bool) -> list[Hook]:
    hooks: list[Hook] = []
    if residuals:
        hooks.append((layer.attn_residual, _watch(kept.attn_residual)))
        if layer.mlp_residual is not layer.attn_residual:
            hooks.append((layer.mlp_residual, _watch(kept.mlp_residual)))
        else:
            hooks.append((layer.attn_residual, _watch(kept.mlp_residual)))
    if grad:
        hooks += [(layer.hook(letter), _keep(getattr(kept, letter))) for letter in "qkv"]
        hooks.append((layer.mlp_in, _keep_clone(kept.mlp_in)))
    if sources:
        hooks += [(layer.hook_z, _watch(kept.z)), (layer.mlp_out, _watch(kept.mlp))]
        if layer.attn_post is not None:
            norm = layer.attn_post
            hooks.append((layer.attn_post_in, lambda x: kept.post_scale.append(norm.scale(x.detach()))))
    return hooks


def _head_hooks(model: Model, kept: Capture, tokens: Tokens, grad: bool) -> list[Hook]:
    def final(x: Tensor) -> Tensor | None:
        kept.final_residual = x.detach()
        kept.final = x.clone() if grad else x
        return kept.final if grad else None

    def unembed(hidden: Tensor) -> Tensor:
        kept.hidden = hidden
        return at_positions(hidden, tokens.last)

    return [(model.bridge.ln_final.hook_in, final), (model.bridge.unembed.hook_in, unembed)]


def _watch(place: list[Tensor]) -> Callable[[Tensor], None]:
    return lambda x: place.append(x.detach())


def _keep(place: list[Tensor]) -> Callable[[Tensor], Tensor]:
    def hook(x: Tensor) -> Tensor:
        place.append(x)
        return x

    return hook


def _keep_clone(place: list[Tensor]) -> Callable[[Tensor], Tensor]:
    def hook(x: Tensor) -> Tensor:
        copy = x.clone()
        place.append(copy)
        return copy

    return hook
