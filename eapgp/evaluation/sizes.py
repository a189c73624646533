"""Circuit sizes of the quick curve, which the bundled examples are measured at."""

from __future__ import annotations

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)


def curve_sizes(n_edges: int) -> list[int]:
    """Circuit sizes of the quick curve: about a dozen, denser where circuits are small."""
    return sorted({max(1, int(share * n_edges)) for share in SHARES})
