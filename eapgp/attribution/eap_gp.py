"""`eap-gp`: gradients averaged along GradPath, which leaves the saturated region of the output.

1. Run the corrupted prompt; keep what its unembedding reads, G(x′), and its sources z′.
2. At γ_0 = x take the path gradient; step to γ_1 (see `gradpath`).
3. At γ_1 … γ_k take ∂M/∂x_v; at γ_1 … γ_{k−1} the path gradient too, from the same forward pass.
4. Multiply the mean of the k gradients with z_u − z′_u.

k+1 forward and 2k backward passes, and one corrupted pass without gradient.
"""

from __future__ import annotations

from eapgp.attribution.context import Context
from eapgp.attribution.gradpath import advance, step_sizes
from eapgp.attribution.method import Outcome
from eapgp.attribution.recorder import PathPart
from eapgp.attribution.straight import distance_of, outcome
from eapgp.engine.distance import gram_pays
from eapgp.models.adapter import widen


def run(ctx: Context) -> Outcome:
    """score(u→v) = Σ (z_u − z′_u) · (1/k) Σ_{j=1..k} ∂M/∂x_v (γ_j).

    Source: Zhang et al. 2025, arXiv:2502.06852, section 4 and algorithm 1.
    """
    steps, objective = ctx.options["steps"], ctx.options["objective"]
    ctx.use_gram = gram_pays(ctx.model, ctx.batch.clean.mask.numel() * (2 * steps + 1))
    corrupted = ctx.reference(ctx.batch.corrupted)
    start = ctx.point(None, metric_gradient=False, path=(corrupted.hidden, objective), sources=True)
    clean, x, x_prime = start.run, widen(start.run.input.detach()), widen(corrupted.input)
    part = PathPart("gradpath", x, x_prime, ctx.model.graph.n_destinations, ctx.options.get("keep_points", True))
    assert start.distance is not None and start.path_gradient is not None
    part.add(x, start.metric, start.distance, used=False)
    sizes = step_sizes(ctx.options["step"], x * ctx.mask, x_prime * ctx.mask, steps)
    total, value, gradient = ctx.total(), x, widen(start.path_gradient)
    for step in range(1, steps + 1):
        value = advance(value, gradient, sizes)
        path = (corrupted.hidden, objective) if step < steps else None
        point = ctx.point(value, path=path)
        assert point.gradients is not None
        total.add(point.run, point.gradients, 1 / steps)
        distance = distance_of(ctx, point.run, corrupted) if point.distance is None else point.distance
        part.add(value, point.metric, distance, input_gradient=point.input_gradient, norms=ctx.norms(point))
        if point.path_gradient is not None:
            gradient = widen(point.path_gradient)
    scores = ctx.contract(ctx.difference(clean, corrupted), total)
    return outcome(ctx, scores, start.metric, ctx.values(corrupted), [part])
