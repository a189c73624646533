"""What the study of docs/study-real-model.md runs, as study files of `eapgp sweep`.

The constants are those of the protocol; each part is one sweep, so that it goes on after an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eapgp.models.catalogue import model_shape
from eapgp.study.plan import Study, make_study

MODEL, BOS = "smollm2-135m", "<|endoftext|>"
TUNING_TASKS, HELD_OUT_TASKS = ("ioi", "greater-than", "sva"), ("gender-bias", "country-capital", "hypernymy")
TUNING_SEEDS, SEEDS = (1, 2), (11, 12, 13, 14, 15, 16)
PAIRS = 32  # to score on, and as many others to judge on
HEADLINE, SMALL = 0.025, 0.006
"""Shares of edges: 97.5 % is the paper's sparsity on ioi."""

SPREAD_TASKS, SPREAD_SEEDS = {"ioi": (8, 32, 128), "sva": (8, 32)}, (21, 22, 23, 24)
SPREAD_PAIRS = SPREAD_TASKS["ioi"]
JUDGED_SEED = 99  # one set of judged pairs for all scoring sets, so that only these differ
EXACT_EDGES, EXACT_SEED = 120, 11
EXACT_LABELS = ("eap", "eap-ig", "eap-gp relative", "eap-gp unit", "mask-ig")

Row = Mapping[str, Any]


def _gradpath(label: str, **options: Any) -> Row:
    return {"name": "eap-gp", "label": label, "options": {"steps": 5, **options}}


EAP: Row = {"name": "eap", "label": "eap"}
EAP_IG: Row = {"name": "eap-ig", "label": "eap-ig", "options": {"steps": 5}}
RELATIVE = _gradpath("eap-gp relative", step="relative")
UNIT = _gradpath("eap-gp unit", step="unit")
DESCEND = _gradpath("eap-gp descend", step="descend")
RANDOM_WAY = _gradpath("eap-gp unit, random direction", step="unit", direction="random")
REVERSED = _gradpath("eap-gp unit, reversed", step="unit", direction="reversed")
ANSWER_ONLY = _gradpath("eap-gp unit, answer only", step="unit", objective="last")
MASK_IG: Row = {"name": "mask-ig", "label": "mask-ig", "options": {"steps": 3}}
REFINED: Row = {"name": "mask-ig-refined", "label": "mask-ig-refined"}

METHODS: tuple[Row, ...] = (
    EAP,
    {"name": "clean-corrupted", "label": "clean-corrupted"},
    EAP_IG,
    RELATIVE,
    UNIT,
    DESCEND,
    RANDOM_WAY,
    REVERSED,
    {"name": "ceap", "label": "ceap", "options": {"steps": 5}},
    MASK_IG,
    REFINED,
    {"name": "random", "label": "random"},
    ANSWER_ONLY,
)
"""What all tasks are judged with; the last is what the tuning half chose, as the rule for the default asks."""

READINGS: tuple[Row, ...] = (
    EAP_IG,
    RELATIVE,
    UNIT,
    DESCEND,
    MASK_IG,
    _gradpath("eap-gp unit, one norm", step="unit", norm="batch"),
    _gradpath("eap-gp unit, points 0…k−1", step="unit", points="0..k-1"),
    ANSWER_ONLY,
    _gradpath("eap-gp relative, one norm", step="relative", norm="batch"),
    _gradpath("eap-gp relative, points 0…k−1", step="relative", points="0..k-1"),
    _gradpath("eap-gp descend, points 0…k−1", step="descend", points="0..k-1"),
    _gradpath("eap-gp relative, random direction", step="relative", direction="random"),
    {"name": "eap-ig", "label": "eap-ig k=10", "options": {"steps": 10}},
    {"name": "mask-ig", "label": "mask-ig calibrated", "options": {"steps": 3, "nodes": "calibrated"}},
)
"""What is looked at on the tuning half: what may become a default, and what it is held against."""


def study(part: str, model: str, bos: str | None) -> Study:
    """One part of the study on a model. bos: the start token, as `--bos` takes it. Errors: InputError."""
    mapping = {
        "name": f"real-model-{part}",
        "description": f"docs/study-real-model.md, part {part}",
        "models": [{"name": model, **({} if bos is None else {"bos": bos})}],
        "pairs": PAIRS,
        "split": "train",
        "evaluations": _evaluations(model, JUDGED_SEED if part == "spread" else None),
        "execution": {"executor": "in-process"},
        **_PARTS[part],
    }
    return make_study(mapping, where=f"the study's part {part}")


def scores_study(model: str, bos: str | None) -> Study:
    """The scores that exact patching is held against: all tasks at the first seed."""
    methods = [row for row in METHODS if row["label"] in EXACT_LABELS]
    return _first_seed("scores", model, bos, [*HELD_OUT_TASKS, *TUNING_TASKS], methods)


def exact_study(model: str, bos: str | None, task: str, edges: Sequence[str]) -> Study:
    """Exact patching of some edges on one task, at the first seed."""
    method = {"name": "exact", "label": "exact", "options": {"edges": ",".join(edges)}}
    return _first_seed(f"exact-{task}", model, bos, [task], [method])


def _first_seed(name: str, model: str, bos: str | None, tasks: Sequence[str], methods: Sequence[Row]) -> Study:
    mapping = {
        "name": f"real-model-{name}",
        "models": [{"name": model, **({} if bos is None else {"bos": bos})}],
        "tasks": list(tasks),
        "methods": list(methods),
        "seeds": [SEEDS[0]],
        "pairs": PAIRS,
        "split": "train",
        "evaluations": [],
        "execution": {"executor": "in-process"},
    }
    return make_study(mapping, where=name)


def _evaluations(model: str, seed: int | None) -> list[dict[str, Any]]:
    """MIB's grid and the two cells by |score|, and the two cells grown from the logits, on pairs held out.

    seed: of the judged pairs where it is not the cell's.
    """
    cells = cell_sizes(model)
    judged = {"split": "test", "pairs": PAIRS, "resamples": 200, **({} if seed is None else {"seed": seed})}
    return [
        {"name": "grid", "grid": "mib", **judged},
        {"name": "cells", "sizes": list(cells), **judged},
        {"name": "greedy", "sizes": list(cells), "rule": "greedy", **judged},
    ]


def cell_sizes(model: str) -> tuple[int, int]:
    """Numbers of edges of the two cells."""
    shape = model_shape(model)
    if shape is None:
        raise ValueError(f"the shape of {model} is not known before it is loaded")
    return int(SMALL * shape.graph.n_edges), int(HEADLINE * shape.graph.n_edges)


_PARTS: dict[str, dict[str, Any]] = {
    "tuning": {"tasks": list(TUNING_TASKS), "seeds": list(TUNING_SEEDS), "methods": list(READINGS)},
    "tasks": {"tasks": [*HELD_OUT_TASKS, *TUNING_TASKS], "seeds": list(SEEDS), "methods": list(METHODS)},
    "spread": {
        "tasks": [{"name": name, "pairs": n} for name, counts in SPREAD_TASKS.items() for n in counts],
        "seeds": list(SPREAD_SEEDS),
        "methods": [EAP_IG, RELATIVE, UNIT, MASK_IG],
    },
}
PARTS = tuple(_PARTS)

COMPARISONS = (
    ("H1", "eap-gp unit", "eap-ig"),
    ("H2", "eap-gp relative", "eap-ig"),
    ("H3", "eap-gp unit", "eap-gp unit, random direction"),
    ("H4", "eap-gp unit", "eap-gp unit, reversed"),
    ("H5", "mask-ig", "eap-ig"),
    ("S1", "eap-gp descend", "eap-gp relative"),
    ("S2", "eap-gp unit", "eap-gp relative"),
    ("S3", "eap-gp unit", "mask-ig"),
    ("S4", "eap-ig", "eap"),
    ("S5", "mask-ig-refined", "mask-ig"),
)
"""Names of docs/study-real-model.md, and what is subtracted from what."""
