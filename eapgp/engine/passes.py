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
import enum
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eapgp.engine.past import Past
from eapgp.graph import QKV
from eapgp.models.model import Layer, Model, widen

Hook = tuple[Any, Callable[[Tensor], Tensor | None]]
Tensors = defaultdict[str, list[Tensor]]  # name of a field of `Capture` → what hooks have written there


@dataclass(frozen=True)
class Tokens:
    """Token ids of one side of a batch, right-padded. last: where each pair's answer is read.

    past: what comes before the first of these positions, where that was run already.
    """

    ids: Int[Tensor, "pair pos"]
    mask: Bool[Tensor, "pair pos"]
    last: Int[Tensor, " pair"]
    past: Past | None = None

    def repeat(self, times: int) -> Tokens:
        """The same prompts `times` times over: entry e·pair + p is pair p."""
        past = None if self.past is None else replace(self.past, times=times)
        return Tokens(self.ids.repeat(times, 1), self.mask.repeat(times, 1), self.last.repeat(times), past)

    def beside(self, other: Tokens) -> Tokens:
        """The same prompts, then as many others of this length that go on from the same past."""
        past = None if self.past is None else replace(self.past, times=2)
        ids, mask = torch.cat([self.ids, other.ids]), torch.cat([self.mask, other.mask])
        return Tokens(ids, mask, torch.cat([self.last, other.last]), past)

    def after(self, past: Past) -> Tokens:
        """The positions after those of a past, which are the first of these."""
        start = past.length
        return Tokens(self.ids[:, start:].contiguous(), self.mask[:, start:].contiguous(), self.last - start, past)


class Keep(enum.Flag):
    """What a pass keeps, layer by layer, besides the two ends of the network."""

    NOTHING = 0
    SOURCES = enum.auto()  # z, mlp, post_scale
    OUTPUTS = enum.auto()  # streams, attention
    RESIDUALS = enum.auto()  # attn_residual, mlp_residual
    INPUTS = enum.auto()  # q, k, v, mlp_in


@dataclass(frozen=True)
class Capture:
    """What one pass left behind. Lists are by layer from `start` on; empty where not asked for.

    input: the embedding (or what entered layer `start`), a leaf if the pass was run with gradient.
    final_residual, final: what the final norm reads; hidden: what the unembedding reads. logits: at the
    answer position, float32 or wider. z: per head, before W_O; attention, mlp: what the branch adds,
    biases included; post_scale: σ of the norm after attention. streams: what enters each block;
    attn_residual, mlp_residual: the residual stream that a branch reads.
    q, k, v, mlp_in, final, hidden and logits are on the graph if the pass was run with gradient, until
    it is released; all others are detached.
    """

    input: Float[Tensor, "pair pos d_model"]
    final_residual: Float[Tensor, "pair pos d_model"]
    final: Float[Tensor, "pair pos d_model"]
    hidden: Float[Tensor, "pair pos d_model"]
    logits: Float[Tensor, "pair vocab"]
    start: int = 0
    streams: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)
    attention: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)
    z: list[Float[Tensor, "pair pos head d_head"]] = field(default_factory=list)
    mlp: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)
    post_scale: list[Float[Tensor, "pair pos 1"]] = field(default_factory=list)
    attn_residual: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)
    mlp_residual: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)
    q: list[Float[Tensor, "pair pos head d_head"]] = field(default_factory=list)
    k: list[Float[Tensor, "pair pos head d_head"]] = field(default_factory=list)
    v: list[Float[Tensor, "pair pos head d_head"]] = field(default_factory=list)
    mlp_in: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)

    def destinations(self) -> list[Tensor]:
        """Captured destination tensors in one flat order: per layer q, k, v, mlp_in; then final."""
        flat = []
        for layer in range(len(self.q)):
            flat += [self.q[layer], self.k[layer], self.v[layer], self.mlp_in[layer]]
        return [*flat, self.final]

    def released(self) -> Capture:
        """The same values without the autograd graph."""
        return replace(
            self,
            input=self.input.detach(),
            final=self.final.detach(),
            hidden=self.hidden.detach(),
            logits=self.logits.detach(),
            q=[x.detach() for x in self.q],
            k=[x.detach() for x in self.k],
            v=[x.detach() for x in self.v],
            mlp_in=[x.detach() for x in self.mlp_in],
        )

    def rows(self, which: slice) -> Capture:
        """Some of the pairs."""
        parts = {name: value for name, value in vars(self).items() if name != "start"}
        some = {name: [x[which] for x in v] if isinstance(v, list) else v[which] for name, v in parts.items()}
        return Capture(start=self.start, **some)

    def sources_only(self) -> Capture:
        """The two ends but for the logits, and what the sources wrote, so that all else can be freed."""
        logits = self.logits.new_empty((len(self.logits), 0))
        ends = Capture(self.input, self.final_residual, self.final, self.hidden, logits, self.start)
        return replace(ends, z=self.z, mlp=self.mlp, post_scale=self.post_scale)


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
            point.fwd_hooks.remove(handle)  # the hook point's own list, which torch's handle does not know


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


def call(
    model: Model, tokens: Tokens, hooks: Sequence[Hook], *, start: int = 0, filled: list[Any] | None = None
) -> Float[Tensor, "pair positions vocab"]:
    """Run the model on a batch with hooks; returns the logits that come out (with `answer_hook`, at one position).

    filled: where the pass's keys and values are put, for runs that go on from these tokens.
    """
    mask, past = None if bool(tokens.mask.all()) else tokens.mask.long(), tokens.past
    if mask is not None and past is not None:
        mask = torch.cat([mask.new_ones(len(mask), past.length), mask], 1)
    goes_on = {"use_cache": False} if past is None else {"past_key_values": past.cache(), "use_cache": True}
    if start:
        _blocks_return_tuples(model)  # runs the model itself, so it must come before the hooks are on
    with model.lock, hooked(hooks), skipped(model, start):
        if filled is None:
            return model.bridge(tokens.ids, attention_mask=mask, **goes_on)
        logits, held = model.bridge(
            tokens.ids, attention_mask=mask, return_type="logits_and_cache", **{**goes_on, "use_cache": True}
        )
    filled.append(held)
    return logits


def at_positions(hidden: Float[Tensor, "pair pos *axes"], last: Int[Tensor, " pair"]) -> Float[Tensor, "pair 1 *axes"]:
    """What is at each pair's answer position."""
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), last.to(hidden.device)].unsqueeze(1)


def answer_hook(model: Model, tokens: Tokens) -> Hook:
    """Let only the answer position reach the unembedding."""
    return model.bridge.unembed.hook_in, lambda hidden: at_positions(hidden, tokens.last)


def capture(
    model: Model,
    tokens: Tokens,
    *,
    value: Float[Tensor, "pair pos d_model"] | None = None,
    start: int = 0,
    grad: bool = False,
    keep: Keep = Keep.SOURCES,
    extra: Sequence[Hook] = (),
    filled: list[Any] | None = None,
) -> Capture:
    """Run one pass and keep what attribution needs.

    value: replaces the embedding (start = 0) or the residual stream that enters layer `start`.
    grad: make it a leaf, and keep residuals and destinations whatever `keep` says. Layers before
    `start` leave nothing. filled: where keys and values are put.
    """
    tensors: Tensors = defaultdict(list)
    hooks = [_input_hook(model, tensors, value, start, grad)]
    for layer in model.layers[start:]:
        hooks += _layer_hooks(layer, tensors, keep, grad)
    hooks += _head_hooks(model, tensors, tokens, grad)
    with torch.set_grad_enabled(grad):
        logits = call(model, tokens, [*hooks, *extra], start=start, filled=filled)
    ends = {name: tensors.pop(name)[0] for name in ("input", "final_residual", "final", "hidden")}
    return Capture(**ends, logits=widen(logits[:, -1]), start=start, **tensors)


def _input_hook(model: Model, tensors: Tensors, value: Tensor | None, start: int, grad: bool) -> Hook:
    def enter(x: Tensor) -> Tensor | None:
        entry = x.detach() if value is None else value.detach().to(x.dtype).to(x.device)
        if grad:  # a leaf of its own: weights get no gradient, and the caller's tensor is left alone
            entry = entry.clone().requires_grad_(True)
        tensors["input"].append(entry)
        return entry if grad or value is not None else None

    return model.layers[start].hook_in, enter


def _layer_hooks(layer: Layer, tensors: Tensors, keep: Keep, grad: bool) -> list[Hook]:
    hooks: list[Hook] = []
    if grad or Keep.RESIDUALS in keep:
        hooks += [
            (layer.attn_residual, _watch(tensors["attn_residual"])),
            (layer.mlp_residual, _watch(tensors["mlp_residual"])),
        ]
    if grad:
        hooks += [(layer.hook(letter), _keep(tensors[letter])) for letter in QKV]
        hooks.append((layer.mlp_in, (_keep if layer.mlp_reads_alone else _keep_clone)(tensors["mlp_in"])))
    elif Keep.INPUTS in keep:
        hooks += [(layer.hook(letter), _watch(tensors[letter])) for letter in QKV]
        hooks.append((layer.mlp_in, _watch(tensors["mlp_in"])))
    if Keep.SOURCES in keep:
        hooks += [(layer.hook_z, _watch(tensors["z"])), (layer.mlp_out, _watch(tensors["mlp"]))]
        if layer.attn_post is not None:
            norm, scales = layer.attn_post, tensors["post_scale"]
            hooks.append((layer.attn_post_in, lambda x: scales.append(norm.scale(x.detach()))))
    if Keep.OUTPUTS in keep:
        hooks += [(layer.attn_out, _watch(tensors["attention"])), (layer.hook_in, _watch(tensors["streams"]))]
    return hooks


def _head_hooks(model: Model, tensors: Tensors, tokens: Tokens, grad: bool) -> list[Hook]:
    def final(x: Tensor) -> Tensor | None:
        tensors["final_residual"].append(x.detach())
        # a copy that nothing but the final norm reads, so that its gradient is the norm's alone
        tensors["final"].append(x.clone() if grad else x)
        return tensors["final"][0] if grad else None

    def unembed(hidden: Tensor) -> Tensor:
        tensors["hidden"].append(hidden)
        return at_positions(hidden, tokens.last)

    return [(model.bridge.ln_final.hook_in, final), (model.bridge.unembed.hook_in, unembed)]


def _watch(place: list[Tensor]) -> Callable[[Tensor], None]:
    return lambda x: place.append(x.detach())


def _keep(place: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Keep the tensor itself: `autograd.grad` is asked for it, so it must be the one that is read onwards."""

    def hook(x: Tensor) -> Tensor:
        place.append(x)
        return x

    return hook


def _keep_clone(place: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Keep a copy that takes the tensor's place: others read the same one, with a gradient of their own."""

    def hook(x: Tensor) -> Tensor:
        copy = x.clone()
        place.append(copy)
        return copy

    return hook
