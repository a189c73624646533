"""What is said about one node or edge: its strongest edges, its score under every method, its real effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import streamlit as st

from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.numerals import number, score
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import plain, table_to_pick, written
from eapgp.ui.base.session import Session
from eapgp.ui.jobs.follow import follow
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import measure
from eapgp.ui.library.circuits import Selected, four_lists, known_role, rank_of, score_of
from eapgp.ui.parts import edge as edge_details
from eapgp.ui.parts import edit_panel, roles, words
from eapgp.ui.parts import node as node_details
from eapgp.ui.parts.method_tables import edge_across_methods

Pick = Callable[[str], None]


def inspector(
    session: Session, card: RunInfo, result: Attribution, circuit: Circuit, selected: Selected, pick: Pick
) -> None:
    """Details of the selected node or edge; before any selection, the two ends of the graph."""
    scores = result.scores
    if selected.edge:
        _edge(session, card, result, circuit, selected.edge, pick)
    elif selected.node:
        _node(session, card, scores, circuit, selected.node, pick)
    else:
        st.markdown("**Click a node or an edge** for its details. The strongest edges at the two ends:")
        lists = {**_only(four_lists(scores, "logits", n=5), "in"), **_only(four_lists(scores, "input", n=5), "out")}
        _show_lists(lists, "logits", "input", pick)


def _only(lists: Mapping[str, pd.DataFrame], side: str) -> dict[str, pd.DataFrame]:
    return {key: table for key, table in lists.items() if key.startswith(side)}


def _node(session: Session, card: RunInfo, scores: EdgeScores, circuit: Circuit, node: str, pick: Pick) -> None:
    _title(node, pick)
    with st.container(gap=None):
        st.caption(_kind(node) + _counts(circuit, node))
        place = st.container() if node.startswith("a") else None
    role = known_role(card, node)
    if role is not None:
        st.markdown(f":material/label: **{plain(role.title)}** {plain(role.explanation)}")
    if session["edit"]:
        edit_panel.at_node(session, scores, circuit, node)
    if node != "logits":
        node_details.direct_summary(card, node)
    node_details.section(session, card, node, pick)
    words.section(session, card, node)
    if place is not None:
        with place:  # asked for last: all heads take longer than what this one attends to
            roles.at_head(session, card, node)
    _show_lists(four_lists(scores, node, n=5), node, node, pick)


def _title(name: str, pick: Pick) -> None:
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.markdown(f"#### `{name}`")
    right.button(
        "Close",
        key="deselect",
        type="tertiary",
        on_click=pick,
        args=("",),
        help="Select nothing (Esc in the picture).",
    )


def _kind(node: str) -> str:
    if node[0] == "a":
        layer, head = node[1:].split(".h")
        return f"Attention head {head} of layer {layer}"
    if node[0] == "m":
        return f"MLP of layer {node[1:]}"
    return "The embedding of tokens and positions" if node == "input" else "The output logits"


def _counts(circuit: Circuit, node: str) -> str:
    """How many edges of the circuit enter and leave a node."""
    graph = circuit.graph
    into = int(circuit.edges[:, graph.destination_nodes == graph.nodes.index(node)].sum())
    out = 0 if node == "logits" else int(circuit.edges[graph.source_index(node)].sum())
    if not into + out:
        return " · not in the circuit on screen"
    return f" · {into} edges in and {out} out in the circuit on screen"


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
    listing = pd.DataFrame({title: [a + b for a, b in zip(other, via, strict=True)], "score": table["score"]})
    table_to_pick(
        written(listing, {"score": score}),
        key,
        lambda place: pick(str(table["edge"].iloc[place])),
        cell=True,
        row_height=26,
        column_config={"score": st.column_config.NumberColumn(width=88)},
    )


def _edge(session: Session, card: RunInfo, result: Attribution, circuit: Circuit, edge: str, pick: Pick) -> None:
    scores = result.scores
    source, target = edge.split("->")
    value = score_of(scores, edge)
    _title(edge, pick)
    if np.isnan(value):
        st.caption("This edge was not scored.")
    else:
        meaning = "supports the behaviour" if value >= 0 else "works against the behaviour"
        st.caption(
            f"Score {score(value)}: estimated to {'lower' if value >= 0 else 'raise'} the metric by "
            f"{number(abs(value), 4)} if this edge carried the corrupted activation; it {meaning}. "
            f"Rank {rank_of(scores, edge):,} of {card.graph.n_edges:,}."
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
    if session["edit"]:
        edit_panel.at_edge(session, circuit, edge)
    if card.n_pairs:
        _real_effect(card, edge, value)
    words.section(session, card, edge)
    edge_details.section(card, circuit, edge)
    edge_across_methods(card, edge)


def _real_effect(card: RunInfo, edge: str, estimate: float) -> None:
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
    job_id = measure.submit_edges(card, [edge])

    def show(job: JobView) -> None:
        real = job.result.clean - job.result.metric[0]
        left, right = st.columns(2)
        left.metric("Estimated effect", score(estimate), help="The score of this edge.")
        right.metric("Real effect of patching", score(real), help="M(clean) − M(with only this edge corrupted).")

    follow(job_id, show, waiting="Patching ·")
