"""The circuit view: one component, used on every page that shows a circuit.

`build_payload` turns scores into what the browser needs; `circuit_view` mounts the component and
returns what the user did. Only `circuit_view` needs Streamlit.
"""

from eapgp.ui.circuit_view.component import Selection, ViewState, circuit_view
from eapgp.ui.circuit_view.payload import Role, ViewPayload, assign_roles, build_payload
from eapgp.ui.circuit_view.source import view_css, view_js

__all__ = [
    "Role",
    "Selection",
    "ViewPayload",
    "ViewState",
    "assign_roles",
    "build_payload",
    "circuit_view",
    "view_css",
    "view_js",
]
