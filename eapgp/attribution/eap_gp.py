"""`eap-gp`: gradients averaged along GradPath, which is meant to leave the saturated region of the output.

1. Run the corrupted prompt; keep what its unembedding reads, G(x′), and its sources z′.
2. At γ_0 = x take the path gradient; step to γ_1 (see `gradpath`).
3. At γ_1 … γ_k take ∂M/∂x_v; at γ_1 … γ_{k−1} the path gradient too, from the same forward pass.
4. Multiply the mean of the k gradients with z_u − z′_u.

k+1 forward and 2k backward passes, and one corrupted pass without gradient.
"""

from __future__ import annotations

from eapgp.attribution.context import Context
from eapgp.attribution.outcome import Outcome
from eapgp.attribution.walk import start_walk


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ (z_u − z′_u) · (1/k) Σ_{j=1..k} ∂M/∂x_v (γ_j).

    Source: Zhang et al. 2025, arXiv:2502.06852, section 4 and algorithm 1.
    """
    walk = start_walk(ctx)
    total = ctx.total()
    for point in walk.points(ctx):
        assert point.gradients is not None
        total.add(point.gradients, 1 / ctx.options["steps"])
        del point  # its tensors, before the next point's are made
    scores = ctx.contract(ctx.difference(walk.clean, walk.corrupted), total)
    return Outcome.of_inputs(scores, walk.metric, ctx.values(walk.corrupted), [walk.part])
