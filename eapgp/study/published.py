"""Published numbers that a reproduction is laid beside: a small table of facts, each with its source.

Normalised faithfulness of GPT-2 small's circuits (raw weights, greedy selection, dead ends pruned) by
number of edges. They are printed here to two or three decimals and carry no intervals of their own.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HANNA_2024 = "Hanna, Pezzelle & Belinkov 2024, arXiv:2403.17806, result tables of its code"
ZHANG_2025 = "Zhang et al. 2025, arXiv:2502.06852, read from its figure at second hand"
ABSTRACT = "arXiv:2502.06852, abstract: EAP-GP is up to 17.7 % more faithful than its predecessors"
MODEL, HUB_ID = "gpt2", "openai-community/gpt2"
SIZES = (200, 800, 1000)
HEADLINE_SIZE = 812
"""97.5 % sparsity of GPT-2 small's 32,491 edges."""
N_EDGES = 32_491
_SHAPE = {"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "vocab_size": 50_257}


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


BASELINES: dict[str, tuple[float, float]] = {
    "ioi": (3.807, 0.032),
    "greater-than": (0.814, -0.457),
    "gender-bias": (0.881, -3.221),
    "country-capital": (6.123, -6.719),
    "hypernymy": (0.206, -0.072),
    "sva": (0.157, -0.157),
}
"""By task: GPT-2 small's metric on the published files' clean and corrupted prompts (raw weights, BOS first)."""
LEAST_GAP = 0.25


def behaves_like_gpt2_small(gaps: Mapping[str, float]) -> str:
    """ "" or why a model of GPT-2 small's shape cannot be GPT-2 small: it does not do a task.

    gaps: by task M(clean) − M(corrupted). Other prompts of the same kind move it; below a quarter of
    GPT-2 small's the weights are others (random ones give about 0).
    """
    for task, gap in gaps.items():
        clean, corrupted = BASELINES[task]
        if not gap >= LEAST_GAP * (clean - corrupted):
            return f"on {task} M(clean) − M(corrupted) is {gap:.3g} where GPT-2 small has {clean - corrupted:.3g}"
    return ""


def is_gpt2_small(model: str) -> bool:
    """Whether the published numbers speak of this model: GPT-2 small by name, or a local folder of its shape.

    Of a folder only the configuration is read: the shape and the vocabulary, not the weights.
    """
    if model in (MODEL, HUB_ID):
        return True
    path = Path(model).expanduser() / "config.json"
    with contextlib.suppress(OSError, ValueError):
        values = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(values, dict) and all(values.get(key) == value for key, value in _SHAPE.items())
    return False


def published(model: str, task: str, method: str, edges: int) -> Published | None:
    """The published cell, or None where nothing is published. Only GPT-2 small has any here."""
    if not is_gpt2_small(model):
        return None
    wanted = (task, method, edges)
    return next((cell for cell in PUBLISHED if (cell.task, cell.method, cell.edges) == wanted), None)


def nearest_share(task: str, method: str, edges: int, n_edges: int) -> Published | None:
    """GPT-2 small's cell at the same share of its edges, for another model of `n_edges` edges, or None.

    A cell belongs to the size that its share rounds to; of several the nearest one is taken.
    """
    share = edges / n_edges
    fitting = [
        cell
        for cell in PUBLISHED
        if (cell.task, cell.method) == (task, method) and round(cell.edges / N_EDGES * n_edges) == edges
    ]
    return min(fitting, key=lambda cell: abs(cell.edges / N_EDGES - share), default=None)
