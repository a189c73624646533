"""Published numbers that a reproduction is laid beside: a small table of facts, each with its source.

Normalised faithfulness of circuits of GPT-2 small and GPT-2 XL (raw weights, greedy selection, dead ends pruned) by
number of edges. They are printed here to two or three decimals and carry no intervals of their own.

Two tables of one repository give EAP and EAP-IG on GPT-2 small, and disagree by up to 0.9 in a cell: both are
carried, and what is held against them is held against their range.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from eapgp.places import expanded

HANNA_2024_EXACT = (
    "Hanna, Pezzelle & Belinkov 2024, arXiv:2403.17806, the tables beside exact patching in the same repository"
)
HANNA_2024 = "Hanna, Pezzelle & Belinkov 2024, arXiv:2403.17806, result tables of its code"
ZHANG_2025 = "Zhang et al. 2025, arXiv:2502.06852, read from its figure at second hand"
ABSTRACT = "arXiv:2502.06852, abstract: EAP-GP is up to 17.7 % more faithful than its predecessors"
MODEL, HUB_ID = "gpt2", "openai-community/gpt2"
XL_MODEL, XL_HUB_ID = "gpt2-xl", "openai-community/gpt2-xl"
SIZES = (200, 800, 1000)
HEADLINE_SIZE = 812
"""97.5 % sparsity of GPT-2 small's 32,491 edges."""
N_EDGES = 32_491
XL_EDGES = 2_235_025
XL_SIZES = (100, 9030, 17960, 26890, 35820, 44750, 53680, 62610, 71540, 80470, 89400)
_SHAPE = {"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "vocab_size": 50_257}


@dataclass(frozen=True)
class Published:
    """One published cell: normalised faithfulness of a method's circuit of `edges` edges.

    other: the same cell in the other table of the same repository, where there is one.
    """

    task: str
    method: str
    edges: int
    value: float
    source: str
    second_hand: bool = False
    other: float | None = None
    model: str = MODEL

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and the largest published value."""
        return span(self.value, self.other)


def span(value: float, other: float | None) -> tuple[float, float]:
    """The range of one or two published values of a cell."""
    return (value, value) if other is None else (min(value, other), max(value, other))


_TABLE: dict[str, tuple[tuple[float, float, float], ...]] = {
    "ioi": ((0.000, 0.425, 0.426), (0.569, 0.625, 0.871), (0.654, 0.636, 0.930)),
    "greater-than": ((0.879, 0.935, 0.946), (0.964, 0.996, 0.999), (0.964, 1.006, 0.991)),
    "gender-bias": ((0.813, 0.739, 0.876), (0.946, 0.904, 0.936), (0.954, 0.912, 0.970)),
    "sva": ((0.000, 0.156, 0.114), (-0.001, 0.898, 0.869), (0.868, 0.931, 0.903)),
    "country-capital": ((0.590, 0.704, 0.665), (0.792, 0.901, 0.857), (0.825, 0.931, 0.876)),
    "hypernymy": ((0.016, 0.068, 0.029), (0.193, 0.379, 0.322), (0.234, 0.443, 0.400)),
}
"""By task: for 200, 800 and 1000 edges the values of EAP, EAP-IG (k = 5) and exact patching."""

_OTHER: dict[str, tuple[tuple[float, float], ...]] = {
    "ioi": ((0.000, 0.147), (0.003, 0.757), (0.005, 0.827)),
    "greater-than": ((0.890, 0.873), (0.947, 0.982), (0.948, 0.981)),
    "gender-bias": ((0.813, 0.882), (0.946, 0.943), (0.954, 0.934)),
    "sva": ((0.093, 0.379), (0.884, 0.977), (0.934, 0.985)),
    "country-capital": ((0.591, 0.661), (0.790, 0.852), (0.827, 0.870)),
    "hypernymy": ((0.014, 0.120), (0.196, 0.403), (0.233, 0.444)),
}
"""By task: for 200, 800 and 1000 edges EAP and EAP-IG in the tables beside exact patching."""

_XL: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "ioi": (
        (0.025, 0.281, 0.509, 0.672, 0.740, 0.788, 0.827, 0.849, 0.879, 0.890, 0.903),
        (0.028, 0.466, 0.617, 0.667, 0.728, 0.771, 0.804, 0.837, 0.859, 0.873, 0.884),
    ),
    "greater-than": (
        (0.010, 0.961, 0.977, 0.986, 0.991, 0.990, 0.991, 0.989, 0.988, 0.988, 0.986),
        (0.039, 0.974, 0.980, 0.990, 0.980, 0.978, 0.988, 0.979, 0.982, 0.978, 0.980),
    ),
    "gender-bias": (
        (0.079, 0.988, 0.998, 1.015, 1.019, 1.009, 1.006, 1.006, 1.008, 1.006, 1.006),
        (0.064, 0.988, 0.999, 0.997, 0.996, 1.014, 1.019, 1.023, 1.017, 1.019, 1.019),
    ),
    "sva": (
        (0.000, 0.776, 0.893, 0.933, 0.951, 0.964, 0.977, 0.986, 0.990, 0.991, 0.993),
        (0.005, 0.873, 0.945, 0.968, 0.986, 0.992, 0.998, 1.001, 1.001, 1.006, 1.005),
    ),
    "country-capital": (
        (0.018, 0.605, 0.743, 0.800, 0.842, 0.871, 0.893, 0.907, 0.914, 0.922, 0.930),
        (0.050, 0.699, 0.789, 0.839, 0.869, 0.886, 0.898, 0.905, 0.915, 0.922, 0.933),
    ),
    "hypernymy": (
        (0.000, 0.094, 0.263, 0.441, 0.582, 0.680, 0.756, 0.806, 0.847, 0.869, 0.893),
        (0.000, 0.189, 0.342, 0.510, 0.658, 0.745, 0.798, 0.863, 0.895, 0.917, 0.930),
    ),
}
"""By task: GPT-2 XL's EAP and EAP-IG at `XL_SIZES`."""

PUBLISHED: tuple[Published, ...] = (
    *(
        Published(task, method, size, value, HANNA_2024, other=other)
        for task, rows in _TABLE.items()
        for size, row, others in zip(SIZES, rows, _OTHER[task], strict=True)
        for method, value, other in zip(("eap", "eap-ig", "exact"), row, (*others, None), strict=True)
    ),
    *(
        Published(task, method, size, value, HANNA_2024, model=XL_MODEL)
        for task, rows in _XL.items()
        for method, row in zip(("eap", "eap-ig"), rows, strict=True)
        for size, value in zip(XL_SIZES, row, strict=True)
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
    path = expanded(model) / "config.json"
    with contextlib.suppress(OSError, ValueError):
        values = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(values, dict) and all(values.get(key) == value for key, value in _SHAPE.items())
    return False


def published_model(model: str) -> str | None:
    """Whose published numbers speak of this model: GPT-2 small's (see `is_gpt2_small`), GPT-2 XL's, or nobody's."""
    if model in (XL_MODEL, XL_HUB_ID):
        return XL_MODEL
    return MODEL if is_gpt2_small(model) else None


def published(model: str, task: str, method: str, edges: int) -> Published | None:
    """The published cell, or None where nothing is published."""
    wanted = (published_model(model), task, method, edges)
    return next((cell for cell in PUBLISHED if (cell.model, cell.task, cell.method, cell.edges) == wanted), None)


def widest_spread() -> str:
    """How far the two tables are apart at most, in words, by method."""
    both = [cell for cell in PUBLISHED if cell.other is not None]
    widest = {
        method: max((cell for cell in both if cell.method == method), key=lambda cell: cell.span[1] - cell.span[0])
        for method in dict.fromkeys(cell.method for cell in both)
    }
    cells = (
        f"{method} up to {cell.span[1] - cell.span[0]:.2f} ({cell.task}, {cell.edges} edges)"
        for method, cell in widest.items()
    )
    return f"the two tables differ by: {', '.join(cells)}"


def nearest_share(task: str, method: str, edges: int, n_edges: int) -> Published | None:
    """GPT-2 small's cell at the same share of its edges, for another model of `n_edges` edges, or None.

    A cell belongs to the size that its share rounds to; of several the nearest one is taken.
    """
    share = edges / n_edges
    fitting = [
        cell
        for cell in PUBLISHED
        if (cell.model, cell.task, cell.method) == (MODEL, task, method)
        and round(cell.edges / N_EDGES * n_edges) == edges
    ]
    return min(fitting, key=lambda cell: abs(cell.edges / N_EDGES - share), default=None)
