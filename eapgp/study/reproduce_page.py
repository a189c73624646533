"""The reproduction as a page: figures, Markdown and HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.figures.inputs import CurveLine
from eapgp.study import html
from eapgp.study.published import ABSTRACT
from eapgp.study.reproduce import METHODS, TOLERANCE, Reproduction, Row
from eapgp.study.worker import DONE

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLUMNS = ("task", "method", "edges", "share", "ours", "low", "high", "published", "verdict")


def figures(result: Reproduction, *, dark: bool = False) -> list[tuple[str, go.Figure]]:
    """Per task: our curves with their intervals, and the published points as open markers."""
    from eapgp.figures.curves import faithfulness_curves
    from eapgp.figures.style import line_styles

    found = []
    for task in dict.fromkeys(row.task for row in result.rows):
        rows = [row for row in result.rows if row.task == task]
        lines = [line for method in METHODS if (line := _line(method, rows)) is not None]
        known = [row for row in rows if row.published is not None]
        if not lines and not known:
            continue
        title = f"{task} on {result.model}"
        fig = faithfulness_curves(lines, n_edges=max(result.n_edges, 1), title=title, dark=dark)
        for method in dict.fromkeys(row.method for row in known):
            points = [row for row in known if row.method == method]
            (style,) = line_styles([method])
            fig.add_scatter(
                x=[row.edges for row in points],
                y=[row.published for row in points],
                mode="markers",
                name=f"{method}, published",
                marker={"symbol": "circle-open", "size": 13, "color": style.colour, "line": {"width": 2.5}},
                customdata=[[row.source] for row in points],
                hovertemplate="%{x:,} edges<br><b>%{y:.3f}</b><br>%{customdata[0]}<extra>%{fullData.name}</extra>",
                meta={"columns": ["source"]},
            )
        found.append((title, fig))
    return found


def _line(method: str, rows: list[Row]) -> CurveLine | None:
    ran = sorted((row for row in rows if row.method == method and row.value is not None), key=lambda row: row.edges)
    if not ran:
        return None

    def column(name: str) -> Any:
        return np.array([np.nan if getattr(row, name) is None else getattr(row, name) for row in ran], dtype=float)

    sizes = np.array([row.edges for row in ran], dtype=np.int64)
    return CurveLine(method, sizes, column("value"), column("low"), column("high"))


def _cells(row: Row) -> list[Any]:
    return [
        row.task,
        row.method,
        row.edges,
        f"{row.share:.2%}",
        row.value,
        row.low,
        row.high,
        row.published,
        row.verdict,
    ]


def _intro(result: Reproduction) -> list[str]:
    counts = ", ".join(f"{n} {verdict}" for verdict, n in result.verdicts().items() if n)
    return [
        f"The protocol of the EAP-GP paper on the model {result.model} ({result.n_edges:,} edges): six tasks, raw "
        "weights, k = 5, GradPath with the paper's unit step, greedy selection with dead ends pruned, normalised "
        "faithfulness with 95 % bootstrap intervals over prompts.",
        f"Cells: {counts}.",
        f"Verdicts: reproduced where the published value lies in our interval widened by {TOLERANCE} on both sides (it "
        "was measured on other prompts and has no interval of its own); higher or lower where ours lies above or "
        "below it.",
    ]


def _how(result: Reproduction) -> list[str]:
    if result.sweep is None:
        return []
    done = [record for record in result.sweep.records if record["status"] == DONE]
    if not done:
        return []
    request = done[0]["request"]
    versions = ", ".join(f"{name} {version}" for name, version in done[0]["libraries"].items() if name != "platform")
    seconds = sum(record["seconds"] for record in done)
    return [
        f"Weights {request['model']['weights_hash']}, {request['prompts']['n_pairs']} pairs per task, seed "
        f"{request['seed']}; {len(done)} runs, {seconds:.0f} s of computing.",
        f"Versions: {versions}.",
    ]


def markdown_page(result: Reproduction) -> str:
    """The report as Markdown."""
    lines = [f"# The paper's protocol on {result.model}", ""]
    for text in (*_intro(result), *result.remarks):
        lines += [text, ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "---:|" * 6 + "---|"]
    lines += ["| " + " | ".join(_markdown(value) for value in _cells(row)) + " |" for row in result.rows]
    lines += ["", "Sources of published numbers:", ""]
    lines += [f"- {source}" for source in (*_sources(result), ABSTRACT)]
    manual = result.manual()
    if len(manual):
        names = list(manual.columns)
        lines += ["", "## Against the manual circuits", "", "| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
        lines += ["| " + " | ".join(_markdown(v) for v in row) + " |" for row in manual.to_numpy(dtype=object).tolist()]
    for text in _how(result):
        lines += ["", text]
    return "\n".join(lines) + "\n"


def _markdown(value: Any) -> str:
    return html.cell_text(_known(value)).replace("|", "\\|")


def _known(value: Any) -> Any:
    """pandas' missing values as None."""
    import pandas as pd

    return None if value is pd.NA else value


def _sources(result: Reproduction) -> list[str]:
    return sorted({row.source for row in result.rows if row.source})


def html_page(result: Reproduction) -> str:
    """The report as one HTML file that needs no network."""
    parts = [html.heading(f"The paper's protocol on {result.model}", 1)]
    parts += [html.paragraph(text) for text in (*_intro(result), *result.remarks)]
    drawn = figures(result)
    for number, (title, fig) in enumerate(drawn):
        parts += [html.heading(title), html.figure(fig, number)]
    parts += [html.heading("Every cell"), html.table(COLUMNS, [_cells(row) for row in result.rows], mark="verdict")]
    manual = result.manual()
    if len(manual):
        rows = [[_known(value) for value in row] for row in manual.to_numpy(dtype=object).tolist()]
        parts += [html.heading("Against the manual circuits"), html.table(list(manual.columns), rows)]
    parts += [html.heading("Sources"), html.items([*_sources(result), ABSTRACT])]
    parts += [html.paragraph(text, muted=True) for text in _how(result)]
    return html.page(f"The paper's protocol on {result.model}", parts, figures=bool(drawn))
