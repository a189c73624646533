"""The fields and tabs of the Runs page."""

from __future__ import annotations

from eapgp.ui.base.fields import choice, names, text

MOST_PICKED = 8
KINDS = {"all": "All", "own": "Mine", "examples": "Examples"}
TABS = {"made": "How it was made", "files": "Download"}
FIELDS = (
    text(
        "find",
        "",
        "Every word must occur in the run's name, note, model, task, method or id; method=eap asks one field.",
        label="Search",
    ),
    choice("show", "all", KINDS, "Your own runs and imported files, the bundled examples, or both.", label="Show"),
    names("picked", (), "The runs that are selected; the details of a single one are open.", most=MOST_PICKED),
    choice("tab", "made", tuple(TABS), "Which part of a run's details is open."),
)
