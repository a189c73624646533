"""What happens along the paths, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from eapgp.attribution.result import PathRecord
from eapgp.errors import OptionError
from eapgp.figures.path import name_of, style_of
from eapgp.figures.style import apply, fade, hover, mark_x, set_layout, shares
from eapgp.graph import Graph
from eapgp.numerals import number, percent
from eapgp.types import Floats

Quantity = Literal["output_distance", "metric", "to_corrupted", "to_clean", "gradient_norm"]

QUANTITIES: dict[str, tuple[str, str, str]] = {
    "output_distance": (
        "Distance to the corrupted output",
        "‖G(γ) − G(x′)‖² (logits²)",
        "A falling curve approaches the corrupted output; a triangle marks a step that went up instead.",
    ),
    "metric": (
        "Metric along the path",
        "M(γ) (units of the metric)",
        "Where the curve is flat, the metric is saturated and its gradients say little.",
    ),
    "to_corrupted": (
        "Distance to the corrupted input",
        "‖γ − x′‖ (embedding units)",
        "The straight line falls to 0; GradPath need not, because it heads for the output at x′ and not for x′.",
    ),
    "to_clean": (
        "Distance from the clean input",
        "‖γ − x‖ (embedding units)",
        "How far the path has gone; a GradPath that turns back on itself ends nearer than the sum of its steps.",
    ),
    "gradient_norm": (
        "Size of the metric's gradient",
        "‖∂M/∂γ‖ (metric per embedding unit)",
        "Points where it is close to 0 add next to nothing to any score; none is taken at a path's unused end.",
    ),
}


def path_curves(
    records: Mapping[str, PathRecord],
    quantity: Quantity,
    *,
    normalised: bool = False,
    pair: int | None = None,
    current: int | None = None,
    max_pairs: int = 100,
    title: str | None = None,
    dark: bool = False,
) -> go.Figure:
    """One quantity per step: faint lines for single pairs, a strong one for their mean or for one pair.

    `normalised` divides the distances by each pair's value at γ_0. Steps at which the mean
    distance to the corrupted output rose carry a triangle, and the number of pairs in which any
    step rose stands in the note. At most `max_pairs` single pairs are drawn; the mean is over all.
    Errors: OptionError for an unknown quantity, or one that cannot be normalised.
    """
    if quantity not in QUANTITIES:
        raise OptionError(f"quantity {quantity!r} is unknown: expected one of {', '.join(QUANTITIES)}.")
    if normalised and quantity not in ("output_distance", "to_corrupted"):
        raise OptionError(f"{quantity} cannot be shown relative to γ_0; only the distances to the end can.")
    heading, label, read = QUANTITIES[quantity]
    fig = go.Figure()
    notes = []
    for kind, record in records.items():
        values = _values(record, quantity, normalised=normalised)
        fig.add_trace(_single_pairs(kind, values[:, :max_pairs]))
        strong = _mean(values) if pair is None else values[:, pair]
        rose = _rose(record, pair) if quantity == "output_distance" else None
        fig.add_trace(_strong_line(kind, strong, rose, values, what="mean" if pair is None else "this pair"))
        if rose is not None and rose.any() and pair is None:
            raised = int(record.rose().any(axis=0).sum())
            notes.append(f"{name_of(kind)}: the distance rose in some step for {raised} of {values.shape[1]} pairs")
    y = f"{label.split(' (')[0]} (relative to γ₀)" if normalised else label
    apply(fig, title=title or heading, x="step j of the path", y=y, note="; ".join(notes), read=read, dark=dark)
    set_layout(fig, xaxis=_steps(records), yaxis={"rangemode": "normal" if quantity == "metric" else "tozero"})
    if current is not None:
        mark_x(fig, current, f"step {current}", dark=dark, inside=True)
    return fig


def _values(record: PathRecord, quantity: Quantity, *, normalised: bool) -> Floats:
    values: Floats = np.asarray(getattr(record, quantity), dtype=np.float64)
    if normalised:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(values[:1] > 0, values / values[:1], np.nan)
    return values


def _mean(values: Floats) -> Floats:
    """Mean over pairs, NaN where no pair has a value."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).sum(axis=1)
    result: Floats = np.where(finite.any(axis=1), total / np.maximum(finite.sum(axis=1), 1), np.nan)
    return result


def _rose(record: PathRecord, pair: int | None) -> NDArray[np.bool_]:
    """`[point]` true where the step into this point raised the distance (its mean over pairs, or one pair's)."""
    distance = record.output_distance.mean(axis=1) if pair is None else record.output_distance[:, pair]
    return np.concatenate([[False], np.diff(distance) > 0])


def _steps(records: Mapping[str, PathRecord]) -> dict[str, int]:
    """The axis of the steps: each is named where there are few."""
    return {"dtick": 1} if max((record.n_points for record in records.values()), default=0) <= 21 else {}


def _single_pairs(kind: str, values: Floats) -> go.Scatter:
    n_points, n_pairs = values.shape
    steps = np.tile(np.append(np.arange(n_points, dtype=np.float64), np.nan), n_pairs)
    broken = np.concatenate([values, np.full((1, n_pairs), np.nan)]).T.ravel()
    return go.Scatter(
        x=steps,
        y=broken,
        mode="lines",
        line={"color": fade(style_of(kind).colour, max(0.10, min(0.45, 5 / n_pairs))), "width": 1.1},
        hoverinfo="skip",
        showlegend=False,
        name=f"{name_of(kind)}, single pairs",
        meta={"hidden": True},
    )


def _strong_line(kind: str, strong: Floats, rose: NDArray[np.bool_] | None, values: Floats, *, what: str) -> go.Scatter:
    style = style_of(kind)
    risen = rose if rose is not None else np.zeros(len(strong), dtype=bool)
    spread = np.array([np.nanstd(v) if np.isfinite(v).any() else np.nan for v in values])
    words = ["<br>▲ this step raised the distance" if up else "" for up in risen]
    return go.Scatter(
        x=np.arange(len(strong)),
        y=strong,
        mode="lines+markers",
        name=name_of(kind),
        line={"color": style.colour, "width": 3.5, "dash": style.dash},
        marker={
            "color": style.colour,
            "size": [15 if up else 9 for up in risen],
            "symbol": ["triangle-up" if up else style.symbol for up in risen],
        },
        customdata=[
            [s, bool(up), said] for s, up, said in zip(spread.tolist(), risen, hover(strong, number), strict=True)
        ],
        hovertext=words,
        hovertemplate=f"step %{{x}}<br>{what} %{{customdata[2]}} (SD over pairs %{{customdata[0]:.2g}})%{{hovertext}}"
        "<extra>%{fullData.name}</extra>",
        meta={"columns": ["SD over pairs", "distance rose"]},
    )


def one_pair(record: PathRecord, pair: int) -> PathRecord:
    """The record of one pair alone."""
    place = slice(pair, pair + 1)
    return replace(
        record,
        output_distance=record.output_distance[:, place],
        metric=record.metric[:, place],
        to_corrupted=record.to_corrupted[:, place],
        to_clean=record.to_clean[:, place],
        gradient_norm=record.gradient_norm[:, place],
        destination_gradient=None if record.destination_gradient is None else record.destination_gradient[:, place],
        lengths=record.lengths[place],
        points=None if record.points is None else record.points[:, place],
    )


def vanished_curve(
    records: Mapping[str, PathRecord],
    graph: Graph,
    *,
    threshold: float = 0.01,
    pair: int | None = None,
    current: int | None = None,
    title: str = "Edges without a signal",
    dark: bool = False,
) -> go.Figure:
    """Share of all edges whose gradient is near zero at each step, per path; mean over pairs or one pair.

    Near zero: below `threshold` × the edge's largest gradient along the same path.
    """
    layers = [graph.destination_layers == layer for layer in range(graph.n_layers + 1)]
    weights = np.array([graph.prefix[columns].sum() for columns in layers]) / graph.n_edges
    fig = go.Figure()
    for kind, record in records.items():
        part = record if pair is None else one_pair(record, pair)
        style = style_of(kind)
        share = part.vanished_share(graph, threshold) @ weights
        fig.add_scatter(
            x=np.arange(len(share)),
            y=share,
            mode="lines+markers",
            name=name_of(kind),
            line={"color": style.colour, "width": 3.5, "dash": style.dash},
            marker={"color": style.colour, "size": 9, "symbol": style.symbol},
            hovertext=shares(share),
            hovertemplate="step %{x}<br>%{hovertext} of the edges<extra>%{fullData.name}</extra>",
        )
    read = "The higher, the fewer edges this point can tell apart; the heat map of the next tab splits it by layer."
    note = f"gradient below {percent(threshold)} of the edge's largest along the path"
    y = "share of edges near zero"
    apply(fig, title=title, x="step j of the path", y=y, note=note, read=read, dark=dark)
    set_layout(fig, xaxis=_steps(records), yaxis={"range": [-0.03, 1.03], "tickformat": ".0%"})
    if current is not None:
        mark_x(fig, current, f"step {current}", dark=dark, inside=True)
    return fig
