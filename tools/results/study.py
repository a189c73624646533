"""The results study: `python -m tools.results` measures everything that docs/results.md says.

1. The planted circuit: which methods find the edges that are known to be true.
2. The bundled model, all six tasks: every method's circuits, and its agreement with exact patching.
3. The study of mask-ig (docs/study-mask-ig.md): held-out tasks and seeds, then a second model. Its tuning half
   is the part `tuning`, whose outcome is in the protocol.

What the third part compares and how it is judged was fixed in writing before its held-out part was run; the
constants below are those of the protocol.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from eapgp.attribution.usual import COMPARED, Variant
from eapgp.ground_truth.planted import PlantedScore, build_planted, planted_prompts, planted_scores
from eapgp.models import load_model
from eapgp.models.model import Model
from eapgp.prompts.files import read_prompts
from eapgp.prompts.pairs import PromptSet
from eapgp.tasks import TASKS, make_prompts
from tools import ROOT
from tools.results.measure import Estimate, TaskResult, measure_cell, measure_task, over_seeds

log = logging.getLogger(__name__)
PARTS = ("planted", "table", "held-out", "second-model")
TUNING = "tuning"  # the part whose outcome is in the protocol
TABLE_SEEDS = (0, 1, 2)
JUDGED_SEED = 1000  # added to a seed: the prompts that circuits are run on

TUNING_TASKS, HELD_OUT_TASKS = ("ioi", "greater-than", "country-capital"), ("gender-bias", "sva", "hypernymy")
TUNING_SEEDS, HELD_OUT_SEEDS = (0, 1), (10, 11, 12)
RULES = ("left", "midpoint", "right")
TUNED = (
    *(Variant(f"eap-ig k={k} {rule}", "eap-ig", {"steps": k, "points": rule}) for k in (3, 7) for rule in RULES),
    Variant("mask-ig k=3", "mask-ig", {"steps": 3}),
    Variant("mask-ig k=3 calibrated", "mask-ig", {"steps": 3, "nodes": "calibrated"}),
    Variant("mask-ig k=7", "mask-ig", {"steps": 7}),
    Variant("mask-ig-refined k=3", "mask-ig-refined", {"steps": 3}),
)

# Chosen on the tuning half; see docs/study-mask-ig.md.
JUDGED = (
    Variant("mask-ig k=3", "mask-ig", {"steps": 3}),
    Variant("eap-ig k=3 midpoint", "eap-ig", {"steps": 3, "points": "midpoint"}),
    Variant("mask-ig-refined k=3", "mask-ig-refined", {"steps": 3}),
    Variant("eap-ig k=7 midpoint", "eap-ig", {"steps": 7, "points": "midpoint"}),
    Variant("eap-ig k=5 left", "eap-ig", {"steps": 5, "points": "left"}),
)
COMPARISONS = (  # name, a, b, forward + backward passes of each
    ("H1", "mask-ig k=3", "eap-ig k=3 midpoint", "3+3, 3+3"),
    ("H2", "mask-ig-refined k=3", "eap-ig k=7 midpoint", "7+7, 7+7"),
    ("S1", "mask-ig k=3", "eap-ig k=5 left", "3+3, 5+5"),
    ("S2", "mask-ig-refined k=3", "eap-ig k=5 left", "7+7, 5+5"),
    ("S3", "mask-ig-refined k=3", "mask-ig k=3", "7+7, 3+3"),
)


@dataclass(frozen=True)
class Settings:
    """What is measured. The defaults are what docs/results.md is made with."""

    parts: tuple[str, ...] = PARTS
    tasks: tuple[str, ...] = tuple(TASKS)
    variants: tuple[Variant, ...] = COMPARED
    seeds: tuple[int, ...] = TABLE_SEEDS
    pairs: int = 32
    cell_pairs: int = 32
    resamples: int = 1000
    tuning_tasks: tuple[str, ...] = TUNING_TASKS
    tuning_seeds: tuple[int, ...] = TUNING_SEEDS
    tuned: tuple[Variant, ...] = TUNED
    held_out_tasks: tuple[str, ...] = HELD_OUT_TASKS
    held_out_seeds: tuple[int, ...] = HELD_OUT_SEEDS
    second_model: Path | None = None


Cells = Mapping[str, Sequence[Mapping[str, Estimate]]]
"""Task → one mapping of label → clipped area per seed."""


@dataclass(frozen=True)
class Results:
    """Everything that was measured; parts that were not asked for are empty."""

    settings: Settings
    planted: list[PlantedScore] = field(default_factory=list)
    tasks: list[TaskResult] = field(default_factory=list)
    tuning: Cells = field(default_factory=dict)
    held_out: Cells = field(default_factory=dict)
    second: Cells = field(default_factory=dict)
    weights_hash: str = ""
    second_hash: str = ""
    seconds: float = 0.0


def shared_models() -> Path | None:
    """Folder of the second model: `$EAPGP_SHARED/data/models`, else beside the project; None where absent."""
    base = Path(os.environ.get("EAPGP_SHARED", ROOT.parent / "shared"))
    folder = base / "data" / "models"
    return folder if (folder / "stories260K").is_dir() else None


def measure(settings: Settings) -> Results:
    """Run the parts that were asked for."""
    started, results = time.perf_counter(), Results(settings)
    if "planted" in settings.parts:
        log.info("planted circuit")
        results = replace(results, planted=measure_planted(settings.pairs))
    demo = load_model("demo", device="cpu")
    results = replace(results, weights_hash=demo.weights_hash)
    if "table" in settings.parts:
        results = replace(results, tasks=[_task(demo, task, settings) for task in settings.tasks])
    if TUNING in settings.parts:
        cells = _cells(demo, settings.tuning_tasks, settings.tuning_seeds, settings.tuned, settings)
        results = replace(results, tuning=cells)
    if "held-out" in settings.parts:
        cells = _cells(demo, settings.held_out_tasks, settings.held_out_seeds, JUDGED, settings)
        results = replace(results, held_out=cells)
    if "second-model" in settings.parts and settings.second_model is not None:
        second = load_model(str(settings.second_model / "stories260K"), device="cpu")
        results = replace(results, second=_second(second, settings), second_hash=second.weights_hash)
    return replace(results, seconds=time.perf_counter() - started)


def measure_planted(pairs: int) -> list[PlantedScore]:
    """Every method on the planted circuit."""
    with tempfile.TemporaryDirectory(prefix="eapgp-planted-") as folder:
        model = load_model(str(build_planted(folder)), device="cpu")
        return planted_scores(model, planted_prompts(pairs))


def _task(model: Model, task: str, settings: Settings) -> TaskResult:
    """Fresh prompts for every seed: scored on training combinations, judged on held-out ones."""
    number, results = list(TASKS).index(task), []
    for place, seed in enumerate(settings.seeds):
        log.info("table: %s, seed %d", task, seed)
        scored = make_prompts(task, settings.pairs, seed=seed, split="train")
        judged = make_prompts(task, settings.pairs, seed=JUDGED_SEED + seed, split="test")
        draw = number * len(settings.seeds) + place  # what is averaged must not share its resamples
        results.append(measure_task(model, scored, judged, settings.variants, resamples=settings.resamples, seed=draw))
    return over_seeds(results, seed=number)


def _cells(
    model: Model, tasks: Sequence[str], seeds: Sequence[int], variants: Sequence[Variant], settings: Settings
) -> Cells:
    return {task: [_cell(model, task, seed, variants, settings) for seed in seeds] for task in tasks}


def _cell(
    model: Model, task: str, seed: int, variants: Sequence[Variant], settings: Settings
) -> Mapping[str, Estimate]:
    """Fresh prompts for every seed: scored on training combinations, judged on held-out ones."""
    log.info("cell: %s, seed %d", task, seed)
    scored = make_prompts(task, settings.cell_pairs, seed=seed, split="train")
    judged = make_prompts(task, settings.cell_pairs, seed=JUDGED_SEED + seed, split="test")
    return measure_cell(model, scored, judged, variants, resamples=settings.resamples, seed=seed)


def _second(model: Model, settings: Settings) -> Cells:
    """Two folds of the second model's pairs: scored on one half, judged on the other."""
    assert settings.second_model is not None
    prompts = read_prompts(settings.second_model / "stories260K-gender.csv")
    cells = []
    for fold, (scored, judged) in enumerate(_folds(prompts)):
        log.info("second model, fold %d", fold)
        cells.append(measure_cell(model, scored, judged, JUDGED, resamples=settings.resamples, seed=fold))
    return {"stories260K gender": cells}


def _folds(prompts: PromptSet) -> Iterator[tuple[PromptSet, PromptSet]]:
    order = np.random.default_rng(0).permutation(len(prompts))
    halves = [
        replace(prompts, pairs=tuple(prompts.pairs[i] for i in np.sort(part)))
        for part in (order[: len(order) // 2], order[len(order) // 2 :])
    ]
    yield halves[0], halves[1]
    yield halves[1], halves[0]
