"""The bare passes that a method cannot avoid, with nothing captured and nothing scored.

`lean` passes let only the answer position reach the unembedding, as the engine's own do: beside them
nothing hides what scoring adds. Plain ones compute logits at every position, as a model does by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from eapgp.engine.passes import Hook, Tokens, at_positions, call
from eapgp.models.model import Model

Metric = Callable[[Tensor], Tensor]


def forward(model: Model, tokens: Tokens, *, lean: bool = False) -> None:
    """One forward pass without gradient."""
    with torch.no_grad():
        call(model, tokens, [_unembed(model, tokens, [])] if lean else [])


def forward_backward(
    model: Model,
    tokens: Tokens,
    metric: Metric,
    *,
    start: int = 0,
    lean: bool = False,
    of_metric: bool = True,
    of_output: bool = False,
) -> None:
    """One forward pass and one backward pass, or two, to what enters layer `start`.

    of_metric: back from the metric; of_output: back from the output at every position (the squared norm of the
    logits or, lean, of what the unembedding reads), as GradPath's distance goes.
    """
    leaf: list[Tensor] = []
    hidden: list[Tensor] = []

    def enter(x: Tensor) -> Tensor:
        leaf.append(x.detach().clone().requires_grad_(True))
        return leaf[0]

    hooks: list[Hook] = [(model.layers[start].hook_in, enter)]
    if lean:
        hooks.append(_unembed(model, tokens, hidden))
    logits = call(model, tokens, hooks, start=start)
    if of_metric:
        torch.autograd.grad(metric(logits[:, -1]).sum(), leaf, retain_graph=of_output)
    if of_output:
        torch.autograd.grad((hidden[0] if lean else logits).square().sum(), leaf)


def _unembed(model: Model, tokens: Tokens, hidden: list[Tensor]) -> Hook:
    def hook(x: Tensor) -> Tensor:
        hidden.append(x)
        return at_positions(x, tokens.last)

    return model.bridge.unembed.hook_in, hook


def unavoidable(
    model: Model, clean: Tokens, corrupted: Tokens, metric: Metric, count: int, *, lean: bool = False
) -> None:
    """Clean and corrupted pass without gradient, then `count` passes with gradient to the input."""
    forward(model, clean, lean=lean)
    forward(model, corrupted, lean=lean)
    for _ in range(count):
        forward_backward(model, clean, metric, lean=lean)


def unavoidable_gradpath(
    model: Model, clean: Tokens, corrupted: Tokens, metric: Metric, count: int, *, lean: bool = False
) -> None:
    """Corrupted pass without gradient, then `count` + 1 forward and 2 · `count` backward passes."""
    forward(model, corrupted, lean=lean)
    for step in range(count + 1):
        forward_backward(model, clean, metric, lean=lean, of_metric=step > 0, of_output=step < count)


def unavoidable_activations(
    model: Model, clean: Tokens, corrupted: Tokens, metric: Metric, count: int, *, lean: bool = False
) -> None:
    """`unavoidable` for one path per component, each run from its own layer on."""
    forward(model, clean, lean=lean)
    forward(model, corrupted, lean=lean)
    for start in (0, *(layer for layer in range(model.graph.n_layers) for _ in range(2))):
        for _ in range(count):
            forward_backward(model, clean, metric, start=start, lean=lean)
