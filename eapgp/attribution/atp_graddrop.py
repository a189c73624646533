"""`atp-graddrop`: EAP with each layer's gradient dropped in turn, absolute values averaged.

Source: AtP*, Kramár et al. 2024, arXiv:2403.00745, section 3.1.2 (GradDrop); second-hand for edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome
from eapgp.engine.gradients import gradients_of, point_gradients
from eapgp.engine.passes import capture


@dataclass
class _Switch:
    """Which layer's gradient is dropped now."""

    layer: int = -1


class _Gate(torch.autograd.Function):
    """Identity whose gradient is zero while its layer is the dropped one.

    A function of its own, since the layer changes between backward passes over one forward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "pair pos d_model"], switch: _Switch, layer: int
    ) -> Float[Tensor, "pair pos d_model"]:
        ctx.switch, ctx.layer = switch, layer
        return x.view_as(x)  # autograd takes an input that is handed back unchanged for no operation

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        dropped = ctx.switch.layer == ctx.layer
        return (torch.zeros_like(grads[0]) if dropped else grads[0]), None, None


def run(ctx: Context) -> Outcome:
    """score(u→v) = 1/(L−1) Σ_l |Σ_pos (z_u − z′_u) · ∂M/∂x_v with layer l's gradient dropped|.

    What layer l writes hands no gradient back; so an edge into layer l itself is worth 0 in that
    term, which is why the sum is divided by L − 1 (by 1 for one layer). Where no two layers'
    contributions cancel and an edge's effect is direct, this is |EAP| times the number of terms
    that keep it over L − 1. Scores carry no sign. A node's score takes the absolute value after the sum over
    its outgoing edges, as the paper does: 1/(L−1) Σ_l |Σ_v …|.
    """
    model, switch = ctx.model, _Switch()
    corrupted = ctx.reference(ctx.batch.corrupted)
    gates = []
    for index, layer in enumerate(model.layers):
        for point in (layer.attn_out, layer.mlp_out):
            gates.append((point, lambda x, index=index: _Gate.apply(x, switch, index)))
    clean = capture(model, ctx.batch.clean, grad=True, extra=gates)
    ctx.passes.forward += 1
    ctx.note_right(clean)
    values = ctx.values(clean)
    difference = ctx.difference(clean, corrupted)
    inputs = clean.destinations()
    edges, nodes = values.new_zeros(1), values.new_zeros(1)
    for index in range(len(model.layers)):
        switch.layer = index
        total = ctx.total()
        total.add(point_gradients(model, clean, gradients_of(values.sum(), inputs, retain_graph=True)))
        ctx.passes.backward += 1
        term = ctx.contract(difference, total)
        edges, nodes = edges + term.abs(), nodes + term.sum(-1).abs()
        ctx.tick()
    count = max(1, len(model.layers) - 1)
    return Outcome(edges / count, values.detach(), ctx.values(corrupted), nodes=nodes / count)
