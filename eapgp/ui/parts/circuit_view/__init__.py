"""The circuit view: one component, used on every page that shows a circuit.

    payload = build_payload(scores, n=200, roles={"a9.h9": "Name Mover"})
    state = circuit_view(payload, key="explore")
    state.selection, state.pins, state.n, state.kept, …

The drawing itself lives in `eapgp.figures.circuit_view`.
"""

from eapgp.figures.circuit_view import (
    DEFAULT_EDGES,
    MAX_CANDIDATES,
    MAX_DRAWN,
    ROLE_COLORS,
    WARN_ABOVE,
    Role,
    ViewPayload,
    assign_roles,
    build_payload,
    largest,
)
from eapgp.ui.parts.circuit_view.component import DEFAULT_HEIGHT, Selection, ViewState, circuit_view

__all__ = [
    "DEFAULT_EDGES",
    "DEFAULT_HEIGHT",
    "MAX_CANDIDATES",
    "MAX_DRAWN",
    "ROLE_COLORS",
    "WARN_ABOVE",
    "Role",
    "Selection",
    "ViewPayload",
    "ViewState",
    "assign_roles",
    "build_payload",
    "circuit_view",
    "largest",
]
