"""The controls of the edit mode: the switch, undo and reset, and buttons at nodes, edges and table rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.graph import Graph
from eapgp.numerals import score
from eapgp.ui.base.fields import flag
from eapgp.ui.base.session import Session
from eapgp.ui.parts import edit
from eapgp.ui.parts.circuit_view import ViewState
from eapgp.ui.parts.edit import Edit, Edits

FIELDS = (
    flag(
        "edit",
        False,
        "Change the circuit by hand: add or remove edges and exclude nodes, in the picture, beside it or in the table. "
        "The faithfulness follows, and downloads hold the edited circuit.",
        label="Edit",
    ),
    edit.FIELD,
)
MOST_CHOICES = 400


def current(session: Session, graph: Graph) -> Edits:
    """The edits that apply; what the graph cannot take is named and let go of."""
    history, problems = edit.known(graph, session["edits"])
    if problems:
        session["edits"] = history
        for problem in problems:
            session.complain(problem)
    return edit.amount(history)


def change(session: Session, *edits: Edit) -> None:
    """Append edits; they show in the next run of the page."""
    session.later(edits=(*session["edits"], *edits)[-edit.MOST :])


def on_edit(session: Session) -> Callable[[ViewState], None]:
    """What the page does when something was edited in the picture."""

    def edited(state: ViewState) -> None:
        now = Edits(state.added, state.removed, state.excluded)
        session.later(edits=edit.followed(session["edits"], now))

    return edited


def controls(session: Session, edits: Edits) -> None:
    """Undo, reset, and what has been changed; nothing while nothing is edited or to be edited."""
    history = session["edits"]
    if not history:
        if session["edit"]:
            st.caption(
                "Use the tools above the picture, or the buttons beside a node, an edge or table rows.", width="content"
            )
        return
    last = history[-1]
    st.button(
        "Undo",
        key="edit-undo",
        icon=":material/undo:",
        on_click=lambda: session.later(edits=history[:-1]),
        help=f"Take back the last edit: {edit.WORDS[last.op]} ({last.name}).",
    )
    st.button(
        "Reset",
        key="edit-reset",
        icon=":material/restart_alt:",
        on_click=lambda: session.later(edits=()),
        help="Take back every edit: the circuit is again the strongest edges.",
    )
    st.caption(f"Edited by hand: {edits}." if edits else "The edits cancel out.", width="content")


def at_edge(session: Session, circuit: Circuit, name: str) -> None:
    """Add or remove the selected edge."""
    inside = bool(circuit.edges[circuit.graph.edge_index(name)]) or name in edit.amount(session["edits"]).added
    op: edit.Op = "cut" if inside else "add"
    st.button(
        "Remove this edge" if inside else "Add this edge",
        key="edit-edge",
        icon=":material/remove_circle:" if inside else ":material/add_circle:",
        on_click=change,
        args=(session, Edit(op, name)),
        help="Takes this edge out of the circuit." if inside else "Puts this edge into the circuit.",
    )


def at_node(session: Session, scores: EdgeScores, circuit: Circuit, node: str) -> None:
    """Exclude the selected node, put it back, or add an edge at it."""
    with st.container(horizontal=True):
        if node not in ("input", "logits"):
            gone = node in edit.amount(session["edits"]).excluded
            op: edit.Op = "back" if gone else "drop"
            st.button(
                "Put this node back" if gone else "Exclude this node",
                key="edit-node",
                icon=":material/undo:" if gone else ":material/remove_circle:",
                on_click=change,
                args=(session, Edit(op, node)),
                help="Its edges return." if gone else "Takes every edge into and out of this node out of the circuit.",
            )
        _add_at(session, scores, circuit, node)


def _add_at(session: Session, scores: EdgeScores, circuit: Circuit, node: str) -> None:
    with st.popover("Add edge…", icon=":material/add_circle:", key="edit-add"):
        options = _missing(scores, circuit, node)
        if not options:
            st.caption("Every edge at this node is in the circuit.")
            return
        values = dict(options)
        name = st.selectbox(
            f"Edges at {node} that are not in the circuit",
            options=list(values),
            key=f"edit-choice-{node}",
            format_func=lambda edge: f"{edge}  ({score(values[edge])})",
            help="Strongest first. Type to search.",
        )
        st.button(
            "Add",
            key="edit-add-go",
            type="primary",
            on_click=change,
            args=(session, Edit("add", str(name))),
            help="Puts this edge into the circuit.",
        )


def _missing(scores: EdgeScores, circuit: Circuit, node: str) -> list[tuple[str, float]]:
    """Edges at a node outside the circuit with their scores, largest |score| first."""
    graph = scores.graph
    at = np.zeros_like(graph.mask)
    at[:, graph.destination_nodes == graph.nodes.index(node)] = True
    if node != "logits":
        at[graph.source_index(node)] = True
    rows, columns = np.nonzero(at & graph.mask & ~circuit.edges)
    values = np.nan_to_num(scores.values[rows, columns])
    order = np.argsort(-np.abs(values), kind="stable")[:MOST_CHOICES]
    return [(graph.edge_name(int(rows[i]), int(columns[i])), float(values[i])) for i in order]


def at_rows(session: Session, circuit: Circuit, names: Sequence[str]) -> None:
    """Add or remove the edges of the table's selected rows."""
    inside = [name for name in names if circuit.edges[circuit.graph.edge_index(name)]]
    outside = [name for name in names if name not in inside]
    with st.container(horizontal=True, key="edit-rows"):
        for label, op, edges in (("Remove", "cut", inside), ("Add", "add", outside)):
            st.button(
                f"{label} {len(edges)} edge{'s' if len(edges) != 1 else ''}",
                key=f"edit-rows-{op}",
                icon=":material/remove_circle:" if op == "cut" else ":material/add_circle:",
                disabled=not edges,
                on_click=change,
                args=(session, *(Edit(op, name) for name in edges)),  # type: ignore[arg-type]
                help="Of the rows selected in the table: those in the circuit are taken out, the others put in.",
            )
