"""What the Paper page's job does: the library's own `reproduce`, its result kept where the command line keeps it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from eapgp.runs.library import RunLibrary
from eapgp.study.estimate import estimate
from eapgp.study.plan import Study
from eapgp.study.reproduce import run_protocol
from eapgp.study.reproduce_result import JSON_FILE, Reproduction, save_reproduction
from eapgp.study.reproduce_rows import Asked, name_of
from eapgp.study.sweep import in_order, study_folder
from eapgp.study.worker import DONE, RECORD_FILE, Worker, cell_folder
from eapgp.ui.jobs.manager import Progress
from eapgp.ui.jobs.workshop import Workshop, with_gradients

RUNNING, WAITING = "running", "waiting"


def job_key(asked: Asked) -> str:
    """The job that answers what is asked."""
    return asked.name


def result_file(asked: Asked, library: RunLibrary) -> Path:
    """Where the outcome is kept: beside the command line's report."""
    return library.home / "studies" / asked.name / JSON_FILE


def reproduce_work(shop: Workshop, lane: str, asked: Asked, library: RunLibrary) -> Callable[[Progress], Reproduction]:
    """Run the protocol and keep its outcome; where the weights are not at hand nothing is kept."""

    def work(progress: Progress) -> Reproduction:
        worker = Worker(library, model_loader=partial(shop.model, lane))
        result = run_protocol(asked, library, progress=progress, worker=worker)
        if result.ran:
            save_reproduction(result, result_file(asked, library))
        return result

    return with_gradients(work)


def passes(study: Study) -> float | None:
    """Forward and backward passes over one pair that the study takes; None where the model is unknown."""
    estimates = [estimate(cell) for cell in study.cells]
    if any(one.forward is None or one.backward is None for one in estimates):
        return None
    return float(sum((one.forward or 0.0) + (one.backward or 0.0) for one in estimates))


def board(study: Study, library: RunLibrary, *, running: bool) -> dict[str, dict[str, str]]:
    """Task → method → done, running or waiting, from the records in the study's folder."""
    folder = study_folder(study, library)
    waiting = [cell for cell in study.cells if not (cell_folder(folder, cell.key) / RECORD_FILE).is_file()]
    ordered = in_order(waiting)
    left = {cell.key for cell in waiting}
    current = ordered[0].key if running and ordered else ""
    states: dict[str, dict[str, str]] = {}
    for cell in study.cells:
        state = RUNNING if cell.key == current else WAITING if cell.key in left else DONE
        states.setdefault(str(cell.spec.task), {})[name_of(cell.spec.to_dict())] = state
    return states
