"""Pair × edge: which edges each pair uses, pairs of one cluster side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from eapgp.circuits.mechanisms import Mechanisms
from eapgp.figures.style import apply, escape, theme
from eapgp.numerals import count, decimal

EDGES = 40
"""Edges that are drawn: those in which the clusters' means differ most."""


def pair_edges(
    mechanisms: Mechanisms, prompts: Sequence[str], *, edges: int = EDGES, dark: bool = False, height: int = 430
) -> go.Figure:
    """A row per pair in the order of its cluster, a column per edge, on a symmetric zero-centred scale.

    prompts: `[pair]` clean prompts, for the hover. Cells are the pair's scores divided by the length of all of them,
    which is what pairs are clustered by. Edges are those whose means differ most between clusters, by the spread of
    the clusters' means, in the order of the graph. Cells carry customdata [prompt, edge].
    """
    graph = mechanisms.result.graph
    shown = np.sort(np.argsort(-np.ptp(mechanisms.centres, axis=0), kind="stable")[:edges])
    scored = graph.mask & ~np.isnan(mechanisms.result.scores.values)
    rows, columns = np.nonzero(scored)
    names = [escape(graph.edge_name(int(rows[at]), int(columns[at]))) for at in shown]
    values = mechanisms.directions[mechanisms.order][:, shown]
    limit = float(np.abs(values).max()) or 1.0
    hover = [
        [[f"pair {pair + 1}, cluster {mechanisms.labels[pair] + 1}", escape(prompts[pair])]] * len(shown)
        for pair in mechanisms.order
    ]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=names,
            y=list(range(len(values))),
            customdata=hover,
            zmin=-limit,
            zmax=limit,
            colorscale=theme(dark).diverging,
            showscale=False,
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>%{x}<br>share %{z:+.3f}<extra></extra>",
            meta={"x": "edge", "y": "pair", "value": "share"},
        )
    )
    ends = np.cumsum(np.bincount(mechanisms.labels))
    for end in ends[:-1]:
        figure.add_hline(y=float(end) - 0.5, line={"color": theme(dark).text, "width": 2})
    apply(
        figure,
        title="Which edges each pair uses",
        x="edges in which the clusters differ most",
        y="",
        note=f"{count(len(values))} pairs in {count(mechanisms.n_clusters)} clusters; "
        f"mean silhouette {decimal(mechanisms.silhouette, 2)}",
        read="One row is one pair, blue where an edge supports its answer, vermillion where it works against it. "
        "Clusters are real where the rows of one look alike and unlike the others.",
        dark=dark,
        height=height,
    )
    middles = ends - np.bincount(mechanisms.labels) / 2 - 0.5
    labels = [f"cluster {place}" for place in range(1, len(middles) + 1)]
    figure.update_yaxes(tickvals=middles, ticktext=labels, autorange="reversed", showgrid=False, zeroline=False)
    figure.update_xaxes(tickangle=-60, showgrid=False, tickfont={"size": 11})
    return figure
