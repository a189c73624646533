"""Heat maps along a path: where gradients vanish, and which tokens move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from eapgp.attribution.result import PathRecord
from eapgp.errors import OptionError
from eapgp.figures.path import name_of
from eapgp.figures.path_curves import one_pair
from eapgp.figures.style import CURRENT, apply, colour_bar, escape, hover, shares, theme, token_label
from eapgp.graph import Graph
from eapgp.numerals import number, percent
from eapgp.types import Floats

_ROOM = 56  # px of the colour scale under the panels


def vanished_heatmap(
    records: Mapping[str, PathRecord],
    graph: Graph,
    *,
    threshold: float = 0.01,
    pair: int | None = None,
    current: int | None = None,
    title: str = "Where gradients vanish",
    dark: bool = False,
) -> go.Figure:
    """Share of edges with a near-zero gradient, by the destination's layer and step, per path.

    Near zero: below `threshold` × the edge's largest gradient along the same path
    (`PathRecord.vanished_share`); mean over pairs, or one pair. Empty cells are points where no
    gradient was taken.
    """
    parts = {kind: record if pair is None else one_pair(record, pair) for kind, record in records.items()}
    panels = {kind: record.vanished_share(graph, threshold).T for kind, record in parts.items()}
    layers = [*(f"layer {layer}" for layer in range(graph.n_layers)), "logits"]
    fig = _panels(panels, layers, "share of edges", "%{hovertext} of the edges", dark=dark, bound=1.0)
    fig.update_coloraxes(colorbar_tickformat=".0%")
    note = f"near zero: below {percent(threshold)} of the edge's largest gradient along the path; {_whose(pair)}"
    read = "Dark cells (light ones on a dark page) are steps at which most edges into that layer get no signal."
    apply(fig, title=title, note=note, read=read, dark=dark, height=max(380, 230 + 26 * len(layers)))
    fig.update_yaxes(title_text="edges into", row=1, col=1)
    return _finish(fig, len(panels), current, dark=dark)


def _whose(pair: int | None) -> str:
    return "mean over pairs" if pair is None else f"pair {pair}"


def positions_heatmap(
    records: Mapping[str, PathRecord],
    pair: int | None,
    tokens: Sequence[str] = (),
    *,
    current: int | None = None,
    title: str = "Which tokens move",
    dark: bool = False,
) -> go.Figure:
    """How far each token's embedding has moved from the clean one: ‖γ_j − γ_0‖ by position and step.

    tokens: the clean prompt's tokens of this pair, for the rows. pair None: mean over the pairs that
    reach a position, counted from the end, so that the row of the answer is one row for all.
    Errors: OptionError where the points were not kept or the tokens do not fit.
    """
    panels, rows = {}, [f"{i} {token_label(token)}" for i, token in enumerate(tokens)]
    for kind, record in records.items():
        if record.points is None:
            raise OptionError(f"the {kind} record kept no points; run the attribution again with its path points kept.")
        if pair is None:
            panels[kind] = _moved_on_average(record)
            rows = [
                f"{back} before the last" if back else "last token" for back in range(len(panels[kind]) - 1, -1, -1)
            ]
            continue
        length = int(record.lengths[pair])
        if len(tokens) != length:
            raise OptionError(f"pair {pair} has {length} tokens, got {len(tokens)} labels; pass its own tokens.")
        panels[kind] = _moved(record, pair)
    fig = _panels(panels, rows, "‖γ − γ₀‖ (embedding units)", "moved %{hovertext}", dark=dark, bound=None)
    read = (
        f"Each row is a token {'of the clean prompt' if pair is not None else 'counted from the end of the prompts'}; "
        "strong cells are tokens whose embedding the path has moved far."
    )
    apply(
        fig,
        title=title,
        note=_whose(pair),
        read=read,
        dark=dark,
        height=max(380, 220 + 24 * len(rows)),
    )
    fig.update_yaxes(title_text="token of the clean prompt", row=1, col=1)
    fig.update_yaxes(autorange="reversed")
    return _finish(fig, len(panels), current, dark=dark)


def _moved(record: PathRecord, pair: int) -> Floats:
    """`[pos, point]` ‖γ_j − γ_0‖ of one pair."""
    assert record.points is not None
    points = np.asarray(record.points[:, pair, : int(record.lengths[pair])], dtype=np.float64)
    moved: Floats = np.linalg.norm(points - points[:1], axis=-1).T
    return moved


def _moved_on_average(record: PathRecord) -> Floats:
    """`[pos, point]` mean over pairs, positions aligned at the end; the first rows are of the longest prompts."""
    longest, n_pairs = int(record.lengths.max()), len(record.lengths)
    total, seen = np.zeros((longest, record.n_points)), np.zeros((longest, 1))
    for pair in range(n_pairs):
        length = int(record.lengths[pair])
        total[longest - length :] += _moved(record, pair)
        seen[longest - length :] += 1
    return total / seen


def _panels(
    panels: Mapping[str, Floats], rows: Sequence[str], label: str, said: str, *, dark: bool, bound: float | None
) -> go.Figure:
    """One heat map per path, side by side on one colour scale from 0."""
    names = [escape(name_of(kind)) for kind in panels]
    fig = make_subplots(
        rows=1, cols=max(1, len(panels)), shared_yaxes=True, subplot_titles=names, horizontal_spacing=0.04
    )
    top = bound if bound is not None else max((float(np.nanmax(p, initial=0.0)) for p in panels.values()), default=0.0)
    for column, (kind, values) in enumerate(panels.items(), start=1):
        fig.add_heatmap(
            z=values,
            x=list(range(values.shape[1])),
            y=list(rows),
            coloraxis="coloraxis",
            name=name_of(kind),
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertext=shares(values) if bound == 1.0 else hover(values, number),
            hovertemplate=f"%{{y}}, step %{{x}}<br>{said}<extra>{name_of(kind)}</extra>",
            meta={"x": "step", "y": "row", "value": label},
            row=1,
            col=column,
        )
    fig.update_annotations(font_size=14)
    scale = [list(stop) for stop in theme(dark).sequential]
    # Below the panels: beside them it would leave a phone no room.
    place: dict[str, Any] = {"orientation": "h", "x": 0.5, "len": 0.9, "yref": "container", "y": 0, "yanchor": "bottom"}
    bar = colour_bar(label, **place, thickness=10)
    bar["title"]["side"] = "bottom"
    fig.update_layout(coloraxis={"colorscale": scale, "cmin": 0, "cmax": top or 1.0, "colorbar": bar})
    return fig


def _finish(fig: go.Figure, n_panels: int, current: int | None, *, dark: bool) -> go.Figure:
    """Axis titles on every panel, room for their titles and the scale, and the current step framed."""
    look, margin = theme(dark), fig.layout.margin
    fig.update_layout(height=fig.layout.height + _ROOM, margin={"t": margin.t + 30, "b": margin.b + _ROOM})
    for column in range(1, n_panels + 1):
        fig.update_xaxes(title_text="step j", dtick=1, row=1, col=column)
        if current is not None:
            fig.add_vrect(
                x0=current - 0.5,
                x1=current + 0.5,
                line={"color": look.text, "width": 2},
                fillcolor="rgba(0,0,0,0)",
                name=CURRENT,
                row=1,
                col=column,
            )
    fig.update_xaxes(showgrid=False, zeroline=False)
    fig.update_yaxes(showgrid=False, zeroline=False, type="category")
    return fig
