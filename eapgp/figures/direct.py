"""What nodes add to the logit difference by themselves, pair by pair and node by node."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from eapgp.figures.style import AGAINST, SUPPORTS, apply, escape, fade, hover, sign_colour, theme
from eapgp.numerals import number
from eapgp.types import Floats


def contribution_by_pair(
    clean: Floats, corrupted: Floats, *, node: str, pair: int | None = None, dark: bool = False
) -> go.Figure:
    """One node's direct contribution on every pair, clean and corrupted, with their means.

    clean, corrupted: `[pair]` in logits. pair: the one that is looked at, from 0. Markers carry
    `pair N` (from 1) as customdata.
    """
    look = theme(dark)
    x = np.arange(1, len(clean) + 1)
    figure = go.Figure()
    for values, name, colour, symbol in (
        (clean, "clean prompt", SUPPORTS, "circle"),
        (corrupted, "corrupted prompt", look.muted, "circle-open"),
    ):
        figure.add_scatter(
            x=x,
            y=values,
            mode="markers",
            name=f"{name}, mean {number(float(np.mean(values)))}",
            customdata=[[f"pair {i}"] for i in x],
            marker={"symbol": symbol, "size": 8, "color": colour, "line": {"width": 1.5, "color": colour}},
            hovertext=hover(values),
            hovertemplate=f"pair %{{x}}, {name}<br>%{{hovertext}} logits<extra></extra>",
        )
        figure.add_hline(y=float(np.mean(values)), line={"color": colour, "width": 1.5, "dash": "dash"})
    if pair is not None:
        figure.add_vline(x=pair + 1, line={"color": look.text, "width": 1, "dash": "dot"})
    apply(
        figure,
        title=f"Direct contribution of {node}",
        x="prompt pair",
        y="logits",
        read="What the node's own output adds to the logit difference. Above 0 it favours the "
        "right answer; dashed lines are the means over pairs. "
        "Click a point to look at that pair.",
        dark=dark,
        height=380,
    )
    return figure


def contributions_by_node(
    names: list[str], clean: Floats, corrupted: Floats, *, others: tuple[float, float], total: float, dark: bool = False
) -> go.Figure:
    """Direct contributions of the nodes that add most, means over pairs, as bars; the rest in one bar.

    clean, corrupted: `[node]`; others: what all nodes not shown and the biases add, clean and
    corrupted; total: the logit difference on the clean prompts. Bars carry the node's name.
    """
    figure = go.Figure()
    labels = [*names, "all else"]
    values = np.array([*clean, others[0]])
    figure.add_bar(
        x=values,
        y=[escape(label) for label in labels],
        orientation="h",
        name="clean prompts",
        marker={"color": [sign_colour(float(value)) for value in values]},
        hovertext=hover(values),
        hovertemplate="%{y}<br>clean %{hovertext} logits<extra></extra>",
    )
    figure.add_scatter(
        x=[*corrupted, others[1]],
        y=[escape(label) for label in labels],
        mode="markers",
        name="corrupted prompts",
        customdata=[[label if label in names else ""] for label in labels],
        marker={"symbol": "line-ns-open", "size": 14, "color": theme(dark).text, "line": {"width": 2}},
        hovertext=hover([*corrupted, others[1]]),
        hovertemplate="%{y}<br>corrupted %{hovertext} logits<extra></extra>",
    )
    apply(
        figure,
        title="Where the logit difference is written",
        note=f"the bars add up to {number(total)} logits, the mean over clean prompts",
        x="direct contribution (logits)",
        y="node",
        read="Each bar is what one node's output adds by itself; a tick is the same on the corrupted prompts. "
        "Nodes that work through others are short here however much they matter.",
        dark=dark,
        height=190 + 24 * len(labels),
    )
    figure.update_yaxes(autorange="reversed")
    return figure


def token_bars(rows: list[tuple[str, float]], *, title: str, dark: bool = False) -> go.Figure:
    """Tokens and what a node adds to their logits, in the order given (tokens may repeat as text)."""
    values = [value for _, value in rows]
    colours = [SUPPORTS if value >= 0 else AGAINST for value in values]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=list(range(len(rows))),
            orientation="h",
            marker={"color": [fade(colour, 0.85) for colour in colours]},
            customdata=[[escape(token)] for token, _ in rows],
            meta={"columns": ["token"], "y": "place"},
            name="tokens",
            hovertext=hover(values),
            hovertemplate="%{customdata[0]}<br>%{hovertext} logits<extra></extra>",
        )
    )
    apply(
        figure,
        title=title,
        x="logits",
        y="token",
        read="Tokens whose logits this node's output raises most (blue) and lowers most (vermillion), relative to the "
        "average token. ␣ is a leading space.",
        dark=dark,
        height=150 + 20 * len(rows),
    )
    ticks = [escape(token if len(token) <= 16 else token[:15] + "…") for token, _ in rows]
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(rows))),
        ticktext=ticks,
        autorange="reversed",
        tickfont={"size": 12},
        showgrid=False,
    )
    return figure
