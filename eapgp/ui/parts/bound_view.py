"""The circuit view as the pages use it: what the user does in it becomes fields of the session.

The slider is the field `k`, the selection `sel`, the pins `pins`. A page that also takes
`VIEW_FIELDS` keeps filters, zoom, groups and trace in its link.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import streamlit as st

from eapgp.attribution.result import EdgeScores
from eapgp.figures.circuit_view import ViewPayload
from eapgp.graph import EDGE_TYPES, Graph
from eapgp.runs.info import RunInfo
from eapgp.types import Bools
from eapgp.ui.base.fields import Field, choice, flag, integer, names, number, text
from eapgp.ui.base.session import Session
from eapgp.ui.library import results
from eapgp.ui.library.circuits import (
    RULE_TITLES,
    USUAL_TEXT,
    Rule,
    Selected,
    selected,
    usual_rule,
    usual_size_of,
)
from eapgp.ui.parts.circuit_view import ROWS, ViewState, circuit_view

Group = tuple[str, tuple[str, ...], bool]
MOST_GROUPS = 40
_NODE = re.compile(r"a\d+\.h\d+|m\d+")


def _read_groups(written: str) -> tuple[Group, ...]:
    """`name:node,node|name:node,node!`; the mark says that the group is open."""
    groups = []
    for part in written.split("|"):
        name, colon, nodes = part.partition(":")
        members = tuple(nodes.removesuffix("!").split(","))
        if not name or not colon or not all(_NODE.fullmatch(node) for node in members):
            raise ValueError("expected groups such as Movers:a9.h6,a9.h9|Others:m0,m1")
        groups.append((unquote(name)[:60], members, not nodes.endswith("!")))
    if len(groups) > MOST_GROUPS:
        raise ValueError(f"expected at most {MOST_GROUPS} groups")
    return tuple(groups)


def _show_groups(groups: Sequence[Group]) -> str:
    return "|".join(
        f"{quote(name, safe=' ')}:{','.join(nodes)}{'' if collapsed else '!'}" for name, nodes, collapsed in groups
    )


def _read_into(written: str) -> tuple[str, ...]:
    parts = written.split(",")
    if not set(parts) <= set(EDGE_TYPES):
        raise ValueError(f"expected some of {', '.join(EDGE_TYPES)} joined by commas")
    return tuple(kind for kind in EDGE_TYPES if kind in parts)


SELECTED = text(
    "sel", "", "The selected node or edge.", pattern=r"[\w.<>\-]{1,80}", expected="the name of a node or edge"
)
PINS = names("pins", (), "Pinned nodes and edges.", most=40)
VIEW_FIELDS = (
    PINS,
    choice(
        "sign", "all", ("all", "plus", "minus"), "Which edges are shown: all, supporting (plus) or working against."
    ),
    Field("into", EDGE_TYPES, _read_into, "Which inputs shown edges enter by.", ",".join),
    text("layers", "", "First and last layer shown.", pattern=r"\d{1,4}-\d{1,4}", expected="two layers such as 0-3"),
    number("least", 0.0, 0.0, 1e12, "Smallest |score| shown."),
    choice("width", "sqrt", ("sqrt", "log"), "Whether line width grows with √|score| or its logarithm."),
    flag("trace", False, "Show every path through the selection."),
    choice(
        "rows", "usual", ROWS, "Rows of layers without a node of the circuit: usual (folded in deep models), all, used."
    ),
    text(
        "zoom",
        "",
        "Zoom and the point in the middle, as shares of the drawing.",
        pattern=r"[\d.]{1,8},[\d.]{1,6},[\d.]{1,6}",
        expected="three numbers such as 1.8,0.5,0.5",
    ),
    Field("groups", (), _read_groups, "Named groups of nodes.", _show_groups),
)


def chosen_in(session: Session, graph: Graph) -> Selected:
    """The selected node or edge; a selection or pins that this graph lacks are let go of."""
    node = "a node or edge of this model such as m0 or m0->logits"
    session.settle("sel", session["sel"] if selected(graph, session["sel"]) else "", node)
    session.settle("pins", tuple(name for name in session["pins"] if selected(graph, name)), node)
    return selected(graph, session["sel"])


SIZE = integer("k", 0, 1, 10_000_000, f"How many edges the circuit takes. {USUAL_TEXT}", label="Edges")
"""0: as many as the page opens with; `open_usual` replaces it."""
RULE = choice("rule", None, RULE_TITLES, USUAL_TEXT, label="Edges are selected by")


def open_usual(session: Session, card: RunInfo, scores: EdgeScores) -> None:
    """Give the fields `SIZE` and `RULE`, where nobody has chosen, what suits the graph."""
    open_size(session, card)
    session.usual("rule", usual_rule(scores.graph))


def open_size(session: Session, card: RunInfo) -> None:
    """Give the field `SIZE`, where nobody has chosen, what suits the run."""
    session.usual("k", usual_size_of(card, results.attribution(card).scores))


def rule_in(session: Session) -> Rule:
    """The rule by which edges are selected."""
    return "greedy" if session["rule"] == "greedy" else "top-n"


def size_in(session: Session, graph: Graph) -> int:
    """The circuit size k, no larger than the graph; a larger one stays for the next model."""
    k = min(session["k"], graph.n_edges)
    if session.linked("k"):
        session.settle("k", k, f"at most {graph.n_edges:,}, the edges of this model")
    return int(k)


def selection_view(selection: Selected, pins: tuple[str, ...] = ()) -> dict[str, Any]:
    """Starting state of the component for a selection made elsewhere (the URL, a table, a list)."""
    kind = "edge" if selection.edge else "node"
    return {"selection": {"type": kind, "name": selection.name} if selection else None, "pins": list(pins)}


def whole_view(session: Session, selection: Selected, n_layers: int) -> dict[str, Any]:
    """The component's state as `VIEW_FIELDS` and the selection say."""
    first, last = (int(part) for part in (session["layers"] or f"0-{n_layers - 1}").split("-"))
    least = session["least"]
    return {
        **selection_view(selection, session["pins"]),
        "filters": {
            "sign": session["sign"],
            "types": list(session["into"]),
            "from": min(first, n_layers - 1),
            "to": min(last, n_layers - 1),
            "least": int(least) if least == int(least) else least,
            "width": session["width"],
        },
        "zoom": _zoom(session["zoom"]),
        "groups": groups_of(session),
        "trace": session["trace"],
        "rows": session["rows"],
    }


def shown_edges(session: Session, scores: EdgeScores) -> Bools:
    """`[src, dst]`: the edges that the filters leave in the picture, as the component itself says it."""
    graph, values = scores.graph, np.nan_to_num(scores.values)
    kinds = np.isin(graph.destination_types, session["into"])
    shown = graph.mask & (np.abs(values) >= session["least"]) & kinds[None, :]
    if session["sign"] != "all":
        shown &= values > 0 if session["sign"] == "plus" else values < 0
    if session["layers"]:
        first, last = map(int, session["layers"].split("-"))
        rows, columns = graph.source_layers, graph.destination_layers
        inner_rows = (rows < 0) | ((rows >= first) & (rows <= last))
        inner_columns = (columns == graph.n_layers) | ((columns >= first) & (columns <= last))
        shown &= inner_rows[:, None] & inner_columns[None, :]
    return shown


def groups_of(session: Session) -> list[dict[str, Any]]:
    """The named groups as the component and exported files hold them."""
    return [{"name": name, "nodes": list(nodes), "collapsed": shut} for name, nodes, shut in session["groups"]]


def _zoom(written: str) -> dict[str, float] | None:
    try:
        k, x, y = (float(part) for part in written.split(","))
    except ValueError:
        return None
    return {"k": k, "x": x, "y": y} if math.isfinite(k + x + y) else None


def view_values(state: ViewState, n_layers: int) -> dict[str, Any]:
    """`VIEW_FIELDS` as the component's state says (pins excepted: they come with the selection)."""
    filters: Mapping[str, Any] = state.filters
    span = (filters.get("from", 0), filters.get("to", n_layers - 1))
    zoom = state.zoom
    return {
        "sign": filters.get("sign", "all"),
        "into": tuple(filters.get("types", EDGE_TYPES)),
        "layers": "" if span == (0, n_layers - 1) else f"{span[0]}-{span[1]}",
        "least": float(filters.get("least", 0.0)),
        "width": filters.get("width", "sqrt"),
        "trace": state.trace,
        "rows": state.rows,
        "zoom": f"{zoom['k']:g},{zoom['x']:g},{zoom['y']:g}" if zoom else "",
        "groups": tuple(
            (str(group["name"])[:60], tuple(map(str, group["nodes"])), bool(group.get("collapsed", True)))
            for group in state.groups[:MOST_GROUPS]
        ),
    }


def bound_view(
    session: Session,
    payload: ViewPayload | Sequence[ViewPayload],
    *,
    key: str,
    height: int,
    above: int = 0,
    on_edit: Callable[[ViewState], None] | None = None,
) -> ViewState:
    """Draw the component; what is done in it becomes fields of the session, as far as the page has them.

    Several payloads are panes beside each other; height, above: as in `circuit_view`.
    on_edit: called before the next run of the page when an edge or node was edited.
    """
    first = payload if isinstance(payload, Mapping) else payload[0]
    n_layers = int(first["graph"]["n_layers"])

    def state() -> ViewState:
        return ViewState.of(st.session_state.get(key) or {})

    def selected() -> None:
        now = state()
        selection = now.selection
        session.later(sel=selection.name if selection is not None and selection.type != "group" else "", pins=now.pins)

    def moved() -> None:
        now = state()
        if now.n is not None:
            session.later(k=now.n)
            session.later(**{k: v for k, v in view_values(now, n_layers).items() if k in session})

    def edited() -> None:
        if on_edit is not None:
            on_edit(state())

    return circuit_view(
        payload,
        key=key,
        height=height,
        above=above,
        on_select_change=selected,
        on_view_change=moved,
        on_edit_change=edited,
    )


def picker(session: Session) -> Callable[[str], None]:
    """A callback for lists and tables: selects a node or edge by name."""

    def pick(name: str) -> None:
        session.later(sel=name)

    return pick
