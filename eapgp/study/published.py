"""Published numbers that a reproduction is laid beside: a small table of facts, each with its source.

Normalised faithfulness of GPT-2 small's circuits (raw weights, greedy selection, dead ends pruned) by
number of edges. They are printed here to two or three decimals and carry no intervals of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

HANNA_2024 = "Hanna, Pezzelle & Belinkov 2024, arXiv:2403.17806, result tables of its code"
ZHANG_2025 = "Zhang et al. 2025, arXiv:2502.06852, read from its figure at second hand"
ABSTRACT = "arXiv:2502.06852, abstract: EAP-GP is up to 17.7 % more faithful than its predecessors"
MODEL = "gpt2"
SIZES = (200, 800, 1000)
HEADLINE_SIZE = 812
"""97.5 % sparsity of GPT-2 small's 32,491 edges."""
N_EDGES = 32_491


@dataclass(frozen=True)
class Published:
    """One published cell: normalised faithfulness of a method's circuit of `edges` edges."""

    task: str
    method: str
    edges: int
    value: float
    source: str
    second_hand: bool = False


_TABLE: dict[str, tuple[tuple[float, float, float], ...]] = {
    "ioi": ((0.000, 0.425, 0.426), (0.569, 0.625, 0.871), (0.654, 0.636, 0.930)),
    "greater-than": ((0.879, 0.935, 0.946), (0.964, 0.996, 0.999), (0.964, 1.006, 0.991)),
    "gender-bias": ((0.813, 0.739, 0.876), (0.946, 0.904, 0.936), (0.954, 0.912, 0.970)),
    "sva": ((0.000, 0.156, 0.114), (-0.001, 0.898, 0.869), (0.868, 0.931, 0.903)),
    "country-capital": ((0.590, 0.704, 0.665), (0.792, 0.901, 0.857), (0.825, 0.931, 0.876)),
    "hypernymy": ((0.016, 0.068, 0.029), (0.193, 0.379, 0.322), (0.234, 0.443, 0.400)),
}
"""By task: for 200, 800 and 1000 edges the values of EAP, EAP-IG (k = 5) and exact patching."""

PUBLISHED: tuple[Published, ...] = (
    *(
        Published(task, method, size, value, HANNA_2024)
        for task, rows in _TABLE.items()
        for size, row in zip(SIZES, rows, strict=True)
        for method, value in zip(("eap", "eap-ig", "exact"), row, strict=True)
    ),
    Published("ioi", "eap-ig", HEADLINE_SIZE, 0.62, ZHANG_2025, second_hand=True),
    Published("ioi", "eap-gp", HEADLINE_SIZE, 0.80, ZHANG_2025, second_hand=True),
)


def published(model: str, task: str, method: str, edges: int) -> Published | None:
    """The published cell, or None where nothing is published. Only GPT-2 small has any here."""
    if model not in (MODEL, "openai-community/gpt2"):
        return None
    wanted = (task, method, edges)
    return next((cell for cell in PUBLISHED if (cell.task, cell.method, cell.edges) == wanted), None)
