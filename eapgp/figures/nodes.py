"""What a node does: attention patterns, and the tokens it promotes or suppresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from eapgp.errors import OptionError
from eapgp.figures.scale import largest_magnitude
from eapgp.figures.style import apply, colour_bar, sign_colour, theme, token_label

Floats = NDArray[np.floating[Any]]
Which = Literal["clean", "corrupted", "difference"]


def attention_pattern(
    clean: Floats,
    corrupted: Floats,
    tokens: Sequence[str],
    *,
    corrupted_tokens: Sequence[str] | None = None,
    which: Which = "clean",
    title: str | None = None,
    dark: bool = False,
) -> go.Figure:
    """Attention `[query, key]` of one head on one pair: clean, corrupted, or clean − corrupted.

    Cells above the diagonal (keys after the query) are empty. The corrupted pattern is labelled
    with `corrupted_tokens` where given.
    Errors: OptionError where the number of tokens does not fit or `which` is unknown.
    """
    if which not in ("clean", "corrupted", "difference"):
        raise OptionError(f"which = {which!r} is unknown: expected clean, corrupted or difference.")
    labels = corrupted_tokens if which == "corrupted" and corrupted_tokens is not None else tokens
    values = {"clean": clean, "corrupted": corrupted}.get(which)
    array = (
        np.asarray(clean, np.float64) - np.asarray(corrupted, np.float64)
        if values is None
        else np.array(values, np.float64)
    )
    if array.shape != (len(labels), len(labels)):
        raise OptionError(
            f"the pattern is {array.shape}, but there are {len(labels)} tokens; pass the same pair's tokens."
        )
    array[np.triu_indices(len(labels), 1)] = np.nan
    look, difference = theme(dark), which == "difference"
    bound = largest_magnitude(array) or 1.0
    places = list(range(len(labels)))
    heat = go.Heatmap(
        z=array,
        x=places,
        y=places,
        zmin=-bound if difference else 0.0,
        zmax=bound if difference else 1.0,
        colorscale=look.diverging if difference else [list(stop) for stop in look.sequential],
        colorbar=colour_bar("clean − corrupted" if difference else "attention"),
        xgap=1,
        ygap=1,
        hoverongaps=False,
        hovertemplate="from %{y}<br>to %{x}<br>%{z:.3f}<extra></extra>",
        name=which,
        meta={"x": "key", "y": "query", "value": "attention difference" if difference else "attention"},
    )
    read = "Each row is a query token; its strong cells are the tokens it reads from (every row adds up to 1)."
    if difference:
        read = "Blue: the clean run attends more; vermillion: the corrupted run attends more; pale: no difference."
    fig = go.Figure(heat)
    heading = title or f"Attention pattern, {which}"
    apply(
        fig,
        title=heading,
        x="key (read from)",
        y="query (reads)",
        read=read,
        dark=dark,
        height=max(420, 170 + 22 * len(labels)),
    )
    ticks = [f"{i} {token_label(token)}" for i, token in enumerate(labels)]
    fig.update_xaxes(tickvals=places, ticktext=ticks, showgrid=False, zeroline=False, tickangle=-60)
    fig.update_yaxes(tickvals=places, ticktext=ticks, showgrid=False, zeroline=False, autorange="reversed")
    return fig


def logit_contribution(
    tokens: Sequence[str],
    values: Sequence[float],
    *,
    title: str = "Direct effect on the logits",
    x: str = "change of the logit",
    dark: bool = False,
) -> go.Figure:
    """Tokens that a node promotes (blue) or suppresses (vermillion), strongest promotion on top."""
    if len(tokens) != len(values):
        raise OptionError(f"{len(tokens)} tokens and {len(values)} values; expected one value per token.")
    order = np.argsort(-np.asarray(values, dtype=np.float64), kind="stable")
    ranked = [float(values[i]) for i in order]
    fig = go.Figure(
        go.Bar(
            x=ranked,
            y=list(range(len(ranked))),
            orientation="h",
            marker={"color": [sign_colour(v) for v in ranked]},
            customdata=[[str(tokens[i])] for i in order],
            hovertext=[token_label(tokens[i], limit=60) for i in order],
            hovertemplate="%{hovertext}<br>%{x:+.4g}<extra></extra>",
            name="contribution",
            meta={"y": "", "columns": ["token"]},
        )
    )
    read = "Bars to the right are tokens this node makes more likely, bars to the left those it makes less likely."
    apply(fig, title=title, x=x, y="token", read=read, dark=dark, height=max(300, 140 + 24 * len(ranked)))
    fig.update_yaxes(
        tickvals=list(range(len(ranked))),
        ticktext=[token_label(tokens[i], limit=24) for i in order],
        autorange="reversed",
        showgrid=False,
        zeroline=False,
    )
    return fig
