"""Figures of a reproduction: curves beside published points, and agreement with the manual circuits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.figures.inputs import CurveLine, PrecisionRecallLine
from eapgp.ground_truth import ground_truth
from eapgp.study.published import HANNA_2024, HANNA_2024_EXACT, ZHANG_2025
from eapgp.study.reproduce_rows import MAIN, METHODS, Row

if TYPE_CHECKING:
    import plotly.graph_objects as go

_READS = {
    "published": "Open markers are the published values. Nothing was run here, so there is no line.",
    "none": "Lines are this model's circuits, with 95 % bands over prompts; one that reaches 1 early needs few edges.",
    "same": "Lines are ours, with 95 % bands over prompts; open markers are the published values of the same model.",
    "other": "Lines are this model's, with 95 % bands over prompts. Open markers are published for GPT-2 small, "
    "another model, at the same share of its edges: they are not this model's target.",
}


def task_figure(
    rows: Sequence[Row], *, n_edges: int, title: str, dark: bool = False, beside: bool = True
) -> go.Figure | None:
    """One task's curves and published points; None where there is neither.

    rows: the task's cells. n_edges: of the graph, 0 where it is unknown.
    beside: on another model than GPT-2 small, also draw what is published for GPT-2 small at the same
    share of the edges.
    """
    from eapgp.figures.curves import faithfulness_curves

    lines = [line for method in METHODS if (line := _line(method, rows)) is not None]
    own, other = (
        [row for row in rows if getattr(row, field) is not None] if wanted else []
        for field, wanted in (("published", True), ("gpt2_small", beside))
    )
    if not lines and not own and not other:
        return None
    fig = faithfulness_curves(lines, n_edges=max(n_edges, *(row.edges for row in rows)), title=title, dark=dark)
    _points(fig, own, "published", "Published")
    _points(fig, [row for row in own if row.published_other is not None], "published_other", "Published, other table")
    both = [row for row in other if row.gpt2_small_other is not None]
    _points(fig, other, "gpt2_small", "GPT-2 small, published")
    _points(fig, both, "gpt2_small_other", "GPT-2 small, other table")
    read = _READS["published" if not lines else "same" if own else "other" if other else "none"]
    fig.layout.meta = {"read": read}
    return fig


def _points(fig: go.Figure, rows: Sequence[Row], field: str, word: str) -> None:
    """Published values in the colours of their methods; one entry of the legend stands for all of them."""
    from eapgp.figures.style import NEUTRAL, line_styles

    if rows:
        entry = {"symbol": "circle-open", "size": 14, "color": NEUTRAL, "line": {"width": 2.5}}
        name = f"{word} (open markers)"
        fig.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=entry, meta={"hidden": True})
    for method in dict.fromkeys(row.method for row in rows if row.method in MAIN):  # other readings are of one value
        points = [row for row in rows if row.method == method]
        (style,) = line_styles([method])
        symbol = style.symbol.removesuffix("-open") + "-open"
        fig.add_scatter(
            x=[row.edges for row in points],
            y=[getattr(row, field) for row in points],
            mode="markers",
            name=f"{METHODS[method].label}, {word}",
            legendgroup=METHODS[method].label,
            showlegend=False,
            marker={"symbol": symbol, "size": 14, "color": style.colour, "line": {"width": 2.5}},
            customdata=[[_about(row, field)] for row in points],
            hovertemplate="%{x:,} edges<br><b>%{y:.3f}</b><br>%{customdata[0]}<extra>%{fullData.name}</extra>",
            meta={"columns": ["source"]},
        )


def _about(row: Row, field: str) -> str:
    if field == "published":
        return row.source
    if field == "published_other":
        return HANNA_2024_EXACT
    source = ZHANG_2025 if METHODS[row.method].method == "eap-gp" else HANNA_2024
    if field == "gpt2_small_other":
        source = HANNA_2024_EXACT
    return f"{row.gpt2_small_edges:,} edges of GPT-2 small; {source}"


def manual_figure(
    overlaps: Sequence[Mapping[str, Any]], task: str, circuit: str, *, dark: bool = False
) -> go.Figure | None:
    """Precision against recall of the edges as the circuit grows, per method; None where nothing is known."""
    from eapgp.figures.curves import precision_recall

    fitting = [one for one in overlaps if one["task"] == task and one["circuit"] == circuit]
    lines = []
    for method in METHODS:
        overlapping = sorted((one for one in fitting if one["method"] == method), key=lambda one: one["edges"])
        if overlapping:
            recall, precision = (
                np.array([_share(one[f"edges_{name}"]) for one in overlapping]) for name in ("recall", "precision")
            )
            sizes = np.array([one["edges"] for one in overlapping], dtype=np.int64)
            lines.append(PrecisionRecallLine(METHODS[method].label, recall, precision, sizes))
    if not lines:
        return None
    truth = ground_truth(f"{task}/{circuit}")
    rate = truth.circuit.n_kept / truth.graph.n_edges
    return precision_recall(lines, base_rate=rate, title=f"{task}: edges against {circuit}", dark=dark)


def _share(value: Any) -> float:
    return np.nan if value is None else float(value)


def _line(method: str, rows: Sequence[Row]) -> CurveLine | None:
    ran = sorted((row for row in rows if row.method == method and row.value is not None), key=lambda row: row.edges)
    if not ran:
        return None

    def column(name: str) -> Any:
        return np.array([np.nan if getattr(row, name) is None else getattr(row, name) for row in ran], dtype=float)

    sizes = np.array([row.edges for row in ran], dtype=np.int64)
    left = np.array([row.edges if row.kept is None else row.kept for row in ran], dtype=np.int64)
    return CurveLine(METHODS[method].label, sizes, column("value"), column("low"), column("high"), left)
