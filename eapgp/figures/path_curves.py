"""What happens along the paths: curves per step, and one edge's share of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from eapgp.attribution.result import PathRecord
from eapgp.errors import OptionError
from eapgp.figures.path import name_of, style_of
from eapgp.figures.style import apply, fade, mark_x, number, theme

Floats = NDArray[np.floating[Any]]
Quantity = Literal["output_distance", "metric", "to_corrupted", "gradient_norm"]

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
        "The straight line falls to 0; GradPath need not, because it looks for similar outputs and not for x′.",
    ),
    "gradient_norm": (
        "Size of the metric's gradient",
        "‖∂M/∂γ‖ (metric per embedding unit)",
        "Points where the gradient is close to 0 add next to nothing to any edge's score.",
    ),
}


def path_curves(
    records: Mapping[str, PathRecord],
    quantity: Quantity,
    *,
    normalised: bool = False,
    current: int | None = None,
    max_pairs: int = 100,
    title: str | None = None,
    dark: bool = False,
) -> go.Figure:
    """One quantity per step: faint lines for single pairs, a strong one for their mean, per path.

    `normalised` divides the distances by each pair's value at γ_0. Steps at which the mean
    distance to the corrupted output rose carry a triangle, and the number of pairs in which any
    step rose stands in the note. At most `max_pairs` single pairs are drawn; the mean is over all.
    Errors: OptionError for an unknown quantity, or one that cannot be normalised.
    """
    if quantity not in QUANTITIES:
        raise OptionError(f"quantity {quantity!r} is unknown: expected one of {', '.join(QUANTITIES)}.")
    if normalised and quantity not in ("output_distance", "to_corrupted"):
        raise OptionError(f"{quantity} cannot be shown relative to γ_0; only the two distances can. Switch it off.")
    heading, label, read = QUANTITIES[quantity]
    fig = go.Figure()
    notes = []
    for kind, record in records.items():
        values = _values(record, quantity, normalised=normalised)
        fig.add_trace(_single_pairs(kind, values[:, :max_pairs]))
        mean = _mean(values)
        rose = _rose(record) if quantity == "output_distance" else None
        fig.add_trace(_mean_line(kind, mean, rose, values))
        if rose is not None and rose.any():
            raised = int(record.rose().any(axis=0).sum())
            notes.append(f"{name_of(kind)}: the distance rose in some step for {raised} of {values.shape[1]} pairs")
    y = f"{label.split(' (')[0]} (relative to γ₀)" if normalised else label
    apply(fig, title=title or heading, x="step j of the path", y=y, note="; ".join(notes), read=read, dark=dark)
    fig.update_xaxes(dtick=1 if max((r.n_points for r in records.values()), default=0) <= 21 else None)
    fig.update_yaxes(rangemode="normal" if quantity == "metric" else "tozero")
    if current is not None:
        mark_x(fig, current, f"step {current}", dark=dark)
    return fig


def _values(record: PathRecord, quantity: Quantity, *, normalised: bool) -> Floats:
    values: Floats = np.asarray(getattr(record, quantity), dtype=np.float64)
    if normalised:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(values[:1] > 0, values / values[:1], np.nan)
    return values


def _mean(values: Floats) -> Floats:
    """Mean over pairs, NaN where no pair has a value."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    result: Floats = np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
    return result


def _rose(record: PathRecord) -> NDArray[np.bool_]:
    """`[point]` true where the step into this point raised the mean distance."""
    return np.concatenate([[False], np.diff(record.output_distance.mean(axis=1)) > 0])


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


def _mean_line(kind: str, mean: Floats, rose: NDArray[np.bool_] | None, values: Floats) -> go.Scatter:
    style = style_of(kind)
    risen = rose if rose is not None else np.zeros(len(mean), dtype=bool)
    spread = np.array([np.nanstd(v) if np.isfinite(v).any() else np.nan for v in values])
    words = ["<br>▲ this step raised the distance" if up else "" for up in risen]
    return go.Scatter(
        x=np.arange(len(mean)),
        y=mean,
        mode="lines+markers",
        name=name_of(kind),
        line={"color": style.colour, "width": 3.5, "dash": style.dash},
        marker={
            "color": style.colour,
            "size": [15 if up else 9 for up in risen],
            "symbol": ["triangle-up" if up else style.symbol for up in risen],
        },
        customdata=[[s, bool(up)] for s, up in zip(spread.tolist(), risen, strict=True)],
        hovertext=words,
        hovertemplate="step %{x}<br>mean %{y:.4g} (SD over pairs %{customdata[0]:.2g})%{hovertext}"
        "<extra>%{fullData.name}</extra>",
        meta={"columns": ["SD over pairs", "distance rose"]},
    )


def edge_along_path(
    values: Mapping[str, Floats],
    name: str,
    *,
    current: int | None = None,
    title: str | None = None,
    dark: bool = False,
) -> go.Figure:
    """One edge along both paths: what each point contributes, and how that adds up to its score.

    values: kind → `[point]` Σ_positions (z_u − z′_u) · ∂M/∂x_v(γ_j), mean over pairs; NaN at points
    whose gradient is not used. The score is the mean of the used points, so the lower panel adds
    each contribution divided by their number and ends at the score.
    """
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    scores = []
    for kind, points in values.items():
        array = np.asarray(points, dtype=np.float64)
        used = np.isfinite(array)
        total = np.cumsum(np.where(used, array, 0.0)) / max(1, int(used.sum()))
        scores.append(f"{name_of(kind)} {number(float(total[-1]) if len(total) else 0.0)}")
        _edge_panel(fig, kind, array, row=1, legend=True, label="contribution at this point")
        _edge_panel(fig, kind, np.where(used, total, np.nan), row=2, legend=False, label="added up so far")
    read = "Above: what each point contributes to this edge; below: the running sum, which ends at the edge's score."
    note = f"score: {', '.join(scores)} units of the metric"
    heading = title or f"Edge {name} along the paths"
    apply(fig, title=heading, read=read, note=note, dark=dark, height=560)
    fig.update_yaxes(title_text="contribution", row=1, col=1)
    fig.update_yaxes(title_text="running sum = score", row=2, col=1)
    fig.update_xaxes(title_text="step j of the path", dtick=1, row=2, col=1)
    if current is not None:
        fig.add_vline(x=current, line={"color": theme(dark).text, "width": 1.5, "dash": "dot"})
    return fig


def _edge_panel(fig: go.Figure, kind: str, values: Floats, *, row: int, legend: bool, label: str) -> None:
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
        hovertemplate=f"step %{{x}}<br>{label} %{{y:+.4g}}<extra>%{{fullData.name}}</extra>",
        meta={"x": "step", "y": label},
        row=row,
        col=1,
    )
