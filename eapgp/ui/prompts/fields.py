"""The fields and tabs of the Prompts page."""

from __future__ import annotations

from eapgp.ui.base.fields import choice, flag, integer, text
from eapgp.ui.sidebar.panel import FIELDS_OF_RUN

SOURCES = {"task": "As set on the left", "own": "My own pairs"}
TABS = {
    "pairs": "Pairs",
    "problems": "Cannot be used",
    "word": "Is it one token?",
    "metrics": "Metrics",
    "made": "How it was made",
}
FIELDS = (
    *FIELDS_OF_RUN,
    choice(
        "source",
        "task",
        tuple(SOURCES),
        "The pairs that the settings on the left name (a task's, or kept ones of your own), or pairs that you type, "
        "paste or upload here.",
    ),
    integer(
        "row",
        1,
        1,
        1_000_000,
        "Which prompt pair is shown token by token. Selecting a row below sets it too.",
        label="Pair",
    ),
    flag(
        "right",
        False,
        "Leave out pairs that the model gets wrong on the clean prompt. A circuit explains a behaviour the model has; "
        "pairs it fails dilute it, but leaving them out makes the set easier than the task.",
        label="Keep only pairs it gets right",
    ),
    text(
        "name",
        "",
        "A name for pairs of your own; runs show it as their task.",
        pattern=r"[^\x00-\x1f]{0,60}",
        expected="a name of at most 60 characters",
        label="Name",
    ),
    text(
        "word",
        "",
        "A word you want as an answer. With GPT-2's tokenizer most words are one token only with a space in front.",
        pattern=r"[^\x00-\x1f]{0,80}",
        expected="a short word",
        label="Word",
    ),
    choice("tab", "pairs", tuple(TABS), "Which view is open below the numbers."),
)
