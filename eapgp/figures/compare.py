"""Two or more methods against each other, edge by edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.errors import OptionError
from eapgp.figures.numbers import correlations, edge_values, jaccard_at, same_graph, size_grid
from eapgp.figures.scale import SignedLog
from eapgp.figures.style import SET_COLOURS, SET_SYMBOLS, apply, escape, hover, line_styles, mark_x, set_layout, theme
from eapgp.numerals import count, number
from eapgp.types import Floats

_GL_FROM = 4000


MOST_POINTS = 2500  # strongest edges of each method that a scatter draws


def edge_sets(a: Floats, b: Floats, rank_a: Floats, rank_b: Floats, n: int) -> dict[str, NDArray[np.int64]]:
    """Edges in the n strongest of either: in both, only in A, only in B, in both with opposite sign."""
    top_a, top_b = rank_a <= n, rank_b <= n
    both, flipped = top_a & top_b, np.sign(a) * np.sign(b) < 0
    sets = {"both": both & ~flipped, "only A": top_a & ~top_b, "only B": top_b & ~top_a, "sign flipped": both & flipped}
    return {name: np.nonzero(members)[0] for name, members in sets.items()}


def rank_scatter(
    a: EdgeScores,
    b: EdgeScores,
    names: tuple[str, str],
    n: int,
    *,
    quantity: Literal["scores", "ranks"] = "scores",
    current: str = "",
    correlation: tuple[float, float, int] | None = None,
    dark: bool = False,
) -> go.Figure:
    """Scores or ranks of two methods for the edges in the n strongest of either (drawn: at most 2,500 of each).

    Scores stand on signed logarithmic axes of one scale, ranks on logarithmic ones with the
    strongest at the top right. The correlations are over all edges both methods scored (`correlation`
    where `numbers.correlations` gave them before). Markers
    carry customdata [edge name, …]; `current` rings an edge. Errors: OptionError for different graphs.
    """
    same_graph(a, b)
    first, second = edge_values(a), edge_values(b)
    rank_a, rank_b = a.ranks, b.ranks
    scale = SignedLog.over(first, second)
    rows, columns = np.nonzero(a.graph.mask)
    fig = go.Figure()
    if quantity == "scores":
        _diagonal(fig, scale.end, dark=dark)
    labels = {"only A": f"only {names[0]}", "only B": f"only {names[1]}"}
    for which, members in edge_sets(first, second, rank_a, rank_b, n).items():
        total = len(members)
        members = members[np.fmin(rank_a[members], rank_b[members]) <= MOST_POINTS]
        if not len(members):
            continue
        edges = [a.graph.edge_name(int(rows[i]), int(columns[i])) for i in members]
        parts = first[members], second[members], rank_a[members], rank_b[members]
        x, y = (scale(parts[0]), scale(parts[1])) if quantity == "scores" else (parts[2], parts[3])
        label = escape(f"{labels.get(which, which)} ({count(total)})")
        if current in edges:
            at = edges.index(current)
            _ring(fig, float(x[at]), float(y[at]), dark=dark)
        fig.add_trace(_points(which, label, x, y, edges, parts, dark=dark))
    coefficients = correlation or correlations(first, second)
    _correlations(fig, coefficients, f"{names[0]} against {names[1]}", min(n, MOST_POINTS), dark=dark)
    if quantity == "scores":
        _score_axes(fig, scale, names)
    else:
        _rank_axes(fig, names)
    return fig


def _points(
    which: str, label: str, x: Floats, y: Floats, edges: Sequence[str], parts: tuple[Floats, ...], *, dark: bool
) -> go.Scatter | go.Scattergl:
    kind = go.Scattergl if len(edges) > _GL_FROM else go.Scatter
    marker = {"color": SET_COLOURS[which], "symbol": SET_SYMBOLS[which], "size": 9, "opacity": 0.85}
    data = [
        [edge, float(sa), float(sb), float(ra), float(rb), *hover([sa, sb])]
        for edge, sa, sb, ra, rb in zip(edges, *parts, strict=True)
    ]
    return kind(
        x=x,
        y=y,
        mode="markers",
        name=label,
        marker=marker | {"line": {"width": 0.7, "color": theme(dark).outline}},
        customdata=data,
        hovertext=[escape(edge) for edge in edges],
        hovertemplate="<b>%{hovertext}</b><br>A %{customdata[5]} (rank %{customdata[3]:,})"
        "<br>B %{customdata[6]} (rank %{customdata[4]:,})<extra>%{fullData.name}</extra>",
        meta={"x": "", "y": "", "columns": ["edge", "score A", "score B", "rank A", "rank B"]},
    )


def _ring(fig: go.Figure, x: float, y: float, *, dark: bool) -> None:
    ring = {"size": 22, "symbol": "circle-open", "color": theme(dark).text, "line": {"width": 2.5}}
    fig.add_scatter(x=[x], y=[y], mode="markers", marker=ring, hoverinfo="skip", showlegend=False, name="selected edge")
    fig.data[-1].meta = {"hidden": True}


def _diagonal(fig: go.Figure, end: float, *, dark: bool) -> None:
    line = {"color": theme(dark).muted, "width": 1, "dash": "dot"}
    fig.add_shape(type="line", x0=-end, y0=-end, x1=end, y1=end, line=line, layer="below")


def _correlations(fig: go.Figure, coefficients: tuple[float, float, int], title: str, n: int, *, dark: bool) -> None:
    linear, ranked, shared = coefficients
    note = (
        f"Pearson {number(linear)}, Spearman {number(ranked)} over all "
        f"{count(shared)} edges both scored; drawn: the {count(n)} strongest of each"
    )
    read = "Points on the diagonal get the same score from both; points in the other two quadrants changed their sign."
    apply(fig, title=title, note=note, read=read, dark=dark, height=560)


def _score_axes(fig: go.Figure, scale: SignedLog, names: tuple[str, str]) -> None:
    places, labels = scale.ticks()
    span = [-scale.end * 1.06, scale.end * 1.06]
    axis = {"tickvals": places, "ticktext": labels, "range": span, "zeroline": True}
    set_layout(
        fig,
        xaxis={**axis, "title": {"text": _axis_title(names[0], "score A (units of the metric, log)")}},
        yaxis={**axis, "title": {"text": _axis_title(names[1], "score B (units of the metric, log)")}},
    )


def _axis_title(name: str, what: str) -> str:
    """Two lines: names of runs can be long, and one line would run out of the figure."""
    return f"{escape(name if len(name) <= 42 else name[:41] + '…')}<br>{escape(what)}"


def _rank_axes(fig: go.Figure, names: tuple[str, str]) -> None:
    axis = {"type": "log", "autorange": "reversed", "dtick": 1, "tickformat": ","}
    set_layout(
        fig,
        xaxis={**axis, "title": {"text": _axis_title(names[0], "rank A (1 = strongest, log)")}},
        yaxis={**axis, "title": {"text": _axis_title(names[1], "rank B (1 = strongest, log)")}},
    )
    read = "The strongest edges stand at the top right; points far from the diagonal matter to one method only."
    fig.layout.meta = {"read": read}


def jaccard_curve(
    scores: Mapping[str, EdgeScores],
    ks: Sequence[int] | None = None,
    *,
    reference: str | None = None,
    current: int | None = None,
    title: str = "Overlap of the strongest edges",
    dark: bool = False,
) -> go.Figure:
    """Jaccard index |A ∩ B| / |A ∪ B| of the k strongest edges against k, with a reference method.

    `reference` (the first by default) is compared with every other; the dotted line is what two
    random sets of k edges share, k / (2N − k). Errors: OptionError for fewer than two methods,
    an unknown reference or different graphs.
    """
    names = list(scores)
    base = reference or (names[0] if names else "")
    if len(names) < 2 or base not in scores:
        raise OptionError(f"overlap needs two methods and one of them as reference: got {names} and {reference!r}.")
    total = scores[base].graph.n_edges
    grid = np.asarray(ks, dtype=np.int64) if ks is not None else size_grid(total)
    fig = go.Figure()
    styles = dict(zip(names, line_styles(names), strict=True))
    for name in names:
        if name == base:
            continue
        same_graph(scores[base], scores[name])
        values = jaccard_at(scores[base].ranks, scores[name].ranks, grid)
        style = styles[name]
        fig.add_scatter(
            x=grid,
            y=values,
            mode="lines+markers" if len(grid) <= 30 else "lines",
            name=escape(f"{base} and {name}"),
            line={"color": style.colour, "dash": style.dash, "width": 3},
            marker={"symbol": style.symbol, "size": 8},
            customdata=[[int(k)] for k in grid],
            hovertemplate="the %{x:,} strongest: Jaccard %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    chance = grid / (2 * total - grid)
    line = {"color": theme(dark).muted, "dash": "dot", "width": 2}
    fig.add_scatter(
        x=grid,
        y=chance,
        mode="lines",
        name="two random sets",
        line=line,
        hovertemplate="%{x:,} random edges: Jaccard about %{y:.3f}<extra></extra>",
    )
    read = "1 means both methods pick the same edges; the curve must end at 1, so compare its height at small k."
    apply(fig, title=title, x="k strongest edges (log)", y="Jaccard index", read=read, dark=dark)
    fig.update_xaxes(type="log", dtick=1, tickformat=",")
    fig.update_yaxes(range=[0, 1.05])
    if current:
        mark_x(fig, current, f"{count(current)} edges shown", dark=dark, log=True)
    return fig


def group_bars(
    groups: Sequence[str],
    values: Mapping[str, Sequence[float]],
    *,
    measure: str,
    x: str = "group of edges",
    bounds: tuple[float, float] | None = (-1.0, 1.0),
    title: str = "Agreement by group",
    dark: bool = False,
) -> go.Figure:
    """A measure of agreement per layer or edge type, one bar per comparison; NaN leaves a gap.

    bounds: ends of the y axis; an end the values do not need is cut to 0.
    """
    fig = go.Figure()
    for (name, numbers), style in zip(values.items(), line_styles(list(values)), strict=True):
        fig.add_bar(
            x=[escape(group) for group in groups],
            y=list(numbers),
            name=escape(name),
            marker={"color": style.colour},
            hovertemplate="%{x}<br>" + escape(measure) + " %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    read = "A taller bar means closer agreement on the edges of that group; a gap means the measure is undefined there."
    apply(fig, title=title, x=x, y=measure, read=read, dark=dark)
    fig.update_xaxes(type="category")
    fig.update_layout(barmode="group", showlegend=True)
    if bounds is not None:
        lowest = min((v for numbers in values.values() for v in numbers if np.isfinite(v)), default=0.0)
        fig.update_yaxes(range=[max(bounds[0] * 1.05, lowest - 0.1) if lowest < 0 else 0.0, bounds[1] * 1.05])
    return fig
