"""Why a head looks there: what is written into the query × what is written into the key, as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from eapgp.figures.style import apply, escape, hover, theme
from eapgp.numerals import count, percent, signed
from eapgp.types import Floats, Ints

Side = Literal["clean", "corrupted", "difference"]
TITLES: dict[Side, str] = {
    "clean": "What adds up to the logit",
    "corrupted": "On the corrupted prompt",
    "difference": "Clean − corrupted",
}
PARTS = 10
"""Rows and columns that are drawn: the parts with the largest terms."""


def term_map(
    terms: Floats,
    parts: Sequence[str],
    *,
    of: Floats | None = None,
    side: Side = "clean",
    most: int = PARTS,
    dark: bool = False,
) -> go.Figure:
    """Terms `[into query, into key]` of one attention logit, for the parts that matter most.

    of: by which terms the parts are chosen (None: these), so that several maps show the same ones. Parts stand in the
    order of the graph. Symmetric zero-centred scale; hover by signed values.
    """
    chosen = terms if of is None else of
    rows, columns = (_largest(np.abs(chosen).sum(axis), most) for axis in (1, 0))
    shown = terms[np.ix_(rows, columns)]
    limit = float(np.abs(shown).max()) or 1.0
    share = float(np.abs(shown).sum() / (np.abs(terms).sum() or 1.0))
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            x=[escape(parts[at]) for at in columns],
            y=[escape(parts[at]) for at in rows],
            zmin=-limit,
            zmax=limit,
            colorscale=theme(dark).diverging,
            showscale=False,
            hovertext=hover(shown, signed),
            hovertemplate="%{y} into the query<br>%{x} into the key<br>%{hovertext}<extra></extra>",
            xgap=1,
            ygap=1,
            name=side,
            meta={"x": "into the key", "y": "into the query", "value": "part of the logit"},
        )
    )
    read = "Blue cells pull the head towards that word, vermillion ones push it away; all cells add up to the logit."
    note = f"{count(len(rows))} × {count(len(columns))} of {count(len(parts))} × {count(len(parts))} parts, "
    note += f"{percent(share)} of all |terms|"
    height = 205 + 24 * len(rows)
    apply(
        figure, title=TITLES[side], x="into the key", y="into the query", note=note, read=read, dark=dark, height=height
    )
    figure.update_xaxes(type="category", showgrid=False, zeroline=False, tickangle=-90)
    figure.update_yaxes(type="category", showgrid=False, zeroline=False, autorange="reversed")
    return figure


def _largest(sizes: Floats, most: int) -> Ints:
    """Places of the largest, in their own order."""
    return np.sort(np.argsort(-sizes, kind="stable")[:most])
