"""How edge scores are spread: sizes, layers, and how few edges carry most of the total."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from eapgp.attribution.result import EdgeScores
from eapgp.figures.numbers import edge_values, order_by_size, row_blocks, size_grid
from eapgp.figures.style import AGAINST, SUPPORTS, TYPE_COLOURS, apply, escape, line_styles, mark_x, shares, theme
from eapgp.graph import EDGE_TYPES
from eapgp.numerals import count

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scores_distribution(
    scores: EdgeScores, *, bins: int = 48, title: str = "How large the scores are", dark: bool = False
) -> go.Figure:
    """Histogram of |score| on a logarithmic axis: supporting edges up, opposing edges down."""
    values = edge_values(scores)
    values = values[np.isfinite(values)]
    sizes = np.log10(np.abs(values[values != 0]))
    low, high = (float(sizes.min()), float(sizes.max())) if len(sizes) else (-1.0, 0.0)
    low = max(low, high - 8)  # sizes below a hundred-millionth of the largest are rounding, kept in the first bin
    edges = np.linspace(low, high + 1e-9, bins + 1)
    middles, width = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])
    fig = go.Figure()
    for name, colour, direction in (("supports", SUPPORTS, 1), ("works against", AGAINST, -1)):
        side = values[values * direction > 0]
        tally = np.histogram(np.clip(np.log10(np.abs(side)), low, high), edges)[0]
        fig.add_bar(
            x=middles,
            y=direction * tally,
            width=width * 0.94,
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            customdata=[[10**a, 10**b, int(n)] for a, b, n in zip(edges[:-1], edges[1:], tally, strict=True)],
            hovertemplate="|score| %{customdata[0]:.2e} … %{customdata[1]:.2e}<br>%{customdata[2]:,} edges"
            f"<extra>{name}</extra>",
            meta={"x": "", "y": "", "columns": ["from |score|", "to |score|", "edges"]},
        )
    zeros = int((values == 0).sum())
    note = f"{count(len(values))} scored edges" + (f"; {count(zeros)} are exactly 0 and not drawn" if zeros else "")
    read = "Further right are stronger edges; those above the line support the behaviour, those below work against it."
    apply(
        fig, title=title, x="|score| (units of the metric, log)", y="number of edges", note=note, read=read, dark=dark
    )
    _power_ticks(fig, low, high)
    _absolute_y(fig)
    fig.update_layout(barmode="overlay")
    return fig


def _power_ticks(fig: go.Figure, low: float, high: float) -> None:
    powers = range(int(np.ceil(low)), int(np.floor(high)) + 1)
    fig.update_xaxes(zeroline=False)
    fig.update_xaxes(tickvals=list(powers), ticktext=["10" + str(power).translate(_SUPERSCRIPT) for power in powers])


def _absolute_y(fig: go.Figure) -> None:
    """Counts below the line are counts, not negative numbers."""
    top = max((float(np.abs(np.asarray(bar.y)).max(initial=0)) for bar in fig.data), default=1.0) or 1.0
    power = 10.0 ** np.floor(np.log10(top))
    step = max(1.0, next(part * power for part in (0.5, 1.0, 2.0, 5.0) if top <= 4 * part * power))
    marks = np.arange(-np.ceil(top / step), np.ceil(top / step) + 1) * step
    fig.update_yaxes(
        tickvals=marks, ticktext=[count(int(abs(mark))) for mark in marks], range=[-top * 1.08, top * 1.08]
    )


def score_by_layer(scores: EdgeScores, *, title: str = "Where the scores come from", dark: bool = False) -> go.Figure:
    """Σ |score| by the source's layer, stacked by edge type (to q, k, v, MLP, logits)."""
    graph = scores.graph
    sizes = np.abs(np.where(graph.mask, np.nan_to_num(scores.values), 0.0))
    names, starts = row_blocks(graph, "layer")
    per_row = np.add.reduceat(sizes, starts, axis=0)
    types = np.array(graph.destination_types)
    fig = go.Figure()
    for kind in EDGE_TYPES:
        fig.add_bar(
            x=names,
            y=per_row[:, types == kind].sum(axis=1),
            name=f"to {kind}",
            marker={"color": TYPE_COLOURS[kind], "line": {"color": theme(dark).outline, "width": 1}},
            hovertemplate=f"%{{x}} to {kind}<br>Σ |score| %{{y:.4g}}<extra></extra>",
        )
    read = (
        "A tall bar is a layer whose outgoing edges matter much in total; its parts say what kind of input they go to."
    )
    apply(fig, title=title, x="layer of the source", y="Σ |score| (units of the metric)", read=read, dark=dark)
    fig.update_layout(barmode="stack", legend_traceorder="normal")
    fig.update_xaxes(type="category")
    return fig


def cumulative_share(
    scores: Mapping[str, EdgeScores],
    *,
    current: int | None = None,
    title: str = "How few edges carry the total",
    dark: bool = False,
) -> go.Figure:
    """Share of Σ |score| that the strongest edges carry, against how many they are (log axis)."""
    fig = go.Figure()
    for (name, one), style in zip(scores.items(), line_styles(list(scores)), strict=True):
        values = edge_values(one)
        sizes = np.abs(values[order_by_size(values)]).astype(np.float64)
        total = float(sizes.sum()) or 1.0
        grid = size_grid(len(sizes), 160) if len(sizes) else np.array([], dtype=np.int64)
        share = np.cumsum(sizes)[grid - 1] / total
        fig.add_scatter(
            x=grid,
            y=share,
            mode="lines",
            name=escape(name),
            line={"color": style.colour, "dash": style.dash, "width": 3},
            hovertext=shares(share),
            hovertemplate="the %{x:,} strongest edges carry %{hovertext}<extra>%{fullData.name}</extra>",
        )
    read = "Where a curve rises early, few edges carry most of the total |score|; this says nothing about faithfulness."
    apply(fig, title=title, x="number of edges (strongest first, log)", y="share of Σ |score|", read=read, dark=dark)
    fig.update_xaxes(type="log", dtick=1, tickformat=",")
    fig.update_yaxes(range=[0, 1.03], tickformat=".0%")
    if current:
        mark_x(fig, current, f"{count(current)} edges shown", dark=dark, log=True)
    return fig
