"""The fields and tabs of the Explore page."""

from __future__ import annotations

from eapgp.ui.base.fields import choice, text
from eapgp.ui.explore import spans
from eapgp.ui.parts import edit_panel, looking, roles, words
from eapgp.ui.parts import node as node_details
from eapgp.ui.parts.bound_view import RULE, SELECTED, SIZE, VIEW_FIELDS
from eapgp.ui.sidebar.panel import FIELDS_OF_RUN

TABS = {
    "edges": "Edges",
    "roles": "Roles of heads",
    "words": "At which words",
    "map": "Scores",
    "curve": "Faithfulness by size",
    "check": "Check by patching",
    "made": "How it was made",
}
PICTURES = {"view": "Circuit", "pyvis": "Network"}
FIELDS = (
    *FIELDS_OF_RUN,
    SIZE,
    RULE,
    SELECTED,
    text(
        "edge",
        "",
        "Only edges whose ends fit: a node (a3.h1), an input (a3.h1<q>), or a part of a name. "
        "a3.h1-> asks for the source, ->m2 for the destination; several words must all fit.",
        pattern=r"[\w.<>\- ]{0,120}",
        expected="names of nodes, or parts of them",
        label="Find edges",
    ),
    choice(
        "picture",
        "view",
        PICTURES,
        "Circuit: fixed places, one row of heads per layer, everything can be clicked. Network: the same circuit drawn "
        "by pyvis, to drag and zoom; the same page can be downloaded and opens offline.",
        label="Picture",
    ),
    choice("tab", "edges", tuple(TABS), "Which view is open below the circuit.", earlier={"spread": "map"}),
    node_details.FIELD,
    *looking.FIELDS,
    roles.FIELD,
    words.FIELD,
    *spans.FIELDS,
    *VIEW_FIELDS,
    *edit_panel.FIELDS,
)
