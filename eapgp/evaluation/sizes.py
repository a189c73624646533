"""Which circuit sizes a curve takes where none are named; one definition for the library, commands and pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eapgp.evaluation.statistics import mib_sizes

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)


def curve_sizes(n_edges: int) -> list[int]:
    """Distinct sizes of the usual curve, denser where circuits are small; bundled examples were measured at them."""
    return sorted({max(1, size) for size in mib_sizes(n_edges, SHARES)})


GRIDS: Mapping[str, Callable[[int], list[int]]] = {"default": curve_sizes, "mib": mib_sizes}
"""Name of a grid → its sizes on a graph of n edges."""
