"""Run a study: here, in local processes, or on a SLURM cluster, from the same file.

1. Cells that are finished are left alone.
2. The rest goes to workers in runs of neighbours, so that each loads few models.
3. Records are collected as they appear; the table and the report are written at the end.

FOLDER/study.json, table.parquet, differences.parquet, times.parquet, report.html, cells/, jobs/ (submitit's files)
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eapgp.errors import ComputationError, OptionError
from eapgp.places import expanded
from eapgp.runs.files import write_json
from eapgp.runs.library import RunLibrary
from eapgp.study.estimate import estimate
from eapgp.study.plan import Cell, Execution, Study
from eapgp.study.report import write_report
from eapgp.study.sweep_result import SweepResult
from eapgp.study.table import TABLE_FILE, TIMES_FILE, make_table, make_times, write_parquet
from eapgp.study.uncertainty import DIFFERENCES_FILE, curve_bands, draw, method_differences
from eapgp.study.worker import FULL, WAITING, Worker, is_done, read_record, run_chunk, work
from eapgp.types import Progress

if TYPE_CHECKING:
    pass

STUDY_FILE = "study.json"
POLL_SECONDS = 0.3
ROOM = 16_384
"""Free bytes below which the workers wait for room; they cannot say so themselves, since a log finds none either."""
_LOG = logging.getLogger(__name__)
PHASE = "cells"


def study_folder(study: Study, library: RunLibrary, folder: str | Path | None = None) -> Path:
    """Where a study's records and tables lie: the folder given, else one in the library's home."""
    return expanded(folder) if folder is not None else library.home / "studies" / study.name


def sweep(
    study: Study,
    library: RunLibrary,
    *,
    folder: str | Path | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
    worker: Worker | None = None,
) -> SweepResult:
    """Compute every cell that is not finished, and write the table and the report.

    A failed cell does not stop the others; asking again tries it again. `worker` (in-process only)
    brings a model that is loaded already.

    Errors: OptionError for an executor that this machine lacks; ComputationError if worker
    processes die; Cancelled from `progress` (what is finished stays).
    """
    place = study_folder(study, library, folder)
    how = execution or study.execution
    try:
        (place / "cells").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{place}: expected a folder that can be written, got {error.strerror}; see --out.") from None
    write_json(place / STUDY_FILE, study.source)
    open_cells = [cell for cell in study.cells if not is_done(read_record(place, cell), library)]
    if open_cells:
        ordered = in_order(open_cells)
        if how.executor == "in-process":
            _here(ordered, place, library, worker, progress)
        else:
            _elsewhere(ordered, place, library, how, study.name, progress)
    records = tuple(record for cell in study.cells if (record := read_record(place, cell)) is not None)
    table = make_table(study.name, records)
    write_parquet(table, place / TABLE_FILE)
    write_parquet(make_times(records), place / TIMES_FILE)
    drawn = draw(records)
    differences = method_differences(drawn)
    write_parquet(differences, place / DIFFERENCES_FILE)
    done = len(study.cells) - len(open_cells)
    result = SweepResult(study, place, records, table, curve_bands(drawn), differences, len(open_cells), done)
    write_report(result)
    return result


def in_order(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that share a model, and then prompts, next to each other; else as given."""
    position = {cell.key: index for index, cell in enumerate(cells)}

    def group(cell: Cell) -> tuple[str, ...]:
        spec = cell.spec
        weights = str(spec.seed) if spec.random_weights else ""
        return (spec.model, spec.dtype, weights, spec.prompts_file or "", str(spec.task), str(spec.seed))

    first: dict[tuple[str, ...], int] = {}
    for cell in cells:
        for depth in (3, 6):
            first.setdefault(group(cell)[:depth], position[cell.key])
    return sorted(cells, key=lambda c: (first[group(c)[:3]], first[group(c)], position[c.key]))


def split(cells: Sequence[Cell], parts: int) -> list[list[Cell]]:
    """Runs of neighbours of about equal cost; at most `parts`, none empty."""
    parts = max(1, min(parts, len(cells)))
    weights = [estimate(cell).weight for cell in cells]
    total, done = sum(weights), 0.0
    shares: list[list[Cell]] = [[] for _ in range(parts)]
    for index, (cell, weight) in enumerate(zip(cells, weights, strict=True)):
        part = min(int(parts * (done + weight / 2) / total), parts - 1)
        # no part stays empty, whatever the weights
        part = max(part, parts - (len(cells) - index), 0)
        shares[part].append(cell)
        done += weight
    return [part for part in shares if part]


def _here(
    cells: Sequence[Cell], folder: Path, library: RunLibrary, worker: Worker | None, progress: Progress | None
) -> None:
    share = _Shares(cells, progress) if progress is not None else None
    within = share.within if share is not None else None
    for _ in work(cells, folder, library, worker=worker, progress=within):
        if share is not None:
            share.next_cell()


class _Shares:
    """Tells how much of all cells is done, by their estimated cost, also inside a cell: there it can be stopped too."""

    _SPANS: ClassVar[dict[str, tuple[float, float]]] = {"scoring edges": (0.0, 0.5), "running circuits": (0.5, 1.0)}

    def __init__(self, cells: Sequence[Cell], progress: Progress) -> None:
        weights = [estimate(cell).weight for cell in cells]
        self._ends = [0.0, *(end / sum(weights) for end in itertools.accumulate(weights))]
        self._progress = progress
        self._done, self._inside = 0, 0.0
        progress(PHASE, 0.0)

    def within(self, phase: str, fraction: float) -> None:
        """A cell's own progress; phases that do not lead forward change nothing, but what is waited for is told."""
        if phase.startswith(WAITING):
            self._progress(phase, fraction)
            return
        start, end = self._SPANS.get(phase, (0.0, 0.0))
        self._inside = max(self._inside, start + (end - start) * fraction)
        base, top = self._ends[self._done], self._ends[min(self._done + 1, len(self._ends) - 1)]
        self._progress(PHASE, base + self._inside * (top - base))

    def next_cell(self) -> None:
        """One more cell is finished."""
        self._done, self._inside = self._done + 1, 0.0
        self._progress(PHASE, self._ends[self._done])


def _elsewhere(
    cells: Sequence[Cell], folder: Path, library: RunLibrary, how: Execution, name: str, progress: Progress | None
) -> None:
    executor = make_executor(folder / "jobs", how, name)
    per_job = how.cells_per_job if how.executor == "slurm" else None
    parts = -(-len(cells) // per_job) if per_job else how.workers
    tasks = []
    for index, part in enumerate(split(cells, parts)):
        path = folder / "jobs" / f"cells-{os.getpid()}-{time.time_ns()}-{index}.json"
        values = {"home": str(library.home.absolute()), "folder": str(folder.absolute()), "threads": threads(how)}
        ends = {"sweep": os.getpid()} if how.executor == "local" else {}  # a cluster's tasks outlive who asked for them
        write_json(path, {**values, **ends, "cells": [cell.to_dict() for cell in part]})
        tasks.append(str(path.absolute()))
    jobs: list[Any] = []
    try:
        with _standard_error_in(folder / "jobs" / "controllers.log"):
            jobs += _submit(executor, how, tasks)
        _wait(jobs, cells, folder, library, progress)
    except BaseException:
        for job in jobs:
            job.cancel(check=False)
        raise
    finally:
        for task in tasks:
            Path(task).unlink(missing_ok=True)
    _check_jobs(jobs, cells, folder, how)


def _submit(executor: Any, how: Execution, tasks: list[str]) -> list[Any]:
    if how.executor == "slurm":
        from eapgp.study.slurm import submit  # brings submitit

        return submit(executor, run_chunk, tasks)
    return list(executor.map_array(run_chunk, tasks))


@contextlib.contextmanager
def _standard_error_in(file: Path) -> Iterator[None]:
    """Send what processes started meanwhile say to a file: Ctrl-C reaches submitit's too, which print tracebacks."""
    sys.stderr.flush()
    standard_error = os.dup(2)
    try:
        with file.open("ab") as log:
            os.dup2(log.fileno(), 2)
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def _wait(
    jobs: Sequence[Any], cells: Sequence[Cell], folder: Path, library: RunLibrary, progress: Progress | None
) -> None:
    """Until every job has ended; tells how many cells are finished."""
    missing = {cell.key: cell for cell in cells}
    if progress is not None:
        progress(PHASE, 0.0)
    running, waiting = True, False
    while running:
        running = not all(job.done() for job in jobs)
        for key, cell in list(missing.items()):
            if is_done(read_record(folder, cell), library):
                del missing[key]
        full = next((place for place in (library.home, folder) if shutil.disk_usage(place).free < ROOM), None)
        if full is not None and not waiting:
            _LOG.warning(FULL, full)
        waiting = full is not None
        if progress is not None and full is not None:
            progress(f"{WAITING}space in {full}", 0.0)
        elif progress is not None:
            progress(PHASE, 1 - len(missing) / len(cells))
        if running:
            time.sleep(POLL_SECONDS)


def _check_jobs(jobs: Sequence[Any], cells: Sequence[Cell], folder: Path, how: Execution) -> None:
    """Raise if a worker died and left cells without any record."""
    without = [cell for cell in cells if read_record(folder, cell) is None]
    if not without:
        return
    if how.executor == "slurm":
        from eapgp.study.slurm import early_ends  # brings submitit

        detail = early_ends(jobs)
    else:
        failures = [error for job in jobs if (error := job.exception()) is not None]
        detail = " ".join(str(failures[0]).split())[-200:] if failures else "no message"
    raise ComputationError(
        f"{len(without)} of {len(cells)} cells have no result, since their worker ended early ({detail}); "
        f"see {folder / 'jobs'}. Run the same command again to go on."
    )


def threads(how: Execution) -> int:
    """Threads of one worker: as asked, else the processors shared out."""
    if how.threads is not None:
        return how.threads
    if how.executor == "slurm":
        return int(how.slurm.get("cpus_per_task", 1))
    return max(1, (os.cpu_count() or 1) // how.workers)


def executor_parameters(how: Execution, name: str) -> dict[str, Any]:
    """What submitit is told; for SLURM these are the job's parameters."""
    parameters: dict[str, Any] = {"name": f"eapgp-{name}", "timeout_min": how.timeout_min}
    if how.executor != "slurm":
        return parameters
    parameters |= {"cpus_per_task": threads(how), "slurm_array_parallelism": how.workers}
    direct = ("timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node")
    for key, value in how.slurm.items():
        parameters[key if key in direct else f"slurm_{key}"] = value
    return parameters


def make_executor(folder: Path, how: Execution, name: str) -> Any:
    """submitit's executor, set up. Errors: OptionError where SLURM is not at hand."""
    import submitit

    folder.mkdir(parents=True, exist_ok=True)
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=how.executor)
        executor.update_parameters(**executor_parameters(how, name))
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        detail = " ".join(str(error).split())[:200]
        raise OptionError(f"executor {how.executor!r}: {detail}. Use --executor local or in-process.") from None
    return executor
