"""Which areas under a curve are MIB's CPR and CMD: those over the benchmark's own sizes, and no others.

Over other sizes the same integrals depend on which sizes were asked for, so they bear no name that invites a
comparison with published numbers: `area` (under faithfulness) and `area_to_one` (between it and 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.evaluation.statistics import MIB_FRACTIONS, mib_sizes
from eapgp.types import Floats

MIB_NAMES = {"area": "cpr", "area_to_one": "cmd"}
"""Area → what MIB calls it on its grid."""


def on_mib_grid(selected: Sequence[int] | NDArray[np.int64], n_edges: int) -> bool:
    """Whether circuits of these sizes are those of MIB's grid on a graph of `n_edges`."""
    return [int(size) for size in selected] == mib_sizes(n_edges)


def area_shares(selected: Sequence[int] | NDArray[np.int64], n_edges: int) -> Floats:
    """`[size]` what areas are taken over: the selected shares of the edges; MIB's own fractions on its grid."""
    if on_mib_grid(selected, n_edges):
        return np.array(MIB_FRACTIONS)
    return np.asarray(selected, dtype=np.float64) / max(1, n_edges)


def is_mib(shares: Sequence[float] | Floats) -> bool:
    """Whether an area over these shares is MIB's."""
    return np.array_equal(np.asarray(shares, dtype=np.float64), MIB_FRACTIONS)


def described(shares: Sequence[float] | Floats, of: str = "edges") -> str:
    """What an area is taken over, in words; of: what the shares are of."""
    grid = "MIB's grid" if of == "edges" else f"MIB's grid of {of}"
    return grid if is_mib(shares) else f"{100 * min(shares):.3g} … {100 * max(shares):.3g} % of the {of}"


def area_entries(shares: Sequence[float] | Floats, area: Any, area_to_one: Any) -> dict[str, Any]:
    """The entries of an answer that tell its areas; `cpr` and `cmd` are None off MIB's grid."""
    mib = is_mib(shares)
    bounds = None if area is None else [float(min(shares)), float(max(shares))]
    names = {"area": area, "area_to_one": area_to_one}
    return {**names, "area_shares": bounds, **{MIB_NAMES[name]: band if mib else None for name, band in names.items()}}


def with_area_names(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer kept by a version that called every area CPR and CMD, with its areas named as today."""
    if "area" in answer:
        return dict(answer)
    shares = area_shares([entry["edges_selected"] for entry in answer["curve"]], answer["n_edges"])
    return {**answer, **area_entries(shares, answer["cpr"], answer["cmd"])}
