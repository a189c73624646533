"""One edge along both paths: its gradient, what each point adds to its score, and the running sum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eapgp.figures.path import name_of, style_of
from eapgp.figures.style import CURRENT, apply, hover, theme
from eapgp.numerals import number
from eapgp.types import Floats

_READ = (
    "What each point adds is the product of the activation difference and the gradient there, over the number of "
    "points; the running sum ends at the edge's score. A point with a gradient near 0 adds next to nothing."
)


def edge_along_path(
    values: Mapping[str, Floats],
    name: str,
    *,
    gradients: Mapping[str, Floats] | None = None,
    current: int | None = None,
    title: str | None = None,
    note: str = "",
    dark: bool = False,
) -> go.Figure:
    """What each point of the paths adds to one edge's score, and how that adds up.

    values: kind → `[point]` what the point adds, in units of the metric (`point_scores`); NaN at points
    whose gradient is not used. gradients: kind → `[point]` ‖∂M/∂x_v‖ at the edge's end, for a panel above.
    """
    titles = ["size of the gradient"] if gradients else []
    titles += ["what the point adds", "added up so far"]
    fig = make_subplots(rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.07)
    first = len(titles) - 1
    scores = []
    for kind, points in values.items():
        array = np.asarray(points, dtype=np.float64)
        used = np.isfinite(array)
        total = np.cumsum(np.where(used, array, 0.0))
        scores.append(f"{name_of(kind)} {number(float(total[-1]) if len(total) else 0.0)}")
        if gradients and kind in gradients:
            _line(fig, kind, np.asarray(gradients[kind], dtype=np.float64), row=1, legend=False, label=titles[0])
        _bars(fig, kind, array, row=first, label=titles[-2])
        _line(fig, kind, np.where(used, total, np.nan), row=first + 1, legend=True, label=titles[-1])
    said = f"score: {', '.join(scores)} (units of the metric){'; ' + note if note else ''}"
    heading = title or f"{name} along the paths"
    apply(fig, title=heading, read=_READ, note=said, dark=dark, height=200 + 190 * len(titles))
    for row, label in enumerate(("‖∂M/∂xᵥ‖", "adds to the score", "running sum")[-len(titles) :], start=1):
        fig.update_yaxes(title_text=label, row=row, col=1)
    fig.update_xaxes(dtick=1 if max(map(len, values.values()), default=0) <= 21 else None)
    fig.update_xaxes(title_text="step j of the path", row=len(titles), col=1)
    if current is not None:
        fig.add_vline(x=current, line={"color": theme(dark).text, "width": 1.5, "dash": "dot"}, name=CURRENT)
    return fig


def _bars(fig: go.Figure, kind: str, values: Floats, *, row: int, label: str) -> None:
    fig.add_bar(
        x=np.arange(len(values)),
        y=values,
        name=name_of(kind),
        legendgroup=kind,
        showlegend=False,
        marker={"color": style_of(kind).colour},
        hovertext=hover(values),
        hovertemplate=f"step %{{x}}<br>{label} %{{hovertext}}<extra>%{{fullData.name}}</extra>",
        meta={"x": "step", "y": label},
        row=row,
        col=1,
    )


def _line(fig: go.Figure, kind: str, values: Floats, *, row: int, legend: bool, label: str) -> None:
    style = style_of(kind)
    fig.add_scatter(
        x=np.arange(len(values)),
        y=values,
        mode="lines+markers",
        name=name_of(kind),
        legendgroup=kind,
        showlegend=legend,
        line={"color": style.colour, "width": 3, "dash": style.dash},
        marker={"color": style.colour, "size": 10, "symbol": style.symbol},
        hovertext=hover(values),
        hovertemplate=f"step %{{x}}<br>{label} %{{hovertext}}<extra>%{{fullData.name}}</extra>",
        meta={"x": "step", "y": label},
        row=row,
        col=1,
    )
