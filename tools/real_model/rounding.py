"""What rounding alone changes: scored again in smaller batches, sums are taken in another order and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eapgp.attribution.api import attribute
from eapgp.circuits.select import select
from eapgp.runs.compute import load_for
from eapgp.runs.library import RunLibrary
from eapgp.study.plan import Cell
from eapgp.study.worker import Worker
from tools.real_model.protocol import EXACT_LABELS, SEEDS, cell_sizes, study
from tools.real_model.records import Record
from tools.results.words import table

ROUNDING = "rounding"
BATCH = 8
"""Pairs that are scored at once; otherwise all of a cell's."""


def rounding_records(model: str, bos: str, library: RunLibrary) -> Iterable[Record]:
    """A record of each task and some methods at the first seed. Runs that the library holds are taken from there."""
    worker = Worker(library)
    for cell in study("tasks", model, bos).cells:
        if cell.spec.seed == SEEDS[0] and cell.label in EXACT_LABELS:
            yield _record(cell, cell_sizes(model)[1], worker)


def _record(cell: Cell, n: int, worker: Worker) -> Record:
    """How far apart the scores are, and the faithfulness of both circuits at the paper's sparsity."""
    spec, entry = cell.spec, cell.evaluations[0]
    run = worker.library.open(worker.compute(Cell(spec, (), cell.label))["run"])
    model = load_for(spec, worker.load)
    again = attribute(model, run.prompts(), method=spec.method, batch_size=BATCH, **spec.options).scores
    scores = run.scores()
    runner = worker.runner(model, worker.judged_on(spec, entry) or run.prompts())
    values = runner.run([select(one, n=n) for one in (scores, again)]).faithfulness
    apart = np.abs(again.values - scores.values).max() / np.abs(scores.values).max()
    return {
        "part": ROUNDING,
        "task": spec.task,
        "label": cell.label,
        "apart": float(apart),
        "faithfulness": [float(value) for value in values],
    }


def told(records: Sequence[Mapping[str, Any]]) -> str:
    """By method the largest change of a score, and of faithfulness, over the tasks; empty without records."""
    mine = [record for record in records if record["part"] == ROUNDING]
    rows = []
    for label in dict.fromkeys(record["label"] for record in mine):
        some = [record for record in mine if record["label"] == label]
        moved = {one["task"]: abs(one["faithfulness"][0] - one["faithfulness"][1]) for one in some}
        worst = max(moved, key=lambda task: moved[task])
        largest = max(one["apart"] for one in some)
        rows.append((f"`{label}`", f"{largest:.1e}", f"{moved[worst]:.4f}", worst))
    head = ("method", "largest change of a score", "of faithfulness at 2.5 %", "on")
    return f"{_TEXT}\n\n{table(head, rows)}" if rows else ""


_TEXT = (
    f"Each task's cell of seed {SEEDS[0]} was scored again with {BATCH} pairs at once instead of all 32, which changes "
    "nothing but the order in which numbers of 32 bits are added. Changes of scores are shares of the largest score. "
    "GradPath divides by the length of a gradient at every step, so that on some pairs its path enlarges rounding; a "
    "cell that was computed on another machine can differ by as much."
)
