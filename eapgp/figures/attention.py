"""Where one attention head looks: query × key heat maps with the prompt's tokens on both axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from eapgp.errors import OptionError
from eapgp.figures.style import Theme, apply, colour_bar, escape, hover, theme
from eapgp.numerals import decimal, number
from eapgp.numerals import signed as change
from eapgp.types import Floats

Side = Literal["clean", "corrupted", "difference"]
TITLES: dict[Side, str] = {
    "clean": "On the clean prompt",
    "corrupted": "On the corrupted prompt",
    "difference": "Clean − corrupted",
}
_READ: dict[Side, str] = {
    "clean": "Each row is a token looking back; strong cells are where it looks (0 to 1).",
    "corrupted": "The same head on the corrupted prompt; ▸ marks tokens that differ between the two prompts.",
    "difference": "Blue: attended to more on the clean prompt; vermillion: more on the corrupted one.",
}
_PIXELS, _SMALLEST, _LARGEST = 22, 230, 760
_FEW = 24  # tokens up to which cells are set apart and labels are large


def attention_map(
    values: Floats,
    queries: Sequence[str],
    *,
    side: Side = "clean",
    changed: Sequence[bool] | None = None,
    dark: bool = False,
) -> go.Figure:
    """One head's attention `[query, key]`; queries from top to bottom, keys from left to right.

    queries: the tokens of the prompt, for both axes. changed: which of them differ between the
    clean and the corrupted prompt. Probabilities run from 0 to 1 on one scale, so that maps can be
    compared; a difference is drawn on a symmetric scale of its own.
    Errors: OptionError where labels and values differ in size.
    """
    n = len(queries)
    if values.shape != (n, n):
        raise OptionError(f"attention of shape {values.shape} needs as many labels per axis; got {n} tokens.")
    marks = ["▸ " if changed is not None and changed[i] else "" for i in range(n)]
    labels = [f"{marks[i]}{_short(token)}" for i, token in enumerate(queries)]
    places = [f"{i} {label}" for i, label in enumerate(labels)]  # a token may come twice, a place only once
    past = np.where(np.tril(np.ones((n, n), dtype=bool)), values, np.nan)
    figure = go.Figure(_cells(past, places, side, theme(dark)))
    height = int(np.clip(_PIXELS * n, _SMALLEST, _LARGEST)) + 215
    x, y = "looked at (key)", "looking (query)"
    apply(figure, title=TITLES[side], x=x, y=y, read=_READ[side], dark=dark, height=height)
    ticks: dict[str, Any] = {"type": "category", "tickmode": "array", "tickvals": places, "ticktext": labels}
    ticks |= {"showgrid": False, "zeroline": False, "tickfont": {"size": 11 if n <= _FEW else 9}}
    figure.update_layout(margin={"l": 20, "r": 8, "t": 92})
    figure.update_xaxes(**ticks, range=[-0.5, n - 0.5], tickangle=-90)
    figure.update_yaxes(**ticks, range=[n - 0.5, -0.5])
    return figure


def _cells(values: Floats, places: Sequence[str], side: Side, look: Theme) -> go.Heatmap:
    """The map itself; NaN stays blank. Probabilities have one scale for all maps, a difference its own."""
    signed = side == "difference"
    bound = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-6) if signed else 1.0
    marks = [-bound, 0.0, bound] if signed else [0.0, 0.5, 1.0]
    scale = (marks, [number(value, 2) for value in marks])
    gap = 1 if len(places) <= _FEW else 0
    return go.Heatmap(
        z=values,
        x=places,
        y=places,
        zmin=-bound if signed else 0.0,
        zmax=bound,
        colorscale=look.diverging if signed else [list(stop) for stop in look.sequential],
        colorbar=colour_bar("", ticks=scale, orientation="h", x=0.5, y=1.0, yanchor="bottom", thickness=8, ypad=2),
        hovertext=hover(values, change if signed else decimal),
        hovertemplate="%{y}<br>looks at %{x}<br>%{hovertext}<extra></extra>",
        hoverongaps=False,
        xgap=gap,
        ygap=gap,
        name=side,
        meta={"value": "attention, clean − corrupted" if signed else "attention"},
    )


def _short(token: str, limit: int = 9) -> str:
    return escape(token if len(token) <= limit else token[: limit - 1] + "…")
