"""One head on one prompt: its raw queries and keys as sums of what earlier nodes wrote, its logits as a form of both.

`attention_terms` says what this is for. The model's own attention is run, with norms held or not, so that nothing here
depends on how an architecture rotates, scales, norms or caps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from eapgp.engine.batches import to_numpy
from eapgp.engine.differences import source_values
from eapgp.engine.passes import Capture, Hook, Keep, Tokens, call, capture
from eapgp.errors import ComputationError
from eapgp.models.model import Layer, Model, Norm, norm_of, widen
from eapgp.types import Floats

BIAS = "bias"
LETTERS = ("q", "k")
SOFTMAX = (torch.nn.functional.softmax, torch.softmax, torch.Tensor.softmax)


@dataclass(frozen=True)
class LogitForm:
    """ℓ = q · B k + q · a + c · k + rest, of raw queries and keys with every norm held.

    open_q, open_k: which components pass the clipping.
    """

    bilinear: Float[Tensor, "d_head d_head"]
    of_q: Float[Tensor, " d_head"]
    of_k: Float[Tensor, " d_head"]
    open_q: Float[Tensor, " d_head"]
    open_k: Float[Tensor, " d_head"]


@dataclass(frozen=True)
class HeadRun:
    """One prompt's run and what the head reads in it.

    scores: `[query, key]` attention logits before a soft cap. normed: what entered the norms of queries and keys.
    """

    model: Model
    tokens: Tokens
    layer: int
    head: int
    run: Capture
    scores: Float[Tensor, "query key"]
    pattern: Float[Tensor, "query key"]
    normed: dict[str, Tensor]

    @classmethod
    def of(cls, model: Model, tokens: Tokens, layer: int, head: int) -> HeadRun:
        view = model.layers[layer]
        seen: dict[str, Tensor] = {}
        extra: list[Hook] = [(view.hook_pattern, _note(seen, "pattern"))]
        extra += [(bridge.hook_in, _note(seen, letter)) for letter, bridge in _norms(view).items()]
        keep = Keep.SOURCES | Keep.RESIDUALS | Keep.INPUTS
        with torch.no_grad():
            run = capture(model, tokens, keep=keep, extra=extra)
            own = [(view.hook(letter), partial(_again, getattr(run, letter)[layer])) for letter in LETTERS]
            scores = _attention_scores(model, tokens, layer, [(view.hook_in, torch.zeros_like), *own])
        scores = _uncapped(widen(scores)[0, head], _cap(view))
        return cls(model, tokens, layer, head, run, scores, widen(seen.pop("pattern"))[0, head], seen)

    @property
    def view(self) -> Layer:
        return self.model.layers[self.layer]

    @property
    def cap(self) -> float | None:
        return _cap(self.view)

    @property
    def parts(self) -> tuple[str, ...]:
        graph = self.model.graph
        return (*graph.sources[: graph.head_source(self.layer, 0)], BIAS)

    def raw(self, letter: str, place: int) -> Float[Tensor, " d_head"]:
        """The head's raw query or key at a position."""
        return widen(getattr(self.run, letter)[self.layer][0, place, self.head])

    @cached_property
    def written(self) -> Float[Tensor, "src pos d_model"]:
        """What every source before the head wrote."""
        return source_values(self.model, self.run)[0, : len(self.parts) - 1]

    def contributions(self, letter: str, place: int) -> Float[Tensor, "part d_head"]:
        """q_u (or k_u) of every part at a position; they add up to the raw query (or key)."""
        residual = widen(self.run.attn_residual[self.layer][0, place])
        written = self.written[:, place].to(residual)
        return self.projected(letter, torch.cat([written, (residual - written.sum(0))[None]]), residual, bias=True)

    def projected(
        self,
        letter: str,
        values: Float[Tensor, "part d_model"],
        residual: Float[Tensor, " d_model"],
        *,
        bias: bool,
    ) -> Float[Tensor, "part d_head"]:
        """Parts of the residual stream through the norm as it was and the head's projection; biases go to the last."""
        view, norm = self.view, self.view.attn_norm
        weight, offset = view.weight(letter)[self.head], torch.zeros_like(values[0])
        if norm is not None:
            values = values - values.mean(-1, keepdim=True) if norm.centred else values
            values = values / norm.scale(residual)
            values = values if norm.gamma is None else values * norm.gamma.detach()
            offset = offset if norm.beta is None else norm.beta.detach()
        out = values @ weight
        if bias:
            own = view.bias(letter)
            out[-1] += offset @ weight + (0 if own is None else own[self.head])
        return out

    def form(self, i: int, j: int) -> LogitForm:
        """The bilinear form, from one run of the attention on unit keys and its gradient by the query."""
        size = self.raw("q", i).numel()
        bound = self.model.qkv_bound
        step = 1.0 if bound is None else min(1.0, bound / 2)
        keys = torch.cat([torch.eye(size), torch.zeros(1, size)]).to(self.raw("k", j)) * step
        queries = torch.zeros_like(keys).requires_grad_(True)
        with torch.enable_grad():
            logits = self.logits(queries, keys, i, j, held=True)
            slopes = torch.autograd.grad(logits.sum(), queries)[0]
        logits = logits.detach()
        of_q, of_k = slopes[-1], (logits[:-1] - logits[-1]) / step
        passing = [
            torch.ones(size).to(keys) if bound is None else (self.raw(letter, at).abs() < bound).to(keys)
            for letter, at in (("q", i), ("k", j))
        ]
        return LogitForm(((slopes[:-1] - of_q) / step).T, of_q, of_k, *passing)

    def logits(
        self,
        queries: Float[Tensor, "row d_head"],
        keys: Float[Tensor, "row d_head"],
        i: int,
        j: int,
        *,
        held: bool,
    ) -> Float[Tensor, " row"]:
        """ℓ(i, j) of the model's own attention, a row for each raw query and key.

        held: with the norms of queries and keys as they were. Other heads and positions keep this run's own.
        """
        rows = len(queries)
        hooks: list[Hook] = [(self.view.hook_in, lambda x: x.new_zeros((rows, *x.shape[1:])))]
        for letter, place, values in (("q", i, queries), ("k", j, keys)):
            hooks.append((self.view.hook(letter), self._with(letter, place, values)))
        if held:
            hooks += [hook for letter, bridge in _norms(self.view).items() for hook in self._held(letter, bridge)]
        scores = _attention_scores(self.model, self.tokens.repeat(rows), self.layer, hooks)
        return _uncapped(widen(scores)[:, self.head, i, j], self.cap)

    def _with(self, letter: str, place: int, values: Float[Tensor, "row d_head"]) -> Callable[[Tensor], Tensor]:
        own = getattr(self.run, letter)[self.layer]

        def replaced(x: Tensor) -> Tensor:
            out = own.expand(len(values), *own.shape[1:]).clone()
            out[:, place, self.head] = values.to(out)
            return out.reshape(x.shape)

        return replaced

    def _held(self, letter: str, bridge: Any) -> list[Hook]:
        """A norm of queries or keys with its scale as this run had it."""
        norm = norm_of(bridge, self.model.bridge.cfg)
        assert norm is not None
        inside: list[Tensor] = []

        def hold(x: Tensor) -> Tensor:
            return _linear(norm, inside.pop(), self.normed[letter]).to(x.dtype).reshape(x.shape)

        return [(bridge.hook_in, lambda x: inside.append(x)), (bridge.hook_out, hold)]

    def terms(self, form: LogitForm, i: int, j: int) -> Floats:
        """`[part, part]` the logit taken apart."""
        q, k = (self.contributions(letter, at) for letter, at in (("q", i), ("k", j)))
        q, k = q * form.open_q, k * form.open_k
        terms = q @ form.bilinear @ k.T
        terms[:, -1] += q @ form.of_q
        terms[-1] += k @ form.of_k
        return to_numpy(terms).astype(np.float64)


def corrupted_sources(
    clean: HeadRun, corrupted: HeadRun, form: LogitForm, letter: str, i: int, j: int
) -> tuple[Floats, Floats]:
    """Corrupt every source in the query (or key) alone: `[part]` what the terms say, and what the attention does."""
    at = i if letter == "q" else j
    residual = widen(clean.run.attn_residual[clean.layer][0, at])
    change = (corrupted.written[:, at] - clean.written[:, at]).to(residual)
    other = clean.raw("k", j) * form.open_k if letter == "q" else clean.raw("q", i) * form.open_q
    slope = form.bilinear @ other + form.of_q if letter == "q" else other @ form.bilinear + form.of_k
    passing = form.open_q if letter == "q" else form.open_k
    predicted = -(clean.projected(letter, change, residual, bias=False) * passing) @ slope
    with torch.no_grad():
        own = clean.view.attn_norm
        changed = residual + change
        read = changed if own is None else widen(own.apply(changed.to(clean.run.attn_residual[clean.layer])))
        bias = clean.view.bias(letter)
        raw = read @ clean.view.weight(letter)[clean.head] + (0 if bias is None else bias[clean.head])
        fixed = clean.raw("k" if letter == "q" else "q", j if letter == "q" else i).expand_as(raw)
        queries, keys = (raw, fixed) if letter == "q" else (fixed, raw)
        measured = clean.scores[i, j] - clean.logits(queries, keys, i, j, held=False)
    nothing = np.zeros(1)
    said, done = (np.concatenate([to_numpy(values).astype(np.float64), nothing]) for values in (predicted, measured))
    return said, done


def _norms(view: Layer) -> dict[str, Any]:
    """The norms of queries and keys, where the architecture has them."""
    found = {letter: view.attn.submodules.get(f"{letter}_norm") for letter in LETTERS}
    return {letter: getattr(view.attn, f"{letter}_norm") for letter, bridge in found.items() if bridge is not None}


def _linear(norm: Norm, x: Tensor, seen: Tensor) -> Tensor:
    """The norm of x with the scale that it had at `seen`."""
    wide = widen(x)
    wide = wide - wide.mean(-1, keepdim=True) if norm.centred else wide
    out = wide / norm.scale(seen)
    out = out if norm.gamma is None else out * norm.gamma.detach()
    return out if norm.beta is None else out + norm.beta.detach()


def _cap(view: Layer) -> float | None:
    """Size at which attention logits are capped, or None."""
    cap = getattr(view.attn.original_component, "attn_logit_softcapping", None)
    return None if cap is None else float(cap)


def _uncapped(scores: Tensor, cap: float | None) -> Tensor:
    """Attention logits before the soft cap c · tanh(ℓ / c); masked ones stay what they are."""
    if cap is None:
        return scores
    inside = scores.abs() < cap
    return torch.where(inside, cap * torch.atanh(torch.where(inside, scores, 0.0) / cap), scores)


def _note(seen: dict[str, Tensor], name: str) -> Callable[[Tensor], None]:
    def watch(x: Tensor) -> None:
        seen[name] = x.detach()

    return watch


def _again(value: Tensor, x: Tensor) -> Tensor:
    return value.reshape(x.shape)


class _SeenError(Exception):
    """Ends a pass once the attention logits are there."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores


class _BeforeSoftmax(TorchFunctionMode):
    """Ends a pass at the first softmax over keys. Where the bridge leaves attention to Transformers, its hook of the
    attention logits is called with what comes after the softmax."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in SOFTMAX and args and args[0].ndim == 4 and args[0].shape[-2:] == (self.length, self.length):
            raise _SeenError(args[0])
        return func(*args, **(kwargs or {}))


def _attention_scores(model: Model, tokens: Tokens, layer: int, hooks: Sequence[Hook]) -> Tensor:
    """`[row, head, query, key]` attention logits of a layer under hooks; what comes after it is not run."""

    def stop(scores: Tensor) -> None:
        raise _SeenError(scores)

    watched = [*hooks, (model.layers[layer].attn.hook_attn_scores, stop)]
    try:
        with _BeforeSoftmax(tokens.ids.shape[1]):
            call(model, tokens, watched, start=layer)
    except _SeenError as seen:
        return seen.scores
    raise ComputationError(f"the attention of {model.architecture} does not show its logits.")
