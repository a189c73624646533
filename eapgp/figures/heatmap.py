"""Edge scores as a source × destination heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.figures.numbers import RULES, BlockBy, BlockRule, block_matrix, column_blocks, order_by_size, row_blocks
from eapgp.figures.scale import SignedLog, largest_magnitude
from eapgp.figures.style import apply, colour_bar, escape, hover, theme
from eapgp.graph import Graph
from eapgp.numerals import count, number, score
from eapgp.types import Floats

MAX_CELLS = 2_000_000
_READ = (
    "Rows write to the residual stream, columns read from it; blue edges support the behaviour, "
    "vermillion edges work against it, pale cells have scores near zero, and empty cells are no edges."
)
# The scale lies in the corner where there is never an edge: beside the cells it would leave a phone no room.
_CORNER: dict[str, Any] = {"orientation": "h", "x": 0.02, "xanchor": "left", "y": 0.99, "yanchor": "top", "ypad": 0}
_CORNER |= {"len": 0.6, "thickness": 10}


def score_heatmap(
    scores: EdgeScores,
    *,
    log: bool = True,
    limit: float | None = None,
    rule: BlockRule = "largest",
    clickable: int = 200,
    max_cells: int = MAX_CELLS,
    title: str = "Edge scores",
    dark: bool = False,
) -> go.Figure:
    """All edges, source × destination, on a symmetric zero-centred scale.

    `limit` fixes the largest |score| of the scale (one scale for panes that are compared). The
    `clickable` strongest edges carry invisible markers whose customdata is the edge name. Graphs
    of more than `max_cells` cells are drawn by blocks (heads of a layer by q, k, v, MLP) under `rule`.
    """
    graph = scores.graph
    if graph.n_sources * graph.n_destinations > max_cells:
        return block_heatmap(scores, by="type", rule=rule, log=log, limit=limit, title=title, dark=dark)
    values = np.where(graph.mask, scores.values, np.nan).astype(np.float32)
    fig = _heat(values, graph.sources, graph.destinations, log=log, limit=limit, dark=dark)
    if clickable:
        fig.add_trace(_click_targets(scores, clickable, dark=dark))
    _layer_lines(fig, graph, dark=dark)
    unscored = int((graph.mask & np.isnan(scores.values)).sum())
    note = f"{count(graph.n_edges)} edges" + (f", {count(unscored)} of them not scored (empty)" if unscored else "")
    note += "; logarithmic colours" if log else "; linear colours"
    apply(fig, title=title, x="destination (reads)", y="source (writes)", note=note, read=_READ, dark=dark, height=620)
    _layer_ticks(fig, graph, dark=dark)
    fig.update_xaxes(showgrid=False, zeroline=False)
    fig.update_yaxes(showgrid=False, zeroline=False)
    return fig


def block_heatmap(
    scores: EdgeScores,
    *,
    by: BlockBy = "layer",
    rule: BlockRule = "sum_abs",
    log: bool = True,
    limit: float | None = None,
    title: str = "Edge scores by layer",
    dark: bool = False,
) -> go.Figure:
    """Edges gathered into blocks: layer × layer, or by kind of node and input (`by="type"`).

    The rule that gathers them is written in the figure (`numbers.RULES`).
    """
    rows, columns, blocks = block_matrix(scores, rule=rule, by=by)
    fig = _heat(blocks, rows, columns, log=log, limit=limit, dark=dark)
    read = _READ
    if rule == "sum_abs":
        _sizes_only(fig, dark=dark)
        read = (
            "Rows write, columns read; a strong cell is a pair of layers whose edges have large scores of either sign."
        )
    note = f"{count(scores.graph.n_edges)} edges in {count(int(np.isfinite(blocks).sum()))} cells; {RULES[rule]}"
    apply(fig, title=title, x="destination (reads)", y="source (writes)", note=note, read=read, dark=dark, height=560)
    _block_ticks(fig, scores.graph, by, len(rows), len(columns), dark=dark)
    fig.update_xaxes(showgrid=False, zeroline=False)
    fig.update_yaxes(showgrid=False, zeroline=False)
    return fig


def _heat(
    values: Floats, rows: Sequence[str], columns: Sequence[str], *, log: bool, limit: float | None, dark: bool
) -> go.Figure:
    """Heat map trace on a symmetric scale; raw values stay in customdata where z is transformed."""
    top = (limit if limit is not None else largest_magnitude(values)) or 1.0
    drawn: Floats = values
    ticks = None
    bound = top
    extra: dict[str, Any] = {}
    if log:
        scale = SignedLog.over(values, limit=top)
        drawn, bound, ticks = scale(values).astype(np.float32), scale.end, scale.ticks()
        extra["customdata"] = values
    else:
        marks = [-top, -top / 2, 0.0, top / 2, top]
        ticks = (marks, [number(mark) for mark in marks])
    heat = go.Heatmap(
        z=drawn,
        x=[escape(name) for name in columns],
        y=[escape(name) for name in rows],
        zmin=-bound,
        zmax=bound,
        colorscale=theme(dark).diverging,
        colorbar=colour_bar("score (units of the metric)", ticks=ticks, **_CORNER),
        hovertext=hover(values),
        hovertemplate="%{y} → %{x}<br>score %{hovertext}<extra></extra>",
        hoverongaps=False,
        name="score",
        meta={"x": "destination", "y": "source", "value": "score"},
        **extra,
    )
    fig = go.Figure(heat)
    for update, names in ((fig.update_xaxes, heat.x), (fig.update_yaxes, heat.y)):
        update(type="category", categoryorder="array", categoryarray=list(names), range=[-0.5, len(names) - 0.5])
    return fig


def _sizes_only(fig: go.Figure, *, dark: bool) -> None:
    """Sums of |score| have no sign: a one-sided scale in a colour that means neither sign."""
    heat = fig.data[0]
    ticks = (heat.colorbar.tickvals, heat.colorbar.ticktext)
    bar = colour_bar("Σ |score| (units of the metric)", ticks=ticks, **_CORNER)
    heat.update(zmin=0, colorscale=[list(stop) for stop in theme(dark).sequential], colorbar=bar)
    sums = heat.z if heat.customdata is None else heat.customdata
    heat.update(hovertemplate=heat.hovertemplate.replace("score", "Σ |score|"), hovertext=hover(sums, number))
    heat.update(meta=heat.meta | {"value": "sum of |score|"}, name="sum of |score|")


def _click_targets(scores: EdgeScores, n: int, *, dark: bool) -> go.Scatter:
    """Invisible markers on the strongest edges: a click selects markers only, never cells."""
    graph = scores.graph
    flat = np.where(graph.mask, scores.values, np.nan).ravel()
    strongest = order_by_size(flat)[:n]
    rows, columns = np.unravel_index(strongest, scores.values.shape)
    labels = [
        f"{escape(graph.edge_name(int(r), int(c)))}<br>score {score(float(flat[i]))}"
        for r, c, i in zip(rows, columns, strongest, strict=True)
    ]
    return go.Scatter(
        x=[escape(graph.destinations[int(c)]) for c in columns],
        y=[escape(graph.sources[int(r)]) for r in rows],
        mode="markers",
        marker={"size": 12, "opacity": 0, "symbol": "square-open", "color": theme(dark).text},
        selected={"marker": {"opacity": 1}},
        customdata=[[graph.edge_name(int(r), int(c))] for r, c in zip(rows, columns, strict=True)],
        hovertext=labels,
        hovertemplate="%{hovertext}<br>click to select<extra></extra>",
        showlegend=False,
        name="edges to click",
        meta={"hidden": True},
    )


def _layer_lines(fig: go.Figure, graph: Graph, *, dark: bool) -> None:
    line = {"color": theme(dark).muted, "width": 1 if graph.n_layers <= 12 else 0.5}
    row_starts = row_blocks(graph, "layer")[1]
    column_starts = column_blocks(graph, "layer")[1]
    shapes = [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y} for y in row_starts[1:] - 0.5]
    shapes += [{"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x} for x in column_starts[1:] - 0.5]
    fig.update_layout(shapes=[shape | {"line": line, "opacity": 0.35} for shape in shapes])


def _layer_ticks(fig: go.Figure, graph: Graph, *, dark: bool) -> None:
    """Labels per block or layer where the names of single nodes would not fit."""
    by: BlockBy = "type" if graph.n_layers <= 6 else "layer"
    if graph.n_sources > 40:
        _labels(fig, "y", *row_blocks(graph, "layer"), graph.n_sources, dark=dark)
    if graph.n_destinations > 24:
        _labels(fig, "x", *column_blocks(graph, by), graph.n_destinations, dark=dark)


def _block_ticks(fig: go.Figure, graph: Graph, by: BlockBy, n_rows: int, n_columns: int, *, dark: bool) -> None:
    """One label per layer where the blocks of all layers would crowd the axes."""
    fig.update_xaxes(tickangle=-90)
    if by == "layer" or graph.n_layers <= 6:
        return
    layers = [f"layer {layer}" for layer in range(graph.n_layers)]
    starts = np.arange(graph.n_layers)
    _labels(fig, "y", ["input", *layers], np.append(0, 1 + 2 * starts), n_rows, dark=dark)
    _labels(fig, "x", [*layers, "logits"], np.append(4 * starts, n_columns - 1), n_columns, dark=dark)


def _labels(fig: go.Figure, letter: str, names: list[str], starts: NDArray[np.int64], end: int, *, dark: bool) -> None:
    """Labels in the middle of blocks of cells, drawn as notes beside the axis.

    Not as tick texts: plotly shows a tick's text in place of the category's own name on hover.
    """
    middles = (starts + np.append(starts[1:], end) - 1) / 2
    thin = max(1, int(np.ceil(len(names) / 28)))
    places = [i for i in range(len(names) - 1) if i % thin == 0 and middles[-1] - middles[i] > end / 40]
    common = {"showarrow": False, "font": {"size": 12.5, "color": theme(dark).text}}
    notes = []
    for i in [*places, len(names) - 1]:
        if letter == "x":
            place = {"x": middles[i], "yref": "paper", "y": 0, "yanchor": "top", "yshift": -3, "textangle": -90}
        else:
            place = {"y": middles[i], "xref": "paper", "x": 0, "xanchor": "right", "xshift": -3}
        notes.append({"text": names[i], **place, **common})
    fig.update_layout(annotations=[*fig.layout.annotations, *notes])  # at once: one by one takes seconds
    if letter == "x":
        fig.update_xaxes(showticklabels=False, ticks="", title_standoff=60)
        fig.update_layout(margin_b=100)
    else:
        fig.update_yaxes(showticklabels=False, ticks="", title_standoff=62)
        fig.update_layout(margin_l=104)
