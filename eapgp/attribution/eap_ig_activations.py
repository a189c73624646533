"""`eap-ig-activations`: one layer's outputs at a time on the straight line, all others clean."""

from __future__ import annotations

from eapgp.attribution.components import ComponentScores, between, components, reference_components
from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome
from eapgp.attribution.quadrature import fractions


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ (z_u − z′_u) · (1/k) Σ_j ∂M/∂x_v (run with u's layer output at α_j), α_j = j/k, j = 1 … k.

    Source: Hanna et al. 2024, arXiv:2403.17806, EAP-IG (activations).
    """
    clean, corrupted = reference_components(ctx)
    scores = ComponentScores(ctx, clean, corrupted)
    alphas = fractions(ctx.options["steps"], "right")
    for component in components(ctx, clean, corrupted):
        total = ctx.total()
        for alpha in alphas:
            point = component.point(ctx, between(component, alpha))
            assert point.gradients is not None
            total.add(point.gradients, 1 / len(alphas))
            del point  # its tensors, before the next point's are made
        scores.add(component, total)
    return scores.outcome()
