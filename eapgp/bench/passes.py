"""The bare passes that a method cannot avoid, with nothing captured and nothing scored."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from eapgp.engine.passes import Hook, Tokens, call
from eapgp.models.model import Model

Metric = Callable[[Tensor], Tensor]


def forward(model: Model, tokens: Tokens) -> None:
    """One forward pass without gradient, logits at every position."""
    with torch.no_grad():
        call(model, tokens, [])


def forward_backward(model: Model, tokens: Tokens, metric: Metric, *, start: int = 0) -> None:
    """One forward pass and one backward pass to what enters layer `start`."""
    leaf: list[Tensor] = []

    def enter(x: Tensor) -> Tensor:
        leaf.append(x.detach().clone().requires_grad_(True))
        return leaf[0]

    hooks: list[Hook] = [(model.layers[start].hook_in, enter)]
    logits = call(model, tokens, hooks, start=start)
    torch.autograd.grad(metric(logits[:, -1]).sum(), leaf)


def unavoidable(model: Model, clean: Tokens, corrupted: Tokens, metric: Metric, count: int) -> None:
    """Clean and corrupted pass without gradient, then `count` passes with gradient to the input."""
    forward(model, clean)
    forward(model, corrupted)
    for _ in range(count):
        forward_backward(model, clean, metric)


def unavoidable_activations(model: Model, clean: Tokens, corrupted: Tokens, metric: Metric, count: int) -> None:
    """The same for one path per component, each run from its own layer on."""
    forward(model, clean)
    forward(model, corrupted)
    for start in (0, *(layer for layer in range(model.graph.n_layers) for _ in range(2))):
        for _ in range(count):
            forward_backward(model, clean, metric, start=start)
