"""Positions that a path leaves as they are, run once with gradient for all of its points.

1. One pass over them keeps the destinations there; the keys and values that it hands on become leaves.
2. A point runs the later positions alone; its backward pass ends at their destinations and at those leaves.
3. What arrived at the leaves is sent on through the graph of the first pass.

So every point has the gradients of whole prompts, for a forward pass over the end of them and a backward pass.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eapgp.engine.gradients import PointGradients, gradients_of, point_gradients
from eapgp.engine.passes import Capture, Keep, Tokens, capture
from eapgp.engine.past import Past, close, goes_on
from eapgp.models.model import Model, widen

_LOG = logging.getLogger(__name__)
WORTH = 128
"""Tokens (pairs · positions) from which on it is faster to go on from them; measured on smollm2-135m, two cores.

Below, a pass is mostly reading the weights, and a backward pass in two parts reads them twice.
"""


@dataclass(frozen=True)
class Prefix:
    """The leading positions of some prompts, on their graph.

    ends: keys, then values of each layer, as the run handed them on. past: the same as leaves, which points go on from.
    """

    run: Capture
    ends: list[Tensor]
    past: Past

    @property
    def leaves(self) -> list[Tensor]:
        """What a point's gradient is asked at, beside its own destinations."""
        return _ends(self.past.held)

    @property
    def input(self) -> Float[Tensor, "pair pos d_model"]:
        """The embedding there."""
        return self.run.input.detach()

    def gradients(
        self, model: Model, arrived: Sequence[Tensor]
    ) -> tuple[PointGradients, Float[Tensor, "pair pos d_model"]]:
        """∂M at the destinations here and at the embedding, from what arrived at the leaves."""
        inputs = [*self.run.destinations(), self.run.input]
        found = gradients_of(self.ends, inputs, arrived=arrived, retain_graph=True)
        at_input = found.pop()
        return point_gradients(model, self.run, found), at_input


def make_prefix(model: Model, ids: Int[Tensor, "pair pos"]) -> Prefix | None:
    """Run leading positions, which no prompt's padding reaches.

    None where these are too few to be worth it, and where this model's runs cannot go on from them.
    """
    if ids.numel() < WORTH or not goes_on(model):
        return None
    if "goes on with gradient" not in model.cache:
        model.cache["goes on with gradient"] = _agrees(model)
    return _run(model, ids) if model.cache["goes on with gradient"] else None


def _run(model: Model, ids: Int[Tensor, "pair pos"]) -> Prefix:
    filled: list[Any] = []
    last = torch.full((len(ids),), ids.shape[1] - 1, device=ids.device)
    run = capture(
        model, Tokens(ids, torch.ones_like(ids, dtype=torch.bool), last), grad=True, keep=Keep.NOTHING, filled=filled
    )
    held = copy.copy(filled[0])
    held.layers = [_leaves(layer) for layer in held.layers]
    return Prefix(run, _ends(filled[0]), Past(held, ids.shape[1]))


def _ends(held: Any) -> list[Tensor]:
    return [end for layer in held.layers for end in (layer.keys, layer.values)]


def _leaves(layer: Any) -> Any:
    new = copy.copy(layer)
    new.keys, new.values = (end.detach().requires_grad_(True) for end in (layer.keys, layer.values))
    return new


def _agrees(model: Model) -> bool:
    """Whether a gradient at the embedding is that of a whole run, found by running a few tokens both ways."""
    try:
        ids = torch.randint(model.bridge.cfg.d_vocab, (1, 4), generator=torch.Generator().manual_seed(0)).to(
            model.device
        )
        tokens = Tokens(ids, torch.ones_like(ids, dtype=torch.bool), torch.full((1,), 3, device=ids.device))
        whole, prefix = capture(model, tokens, grad=True, keep=Keep.NOTHING), _run(model, ids[:, :2])
        run = capture(model, tokens.after(prefix.past), grad=True, keep=Keep.NOTHING)
        expected = torch.autograd.grad(whole.logits.square().sum(), whole.input)[0]
        found = torch.autograd.grad(run.logits.square().sum(), prefix.leaves)
        before = torch.autograd.grad(prefix.ends, prefix.run.input, found)[0]
    except Exception as error:  # whatever a model does with a cache that it does not know
        _LOG.debug("%s cannot go on from a past with gradient: %s", model.id, error)
        return False
    apart, size = widen(before - expected[:, :2]).norm(), widen(expected[:, :2]).norm()
    return bool(apart <= size * close(model))
