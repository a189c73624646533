"""Where on the straight line from x′ to x the gradients are taken."""

from __future__ import annotations

from eapgp.attribution.options import POINTS

_SHIFT = {"left": 0.0, "right": 1.0, "midpoint": 0.5}


def fractions(steps: int, rule: str = "left") -> list[float]:
    """α_1 … α_k of the points x′ + α (x − x′), equally weighted.

    left: j/k for j = 0 … k−1 (the reference code of EAP-IG); right: j = 1 … k (the paper);
    midpoint: (j + ½)/k.

    Source: Hanna et al. 2024, arXiv:2403.17806, eq. 4 and its code.
    """
    shift = _SHIFT[POINTS.check(rule)]
    return [(j + shift) / steps for j in range(steps)]
