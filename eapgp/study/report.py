"""The HTML report of a sweep: curves per model and task, the numbers behind them, and what failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.figures.inputs import CurveLine
from eapgp.runs.files import write_text
from eapgp.study import html
from eapgp.study.sweep_result import SweepResult

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


MOST_ROWS = 400
MIB_ONLY = "Over MIB's grid these are its CPR and CMD; over other sizes they compare only with the same sizes."


def write_report(result: SweepResult) -> Path:
    """Write the report beside the tables, whole or not at all; its path."""
    write_text(result.report, report_html(result))
    return result.report


def report_html(result: SweepResult) -> str:
    """The report as one HTML document that needs no network."""
    study, table = result.study, result.table
    figures = sweep_figures(table, result.bands)
    done = len(result.records) - len(result.failed)
    parts = [html.heading(f"Study {study.name}", 1)]
    if study.description:
        parts.append(html.paragraph(study.description))
    parts.append(
        html.paragraph(
            f"{len(study.cells)} cells: {done} done, {len(result.failed)} failed. Lines are means over seeds; bands "
            "are 95 % bootstrap intervals over seeds and pairs."
        )
    )
    for number, (title, fig) in enumerate(figures):
        parts += [html.heading(title), html.figure(fig, number)]
    parts += _summary(table) + _differences(result.differences) + _failures(result) + _made_with(result)
    return html.page(f"Study {study.name}", parts, figures=bool(figures))


def sweep_figures(
    table: pd.DataFrame, bands: pd.DataFrame | None = None, *, dark: bool = False
) -> list[tuple[str, go.Figure]]:
    """Faithfulness by circuit size: one figure per model, task and evaluation, one line per method and options.

    bands: `curve_bands` of the same study; without them a band is the range over seeds.
    """
    from eapgp.figures.curves import faithfulness_curves

    defined = table[table["faithfulness"].notna()]
    figures = []
    for (model, task, evaluation), part in defined.groupby(["model", "task", "evaluation"], sort=False):
        named = part.groupby(part.apply(line_name, axis=1, part=part), sort=False)
        lines = [mean_line(name, rows, bands) for name, rows in named]
        title = f"{task} on {model}" + ("" if evaluation == "faithfulness" else f", {evaluation}")
        n_edges = int(part["n_edges"].iloc[0])
        figures.append((title, faithfulness_curves(lines, n_edges=n_edges, title=title, dark=dark)))
    return figures


def line_name(row: pd.Series, part: pd.DataFrame) -> str:
    """The method's label, with the options where the method is there with several."""
    same = part[part["label"] == row["label"]]
    several = same["options"].nunique() > 1
    return f"{row['label']} {_options(row['options'])}" if several else str(row["label"])


def _options(text: str) -> str:

    return ", ".join(f"{key}={value}" for key, value in json.loads(text).items())


def mean_line(name: str, rows: pd.DataFrame, bands: pd.DataFrame | None = None) -> CurveLine:
    """Mean over seeds by size. The band is that of `bands`, else one seed's interval or the range over several."""
    groups = rows.groupby("edges_selected")
    values = groups["faithfulness"].mean()
    low, high = _range(rows)
    if bands is not None:
        keys = ["model", "dtype", "task", "evaluation", "label", "options"]
        drawn = rows[keys].drop_duplicates().merge(bands, on=keys)
        drawn = drawn.drop_duplicates("edges_selected").set_index(
            "edges_selected"
        )  # small graphs have sizes of 0 twice
        if set(values.index) <= set(drawn.index):
            low, high = (drawn[end].reindex(values.index) for end in ("low", "high"))
    left = groups["edges_kept"].mean().round()
    numbers = [column.to_numpy(dtype=np.float64, na_value=np.nan) for column in (values, low, high)]
    sizes = values.index.to_numpy(dtype=np.int64)
    return CurveLine(name, sizes, numbers[0], numbers[1], numbers[2], left.to_numpy(dtype=np.int64))


def _range(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    groups = rows.groupby("edges_selected")
    if rows["cell"].nunique() == 1:
        return groups["faithfulness_low"].mean(), groups["faithfulness_high"].mean()
    return groups["faithfulness"].min(), groups["faithfulness"].max()


def _summary(table: pd.DataFrame) -> list[str]:
    areas = table[table["area"].notna()].drop_duplicates(["cell", "evaluation"])
    if areas.empty:
        return []
    keys = ["model", "task", "evaluation", "label", "options"]
    rows: list[list[Any]] = []
    for group, part in areas.groupby(keys, sort=False):
        numbers = [float(part[name].mean()) for name in ("area", "area_to_one")]
        spread = [float(part["area"].min()), float(part["area"].max())]
        named = [str(value) for value in group]
        over = "MIB's grid" if part["cpr"].notna().all() else "sizes of the study"
        rows.append([*named[:4], _options(named[4]), len(part), over, *numbers, *spread])
    columns = (
        "model",
        "task",
        "evaluation",
        "method",
        "options",
        "seeds",
        "over",
        "area",
        "area to 1",
        "lowest",
        "highest",
    )
    note = f" (the first {MOST_ROWS} of {len(rows)}; all are in table.parquet)" if len(rows) > MOST_ROWS else ""
    return [
        html.heading("Areas under the curves"),
        html.paragraph(
            f"Means over seeds{note}: the area under faithfulness (higher is better) and between it and 1 (lower is "
            f"better). {MIB_ONLY}",
            muted=True,
        ),
        html.table(columns, rows[:MOST_ROWS]),
    ]


def _float(value: Any) -> float:
    return float(value) if isinstance(value, float | np.floating) else float("nan")


def _differences(differences: pd.DataFrame) -> list[str]:
    areas = differences[differences["quantity"].isin(["area", "cpr"])]
    if areas.empty:
        return []
    rows = [
        [
            *(str(row[key]) for key in ("model", "task", "evaluation")),
            *(f"{row[side]} {_options(row[f'{side}_options'])}".strip() for side in ("a", "b")),
            int(row["seeds"]),
            "MIB's grid" if row["quantity"] == "cpr" else "sizes of the study",
            *(_float(row[key]) for key in ("difference", "low", "high", "flips")),
            str(row["verdict"]),
        ]
        for _, row in areas.head(MOST_ROWS).iterrows()
    ]
    columns = (
        "model",
        "task",
        "evaluation",
        "a",
        "b",
        "seeds",
        "over",
        "a − b in area",
        "from",
        "to",
        "order flips",
        "a is",
    )
    note = f" The first {MOST_ROWS} of {len(areas)}." if len(areas) > MOST_ROWS else ""
    return [
        html.heading("Differences between methods"),
        html.paragraph(
            "Paired: both were judged on the same prompts and are resampled alike, seeds first, then pairs within "
            "each. A tie is a difference whose 95 % interval includes 0. Order flips: share of resamples in which "
            f"the two stand the other way round. All quantities and sizes are in differences.parquet.{note}",
            muted=True,
        ),
        html.table(columns, rows, mark="a is"),
    ]


def _failures(result: SweepResult) -> list[str]:
    if not result.failed:
        return []
    rows = [[record["title"], record["error"]["type"], record["error"]["message"]] for record in result.failed]
    return [html.heading("Cells that failed"), html.table(("cell", "error", "message"), rows[:MOST_ROWS])]


def _made_with(result: SweepResult) -> list[str]:
    done = [record for record in result.records if record["status"] == "done"]
    if not done:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in done[0]["libraries"].items())
    hashes = sorted({f"{r['request']['model']['id']} {r['request']['model']['weights_hash']}" for r in done})
    return [
        html.heading("How this was made"),
        html.items(
            [f"Weights: {', '.join(hashes)}", f"Versions: {versions}", f"Runs: {len({r['run'] for r in done})}"]
        ),
    ]
