"""What is said about one node or edge: its strongest edges, its score under every method, its real effect."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import streamlit as st

from eapgp.attribution.result import Attribution, EdgeScores, PathRecord
from eapgp.graph import Graph
from eapgp.ui import services
from eapgp.ui.circuits import Selected, four_lists, rank_of, score_of
from eapgp.ui.draw import chart, dark
from eapgp.ui.jobs import JobView
from eapgp.ui.live import follow
from eapgp.ui.methods import variant
from eapgp.ui.shelf import Card

Pick = Callable[[str], None]


def inspector(card: Card, result: Attribution, chosen: Selected, pick: Pick) -> None:
    """Details of the selected node or edge; before any selection, the two ends of the graph."""
    scores = result.scores
    if chosen.edge:
        _edge(card, result, chosen.edge, pick)
    elif chosen.node:
        _node(card, scores, chosen.node, pick)
    else:
        st.markdown("**Click a node or an edge** for its details. The strongest edges at the two ends:")
        lists = {**_only(four_lists(scores, "logits", n=5), "in"), **_only(four_lists(scores, "input", n=5), "out")}
        _show_lists(lists, "logits", "input", pick)


def _only(lists: Mapping[str, pd.DataFrame], side: str) -> dict[str, pd.DataFrame]:
    return {key: table for key, table in lists.items() if key.startswith(side)}


def _node(card: Card, scores: EdgeScores, node: str, pick: Pick) -> None:
    st.markdown(f"#### `{node}`")
    kind = {"i": "the embedding of tokens and positions", "l": "the output logits"}.get(node[0], "")
    if node[0] == "a":
        layer, head = node[1:].split(".h")
        kind = f"attention head {head} of layer {layer}"
    elif node[0] == "m":
        kind = f"MLP of layer {node[1:]}"
    out = float(np.nansum(scores.values[scores.graph.source_index(node)])) if node != "logits" else math.nan
    into = float(np.nansum(scores.values[:, scores.graph.destination_nodes == scores.graph.nodes.index(node)]))
    parts = [kind.capitalize()]
    if node != "input":
        parts.append(f"Σ of incoming scores {into:+.3f}")
    if node != "logits":
        parts.append(f"Σ of outgoing scores {out:+.3f}")
    st.caption(" · ".join(parts))
    _show_lists(four_lists(scores, node, n=5), node, node, pick)


def _show_lists(lists: Mapping[str, pd.DataFrame], into: str, out: str, pick: Pick) -> None:
    titles = {
        "in+": f"Into {into} (+)",
        "in-": f"Into {into} (−)",
        "out+": f"Out of {out} (+)",
        "out-": f"Out of {out} (−)",
    }
    for key, table in lists.items():
        _signed_list(titles[key], table, f"list-{key}-{into}-{out}", pick)


def _signed_list(title: str, table: pd.DataFrame, key: str, pick: Pick) -> None:
    """One list as a small table; selecting a row selects the edge."""
    if table.empty:
        st.caption(f"{title}: none")
        return
    ends = [edge.split("->") for edge in table["edge"]]
    other = [left if title.startswith("Into") else right for left, right in ends]
    via = [f" by {right[-2]}" if title.startswith("Into") and right.endswith(">") else "" for _, right in ends]
    shown = pd.DataFrame({title: [a + b for a, b in zip(other, via, strict=True)], "score": table["score"]})

    def chosen() -> None:
        cells = st.session_state[key]["selection"]["cells"]
        if cells:
            pick(str(table["edge"].iloc[cells[0][0]]))

    st.dataframe(
        shown,
        key=key,
        hide_index=True,
        row_height=26,
        on_select=chosen,
        selection_mode="single-cell",
        column_config={"score": st.column_config.NumberColumn(format="%+.3f", width=64)},
    )


def _edge(card: Card, result: Attribution, edge: str, pick: Pick) -> None:
    scores = result.scores
    source, target = edge.split("->")
    value = score_of(scores, edge)
    st.markdown(f"#### `{edge}`")
    meaning = "supports the behaviour" if value >= 0 else "works against the behaviour"
    st.caption(
        f"Score {value:+.4f}: estimated to {'lower' if value >= 0 else 'raise'} the metric by {abs(value):.4f} if this "
        f"edge carried the corrupted activation; it {meaning}. Rank {rank_of(scores, edge)} of {card.graph.n_edges:,}."
    )
    with st.container(horizontal=True):
        for node in (source, target.split("<")[0]):
            st.button(
                node,
                key=f"go-{node}",
                on_click=pick,
                args=(node,),
                icon=":material/arrow_outward:",
                help=f"Select {node}",
            )
    _real_effect(card, edge, value)
    _across_methods(card, edge)
    if card.has_path:
        _gradient_along_path(services.paths(card), result.graph, edge)


def _real_effect(card: Card, edge: str, estimate: float) -> None:
    asked = st.session_state.setdefault("patched-edges", set())
    if (card.id, edge) not in asked:
        pressed = st.button(
            "Patch this edge for real",
            key="patch-edge",
            icon=":material/science:",
            help="The score is a first-order estimate. This runs the model with only this edge corrupted and reports "
            "the true change of the metric.",
        )
        if not pressed:
            return
        asked.add((card.id, edge))
    job_id = services.submit_edges(card, [edge])

    def show(job: JobView) -> None:
        real = job.result.clean - job.result.metric[0]
        left, right = st.columns(2)
        left.metric("Estimated effect", f"{estimate:+.4f}", help="The score of this edge.")
        right.metric("Real effect of patching", f"{real:+.4f}", help="M(clean) − M(with only this edge corrupted).")

    follow(job_id, show, waiting="Patching ·")


def _across_methods(card: Card, edge: str) -> None:
    rows = []
    for other in services.comparable(card):
        scores = services.attribution(other).scores
        rows.append((variant(other.method, other.options), score_of(scores, edge), rank_of(scores, edge)))
    if len(rows) > 1:
        table = pd.DataFrame(rows, columns=["method", "score", "rank"])
        st.markdown("**This edge under every method**")
        columns = {
            "score": st.column_config.NumberColumn(format="%+.4f", width=70),
            "rank": st.column_config.NumberColumn(width=46),
        }
        st.dataframe(table, hide_index=True, row_height=28, column_config=columns)
        st.caption("Runs on the same model, prompts and metric. Exact patching, where present, is the real effect.")


def _gradient_along_path(records: Mapping[str, PathRecord], graph: Graph, edge: str) -> None:
    import plotly.graph_objects as go

    from eapgp.figures.path import name_of, style_of
    from eapgp.figures.style import apply

    column = graph.destination_index(edge.split("->")[1])
    figure = go.Figure()
    for kind, record in records.items():
        style = style_of(kind)
        norms = np.asarray(record.destination_gradient, dtype=np.float64)[:, :, column]
        known = ~np.isnan(norms).all(axis=1)
        figure.add_scatter(
            x=np.arange(record.n_points)[known],
            y=np.nanmean(norms[known], axis=1),
            mode="lines+markers",
            name=name_of(kind),
            line={"color": style.colour, "dash": style.dash, "width": 2.5},
            marker={"symbol": style.symbol, "size": 8},
        )
    apply(
        figure,
        title="Gradient at this edge",
        x="step on the path",
        y="‖∂M/∂x‖, mean over pairs",
        read="Where a line is near zero the model is saturated there, and that point adds little to the score.",
        dark=dark(),
        height=280,
    )
    figure.update_yaxes(rangemode="tozero")
    chart(figure, "edge-gradient")
