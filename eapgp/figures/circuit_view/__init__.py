"""The circuit view's browser code and the payload it draws; needs neither Streamlit nor a model.

`eapgp.ui.parts.circuit_view` mounts it in a page, `eapgp.figures.standalone` writes it into one file.
"""

from eapgp.figures.circuit_view.payload import (
    DEFAULT_EDGES,
    MAX_CANDIDATES,
    MAX_DRAWN,
    ROLE_COLORS,
    Compared,
    Pane,
    Ranking,
    Role,
    ViewPayload,
    assign_roles,
    build_payload,
    largest,
)
from eapgp.figures.circuit_view.source import view_css, view_js

__all__ = [
    "DEFAULT_EDGES",
    "MAX_CANDIDATES",
    "MAX_DRAWN",
    "ROLE_COLORS",
    "Compared",
    "Pane",
    "Ranking",
    "Role",
    "ViewPayload",
    "assign_roles",
    "build_payload",
    "largest",
    "view_css",
    "view_js",
]
