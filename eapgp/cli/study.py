"""`eapgp sweep` and `eapgp reproduce`: many runs from one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from eapgp.cli import completion
from eapgp.cli.command import HomeOption, command
from eapgp.cli.output import Output, Reply, check_folder, number, size, stacked, table
from eapgp.errors import UnknownNameError
from eapgp.runs.library import RunLibrary
from eapgp.study.estimate import estimate
from eapgp.study.plan import Execution, Study, read_study
from eapgp.study.reproduce import run_protocol, write_reproduction
from eapgp.study.reproduce_rows import Asked
from eapgp.study.schema import EXECUTORS
from eapgp.study.sweep import executor_parameters, study_folder, threads
from eapgp.study.sweep import sweep as run_sweep
from eapgp.study.table import TABLE_FILE
from eapgp.study.worker import is_done, read_record

PANEL = "Study"
RUNNING = "Running"
MOST_LINES = 200

ExecutorOption = Annotated[
    str | None,
    typer.Option(
        help="local (processes), in-process, slurm or debug.", rich_help_panel=RUNNING, show_default="the file's"
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Processes, or SLURM jobs at a time.", rich_help_panel=RUNNING, show_default="the file's"),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the tables and the report.", metavar="DIR", show_default="in the library"),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    _sweep(app)
    _reproduce(app)


def _sweep(app: typer.Typer) -> None:
    examples = (
        "eapgp sweep study.yaml --dry-run",
        "eapgp sweep study.yaml --workers 2",
        "eapgp sweep study.yaml --executor slurm --out results",
    )

    @command(app, "sweep", examples=examples, panel=PANEL)
    def sweep(
        out: Output,
        study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")],
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Print the cells and what they cost; compute nothing.")
        ] = False,
        executor: ExecutorOption = None,
        workers: WorkersOption = None,
        limit: Annotated[int | None, typer.Option(min=1, help="Only the first cells.")] = None,
        folder: OutOption = None,
        home: HomeOption = None,
    ) -> Reply:
        """Run models × tasks × methods × options × seeds from one file.

        Cells that are finished are skipped, so the same command goes on after an interruption and
        retries what failed (exit code 1 where some did). Writes table.parquet (one row per cell,
        evaluation and circuit size), times.parquet and report.html, which needs no network.
        """
        check_folder(folder, "--out")
        check_folder(home, "--home")
        plan = read_study(study).limited(limit)
        library, how = RunLibrary(home), execution_of(plan.execution, executor, workers)
        if dry_run:
            return dry_reply(plan, how, library, folder)
        with out.progress() as progress:
            result = run_sweep(plan, library, folder=folder, execution=how, progress=progress)
        return sweep_reply(result)


def _reproduce(app: typer.Typer) -> None:
    examples = (
        "eapgp reproduce",
        "eapgp reproduce --model gpt2 --limit 1",
        "eapgp reproduce --model path/to/gpt2 --pairs 200 --out gpt2-report",
        "eapgp reproduce --model gpt2 --exact --executor slurm --workers 8",
    )

    @command(app, "reproduce", examples=examples, panel=PANEL)
    def reproduce(
        out: Output,
        model: Annotated[
            str,
            typer.Option("--model", "-m", help="demo, gpt2, gpt2-medium, gpt2-xl, …", autocompletion=completion.models),
        ] = "demo",
        limit: Annotated[int | None, typer.Option(min=1, max=6, help="Only the first tasks, for a quick pass.")] = None,
        pairs: Annotated[
            int | None, typer.Option("--pairs", "-n", min=1, help="Pairs per task.", show_default="demo 64, else 100")
        ] = None,
        exact: Annotated[
            bool | None,
            typer.Option("--exact/--no-exact", help="With exact patching.", show_default="up to 2,000 edges"),
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the prompts.")] = 0,
        executor: ExecutorOption = None,
        workers: WorkersOption = None,
        folder: OutOption = None,
        home: HomeOption = None,
    ) -> Reply:
        """Run the EAP-GP paper's protocol and lay the outcome beside the published numbers.

        Every cell gets a plain verdict: reproduced, higher, lower, or not run. The bundled model
        runs the whole protocol offline; nothing is published for it. Without the model's weights
        every cell is "not run", and the command exits with 2.
        """
        check_folder(folder, "--out")
        check_folder(home, "--home")
        library, how = RunLibrary(home), execution_of(Execution("in-process"), executor, workers)
        asked = Asked(model, limit, pairs, exact, seed)
        place = folder or library.home / "studies" / asked.name
        with out.progress() as progress:
            result = run_protocol(asked, library, folder=place, execution=how, progress=progress)
        if not result.ran and folder is None:
            return reproduce_reply(result, None, None)
        report, page = write_reproduction(result, place)
        return reproduce_reply(result, report, page)


def reproduce_reply(result: Any, report: Path | None, page: Path | None) -> Reply:
    """What a reproduction says; without any outcome only why, and the exit code is that of a refusal."""
    payload = {
        "model": result.model,
        "n_edges": result.n_edges,
        "verdicts": result.verdicts(),
        "remarks": list(result.remarks),
        "made": dict(result.made),
        "rows": [row.to_dict() for row in result.rows],
        "manual": [dict(entry) for entry in result.overlaps],
        "report": str(report) if report else None,
        "page": str(page) if page else None,
    }
    if not result.ran:
        reason = result.remarks[0]
        return Reply(payload | {"error": {"type": "NotRun", "message": reason}}, None, refused=reason)
    columns = ("task", "method", "edges", "faithfulness", "95% interval", "published", "verdict")
    rows = [
        (r.task, r.method, r.edges, r.value, f"{number(r.low)} … {number(r.high)}", r.published_text, r.verdict)
        for r in result.rows
    ]
    text = stacked(
        table(columns, rows, right=columns[2:6]), "\n".join(result.remarks), f"report {report}\npage   {page}"
    )
    return Reply(payload, text)


def execution_of(execution: Execution, executor: str | None, workers: int | None) -> Execution:
    """The file's execution with what the command line says instead. Errors: UnknownNameError."""
    if executor is not None and executor not in EXECUTORS:
        raise UnknownNameError.of("executor", executor, EXECUTORS)
    overrides: dict[str, Any] = {"executor": executor, "workers": workers}
    return replace(execution, **{key: value for key, value in overrides.items() if value is not None})


def dry_reply(study: Study, how: Execution, library: RunLibrary, folder: Path | None) -> Reply:
    """The cells, what they would cost, and how they would be run."""
    place = study_folder(study, library, folder)
    cells = []
    for cell in study.cells:
        done = is_done(read_record(place, cell), library)
        cells.append({"cell": cell.key, "title": cell.title, "done": done, **estimate(cell).to_dict()})
    left = [entry for entry in cells if not entry["done"]]
    totals = {key: _total([entry[key] for entry in left]) for key in ("forward", "backward")}
    memory = [entry["memory"] for entry in left if entry["memory"] is not None]
    payload = {
        "study": study.name,
        "folder": str(place),
        "cells": cells,
        "to_compute": len(left),
        **totals,
        "memory": max(memory, default=None),
        "executor": how.executor,
        "workers": how.workers,
        "threads": threads(how),
        "parameters": executor_parameters(how, study.name) if how.executor != "in-process" else {},
    }
    return Reply(payload, _dry_text(payload))


def _total(values: list[float | None]) -> float | None:
    return (
        None if any(value is None for value in values) else float(sum(value for value in values if value is not None))
    )


def _dry_text(payload: dict[str, Any]) -> Any:
    columns = ("cell", "what", "forward", "backward", "memory", "done")
    rows = [
        (
            entry["cell"][:10],
            entry["title"],
            _passes(entry["forward"]),
            _passes(entry["backward"]),
            "–" if entry["memory"] is None else size(entry["memory"]),
            entry["done"],
        )
        for entry in payload["cells"]
    ]
    more = f"… and {len(rows) - MOST_LINES} more" if len(rows) > MOST_LINES else ""
    memory = "unknown" if payload["memory"] is None else f"about {size(payload['memory'])}"
    foot = (
        f"{payload['to_compute']} of {len(rows)} cells to compute: {_passes(payload['forward'])} forward and "
        f"{_passes(payload['backward'])} backward passes over one pair; memory of a worker {memory}\n"
        f"executor {payload['executor']}, workers {payload['workers']}, threads {payload['threads']}"
    )
    settings = [(key, number(value)) for key, value in payload["parameters"].items()]
    return stacked(
        table(columns, rows[:MOST_LINES], right=("forward", "backward", "memory")),
        more,
        foot,
        table(("parameter", "value"), settings) if settings else "",
    )


def _passes(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def sweep_reply(result: Any) -> Reply:
    """What a finished sweep says."""
    failed = [{"cell": r["cell"], "title": r["title"], **r["error"]} for r in result.failed]
    payload = {
        "study": result.study.name,
        **result.counts(),
        "rows": len(result.table),
        "folder": str(result.folder),
        "table": str(result.folder / TABLE_FILE),
        "report": str(result.report),
        "failures": failed,
    }
    head = (
        f"{payload['done']} of {payload['cells']} cells done, {payload['computed']} computed now, "
        f"{payload['skipped']} there before, {payload['failed']} failed"
    )
    rows = [(entry["title"], entry["type"], entry["message"]) for entry in failed[:MOST_LINES]]
    text = stacked(
        head,
        table(("cell that failed", "error", "message"), rows) if rows else "",
        f"table  {payload['table']}\nreport {payload['report']}",
    )
    why = f"{len(failed)} of {payload['cells']} cells failed; the same command tries them again." if failed else ""
    return Reply(payload, text, failed=why)
