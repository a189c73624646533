"""What the page keeps in its link: the model, the sentence, its answers and its corrupted twin."""

from __future__ import annotations

from eapgp.tasks import TASKS
from eapgp.ui.base.fields import integer, text
from eapgp.ui.parts.bound_view import PINS, RULE, SELECTED, SIZE
from eapgp.ui.sidebar.settings import FIELDS as SETTINGS

EXAMPLE = TASKS["ioi"].example
_SHORT = r"[^\x00-\x1f]{0,300}"
MODEL = next(field for field in SETTINGS if field.name == "model")
FIELDS = (
    MODEL,
    text(
        "says",
        EXAMPLE.clean,
        "The beginning of a sentence. What the model would write next appears as you type.",
        pattern=_SHORT,
        expected="a sentence of at most 300 characters",
        label="Your sentence",
    ),
    text(
        "right",
        "",
        "The answer whose circuit is looked for: one token. Choose one that the model gives, or type another; empty is "
        "the likeliest.",
        pattern=_SHORT,
        expected="one word",
        label="Right answer",
    ),
    text(
        "wrong",
        "",
        "The answer it is held against: one token. Empty is what the model says after the corrupted sentence.",
        pattern=_SHORT,
        expected="one word",
        label="Wrong answer",
    ),
    integer("at", 10, 0, 300, "The word that is exchanged in the corrupted twin.", label="Exchange this word"),
    text(
        "word",
        "Paul",
        "What stands in its place. On offer are words of the same kind, else what the model finds likely there; all of "
        "them keep the number of tokens. Any other word can be typed.",
        pattern=_SHORT,
        expected="a word",
        label="by",
    ),
    text(
        "twin",
        "",
        "The corrupted sentence as a whole, in place of an exchanged word.",
        pattern=_SHORT,
        expected="a sentence of at most 300 characters",
        label="Or type the corrupted sentence",
    ),
    SIZE,
    RULE,
    SELECTED,
    PINS,
)
