"""Curves with bands: faithfulness, differences, ROC, precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from eapgp.figures.inputs import CurveLine, PrecisionRecallLine, RocLine
from eapgp.figures.style import LineStyle, apply, escape, fade, line_styles, mark_x, rule, set_layout, shares, theme
from eapgp.numerals import count, decimal_with, percent
from eapgp.types import Floats

_PERCENT = (0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_LOW_END, _HIGH_END = -1.0, 2.0


def faithfulness_curves(
    curves: Sequence[CurveLine],
    *,
    n_edges: int,
    random: CurveLine | None = None,
    current: int | None = None,
    y: str = "normalised faithfulness",
    references: bool = True,
    title: str = "Faithfulness by circuit size",
    dark: bool = False,
) -> go.Figure:
    """Faithfulness against the number of edges (log axis; percent of all edges above).

    random: the random-circuit baseline, drawn in grey with its spread. `references` draws the
    lines of the full model (1) and the corrupted run (0); switch it off for other quantities and
    say which in `y`. A size of 0 has no place on the axis and is left out. Circuits of nodes stand at
    the number of their edges, dotted, in the colour of the edges' curve of the same name. Markers carry
    customdata [edges, percent, edges kept, low, high], and nodes for circuits of nodes.
    """
    fig = go.Figure()
    if random is not None:
        grey = LineStyle(line_styles(["random"])[0].colour, "dot", "x")
        _curve(fig, random, grey, n_edges, markers=False)
    for curve, style in zip(curves, _styles(curves), strict=True):
        _curve(fig, curve, style, n_edges, markers=True)
    read = "A curve that reaches 1 early means that few edges reproduce the whole model."
    by_nodes = any(curve.nodes is not None for curve in curves)
    if by_nodes:
        read += " Dotted: circuits of the best nodes with every edge between them, at the number of those edges."
    if any(curve.low is not None for curve in curves):
        read += " Bands are 95 % intervals over prompt pairs drawn with replacement"
        read += "; the grey one is that of the random draws." if random is not None else "."
    x = "edges in the circuit (log)" if by_nodes else "edges selected (log)"
    apply(fig, title=title, x=x, y=y, read=read, dark=dark, height=500)
    _size_axes(fig, n_edges, dark=dark)
    drawn = [*curves, *([random] if random else [])]
    if references:
        _references(fig, drawn, dark=dark)
    if current:
        mark_x(fig, current, f"{count(current)} edges shown", dark=dark, log=True, inside=True)
    return fig


def _styles(curves: Sequence[CurveLine]) -> list[LineStyle]:
    """A style per curve; one of nodes has the colour of the edges' curve of its name, where there is one."""
    edges = [curve for curve in curves if curve.nodes is None]
    own = iter(line_styles([curve.name for curve in edges or curves]))
    if not edges:
        return [replace(style, dash="dot", symbol="square") for style in own]
    styles = [next(own) if curve.nodes is None else None for curve in curves]
    by_name = {curve.name: style for curve, style in zip(curves, styles, strict=True) if style}
    grey = line_styles(["random"])[0]
    return [
        style or replace(by_name.get(curve.name, grey), dash="dot", symbol="square")
        for curve, style in zip(curves, styles, strict=True)
    ]


def _curve(fig: go.Figure, curve: CurveLine, style: LineStyle, n_edges: int, *, markers: bool) -> None:
    sizes = np.asarray(curve.sizes)
    drawn = sizes > 0
    low = np.full(len(sizes), np.nan) if curve.low is None else np.asarray(curve.low, dtype=np.float64)
    high = np.full(len(sizes), np.nan) if curve.high is None else np.asarray(curve.high, dtype=np.float64)
    left = sizes if curve.kept is None else np.asarray(curve.kept)
    if np.isfinite(low).any():
        fig.add_trace(_band(curve.label, sizes[drawn], low[drawn], high[drawn], style))
    rows = [
        [int(s), float(s) / n_edges, int(k), float(lo), float(hi)]
        for s, k, lo, hi in zip(sizes[drawn], left[drawn], low[drawn], high[drawn], strict=True)
    ]
    values = np.asarray(curve.values, dtype=np.float64)[drawn]
    columns, selected = ["edges", "share of edges", "edges kept", "low", "high"], [""] * len(values)
    if curve.nodes is not None:
        nodes = np.asarray(curve.nodes)[drawn].tolist()
        rows = [[*row, int(n)] for row, n in zip(rows, nodes, strict=True)]
        columns, selected = [*columns, "nodes"], [f"{count(int(n))} node{'' if n == 1 else 's'} with " for n in nodes]
    fig.add_scatter(
        x=sizes[drawn],
        y=values,
        mode="lines+markers" if markers else "lines",
        name=escape(curve.label),
        legendgroup=escape(curve.label),
        line={"color": style.colour, "dash": style.dash, "width": 3},
        marker={"symbol": style.symbol, "size": 9, "color": style.colour},
        customdata=rows,
        text=[
            f"{of}{count(int(size))} edges ({percent(share, 2)}), {count(int(kept))} kept"
            f"<br><b>{decimal_with(value, lo, hi)}</b>"
            for of, value, (size, share, kept, lo, hi, *_) in zip(selected, values.tolist(), rows, strict=True)
        ],
        hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        meta={"x": "", "columns": columns},
    )


def _band(name: str, x: NDArray[Any], low: Floats, high: Floats, style: LineStyle) -> go.Scatter:
    finite = np.isfinite(low) & np.isfinite(high)
    x, low, high = x[finite], low[finite], high[finite]
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        mode="lines",
        fill="toself",
        fillcolor=fade(style.colour, 0.18),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=escape(name),
        name=escape(name),
        meta={"hidden": True},
    )


def _size_axes(fig: go.Figure, n_edges: int, *, dark: bool) -> None:
    """Edges below, and the same axis read in percent above."""
    look = theme(dark)
    marks = [p for p in _PERCENT if p * n_edges / 100 >= 1]
    fig.add_scatter(x=[n_edges], y=[np.nan], xaxis="x2", hoverinfo="skip", showlegend=False, meta={"hidden": True})
    set_layout(
        fig,
        xaxis={"type": "log", "dtick": 1, "tickformat": ","},
        xaxis2={
            "type": "log",
            "overlaying": "x",
            "matches": "x",
            "side": "top",
            "tickmode": "array",
            "tickvals": [p * n_edges / 100 for p in marks],
            "ticktext": [f"{p:g} %" for p in marks],
            "tickfont": {"size": 12, "color": look.muted},
            "tickangle": 0,
            "showgrid": False,
            "ticks": "outside",
            "tickcolor": look.muted,
        },
    )


def _references(fig: go.Figure, curves: Sequence[CurveLine], *, dark: bool) -> None:
    look = theme(dark)
    for level, label in ((1.0, "full model"), (0.0, "corrupted run")):
        rule(fig, "y", level, line={"color": look.muted, "width": 1.3, "dash": "dash"}, layer="below")
        fig.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=level,
            yshift=9 if level else -9,
            text=label,
            showarrow=False,
            font={"size": 12, "color": look.muted},
        )
    parts = [c.values for c in curves] + [b for c in curves for b in (c.low, c.high) if b is not None]
    values = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts] or [np.zeros(0)])
    lines = np.concatenate([np.asarray(c.values, dtype=np.float64) for c in curves] or [np.zeros(0)])
    values, lines = values[np.isfinite(values)], lines[np.isfinite(lines)]
    low = min(0.0, float(lines.min(initial=0.0)), max(_LOW_END, float(values.min(initial=0.0))))
    high = max(1.0, float(lines.max(initial=1.0)), min(_HIGH_END, float(values.max(initial=1.0))))
    pad = 0.07 * (high - low)
    set_layout(fig, yaxis={"range": [low - pad, high + pad]})


def faithfulness_difference(
    difference: CurveLine,
    *,
    n_edges: int,
    names: tuple[str, str],
    flips: Floats | None = None,
    current: int | None = None,
    title: str | None = None,
    dark: bool = False,
) -> go.Figure:
    """Faithfulness of A minus B by size, with the interval of the difference.

    Where the band holds 0 the two are not told apart by these prompts. flips `[size]`: share of
    resamples in which the order is the other way round, shown on hover.
    """
    fig = go.Figure()
    _curve(fig, difference, line_styles([names[0]])[0], n_edges, markers=True)
    if flips is not None:
        _add_flips(fig, np.asarray(flips)[np.asarray(difference.sizes) > 0])
    read = f"Above 0 {names[0]} is more faithful; where the band includes 0 the order may be chance."
    heading = title or f"{names[0]} minus {names[1]}"
    apply(fig, title=heading, x="edges selected (log)", y="difference in faithfulness", read=read, dark=dark)
    _size_axes(fig, n_edges, dark=dark)
    rule(fig, "y", 0, line={"color": theme(dark).text, "width": 1.5})
    fig.update_layout(showlegend=False)
    if current:
        mark_x(fig, current, f"{count(current)} edges shown", dark=dark, log=True, inside=True)
    return fig


def _add_flips(fig: go.Figure, flips: Floats) -> None:
    line = fig.data[-1]
    rows = [[*row, float(flip)] for row, flip in zip(line.customdata, flips, strict=True)]
    words = ["" if np.isnan(f) else f"<br>the order flips in {percent(f)} of the resamples" for f in flips]
    template = line.hovertemplate.replace("<extra>", "%{hovertext}<extra>")
    meta = line.meta | {"columns": [*line.meta["columns"], "order flips"]}
    line.update(customdata=rows, hovertext=words, hovertemplate=template, meta=meta)


def roc(
    curves: Sequence[RocLine], *, title: str = "ROC against the reference circuit", dark: bool = False
) -> go.Figure:
    """True against false positive rate as the score threshold falls, with the area of each."""
    fig = go.Figure()
    for curve, style in zip(curves, line_styles([c.name for c in curves]), strict=True):
        fig.add_scatter(
            x=curve.false_positive,
            y=curve.true_positive,
            mode="lines",
            name=escape(f"{curve.name} (AUROC {curve.area:.3f})"),
            line={"color": style.colour, "dash": style.dash, "width": 3},
            text=shares(curve.false_positive),
            hovertext=shares(curve.true_positive),
            hovertemplate="false positives %{text}<br>true positives %{hovertext}<extra>%{fullData.name}</extra>",
        )
    line = {"color": theme(dark).muted, "dash": "dot", "width": 1.5}
    fig.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line=line, layer="below")
    read = "The closer to the top left corner, the better the scores find the reference; the dotted diagonal is chance."
    apply(fig, title=title, x="false positive rate", y="true positive rate", read=read, dark=dark, height=520)
    fig.update_xaxes(range=[-0.02, 1.02], tickformat=".0%", constrain="domain")
    fig.update_yaxes(range=[-0.02, 1.02], tickformat=".0%", scaleanchor="x", constrain="domain")
    fig.update_layout(showlegend=True)
    return fig


def precision_recall(
    curves: Sequence[PrecisionRecallLine],
    *,
    base_rate: float,
    title: str = "Precision and recall against the reference circuit",
    dark: bool = False,
) -> go.Figure:
    """Precision against recall as the circuit grows; `base_rate` is what random choice gives."""
    fig = go.Figure()
    for curve, style in zip(curves, line_styles([c.name for c in curves]), strict=True):
        sizes = curve.sizes if curve.sizes is not None else np.full(len(curve.recall), -1)
        words = [f"<br>{count(int(s))} selected" if s >= 0 else "" for s in sizes]
        fig.add_scatter(
            x=curve.recall,
            y=curve.precision,
            mode="lines",
            name=escape(curve.name),
            line={"color": style.colour, "dash": style.dash, "width": 3},
            customdata=[[int(s)] for s in sizes],
            text=shares(curve.recall),
            hovertext=[precision + word for precision, word in zip(shares(curve.precision), words, strict=True)],
            hovertemplate="recall %{text}<br>precision %{hovertext}<extra>%{fullData.name}</extra>",
            meta={} if curve.sizes is None else {"columns": ["selected"]},
        )
    look = theme(dark)
    rule(fig, "y", base_rate, line={"color": look.muted, "dash": "dot", "width": 1.5})
    read = (
        "High and far to the right is good: much of the reference is found with few extras; the dotted line is chance."
    )
    note = f"random choice has precision {percent(base_rate, 2)}"
    apply(fig, title=title, x="recall", y="precision", note=note, read=read, dark=dark)
    fig.update_xaxes(range=[-0.02, 1.02], tickformat=".0%")
    fig.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    fig.update_layout(showlegend=True)
    return fig
