"""Runs that go on from positions that were computed once: a causal model's keys and values of them are kept.

Where two prompts begin alike, nothing differs there, whatever edges are cut: what comes later is all that has to run.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from eapgp.models.model import Model, widen

_LOG = logging.getLogger(__name__)
CLOSE, ROUGHLY = 1e-4, 0.05
"""How far logits of a run that goes on may be from those of a whole one, of the latter's size: in float32, in less."""


@dataclass(frozen=True)
class Past:
    """Keys and values of the positions before a batch's first. times: how often its pairs stand one after the other."""

    held: Any
    length: int
    times: int = 1

    def cache(self) -> Any:
        """A cache of transformers' for one pass, which reads what is held and keeps nothing of its own."""
        cache = copy.copy(self.held)
        cache.layers = [_once(layer, self.times) for layer in self.held.layers]
        return cache

    @property
    def nbytes(self) -> int:
        """Memory of keys and values."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.held.layers)


def _once(layer: Any, times: int) -> Any:
    """A layer of a cache that forgets what a pass adds: nobody goes on from there."""
    new = copy.copy(layer)

    def update(keys: Tensor, values: Tensor, *rest: Any, **more: Any) -> Any:
        if times > 1:
            new.keys, new.values = layer.keys.repeat(times, 1, 1, 1), layer.values.repeat(times, 1, 1, 1)
        both = type(new).update(new, keys, values, *rest, **more)
        new.keys, new.values = layer.keys, layer.values
        return both

    new.update = update
    return new


def make_past(model: Model, ids: Int[Tensor, "pair pos"]) -> Past:
    """Run leading positions, which no prompt's padding reaches."""
    with model.lock, torch.no_grad():
        _, held = model.bridge(ids, return_type="logits_and_cache", use_cache=True)
    return Past(held, ids.shape[1])


def goes_on(model: Model) -> bool:
    """Whether this model's runs can go on from a past, found once by running a few tokens both ways."""
    if "goes on" not in model.cache:
        try:
            model.cache["goes on"] = _agrees(model)
        except Exception as error:  # whatever a model does with a cache that it does not know
            _LOG.debug("%s cannot go on from a past: %s", model.id, error)
            model.cache["goes on"] = False
    return bool(model.cache["goes on"])


def _agrees(model: Model) -> bool:
    shape, cut = (2, 6), 3
    drawn = torch.randint(model.bridge.cfg.d_vocab, shape, generator=torch.Generator().manual_seed(0))
    ids, mask = drawn.to(model.device), torch.ones(shape, dtype=torch.long, device=model.device)
    mask[1, -1] = 0
    past = make_past(model, ids[:, :cut])
    with model.lock, torch.no_grad():
        whole = widen(model.bridge(ids, attention_mask=mask, use_cache=False))[:, cut:]
        later = widen(model.bridge(ids[:, cut:], attention_mask=mask, past_key_values=past.cache()))
    real = mask[:, cut:].bool()
    apart, size = (later - whole)[real].norm(), whole[real].norm()
    return bool(apart <= size * close(model))


def close(model: Model) -> float:
    """How far a run that goes on may be from a whole one in this model's dtype, as a share of its size."""
    return CLOSE if model.dtype in ("float32", "float64") else ROUGHLY
