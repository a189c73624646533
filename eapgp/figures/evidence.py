"""Does the claim hold: completeness, minimality, and overlap with a reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from eapgp.figures.inputs import ConfusionRow
from eapgp.figures.style import METHOD_STYLES, NEUTRAL, apply, escape, hover, sign_colour, theme
from eapgp.numerals import count, decimal, score
from eapgp.types import Floats


def complement_bars(
    values: Sequence[float],
    *,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    names: Sequence[str] = ("circuit", "everything but it"),
    title: str = "Is anything left outside?",
    dark: bool = False,
) -> go.Figure:
    """Faithfulness of a circuit and of its complement, with intervals; dashed lines at 1 and 0."""
    look = theme(dark)
    numbers = [float(value) for value in values]
    error = None
    if low is not None and high is not None:
        plus = [top - value for top, value in zip(high, numbers, strict=True)]
        minus = [value - bottom for value, bottom in zip(numbers, low, strict=True)]
        error = {"type": "data", "symmetric": False, "array": plus, "arrayminus": minus, "color": look.text}
    fig = go.Figure(
        go.Bar(
            x=[escape(name) for name in names],
            y=numbers,
            error_y=error,
            width=0.5,
            marker={"color": [METHOD_STYLES["eap-gp"].colour, NEUTRAL]},
            hovertext=hover(numbers, decimal),
            hovertemplate="%{x}<br>faithfulness %{hovertext}<extra></extra>",
            name="faithfulness",
        )
    )
    for level in (0.0, 1.0):
        fig.add_hline(y=level, line={"color": look.muted, "width": 1.3, "dash": "dash"}, layer="below")
    read = (
        "A complete circuit stands near 1 and leaves a rest near 0; a high rest means the behaviour has another route."
    )
    apply(fig, title=title, x="edges kept", y="normalised faithfulness", read=read, dark=dark, height=400)
    fig.update_xaxes(type="category", showgrid=False)
    return fig


def minimality(
    names: Sequence[str],
    effects: Floats,
    *,
    low: Floats | None = None,
    high: Floats | None = None,
    random: tuple[float, float] | None = None,
    sampled_of: int | None = None,
    title: str = "What each kept edge adds",
    dark: bool = False,
) -> go.Figure:
    """Loss of faithfulness when a single kept edge is taken away, largest first.

    random: band of the effect of edges outside the circuit; an edge inside the band earns its
    place no better than chance. `sampled_of`: number of edges the bars are a sample of.
    Bars carry customdata [edge name].
    """
    values = np.asarray(effects, np.float64)
    order = np.argsort(-values, kind="stable")
    error = None
    if low is not None and high is not None:
        plus, minus = np.asarray(high)[order] - values[order], values[order] - np.asarray(low)[order]
        error = {"type": "data", "symmetric": False, "array": plus, "arrayminus": minus, "thickness": 1.2, "width": 3}
        error["color"] = theme(dark).muted
    fig = go.Figure(
        go.Bar(
            x=list(range(1, len(order) + 1)),
            y=values[order],
            error_y=error,
            marker={"color": [sign_colour(v) for v in values[order]]},
            customdata=[[names[i], score(float(values[i]))] for i in order],
            hovertext=[escape(names[i]) for i in order],
            hovertemplate="%{hovertext}<br>faithfulness lost %{customdata[1]}<extra></extra>",
            name="edges",
            meta={"x": "place", "columns": ["edge"]},
        )
    )
    if random is not None:
        _band(fig, *random, dark=dark)
    note = f"a sample of {count(len(order))} of {count(sampled_of)} kept edges" if sampled_of else ""
    read = (
        "Blue edges are needed: taking one away costs faithfulness; bars within the grey band do no more than chance."
    )
    x = "kept edges, most needed first"
    apply(fig, title=title, x=x, y="faithfulness lost without it", note=note, read=read, dark=dark)
    if len(order) <= 24:
        fig.update_xaxes(
            tickvals=list(range(1, len(order) + 1)), ticktext=[escape(names[i]) for i in order], tickangle=-60
        )
    return fig


def _band(fig: go.Figure, low: float, high: float, *, dark: bool) -> None:
    look = theme(dark)
    fig.add_hrect(y0=low, y1=high, fillcolor=NEUTRAL, opacity=0.25, line_width=0)
    fig.add_annotation(
        x=1,
        xref="paper",
        xanchor="right",
        y=high,
        yshift=9,
        text="random edges",
        showarrow=False,
        font={"size": 12, "color": look.muted},
    )


_PARTS = (("found", "#009E73", ""), ("missed", "#A6A6A6", "/"), ("extra", "#E69F00", "x"))


def confusion(
    rows: Sequence[ConfusionRow], *, unit: str = "edges", title: str = "Found, missed and extra", dark: bool = False
) -> go.Figure:
    """How many of a reference's edges (or nodes) each method found or missed, and what it added."""
    fig = go.Figure()
    names = [escape(row.name) for row in rows]
    for part, colour, pattern in _PARTS:
        numbers = [int(getattr(row, part)) for row in rows]
        fig.add_bar(
            x=numbers,
            y=names,
            orientation="h",
            name=part,
            text=[count(n) if n else "" for n in numbers],
            textposition="inside",
            insidetextanchor="middle",
            textfont={"color": "#111111"},
            marker={"color": colour, "pattern": {"shape": pattern, "fgcolor": "rgba(255,255,255,0.55)", "size": 7}},
            hovertemplate=f"%{{y}}: %{{x:,}} {escape(unit)} {part}<extra></extra>",
        )
    read = "Found and missed add up to the reference; extra are choices that are not in it (which may still be real)."
    apply(
        fig, title=title, x=f"number of {unit}", y="method", read=read, dark=dark, height=max(300, 170 + 46 * len(rows))
    )
    fig.update_layout(barmode="stack", legend_traceorder="normal")
    fig.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return fig
