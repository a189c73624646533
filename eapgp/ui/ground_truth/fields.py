"""The fields and tabs of the Ground truth page."""

from __future__ import annotations

from eapgp.ground_truth.manual import GROUND_TRUTHS
from eapgp.ui.base.fields import choice, flag, integer, names, text
from eapgp.ui.library.circuits import DEFAULT_EDGES
from eapgp.ui.parts.bound_view import PINS, SELECTED
from eapgp.ui.sidebar.panel import FIELDS_OF_RUN

PLANTED = "planted"
MOST = 10
TABS = {
    "roc": "ROC",
    "recall": "Precision and recall",
    "edges": "Found, missed, extra",
    "roles": "Roles",
    "scores": "Every score",
    "made": "How it was made",
    "files": "Download",
}
FIELDS = (
    *FIELDS_OF_RUN,
    choice(
        "known",
        PLANTED,
        lambda: (PLANTED, *GROUND_TRUTHS),
        "The circuit to hold scores against. The manual ones are readings of GPT-2 small by people; variants of one "
        "task differ in their edges. The planted one is exact: its model was built by setting the weights.",
        label="Known circuit",
    ),
    names(
        "against",
        (),
        "Runs and imported files of the same model size whose rankings are compared with it.",
        most=MOST,
        label="Scores",
    ),
    text(
        "overlay",
        "",
        "Whose circuit is drawn over the known one.",
        pattern=r"(file-)?[0-9a-f]{4,64}",
        expected="the id of a run or file",
        label="Draw the circuit of",
    ),
    integer(
        "k",
        DEFAULT_EDGES,
        1,
        10_000_000,
        "How many of the strongest edges the circuit takes. It is the same k as on Explore.",
        label="Circuit size k",
    ),
    flag(
        "signed",
        False,
        "Rank by the score itself, so that edges working against the behaviour come last. Usual is by its size: a "
        "circuit holds both.",
        label="Rank by sign",
    ),
    flag(
        "mlps",
        True,
        "Count MLPs and their edges. Off leaves them out on both sides, as Hanna et al. 2024 do for IOI, whose manual "
        "circuit is one of attention heads.",
        label="Count MLPs",
    ),
    SELECTED,
    PINS,
    choice("tab", "roc", tuple(TABS), "Which view is open below the circuit."),
)
