"""The reproduction as a page: figures, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.figures.inputs import CurveLine, PrecisionRecallLine
from eapgp.study import html
from eapgp.study.published import ABSTRACT, HANNA_2024, HEADLINE_SIZE, N_EDGES, ZHANG_2025
from eapgp.study.reproduce_result import LABELS, METHODS, TOLERANCE, Reproduction, Row

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLUMNS = ("task", "method", "edges", "share", "ours", "low", "high", "published", "verdict")
OTHER_MODEL = "GPT-2 small (another model)"
_READS = {
    "published": "Open markers are the published values. Nothing was run here, so there is no line.",
    "none": "Lines are this model's circuits, with 95 % bands over prompts; one that reaches 1 early needs few edges.",
    "same": "Lines are ours, with 95 % bands over prompts; open markers are the published values of the same model.",
    "other": "Lines are this model's, with 95 % bands over prompts. Open markers are published for GPT-2 small, "
    "another model, at the same share of its edges: they are not this model's target.",
}


def figures(result: Reproduction, *, dark: bool = False, beside: bool = True) -> list[tuple[str, go.Figure]]:
    """Per task: our curves with their intervals, and the published points as open markers."""
    drawn = [
        (f"{task} on {result.model}", task_figure(result, task, dark=dark, beside=beside)) for task in result.tasks
    ]
    return [(title, fig) for title, fig in drawn if fig is not None]


def task_figure(
    result: Reproduction, task: str, *, title: str = "", dark: bool = False, beside: bool = True
) -> go.Figure | None:
    """One task's curves and published points; None where there is neither.

    beside: on another model than GPT-2 small, also draw what is published for GPT-2 small at the same
    share of the edges.
    """
    from eapgp.figures.curves import faithfulness_curves

    rows = [row for row in result.rows if row.task == task]
    lines = [line for method in METHODS if (line := _line(method, rows)) is not None]
    own, other = (
        [row for row in rows if getattr(row, field) is not None] if wanted else []
        for field, wanted in (("published", True), ("gpt2_small", beside))
    )
    if not lines and not own and not other:
        return None
    heading = title or f"{task} on {result.model}"
    n_edges = max(result.n_edges, *(row.edges for row in rows))
    fig = faithfulness_curves(lines, n_edges=n_edges, title=heading, dark=dark)
    _points(fig, own, "published", "Published")
    _points(fig, other, "gpt2_small", "GPT-2 small, published")
    read = _READS["published" if not lines else "same" if own else "other" if other else "none"]
    fig.update_layout(meta={"read": read})
    return fig


def _points(fig: go.Figure, known: Sequence[Row], field: str, word: str) -> None:
    """Published values in the colours of their methods; one entry of the legend stands for all of them."""
    from eapgp.figures.style import NEUTRAL, line_styles

    if known:
        entry = {"symbol": "circle-open", "size": 14, "color": NEUTRAL, "line": {"width": 2.5}}
        name = f"{word} (open markers)"
        fig.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=entry, meta={"hidden": True})
    for method in dict.fromkeys(row.method for row in known):
        points = [row for row in known if row.method == method]
        (style,) = line_styles([method])
        symbol = style.symbol.removesuffix("-open") + "-open"
        fig.add_scatter(
            x=[row.edges for row in points],
            y=[getattr(row, field) for row in points],
            mode="markers",
            name=f"{LABELS[method]}, {word}",
            legendgroup=LABELS[method],
            showlegend=False,
            marker={"symbol": symbol, "size": 14, "color": style.colour, "line": {"width": 2.5}},
            customdata=[[_about(row, field)] for row in points],
            hovertemplate="%{x:,} edges<br><b>%{y:.3f}</b><br>%{customdata[0]}<extra>%{fullData.name}</extra>",
            meta={"columns": ["source"]},
        )


def _about(row: Row, field: str) -> str:
    if field == "published":
        return row.source
    source = ZHANG_2025 if row.method == "eap-gp" else HANNA_2024
    return f"{row.gpt2_small_edges:,} edges of GPT-2 small; {source}"


def manual_figure(result: Reproduction, task: str, circuit: str, *, dark: bool = False) -> go.Figure | None:
    """Precision against recall of the edges as the circuit grows, per method; None where nothing is known."""
    from eapgp.figures.curves import precision_recall
    from eapgp.ground_truth import ground_truth

    fitting = [one for one in result.overlaps if one["task"] == task and one["circuit"] == circuit]
    lines = []
    for method in METHODS:
        found = sorted((one for one in fitting if one["method"] == method), key=lambda one: one["edges"])
        if found:
            recall, precision = (
                np.array([_share(one[f"edges_{name}"]) for one in found]) for name in ("recall", "precision")
            )
            sizes = np.array([one["edges"] for one in found], dtype=np.int64)
            lines.append(PrecisionRecallLine(LABELS[method], recall, precision, sizes))
    if not lines:
        return None
    truth = ground_truth(f"{task}/{circuit}")
    rate = truth.circuit.n_kept / truth.graph.n_edges
    return precision_recall(lines, base_rate=rate, title=f"{task}: edges against {circuit}", dark=dark)


def _share(value: Any) -> float:
    return np.nan if value is None else float(value)


def _line(method: str, rows: list[Row]) -> CurveLine | None:
    ran = sorted((row for row in rows if row.method == method and row.value is not None), key=lambda row: row.edges)
    if not ran:
        return None

    def column(name: str) -> Any:
        return np.array([np.nan if getattr(row, name) is None else getattr(row, name) for row in ran], dtype=float)

    sizes = np.array([row.edges for row in ran], dtype=np.int64)
    kept = np.array([row.edges if row.kept is None else row.kept for row in ran], dtype=np.int64)
    return CurveLine(LABELS[method], sizes, column("value"), column("low"), column("high"), kept)


def columns_of(result: Reproduction) -> tuple[str, ...]:
    """The columns of the table of cells; for another model than GPT-2 small with its published numbers apart."""
    return COLUMNS if _is_own(result) else (*COLUMNS, OTHER_MODEL)


def _is_own(result: Reproduction) -> bool:
    return all(row.gpt2_small is None for row in result.rows)


def _cells(row: Row, own: bool) -> list[Any]:
    share = f"{row.share:.2%}"
    cells: list[Any] = [
        row.task,
        row.method,
        row.edges,
        share,
        row.value,
        row.low,
        row.high,
        row.published,
        row.verdict,
    ]
    return cells if own else [*cells, row.gpt2_small]


def _intro(result: Reproduction) -> list[str]:
    counts = ", ".join(f"{n} {verdict}" for verdict, n in result.verdicts().items() if n)
    return [
        f"The protocol of the EAP-GP paper on the model {result.model}{_of_edges(result)}: {_tasks(result)}, raw "
        "weights, k = 5, GradPath with the paper's unit step, greedy selection with dead ends pruned, normalised "
        "faithfulness with 95 % bootstrap intervals over prompts.",
        f"Cells: {counts}.",
        f"Verdicts: reproduced where the published value lies in our interval widened by {TOLERANCE} on both sides (it "
        "was measured on other prompts and has no interval of its own); higher or lower where ours lies above or "
        "below it.",
    ]


def _of_edges(result: Reproduction) -> str:
    return f" ({result.n_edges:,} edges)" if result.n_edges else ""


def _tasks(result: Reproduction) -> str:
    return "six tasks" if len(result.tasks) == 6 else f"of six tasks {', '.join(result.tasks)}"


def _beside(result: Reproduction) -> list[str]:
    """What the numbers of another model are, wherever they stand beside ours."""
    if _is_own(result):
        return []
    return [
        f"The column “{OTHER_MODEL}” is what is published for GPT-2 small at the same share of its 32,491 edges. It is "
        "no target for this model, and no verdict rests on it."
    ]


def how(result: Reproduction) -> list[str]:
    """What decided the numbers, in sentences."""
    made = result.made
    if not made:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in made["libraries"].items() if name != "platform")
    runs = sum(len(methods) for methods in made["runs"].values())
    return [
        f"Weights {made['model']['weights_hash']}, {made['pairs']} pairs per task, seed {made['seed']}; {runs} runs, "
        f"{made['seconds']:.0f} s of computing on {made['device']}.",
        f"Versions: {versions}.",
    ]


def markdown_page(result: Reproduction) -> str:
    """The report as Markdown."""
    lines = [f"# The paper's protocol on {result.model}", ""]
    for text in (*_intro(result), *_beside(result), *result.remarks):
        lines += [text, ""]
    own = _is_own(result)
    lines += ["| " + " | ".join(columns_of(result)) + " |", "|---|---|" + "---:|" * 6 + "---|" + "---:|" * (not own)]
    lines += ["| " + " | ".join(_markdown(value) for value in _cells(row, own)) + " |" for row in result.rows]
    lines += ["", "Sources of published numbers:", ""]
    lines += [f"- {source}" for source in (*_sources(result), ABSTRACT)]
    names, manual = _manual(result)
    if manual:
        lines += ["", "## Against the manual circuits", "", "| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
        lines += ["| " + " | ".join(_markdown(v) for v in row) + " |" for row in manual]
    for text in how(result):
        lines += ["", text]
    return "\n".join(lines) + "\n"


def _markdown(value: Any) -> str:
    return html.cell_text(value).replace("|", "\\|")


def _manual(result: Reproduction) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of precision and recall against the manual circuits."""
    names = list(result.overlaps[0]) if result.overlaps else []
    return names, [[entry[name] for name in names] for entry in result.overlaps]


def _sources(result: Reproduction) -> list[str]:
    if not _is_own(result):
        return [HANNA_2024, ZHANG_2025]
    return sorted({row.source for row in result.rows if row.source})


def summary_html(result: Reproduction) -> str:
    """For notebooks: the verdicts, and every method's faithfulness where the paper's headline cell is."""
    counts = "; ".join(f"{n} {verdict}" for verdict, n in result.verdicts().items() if n)
    asked = result.asked
    head = html.paragraph(
        f"Protocol of the EAP-GP paper on {result.model}, {asked.n_pairs} pairs per task. Cells: {counts}."
    )
    shown = [row for row in result.rows if abs(row.share - HEADLINE_SIZE / N_EDGES) < 2e-3]
    parts = [head, *(html.paragraph(text) for text in result.remarks[:1])]
    return "".join([*parts, html.table(columns_of(result), [_cells(row, _is_own(result)) for row in shown])])


def html_page(result: Reproduction) -> str:
    """The report as one HTML file that needs no network."""
    parts = [html.heading(f"The paper's protocol on {result.model}", 1)]
    parts += [html.paragraph(text) for text in (*_intro(result), *_beside(result), *result.remarks)]
    drawn = figures(result)
    cells = [_cells(row, _is_own(result)) for row in result.rows]
    for number, (title, fig) in enumerate(drawn):
        parts += [html.heading(title), html.figure(fig, number)]
    parts += [html.heading("Every cell"), html.table(columns_of(result), cells, mark="verdict")]
    names, manual = _manual(result)
    if manual:
        parts += [html.heading("Against the manual circuits"), html.table(names, manual)]
    parts += [html.heading("Sources"), html.items([*_sources(result), ABSTRACT])]
    parts += [html.paragraph(text, muted=True) for text in how(result)]
    return html.page(f"The paper's protocol on {result.model}", parts, figures=bool(drawn))
