"""At which words an edge or a node matters: its score as one bar for each span of the prompts."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from eapgp.figures.style import apply, escape, sign_colour
from eapgp.numerals import signed
from eapgp.types import Floats

_ROW, _AROUND = 22, 130  # px of a bar, and of what stands around all of them


def score_by_span(names: Sequence[str], values: Floats, *, where: str, dark: bool = False) -> go.Figure:
    """A bar for each span, in the order of the prompts, first above.

    names, values: `[span]`, in units of the metric; their sum is the score. where: what the spans are ("all
    pairs", "pair 3"). Bars carry the span's name as customdata.
    """
    figure = go.Figure()
    labels = [escape(name) for name in names]
    figure.add_bar(
        x=values,
        y=list(range(len(names))),
        orientation="h",
        marker={"color": [sign_colour(float(value)) for value in values]},
        customdata=[[label, signed(float(value))] for label, value in zip(labels, values, strict=True)],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        showlegend=False,
    )
    apply(
        figure,
        title="Score by words",
        x="score, in units of the metric",
        y="",
        note=f"{where}; the sum is {signed(float(sum(values)))}",
        read="The score is a sum over positions; each bar is what one part of the prompt adds to it. Where both "
        "prompts are the same so far, there is nothing to add.",
        dark=dark,
        height=_AROUND + _ROW * len(names),
    )
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=labels, autorange="reversed", showgrid=False)
    return figure
