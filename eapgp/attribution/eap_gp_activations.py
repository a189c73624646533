"""`eap-gp-activations`: a GradPath in each layer's output space, all other layers clean.

The literal per-node reading of Zhang et al. 2025, arXiv:2502.06852.
"""

from __future__ import annotations

from eapgp.attribution.components import Component, ComponentScores, components, reference_components
from eapgp.attribution.context import Context
from eapgp.attribution.gradpath import Steps, pair_norm
from eapgp.attribution.outcome import Outcome
from eapgp.engine.differences import OutputTarget
from eapgp.engine.gradients import GradientSum
from eapgp.models.model import widen


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ (z_u − z′_u) · (1/k) Σ_j ∂M/∂x_v (run with u's layer output at γ_j)."""
    clean, corrupted = reference_components(ctx)
    target = ctx.target(corrupted, runs=2 * ctx.options["steps"] + 1)
    scores = ComponentScores(ctx, clean, corrupted)
    for component in components(ctx, clean, corrupted):
        scores.add(component, _along(ctx, component, target))
    return scores.outcome()


def _along(ctx: Context, component: Component, target: OutputTarget) -> GradientSum:
    """Mean gradients along one component's path towards the corrupted run's output."""
    steps = ctx.options["steps"]
    x, x_prime = widen(component.clean), widen(component.corrupted)
    walk = Steps(ctx.options["step"], steps, pair_norm(x * ctx.mask - x_prime * ctx.mask))
    total, value = ctx.total(), x
    for number in range(steps + 1):
        path = target if number < steps else None
        point = component.point(ctx, value, path=path, metric_gradient=number > 0)
        if point.gradients is not None:
            total.add(point.gradients, 1 / steps)
        if point.path_gradient is not None and point.distance is not None:
            value = walk.advance(number, value, widen(point.path_gradient), point.distance)
        del point  # its tensors, before the next point's are made
    return total
