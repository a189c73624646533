"""GradPath and the straight line in one plane, over what the model does there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from eapgp.attribution.result import PathRecord
from eapgp.figures.inputs import Background
from eapgp.figures.projection import MeanProjection, grid_of, mean_projection, project_record
from eapgp.figures.style import (
    PATH_NAMES,
    PATH_STYLES,
    LineStyle,
    apply,
    colour_bar,
    fade,
    hover,
    set_layout,
    theme,
    unescape,
)
from eapgp.numerals import number, percent
from eapgp.types import Floats

Window = tuple[list[float], list[float]]
_FALLBACK = LineStyle("#CC79A7", "solid", "star")
_BESIDE = 112  # px of a figure beside its panel: axis title, tick labels, margin
_LOWEST, _HIGHEST = 150, 420  # px of a panel whose height follows its window
_PANEL = 700, 300  # px of a panel, about
_APART = 22  # px between two numbers of steps
_MANY = 20  # points from which they are drawn smaller
_BAR = 46  # px of a lying colour bar with its title
_TITLE = "The path through input space"
_IN_TEXT = {"straight": "the straight line"}
_READ = (
    "Each numbered point is an input on the way from the clean prompt (0); distances in this flat picture are true "
    "distances. A path turns in thousands of dimensions: the picture holds {shares} (squared distance from the clean "
    "input), and what is missing moves at right angles to it."
)


def style_of(kind: str) -> LineStyle:
    """The fixed look of a path: GradPath as EAP-GP, the straight line as EAP-IG."""
    return PATH_STYLES.get(kind, _FALLBACK)


def name_of(kind: str) -> str:
    """The path's name for people."""
    return PATH_NAMES.get(kind, kind)


def path_projection(
    records: Mapping[str, PathRecord],
    *,
    pair: int | None = 0,
    background: Background | None = None,
    current: int | None = None,
    focus: str | None = None,
    averaged: MeanProjection | None = None,
    width: int | None = None,
    dark: bool = False,
) -> go.Figure:
    """Both paths of one pair in their plane, or of all pairs and their mean (`pair=None`).

    averaged: the paths in their planes, where they were projected before: the records then need no points, and one
    pair is drawn in units of its ‖x − x′‖.

    background: the metric or the distance to the corrupted output on the grid of `project_record`'s plane (for
    the mean picture in units of ‖x − x′‖, averaged over pairs).
    `current` is the step to mark; the mark's trace holds its places at all steps (`meta["places"]`).
    `focus` names a path that fills the panel (GradPath can be short beside ‖x − x′‖); a background
    for it is made with `projection.grid(kinds=[focus])`. Markers carry customdata [kind, step, …].
    `width`: px that the figure will get where that is little (a phone); its height then follows what is drawn.
    Errors: OptionError as in `project_record`.
    """
    if pair is None or averaged is not None:
        averaged = averaged or _averaged(records)
        coordinates = averaged.mean if pair is None else {k: one[pair] for k, one in averaged.coordinates.items()}
        corrupted, explained = np.array([1.0, 0.0]), averaged.explained
        note, unit = _mean_note(averaged, pair), "in ‖x − x′‖"
    else:
        plane = project_record(records, pair)
        coordinates, corrupted, explained = plane.coordinates, plane.corrupted, plane.explained
        note, unit = f"pair {pair}: {_shares(explained)} lie in this plane", "embedding units"
    window = _window(coordinates, corrupted, focus, background, filled=width is not None)
    fig = go.Figure()
    if background is not None:
        fig.add_trace(_terrain(background, dark=dark))
    if pair is None and averaged is not None:
        for kind, lines in averaged.coordinates.items():
            fig.add_trace(_pair_lines(kind, lines))
    _current(fig, coordinates, current, dark=dark)
    labels = _labels(coordinates, corrupted, window, width)
    for kind, points in coordinates.items():
        fig.add_trace(_path_trace(kind, points, records.get(kind), pair, labels[kind], dark=dark))
    _ends(fig, corrupted, dark=dark)
    _dress(fig, f"along x′ − x ({unit})", f"main deviation ({unit})", note, explained, dark=dark)
    return _narrowed(_isometric(fig, window), window, width)


def _averaged(records: Mapping[str, PathRecord]) -> MeanProjection:
    n_pairs = min(record.output_distance.shape[1] for record in records.values())
    return mean_projection([project_record(records, pair) for pair in range(n_pairs)])


def _mean_note(averaged: MeanProjection, pair: int | None) -> str:
    if pair is not None:
        return f"pair {pair} in its own plane, in units of its ‖x − x′‖"
    n = next(iter(averaged.coordinates.values())).shape[0]
    return f"mean over {n} pairs, each in its own plane (unit: its ‖x − x′‖) with {_shares(averaged.explained)}"


def _labels(
    coordinates: Mapping[str, Floats], corrupted: Floats, window: Window | None, width: int | None
) -> dict[str, list[str]]:
    """kind → the number beside each step, or "" where it would lie on another: the ends first, then in order."""
    drawn = np.concatenate([np.zeros((1, 2)), corrupted[None], *coordinates.values()])
    (left, right), (low, high) = window or (
        (float(drawn[:, 0].min()), float(drawn[:, 0].max())),
        (float(drawn[:, 1].min()), float(drawn[:, 1].max())),
    )
    across, up = (width or _PANEL[0]) / max(right - left, 1e-12), _PANEL[1] / max(high - low, 1e-12)
    apart = _APART / min(across, up)
    taken: list[Floats] = []
    labels: dict[str, list[str]] = {}
    for kind, points in coordinates.items():
        last = len(points) - 1
        texts = [""] * len(points)
        for step in dict.fromkeys((0, last, *range(1, last))):
            if all(float(np.linalg.norm(points[step] - other)) >= apart for other in taken):
                taken.append(points[step])
                texts[step] = str(step)
        labels[kind] = texts
    return labels


def _shares(explained: Mapping[str, float]) -> str:
    """How much of each path a plane holds, in words."""
    return " and ".join(f"{percent(share)} of {_IN_TEXT.get(kind, name_of(kind))}" for kind, share in explained.items())


def _dress(fig: go.Figure, x: str, y: str, note: str, explained: Mapping[str, float], *, dark: bool) -> None:
    read = _READ.format(shares=_shares(explained))
    apply(fig, title=_TITLE, x=x, y=y, note=note, read=read, dark=dark, height=540)


def _terrain(background: Background, *, dark: bool) -> go.Contour:
    look = theme(dark)
    return go.Contour(
        x=background.x,
        y=background.y,
        z=background.z,
        colorscale=[list(stop) for stop in look.terrain],
        contours={"coloring": "heatmap"},
        line={"width": 0.7, "color": look.muted},
        ncontours=18,
        colorbar=colour_bar(background.label),
        hovertext=hover(background.z, number),
        hovertemplate="%{hovertext}<extra></extra>",
        name="background",
        meta={"x": "x", "y": "y", "value": background.label},
    )


def _path_trace(
    kind: str, coordinates: Floats, record: PathRecord | None, pair: int | None, labels: list[str], *, dark: bool
) -> go.Scatter:
    """One path with its steps, of which some are numbered; beside each point what was measured there."""
    style, look = style_of(kind), theme(dark)
    steps = list(range(len(coordinates)))
    columns = ["path", "step", "‖G(γ) − G(x′)‖²", "M(γ)", "‖γ − x‖", "‖γ − x′‖"]
    rows = [[kind, step, *_measured(record, step, pair)] for step in steps]
    rows = [[*row, hover(row[3], number)] for row in rows]
    return go.Scatter(
        x=coordinates[:, 0],
        y=coordinates[:, 1],
        mode="lines+markers+text",
        name=name_of(kind),
        text=labels,
        textposition=_beside(kind, len(steps)),
        textfont={"size": 13, "color": look.text},
        line={"color": style.colour, "width": 3, "dash": style.dash},
        marker={
            "color": style.colour,
            "size": 10 if len(steps) <= _MANY else 6,
            "symbol": style.symbol,
            "line": {"color": look.outline, "width": 1.5 if len(steps) <= _MANY else 0.8},
        },
        customdata=rows,
        hovertemplate="step %{customdata[1]}<br>distance to corrupted output %{customdata[2]:.4g}"
        "<br>metric %{customdata[6]}<br>‖γ − x‖ %{customdata[4]:.3g}, ‖γ − x′‖ %{customdata[5]:.3g}"
        "<extra>%{fullData.name}</extra>",
        meta={"columns": columns},
    )


def _beside(kind: str, n: int) -> str | list[str]:
    """Where the step numbers stand: GradPath climbs in small steps, so its numbers change sides."""
    if kind != "gradpath":
        return "bottom center"
    return ["middle right" if step % 2 else "middle left" for step in range(n)]


def _measured(record: PathRecord | None, step: int, pair: int | None) -> list[float]:
    if record is None:
        return [float("nan")] * 4
    values = (record.output_distance, record.metric, record.to_clean, record.to_corrupted)
    return [float(v[step].mean() if pair is None else v[step, pair]) for v in values]


def _pair_lines(kind: str, coordinates: Floats) -> go.Scatter:
    """All pairs' paths as one faint trace, broken between pairs."""
    broken = np.concatenate([coordinates, np.full((len(coordinates), 1, 2), np.nan)], axis=1).reshape(-1, 2)
    strength = max(0.08, min(0.5, 6 / len(coordinates)))
    return go.Scatter(
        x=broken[:, 0],
        y=broken[:, 1],
        mode="lines",
        line={"color": fade(style_of(kind).colour, strength), "width": 1.2},
        hoverinfo="skip",
        showlegend=False,
        name=f"{name_of(kind)}, single pairs",
        meta={"hidden": True},
    )


def _ends(fig: go.Figure, corrupted: Floats, *, dark: bool) -> None:
    look = theme(dark)
    fig.add_scatter(
        x=[0.0, float(corrupted[0])],
        y=[0.0, float(corrupted[1])],
        mode="markers",
        marker={"size": 17, "symbol": ["circle-open", "square-open"], "color": look.text, "line": {"width": 2}},
        hovertext=["clean input x", "corrupted input x′"],
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
        name="ends",
    )
    for place, label in (((0.0, 0.0), "clean x"), ((float(corrupted[0]), float(corrupted[1])), "corrupted x′")):
        fig.add_annotation(
            x=place[0], y=place[1], text=label, showarrow=False, yshift=-32, font={"size": 14, "color": look.text}
        )


def _current(fig: go.Figure, coordinates: Mapping[str, Floats], current: int | None, *, dark: bool) -> None:
    """A halo behind the current step of every path, and its places at every step for who moves it."""
    if current is None:
        return
    n_points = max(len(points) for points in coordinates.values())
    now = min(max(0, current), n_points - 1)

    def places(step: int) -> tuple[list[float], list[float]]:
        marks = [points[min(step, len(points) - 1)] for points in coordinates.values()]
        return [float(p[0]) for p in marks], [float(p[1]) for p in marks]

    x, y = places(now)
    look = theme(dark)
    ring = {"size": 30, "symbol": "circle", "color": look.text, "opacity": 0.28, "line": {"width": 0}}
    fig.add_scatter(x=x, y=y, mode="markers", marker=ring, hoverinfo="skip", name="current step", showlegend=False)
    every = [list(zip(*places(step), strict=True)) for step in range(n_points)]
    fig.data[-1].meta = {"hidden": True, "places": every}


def _window(
    coordinates: Mapping[str, Floats],
    corrupted: Floats,
    focus: str | None,
    background: Background | None,
    *,
    filled: bool = False,
) -> Window | None:
    """x and y ranges: the background's, else the focused path's, else plotly's own (`filled`: around both ends)."""
    if background is not None:
        x, y = background.x, background.y
        return [float(np.min(x)), float(np.max(x))], [float(np.min(y)), float(np.max(y))]
    if focus is not None and focus in coordinates:
        x, y = grid_of(coordinates[focus], 2, least=1.3)
    elif filled:
        x, y = grid_of(np.concatenate([np.zeros((1, 2)), corrupted[None], *coordinates.values()]), 2)
    else:
        return None
    return [float(x[0]), float(x[1])], [float(y[0]), float(y[1])]


def _isometric(fig: go.Figure, window: Window | None) -> go.Figure:
    """One unit is as long across as it is up, in a panel of any shape."""
    x, y = ({} if window is None else {"range": ends} for ends in window or (None, None))
    equal = {"scaleanchor": "x", "scaleratio": 1}
    return set_layout(fig, xaxis={"zeroline": False, **x}, yaxis={"zeroline": False, **equal, **y})


def _narrowed(fig: go.Figure, window: Window | None, width: int | None) -> go.Figure:
    """On a phone a panel of the window's shape, with the colour bar above it and a title that fits beside it."""
    if window is None or width is None:
        return fig
    (left, right), (low, high) = window
    terrain = list(fig.select_traces({"type": "contour"}))
    over = _BAR if terrain else 0
    for trace in terrain:
        lying: dict[str, Any] = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": 1.0, "yanchor": "bottom"}
        trace.colorbar = colour_bar(unescape(trace.colorbar.title.text), **lying)
    panel = min(max((width - _BESIDE) * (high - low) / (right - left), _LOWEST - over), _HIGHEST)
    margin = fig.layout.margin
    fig.update_layout(margin={"t": margin.t + over}, height=round(margin.t + over + margin.b + panel))
    fig.update_yaxes(title_text="deviation")
    fig.update_annotations(yshift=-24, font_size=12)
    return fig
