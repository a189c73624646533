"""One process that computes cells, keeping the model and the prompts from one cell to the next.

FOLDER/cells/<cell key>/cell.json   the record of a cell, written whole when it is finished

A cell is claimed by a lock that the system frees when the process ends, however it ends; so several
workers, sweeps or machines may share one folder and one library, and a killed one is resumed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from eapgp.errors import DISK_FULL, Cancelled, EapgpError, NotSavedError, RunError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.ground_truth import GROUND_TRUTHS
from eapgp.ground_truth.compare import precision_recall_at
from eapgp.models import load_model
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.compute import (
    Resolved,
    find_run,
    load_for,
    make_prompt_set,
    remember,
    resolve_metric,
    resolve_options,
    run_attribution,
)
from eapgp.runs.evaluate import Running, evaluate_run
from eapgp.runs.files import content_key, is_alive, locked, read_json, write_json
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import RUN_FILE, Run
from eapgp.runs.spec import PROMPT_FIELDS, RunSpec
from eapgp.study.plan import Cell, Evaluation
from eapgp.types import Progress

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
Record = dict[str, Any]
RECORD_FILE, DONE, FAILED = "cell.json", "done", "failed"
WAIT_SECONDS = 0.2
LOOK_SECONDS = 1.0
ROOM_SECONDS = 2.0
"""How often a write is tried again where the disk is full."""
NOT_OF_A_CELL = ("asked", "cached", "kept")


def cell_folder(folder: Path, key: str) -> Path:
    """Where a cell's record lies."""
    return folder / "cells" / key


def read_record(folder: Path, cell: Cell) -> Record | None:
    """The record of a cell, or None where there is none that can be read."""
    path = cell_folder(folder, cell.key) / RECORD_FILE
    if not path.is_file():
        return None
    with contextlib.suppress(RunError):
        record = read_json(path)
        return record if record.get("cell") == cell.key else None
    return None


def is_done(record: Record | None, library: RunLibrary) -> bool:
    """Whether a cell is finished and its run is still in the library."""
    if record is None or record.get("status") != DONE:
        return False
    return (library.runs / str(record["run"]) / RUN_FILE).is_file()


class Worker:
    """Computes cells into a library. Keeps the last model, the last circuit runner, and the prompts it has made."""

    def __init__(self, library: RunLibrary, *, model_loader: Callable[..., Any] | None = None) -> None:
        self.library = library
        self._load: Callable[..., Any] = model_loader or load_model
        self._models: dict[str, Any] = {}
        self._prompts: dict[str, PromptSet] = {}
        self._runners: dict[Any, CircuitRunner] = {}

    def load(self, name: str, *, progress: Progress | None = None, **how: Any) -> Any:
        """The model of that name; only the last one is kept, for models can be large."""
        key = json.dumps([name, how], sort_keys=True)
        if key not in self._models:
            self._models.clear()
            self._runners.clear()
            self._models[key] = self._load(name, progress=progress, **how)
        return self._models[key]

    def prompts(self, spec: RunSpec) -> PromptSet:
        """The prompts of a spec."""
        values = spec.to_dict()
        key = content_key({name: values.get(name) for name in PROMPT_FIELDS})
        if key not in self._prompts:
            self._prompts[key] = make_prompt_set(spec, self.load)
        return self._prompts[key]

    def runner(self, model: Any, prompts: PromptSet, **how: Any) -> CircuitRunner:
        """The circuit runner for these prompts: methods and questions that are judged alike share its two runs.

        Only the last one is kept, for it holds every source's activations.
        """
        asked = (how.get(name) for name in ("metric", "intervention", "batch_size"))
        key = (model.weights_hash, model.tokenizer_hash, model.prompting, prompts.hash, *asked)
        if key not in self._runners:
            self._runners.clear()
            self._runners[key] = CircuitRunner(model, prompts, **how)
        return self._runners[key]

    def compute(self, cell: Cell, progress: Progress | None = None) -> Record:
        """The record of a cell: its run, evaluations and times. Errors go into the record.

        Errors: only Cancelled passes through.
        """
        started = time.perf_counter()
        record: Record = {"cell": cell.key, "title": cell.title, "asked": cell.to_dict()}
        try:
            run = self._run(cell.spec, progress)
            record |= {"status": DONE, "run": run.id, "cached": run.cached, **_about(run)}
            record["evaluations"] = {e.name: self._evaluate(run, cell, e, progress) for e in cell.evaluations}
        except Cancelled:
            raise
        except Exception as error:  # whatever one cell does, the others go on
            ours = isinstance(error, EapgpError)
            message = " ".join(str(error).split())[:600] or type(error).__name__
            details = dict(error.details) if isinstance(error, EapgpError) else {}
            kind = type(error).__name__
            record |= {"status": FAILED, "error": {"type": kind, "message": message, "expected": ours, **details}}
        record["seconds"] = time.perf_counter() - started
        return record

    def _run(self, spec: RunSpec, progress: Progress | None) -> Run:
        resolved = self._resolved(spec)
        if not self._models and (stored := find_run(resolved, self.library)) is not None:
            return stored
        first = not self._models
        model = load_for(spec, self.load, progress)
        if first:
            remember(self.library.home, spec, model)
        resolved = resolved.for_model(model)
        request = resolved.request(model)
        if (stored := self.library.find(request)) is not None:
            return stored
        attribution = run_attribution(resolved, model, progress=progress)

        def save() -> Run:
            return self.library.save(attribution, request, resolved.prompts, device=str(model.device), spec=spec)

        return once_there_is_room(save, self.library.runs, progress)

    def _evaluate(self, run: Run, cell: Cell, entry: Evaluation, progress: Progress | None) -> dict[str, Any]:
        started = time.perf_counter()
        answer = evaluate_run(
            run,
            entry.question,
            prompts=self.judged_on(cell.spec, entry, progress),
            how=Running(cell.spec.device, cell.spec.batch_size, progress, self.load, self.runner),
            pairs=True,
        )
        prompts = answer["asked"]["prompts"]
        answer = {key: value for key, value in answer.items() if key not in NOT_OF_A_CELL} | {"prompts": prompts}
        if entry.manual:
            answer["manual"] = manual_overlap(run, [entry["edges_selected"] for entry in answer["curve"]])
        return {**answer, "seconds": time.perf_counter() - started}

    def judged_on(self, spec: RunSpec, entry: Evaluation, progress: Progress | None = None) -> PromptSet | None:
        """The prompts that a question runs circuits on, where they are others than the run's."""
        asked = {"n_pairs": entry.pairs, "seed": entry.seed, "split": entry.split}
        changed = {name: value for name, value in asked.items() if value is not None}
        if not changed:
            return None
        other = RunSpec.from_dict({**spec.to_dict(), **changed})
        resolved = self._resolved(other)
        return resolved.for_model(load_for(spec, self.load, progress)).prompts if spec.selection else resolved.prompts

    def _resolved(self, spec: RunSpec) -> Resolved:
        prompts = self.prompts(spec)
        return Resolved(spec, prompts, resolve_options(spec), resolve_metric(spec, prompts))


def _about(run: Run) -> dict[str, Any]:
    record = run.provenance
    return {
        "request": record["request"],
        "n_edges": record["n_edges"],
        "metric_clean": record["metric_clean"]["mean"],
        "metric_corrupted": record["metric_corrupted"]["mean"],
        "forward_passes": record["forward_passes"],
        "backward_passes": record["backward_passes"],
        "reference_passes": record["reference_passes"],
        "attribution_seconds": record["seconds"],
        "device": record["device"],
        "libraries": record["libraries"],
    }


def manual_overlap(run: Run, sizes: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """Precision and recall against each manual circuit of the task and graph: the top edges by |score|, pruned."""

    scores, task = run.scores(), run.request["task"]
    fitting = [truth for truth in GROUND_TRUTHS.values() if truth.task == task and truth.graph == scores.graph]
    return {truth.variant: [one.to_dict() for one in precision_recall_at(scores, truth, sizes)] for truth in fitting}


def work(
    cells: Sequence[Cell],
    folder: Path,
    library: RunLibrary,
    *,
    worker: Worker | None = None,
    progress: Progress | None = None,
) -> Iterator[Record]:
    """Compute the cells that are not finished; each record is stored, then yielded.

    A cell that another process is computing is waited for at the end. Failed cells are tried again.
    """
    worker = worker or Worker(library)
    waiting: list[Cell] = []
    for cell in cells:
        record = _claimed(cell, folder, worker, progress)
        if record is None:
            waiting.append(cell)
        else:
            yield record
    while waiting:
        cell = waiting.pop(0)
        record = _claimed(cell, folder, worker, progress)
        if record is None:
            waiting.append(cell)
            if progress is not None:
                progress(f"{WAITING}cells of another process", 0.0)
            time.sleep(WAIT_SECONDS)
        else:
            yield record


def _claimed(cell: Cell, folder: Path, worker: Worker, progress: Progress | None) -> Record | None:
    """The cell's record, computed if need be; None where another process is computing it."""
    place = cell_folder(folder, cell.key)
    stored = read_record(folder, cell)
    if stored is not None and is_done(stored, worker.library):
        return stored
    once_there_is_room(lambda: place.mkdir(parents=True, exist_ok=True), folder, progress)
    try:
        lock = locked(place, timeout=0.0)
        lock.__enter__()
    except RunError:
        return None
    try:
        stored = read_record(folder, cell)
        if stored is not None and is_done(stored, worker.library):
            return stored
        record = worker.compute(cell, progress)
        once_there_is_room(lambda: write_json(place / RECORD_FILE, record), folder, progress)
        return read_json(place / RECORD_FILE)
    finally:
        lock.__exit__(None, None, None)


def once_there_is_room(write: Callable[[], T], place: Path, progress: Progress | None) -> T:
    """What a write gives; where the disk is full it is tried again: what was computed is in memory alone.

    Errors: those of the write but a full disk; Cancelled from `progress`, with which the result is lost.
    """
    waiting = False
    while True:
        try:
            return write()
        except (NotSavedError, OSError) as error:
            if error.errno not in DISK_FULL:
                raise
        if not waiting:
            _LOG.warning(FULL, place)
        waiting = True
        if progress is not None:
            progress(f"{WAITING}space in {place}", 0.0)
        time.sleep(ROOM_SECONDS)


FULL = (
    "%s: the disk is full. What is computed is kept in memory until there is room: free space, and the sweep goes on."
)
WAITING = "waiting for "


def end_with(sweep: int) -> None:
    """End this process soon after another one of this machine, however that ends: nobody else would end it."""

    def look() -> None:
        while is_alive(sweep):
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def run_chunk(task_file: str) -> int:
    """Entry point of a worker process: the cells of a JSON file, in order; how many failed."""
    chunk: Mapping[str, Any] = read_json(Path(task_file))
    if chunk.get("sweep"):
        end_with(int(chunk["sweep"]))
    if chunk.get("threads"):
        import torch

        torch.set_num_threads(int(chunk["threads"]))
    cells = [Cell.from_dict(values) for values in chunk["cells"]]
    library = RunLibrary(chunk["home"])
    return sum(record["status"] == FAILED for record in work(cells, Path(chunk["folder"]), library))
