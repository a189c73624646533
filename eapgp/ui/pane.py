"""The circuit view as the pages use it: what the user does in it becomes fields of the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from eapgp.ui.circuit_view import ViewPayload, ViewState, circuit_view
from eapgp.ui.circuits import Selected
from eapgp.ui.session import Session


def selection_view(chosen: Selected, pins: tuple[str, ...] = ()) -> dict[str, Any]:
    """Starting state of the component for a selection made elsewhere (the URL, a table, a list)."""
    kind = "edge" if chosen.edge else "node"
    return {"selection": {"type": kind, "name": chosen.name} if chosen else None, "pins": list(pins)}


def bound_view(session: Session, payload: ViewPayload, *, key: str, height: int) -> ViewState:
    """Draw the component; its slider is the field `k`, its selection the field `sel`."""

    def state() -> ViewState:
        return ViewState.of(st.session_state.get(key) or {})

    def selected() -> None:
        now = state()
        chosen = now.selection
        session.later(sel=chosen.name if chosen is not None and chosen.type != "group" else "", pins=now.pins)

    def moved() -> None:
        n = state().n
        if n is not None:
            session.later(k=n)

    return circuit_view(payload, key=key, height=height, on_select_change=selected, on_view_change=moved)


def picker(session: Session) -> Callable[[str], None]:
    """A callback for lists and tables: selects a node or edge by name."""

    def pick(name: str) -> None:
        session.later(sel=name)

    return pick
