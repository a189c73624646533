"""The circuit view: one component, used on every page that shows a circuit.

    payload = build_payload(scores, n=200, roles={"a9.h9": "Name Mover"})
    state = circuit_view(payload, key="explore")
    state.selection, state.pins, state.n, state.kept, …

The drawing itself and its payload live in `eapgp.figures.circuit_view`.
"""

from eapgp.ui.parts.circuit_view.component import DEFAULT_HEIGHT, ROWS, Selection, ViewState, circuit_view

__all__ = ["DEFAULT_HEIGHT", "ROWS", "Selection", "ViewState", "circuit_view"]
