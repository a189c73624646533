"""The paper's protocol as a study, laid beside the published numbers.

Six tasks; EAP, EAP-IG (k = 5, left), EAP-GP (k = 5; the unit step of our reading, and other readings of what the paper
leaves open) and exact patching where feasible; raw weights; greedy selection with dead ends pruned; normalised
faithfulness over the published grid of edges, with bootstrap intervals over prompts; precision and recall against the
manual circuits.

`eapgp.study.reproduce_rows` says how verdicts fall, `reproduce_result` holds the outcome.

Source: Zhang et al. 2025, arXiv:2502.06852; Hanna et al. 2024, arXiv:2403.17806.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eapgp.errors import FormatError, ModelError
from eapgp.models.catalogue import find_model, model_shape
from eapgp.runs.files import write_text
from eapgp.runs.library import RunLibrary
from eapgp.study.plan import Execution, Study, make_study
from eapgp.study.published import (
    HEADLINE_SIZE,
    N_EDGES,
    SIZES,
    XL_EDGES,
    XL_SIZES,
    behaves_like_gpt2_small,
    is_gpt2_small,
    nearest_share,
    published,
    published_model,
)
from eapgp.study.reproduce_page import html_page, markdown_page
from eapgp.study.reproduce_result import JSON_FILE, Reproduction, read_reproduction, save_reproduction
from eapgp.study.reproduce_rows import METHODS, NOT_RUN, TASKS, Asked, Row, name_of, overlaps_of, verdict
from eapgp.study.sweep import study_folder, sweep
from eapgp.study.sweep_result import SweepResult
from eapgp.study.worker import DONE, Worker
from eapgp.types import Progress

GRID = (30, 50, 70, *range(100, 1000, 100), HEADLINE_SIZE, *range(1000, 2000, 100))
SMALL_SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
"""Shares of the edges that small models are run at beside the published grid's shares."""
FEW_PAIRS = 16
FEASIBLE_EDGES = 2000
"""Exact patching is part of the protocol up to this many edges, and beyond where it is asked for."""


def protocol(asked: Asked) -> Study:
    """The paper's protocol as a study, before anything is computed."""
    shape = model_shape(asked.model)
    n_edges = None if shape is None else shape.graph.n_edges
    with_exact = (n_edges is not None and n_edges <= FEASIBLE_EDGES) if asked.exact is None else asked.exact
    methods = [
        {"name": one.method, **({"options": dict(one.options)} if one.options else {})}
        for one in METHODS.values()
        if with_exact or one.method != "exact"
    ]
    mapping: dict[str, Any] = {
        "name": asked.name[:80],
        "description": "Protocol of Zhang et al. 2025 (arXiv:2502.06852) and Hanna et al. 2024 (arXiv:2403.17806).",
        "models": [asked.model],
        "tasks": list(asked.tasks),
        "methods": methods,
        "seeds": [asked.seed],
        "pairs": asked.n_pairs,
        "evaluations": [{"sizes": grid(n_edges), "rule": "greedy", "manual": True}],
    }
    return make_study(mapping)


def grid(n_edges: int | None) -> list[int]:
    """The published sizes; on another graph than GPT-2 small's, the same shares of its edges and a few larger."""
    if n_edges is None or n_edges == N_EDGES:
        return list(GRID)
    if n_edges == XL_EDGES:
        return sorted({*XL_SIZES, round(HEADLINE_SIZE / N_EDGES * n_edges)})
    shares = [size / N_EDGES for size in (*SIZES, HEADLINE_SIZE)]
    wanted = {round(share * n_edges) for share in (*shares, *SMALL_SHARES)} | {n_edges}
    return sorted(size for size in wanted if size >= 1)


def reproduce(
    model: str = "demo",
    library: RunLibrary | None = None,
    *,
    limit: int | None = None,
    pairs: int | None = None,
    exact: bool | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Run the EAP-GP paper's protocol (or answer it from the library) beside the published numbers.

    model: a name, Hugging Face id or local folder. limit: only the first of the six tasks. pairs: prompt
    pairs per task (demo 64, else 100). exact: with exact patching; None where the graph has at most
    `FEASIBLE_EDGES` edges. folder: where the study's records and tables lie (None: in the library).
    Values are normalised faithfulness (1 = the whole model, 0 = the corrupted run).

    A model whose weights are not at hand gives "not run" in every cell, unless the same was run before.
    Errors: as `sweep`; Cancelled from `progress`, and what is finished stays.

    Source: Zhang et al. 2025, arXiv:2502.06852; Hanna et al. 2024, arXiv:2403.17806.
    """
    asked = Asked(model, limit, pairs, exact, seed)
    return run_protocol(asked, library or RunLibrary(), folder=folder, progress=progress)


def run_protocol(
    asked: Asked,
    library: RunLibrary,
    *,
    folder: str | Path | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
    worker: Worker | None = None,
) -> Reproduction:
    """As `reproduce`. execution: where cells are computed (None: here). worker: brings a model that is loaded."""
    study, worker = protocol(asked), worker or Worker(library)
    if progress is not None:
        progress("loading the model", 0.0)
    reason = unavailable(asked.model, worker)
    if reason:
        earlier = _known(study_folder(study, library, folder) / JSON_FILE, asked)
        return earlier or not_run(asked, reason)
    how = execution or Execution("in-process")
    result = sweep(study, library, folder=folder, execution=how, progress=progress, worker=worker)
    return compare(asked, result)


def unavailable(model: str, worker: Worker) -> str:
    """Why the model cannot be loaded here, or ""; a loaded model stays with the worker."""
    try:
        worker.load(model, device="auto", dtype="float32")
    except (ModelError, OSError) as error:
        return f"not run: {' '.join(str(error).split())[:300]}"
    return ""


def _known(path: Path, asked: Asked) -> Reproduction | None:
    """What was run earlier, when the weights were at hand."""
    with contextlib.suppress(FormatError):
        earlier = read_reproduction(path)
        if earlier.asked == asked and earlier.ran:
            return earlier
    return None


def not_run(asked: Asked, reason: str) -> Reproduction:
    """The protocol's cells without any outcome: the published numbers and why nothing stands beside them."""
    n_edges, own = _edges(asked.model), published_model(asked.model) or ""
    sizes = sorted(grid(n_edges or None))
    rows = [
        row for task in asked.tasks for method in METHODS for row in _empty(own, task, method, sizes, n_edges, reason)
    ]
    return Reproduction(asked.model, n_edges, tuple(rows), (reason,), asked)


def compare(asked: Asked, result: SweepResult) -> Reproduction:
    """Lay a finished sweep of the protocol beside the published numbers."""
    model, rows = asked.model, []
    unlike = _unlike(model, result)
    own = "" if unlike else published_model(model) or ""
    overlaps: list[dict[str, Any]] = []
    n_edges = next((record["n_edges"] for record in result.records if record["status"] == DONE), _edges(model))
    for record in result.records:
        spec = record["asked"]["spec"]
        task, method = str(spec["task"]), name_of(spec)
        if record["status"] != DONE:
            note = f"failed: {record['error']['message']}"
            rows += _empty(own, task, method, grid(n_edges or None), n_edges, note)
            continue
        (answer,) = record["evaluations"].values()
        for entry in answer["curve"]:
            edges = int(entry["edges_selected"])
            rows.append(_row(own, task, method, edges, n_edges, **_measured(entry, answer["remark"])))
        overlaps += overlaps_of(task, method, answer)
    ran = {(row.task, row.method) for row in rows}
    why = f"exact patching of {n_edges:,} edges is run where it is asked for (--exact)"
    for task in asked.tasks:
        for method in METHODS:
            if (task, method) not in ran:
                rows += _empty(own, task, method, grid(n_edges or None), n_edges, why)
    order = {name: index for index, name in enumerate((*TASKS, *METHODS))}
    rows.sort(key=lambda row: (order[row.task], order[row.method], row.edges))
    remarks = _remarks(asked, rows, result, unlike)
    return Reproduction(model, n_edges, tuple(rows), tuple(remarks), asked, tuple(overlaps), _made(result))


def _row(own: str, task: str, method: str, edges: int, n_edges: int, **measured: Any) -> Row:
    """A cell and what is published beside it. measured: the fields of `Row` that were; without, it was not run."""
    name = METHODS[method].method
    fact = published(own, task, name, edges) if own else None
    beside = None if own or not n_edges else nearest_share(task, name, edges, n_edges)
    value, other = (fact.value, fact.other) if fact else (None, None)
    fields = {"value": None, "low": None, "high": None, "verdict": NOT_RUN, **measured}
    if "low" in measured:
        fields["verdict"] = verdict(fields["low"], fields["high"], value, other)
        fields["note"] = fields["note"] or ("published at second hand" if fact and fact.second_hand else "")
    return Row(
        task=task,
        method=method,
        edges=edges,
        share=edges / (n_edges or N_EDGES),
        published=value,
        published_other=other,
        source=fact.source if fact else "",
        gpt2_small=beside.value if beside else None,
        gpt2_small_other=beside.other if beside else None,
        gpt2_small_edges=beside.edges if beside else None,
        **fields,
    )


def _measured(entry: Mapping[str, Any], remark: str) -> dict[str, Any]:
    """What an evaluation found at one size, as fields of `Row`."""
    found = {"value": "faithfulness", "low": "faithfulness_low", "high": "faithfulness_high"}
    return {name: entry[key] for name, key in found.items()} | {"kept": int(entry["edges_kept"]), "note": remark}


def _empty(own: str, task: str, method: str, sizes: Sequence[int], n_edges: int, note: str) -> list[Row]:
    return [_row(own, task, method, edges, n_edges, note=note) for edges in sizes]


def _edges(model: str) -> int:
    shape = model_shape(model)
    return 0 if shape is None else shape.graph.n_edges


def _unlike(model: str, result: SweepResult) -> str:
    """Why a local folder of GPT-2 small's shape is not GPT-2 small, or ""."""
    if find_model(model) is not None or not is_gpt2_small(model):
        return ""
    done = [record for record in result.records if record["status"] == DONE]
    gaps = {str(r["asked"]["spec"]["task"]): r["metric_clean"] - r["metric_corrupted"] for r in done}
    return behaves_like_gpt2_small(gaps)


def _remarks(asked: Asked, rows: Sequence[Row], result: SweepResult, unlike: str) -> list[str]:
    model, remarks = asked.model, []
    if unlike:
        remarks.append(
            f"{model} has GPT-2 small's shape but other weights: {unlike}. It is compared with no published number."
        )
    elif not any(row.published is not None for row in rows):
        remarks.append(
            f"Nothing is published for the model {model!r}: this shows that the protocol runs and what it "
            "gives, and confirms or contradicts no published number."
        )
    elif find_model(model) is None:
        remarks.append(
            f"The published numbers are of GPT-2 small. {model} has its shape, vocabulary and behaviour; that it holds "
            "GPT-2's own weights is taken on trust."
        )
    if asked.n_pairs < FEW_PAIRS:
        remarks.append(f"Only {asked.n_pairs} pairs per task: intervals over so few say little, and so do verdicts.")
    failed = result.failed
    if failed:
        remarks.append(f"{len(failed)} of {len(result.records)} runs failed, first: {failed[0]['error']['message']}")
    remarks.append(
        "Agreement with exact single-edge scores is not faithfulness, and one number without its interval says "
        "little: the published curves are not monotone, and EAP-IG's own step count moves the headline cell by 0.1."
    )
    return remarks


def _made(result: SweepResult) -> dict[str, Any]:
    """What decided the numbers, and where and when they were computed."""
    done = [record for record in result.records if record["status"] == DONE]
    if not done:
        return {}
    first = done[0]["request"]
    runs: dict[str, dict[str, str]] = {}
    for record in done:
        spec = record["asked"]["spec"]
        runs.setdefault(str(spec["task"]), {})[name_of(spec)] = str(record["run"])
    return {
        "model": dict(first["model"]),
        "pairs": first["prompts"]["n_pairs"],
        "seed": first["seed"],
        "runs": runs,
        "seconds": round(sum(record["seconds"] for record in done), 1),
        "device": done[0]["device"],
        "libraries": dict(done[0]["libraries"]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_reproduction(result: Reproduction, folder: Path, *, name: str = "reproduction") -> tuple[Path, Path]:
    """Write the report as Markdown and as one offline HTML file, and their data as JSON; the paths of the first two."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.md", folder / f"{name}.html"
    write_text(paths[0], markdown_page(result))
    write_text(paths[1], html_page(result))
    save_reproduction(result, folder / f"{name}.json")
    return paths
