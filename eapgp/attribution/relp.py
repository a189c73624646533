"""`relp`: one backward pass with relevance rules in place of the derivatives.

Source: arXiv:2508.21258; second-hand: the rules were read from re-implementations.

- every norm: its scale σ is a constant (the mean is not);
- attention: the pattern is a constant, so edges into queries and keys score 0;
- the MLP's non-linearity: replaced by its input-output ratio act(x)/x, held constant; in a gated MLP
  each factor of the product gets half.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome
from eapgp.engine.passes import Hook
from eapgp.errors import ModelError
from eapgp.models.model import Model, Norm, norm_of

SMALL = 1e-6  # below this an input's ratio act(x)/x is taken as its limit at 0 for GELU and SiLU


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ (z_u − z′_u) · ∂M/∂x_v (x), ∂ by the rules above; on a linear model this is EAP."""
    corrupted = ctx.reference(ctx.batch.corrupted)
    point = ctx.point(None, sources=True, extra=tuple(rules(ctx.model)), constant_scale=True)
    assert point.gradients is not None
    total = ctx.total()
    total.add(point.gradients)
    scores = ctx.contract(ctx.difference(point.run, corrupted), total)
    return Outcome(scores, point.metric, ctx.values(corrupted))


def rules(model: Model) -> list[Hook]:
    """Hooks that leave every value as it is and change the gradients."""
    hooks: list[Hook] = []
    for index, layer in enumerate(model.layers):
        hooks += [(layer.hook_q, _constant), (layer.hook_k, _constant)]
        parts = layer.block.submodules
        for name in ("ln1", "ln1_post", "ln2", "ln2_post"):
            if name in parts:
                hooks += _norm_rule(parts[name], norm_of(parts[name], model.bridge.cfg))
        hooks += _mlp_rule(model, index)
    return [*hooks, *_norm_rule(model.bridge.ln_final, model.final_norm)]


def _constant(x: Tensor) -> Tensor:
    """The value without its gradient: what scores are made of q and k then hands none back."""
    return x.detach()


def _norm_rule(module: Any, norm: Norm | None) -> list[Hook]:
    """Replace the norm's output by (x − mean) γ / σ + β with σ constant."""
    assert norm is not None
    entered: list[Tensor] = []  # the input, handed from the norm's one hook to the other

    def enter(x: Tensor) -> None:
        entered.append(x)

    def leave(y: Tensor) -> Tensor:
        x = entered.pop()
        out = x - x.mean(-1, keepdim=True) if norm.centred else x
        out = out / norm.scale(x.detach()).to(x)
        gamma, beta = norm.gamma, norm.beta
        out = out if gamma is None else out * gamma.to(x)
        out = out if beta is None else out + beta.to(x)
        return out.to(y)

    return [(module.hook_in, enter), (module.hook_out, leave)]


def _mlp_rule(model: Model, index: int) -> list[Hook]:
    hooks, at = model.bridge.hook_dict, f"blocks.{index}.mlp."
    if at + "hook_pre" not in hooks or at + "hook_post" not in hooks:
        raise ModelError(
            f"relp needs the MLP's input and output of its non-linearity; model {model.id!r} "
            f"({model.architecture}) shows none. Use another method."
        )
    inputs: dict[str, Tensor] = {}
    rule: list[Hook] = [(hooks[at + "hook_pre"], _store(inputs, "pre"))]
    if at + "hook_pre_linear" in hooks:
        rule.append((hooks[at + "hook_pre_linear"], _store(inputs, "linear")))

    def post(y: Tensor) -> Tensor:
        gate, linear = inputs.pop("pre"), inputs.pop("linear", None)
        if linear is None:
            return _by_ratio(gate, y)
        return 0.5 * _by_ratio(gate, y) + 0.5 * _by_ratio(linear, y)

    rule.append((hooks[at + "hook_post"], post))
    return rule


def _store(place: dict[str, Tensor], name: str) -> Callable[[Tensor], None]:
    def hook(x: Tensor) -> None:
        place[name] = x

    return hook


def _by_ratio(
    x: Float[Tensor, "pair pos d_mlp"], y: Float[Tensor, "pair pos d_mlp"]
) -> Float[Tensor, "pair pos d_mlp"]:
    """y, as x times the constant y/x; the difference to y is a constant too."""
    ratio = torch.where(x.abs() > SMALL, y / torch.where(x.abs() > SMALL, x, torch.ones_like(x)), 0.5).detach()
    out = x * ratio
    return out + (y - out).detach()  # y to the last bit, with the gradient of `out`
