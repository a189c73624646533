"""The planted-circuit model in the dashboard: built once, scored by every method, kept as ordinary runs.

1. The model is written below HOME/models/planted (a few hundred kilobytes; nothing is fetched).
2. Every method scores it on the same prompts; each result is a run of the library, so it opens on
   Explore, Compare and Faithfulness too.

No Streamlit here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.attribution.usual import COMPARED
from eapgp.ground_truth.planted import (
    NOISE,
    PLANTED_GRAPH,
    SATURATED_EDGE,
    TRUE_EDGES,
    build_planted,
    planted_prompts,
)
from eapgp.ground_truth.roles import Role
from eapgp.runs.compute import compute_run
from eapgp.runs.info import RunInfo
from eapgp.runs.library import RunLibrary
from eapgp.runs.spec import RunSpec
from eapgp.ui.jobs.manager import Progress
from eapgp.ui.jobs.workshop import Work, Workshop, with_gradients

TASK = "planted"
TITLE = "Planted circuit"
PAIRS = 48
_DONE = "model.safetensors"

SOURCE = "Built by construction (eapgp.ground_truth.planted): the weights are set, nothing is trained."
NOTE = (
    "A head looks up a value and two routes carry it to the answer, half each: a copying head, and two MLPs of which "
    f"the first is saturated. The gradient through {SATURATED_EDGE} is exactly zero on every prompt, though corrupting "
    "that edge turns half of the answer over. Everything else writes junk that nothing reads."
)
ROLES: dict[str, Role] = {
    "a0.h0": Role("pick", "Looks up", "Attends to the thing with the picked mark and copies its value."),
    "a2.h1": Role("copy", "Copies on", "Copies the value to the answer: half of the answer's logits."),
    "m1": Role("clamp", "Saturated", "Clamps the value to 0 or 1; its gradient is exactly zero on every prompt."),
    "m2": Role("second", "Second route", "Turns the clamped value into the other half of the answer's logits."),
}


def planted_cards(cards: Sequence[RunInfo]) -> list[RunInfo]:
    """The runs of the planted model, in the order in which its methods are listed."""
    order = {_key(one.method, one.options): place for place, one in enumerate(COMPARED)}
    mine = [card for card in cards if card.task == TASK and card.graph == PLANTED_GRAPH]
    return sorted(mine, key=lambda card: order.get(_key(card.method, card.options), len(order)))


def _key(method: str, options: Any) -> tuple[str, str]:
    return method, str(options.get("step", "relative")) if method == "eap-gp" else ""


def planted_specs(folder: Path) -> list[tuple[str, RunSpec]]:
    """(label, spec) of every method on the planted model and its prompts."""
    pairs = tuple(
        {
            "clean": pair.clean,
            "corrupted": pair.corrupted,
            "correct": list(pair.correct),
            "incorrect": list(pair.incorrect),
            "note": pair.note,
        }
        for pair in planted_prompts(PAIRS).pairs
    )
    return [
        (one.label, RunSpec(model=str(folder), task=TASK, prompts=pairs, method=one.method, options=one.options))
        for one in COMPARED
    ]


def planted_work(shop: Workshop, lane: str, library: RunLibrary) -> Work:
    """Build the model, score it by every method and store the runs; the result is their ids."""

    def work(progress: Progress) -> tuple[str, ...]:
        folder = built(library.home / "models" / "planted", progress)
        specs, ids = planted_specs(folder), []

        for place, (label, spec) in enumerate(specs):
            at = place / len(specs)
            progress(f"scoring with {label}", at)
            run = compute_run(
                spec, library=library, progress=_within(progress, label, at), model_loader=partial(shop.model, lane)
            )
            if not run.name:
                run.set_meta(name=TITLE)
            ids.append(run.id)
        return tuple(ids)

    return with_gradients(work)


def _within(progress: Progress, label: str, fraction: float) -> Progress:
    return lambda phase, _: progress(f"scoring with {label}", fraction)


def built(folder: Path, progress: Progress) -> Path:
    """The model's folder, written where it is not there yet; it appears whole or not at all."""
    if (folder / _DONE).is_file():
        return folder
    progress("building the model", 0.0)

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        fresh = build_planted(Path(place) / "planted")
        if not (folder / _DONE).is_file():
            fresh.rename(folder)
    return folder


@dataclass(frozen=True)
class PlantedFinding:
    """found: true edges among the 8 best. rank: of the saturated edge, ties at their mean place.

    share: the saturated edge's |score| over the largest.
    """

    found: int
    rank: float
    share: float


def without_noise(scores: EdgeScores) -> EdgeScores:
    """Scores below 1e-5 of the largest are rounding of the pinned norm and count as 0."""
    size = np.abs(np.nan_to_num(scores.values))
    return EdgeScores(scores.graph, np.where(size < NOISE * size.max(), 0.0, scores.values), scores.provenance)


def finding(scores: EdgeScores) -> PlantedFinding:
    """How scores of the planted model do on what is known about it."""
    from scipy.stats import rankdata

    clean = without_noise(scores)
    key: NDArray[np.float64] = np.abs(clean.values)
    ranks = np.zeros(key.shape)
    ranks[PLANTED_GRAPH.mask] = rankdata(-key[PLANTED_GRAPH.mask])
    row, column = PLANTED_GRAPH.edge_index(SATURATED_EDGE)
    best = {name for name, _ in clean.top(len(TRUE_EDGES))}
    largest = float(key.max())
    share = float(key[row, column]) / largest if largest else 0.0
    return PlantedFinding(len(best & set(TRUE_EDGES)), float(ranks[row, column]), share)
