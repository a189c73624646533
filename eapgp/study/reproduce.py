"""The paper's protocol as a study, laid beside the published numbers.

Six tasks; EAP, EAP-IG (k = 5, left), EAP-GP (k = 5, unit step) and exact patching where feasible; raw
weights; greedy selection with dead ends pruned; normalised faithfulness over the published grid of
edges, with bootstrap intervals over prompts; precision and recall against the manual circuits.

Verdict of a cell: `reproduced` where the published value lies in our interval widened by `TOLERANCE`
on both sides (the published values come from other prompts, without intervals); `higher` or
`lower` where ours lies above or below it; `not run`; `no published number`.

Source: Zhang et al. 2025, arXiv:2502.06852; Hanna et al. 2024, arXiv:2403.17806.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapgp.errors import ModelError
from eapgp.runs.library import RunLibrary
from eapgp.study.estimate import model_shape
from eapgp.study.plan import Execution, Study, make_study
from eapgp.study.published import HEADLINE_SIZE, N_EDGES, SIZES, published
from eapgp.study.sweep import SweepResult, sweep
from eapgp.study.worker import DONE, Worker

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Progress = Callable[[str, float], None]
TASKS = ("ioi", "greater-than", "gender-bias", "sva", "country-capital", "hypernymy")
METHODS: dict[str, dict[str, Any]] = {
    "eap": {},
    "eap-ig": {"steps": 5, "points": "left"},
    "eap-gp": {"steps": 5, "step": "unit", "objective": "all"},
    "exact": {},
}
GRID = (30, 50, 70, *range(100, 1000, 100), HEADLINE_SIZE, *range(1000, 2000, 100))
SMALL_SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
"""Shares of the edges that small models are run at beside the published grid's shares."""
FEASIBLE_EDGES = 2000
"""Exact patching is part of the protocol up to this many edges, and beyond where it is asked for."""
PAIRS = {"demo": 64}
DEFAULT_PAIRS = 100
TOLERANCE = 0.05
REPRODUCED, HIGHER, LOWER, NOT_RUN, UNPUBLISHED = "reproduced", "higher", "lower", "not run", "no published number"
VERDICTS = (REPRODUCED, HIGHER, LOWER, NOT_RUN, UNPUBLISHED)


@dataclass(frozen=True)
class Row:
    """One cell of the protocol beside its published number.

    edges: the size of the circuit; value, low, high: normalised faithfulness of ours with its 95 %
    interval over prompts, None where not run. note: why, where a word is needed.
    """

    task: str
    method: str
    edges: int
    share: float
    value: float | None
    low: float | None
    high: float | None
    published: float | None
    source: str
    verdict: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Reproduction:
    """The protocol's outcome on one model. sweep: None where nothing could be run."""

    model: str
    n_edges: int
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]
    sweep: SweepResult | None = None

    def table(self) -> pd.DataFrame:
        """One row per cell."""
        import pandas as pd

        return pd.DataFrame([row.to_dict() for row in self.rows])

    def manual(self) -> pd.DataFrame:
        """Precision and recall against the manual circuits; empty for other models than GPT-2 small."""
        import pandas as pd

        if self.sweep is None:
            return pd.DataFrame()
        frame = self.sweep.table
        shares = [name for name in frame.columns if name.startswith(("edges_precision", "nodes_precision"))]
        shares += [name.replace("precision", "recall") for name in shares]
        if not shares:
            return pd.DataFrame()
        known = frame[frame[shares].notna().any(axis=1)]
        return known[["task", "method", "edges_selected", *shares]].reset_index(drop=True)

    def verdicts(self) -> dict[str, int]:
        """How many cells have each verdict."""
        return {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in VERDICTS}

    def figures(self, *, dark: bool = False) -> list[tuple[str, go.Figure]]:
        """One figure per task: our curves with their intervals, and the published points."""
        from eapgp.study.reproduce_page import figures

        return figures(self, dark=dark)


def protocol(
    model: str = "demo", *, limit: int | None = None, pairs: int | None = None, exact: bool | None = None, seed: int = 0
) -> Study:
    """The paper's protocol as a study.

    limit: only the first tasks, for a quick pass. exact None: where the graph has at most
    `FEASIBLE_EDGES` edges.
    """
    shape = model_shape(model)
    n_edges = None if shape is None else shape.graph.n_edges
    with_exact = (n_edges is not None and n_edges <= FEASIBLE_EDGES) if exact is None else exact
    methods = [
        {"name": name, **({"options": options} if options else {})}
        for name, options in METHODS.items()
        if with_exact or name != "exact"
    ]
    mapping: dict[str, Any] = {
        "name": "paper-" + "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(model).name),
        "description": "Protocol of Zhang et al. 2025 (arXiv:2502.06852) and Hanna et al. 2024 (arXiv:2403.17806).",
        "models": [model],
        "tasks": list(TASKS[:limit]),
        "methods": methods,
        "seeds": [seed],
        "pairs": pairs or PAIRS.get(model, DEFAULT_PAIRS),
        "evaluations": [{"sizes": grid(n_edges), "rule": "greedy", "manual": True}],
    }
    return make_study(mapping)


def grid(n_edges: int | None) -> list[int]:
    """The published sizes; on another graph than GPT-2 small's, the same shares of its edges and a few larger."""
    if n_edges is None or n_edges == N_EDGES:
        return list(GRID)
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
    execution: Execution | None = None,
    progress: Progress | None = None,
    worker: Worker | None = None,
) -> Reproduction:
    """Run the protocol (or answer it from the library) and lay it beside the published numbers.

    A model whose weights are not at hand gives "not run" in every cell. Errors: as `sweep`.
    """
    library = library or RunLibrary()
    study = protocol(model, limit=limit, pairs=pairs, exact=exact, seed=seed)
    worker = worker or Worker(library)
    reason = unavailable(model, worker)
    if reason:
        return Reproduction(model, _edges(model), tuple(_not_run(study, model, reason)), (reason,))
    how = execution or Execution("in-process")
    result = sweep(study, library, folder=folder, execution=how, progress=progress, worker=worker)
    return compare(model, result)


def unavailable(model: str, worker: Worker) -> str:
    """Why the model cannot be loaded here, or ""; a loaded model stays with the worker."""
    try:
        worker.load(model, device="auto", dtype="float32")
    except (ModelError, OSError) as error:
        return f"not run: {' '.join(str(error).split())[:300]}"
    return ""


def compare(model: str, result: SweepResult) -> Reproduction:
    """Lay a finished sweep of the protocol beside the published numbers."""
    rows: list[Row] = []
    for record in result.records:
        if record["status"] != DONE:
            rows += _failed(model, record)
            continue
        spec = record["asked"]["spec"]
        (answer,) = record["evaluations"].values()
        for entry in answer["curve"]:
            rows.append(_row(model, spec["task"], spec["method"], entry, record["n_edges"], answer["remark"]))
    ran = {(row.task, row.method) for row in rows}
    n_edges = next((record["n_edges"] for record in result.records if record["status"] == DONE), _edges(model))
    for task in dict.fromkeys(cell.spec.task for cell in result.study.cells):
        for method in METHODS:
            if (task, method) not in ran:
                why = f"exact patching of {n_edges:,} edges is run where it is asked for (--exact)"
                rows += _empty(model, str(task), method, grid(n_edges), n_edges, why)
    return Reproduction(model, n_edges, tuple(rows), tuple(_remarks(model, rows)), result)


def verdict(low: float | None, high: float | None, known: float | None) -> str:
    """Where our interval lies against a published value."""
    if known is None:
        return UNPUBLISHED
    if low is None or high is None:
        return NOT_RUN
    if low - TOLERANCE <= known <= high + TOLERANCE:
        return REPRODUCED
    return HIGHER if low > known else LOWER


def _row(model: str, task: str, method: str, entry: Mapping[str, Any], n_edges: int, remark: str) -> Row:
    edges = int(entry["edges_selected"])
    fact = published(model, task, method, edges)
    low, high = entry["faithfulness_low"], entry["faithfulness_high"]
    return Row(
        task,
        method,
        edges,
        edges / n_edges,
        entry["faithfulness"],
        low,
        high,
        fact.value if fact else None,
        fact.source if fact else "",
        verdict(low, high, fact.value if fact else None),
        remark or ("published at second hand" if fact and fact.second_hand else ""),
    )


def _empty(model: str, task: str, method: str, sizes: Sequence[int], n_edges: int, note: str) -> list[Row]:
    rows = []
    for edges in sizes:
        fact = published(model, task, method, edges)
        value, source = (fact.value, fact.source) if fact else (None, "")
        share = edges / n_edges if n_edges else float("nan")
        rows.append(Row(task, method, edges, share, None, None, None, value, source, NOT_RUN, note))
    return rows


def _failed(model: str, record: Mapping[str, Any]) -> list[Row]:
    spec, n_edges = record["asked"]["spec"], _edges(model)
    note = f"failed: {record['error']['message']}"
    return _empty(model, spec["task"], spec["method"], grid(n_edges or None), n_edges, note)


def _not_run(study: Study, model: str, reason: str) -> list[Row]:
    n_edges = _edges(model)
    sizes = grid(n_edges or None)
    tasks = dict.fromkeys(str(cell.spec.task) for cell in study.cells)
    return [row for task in tasks for method in METHODS for row in _empty(model, task, method, sizes, n_edges, reason)]


def _edges(model: str) -> int:
    shape = model_shape(model)
    return 0 if shape is None else shape.graph.n_edges


def _remarks(model: str, rows: Sequence[Row]) -> list[str]:
    remarks = []
    if not any(row.published is not None for row in rows):
        remarks.append(
            f"Nothing is published for the model {model!r}: this shows that the protocol runs and what it "
            "gives, and confirms or contradicts no published number."
        )
    remarks.append(
        "Agreement with exact single-edge scores is not faithfulness, and one number without its interval says "
        "little: the published curves are not monotone, and EAP-IG's own step count moves the headline cell by 0.1."
    )
    return remarks


def write_reproduction(result: Reproduction, folder: Path, *, name: str = "reproduction") -> tuple[Path, Path]:
    """Write the report as Markdown and as one offline HTML file; their paths."""
    from eapgp.study.report import write_text
    from eapgp.study.reproduce_page import html_page, markdown_page

    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.md", folder / f"{name}.html"
    write_text(paths[0], markdown_page(result))
    write_text(paths[1], html_page(result))
    return paths
