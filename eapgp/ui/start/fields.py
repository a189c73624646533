"""What Start keeps in its link: the scene, what was done in it, and the answers to the questions at its end."""

from __future__ import annotations

from eapgp.ui.base.fields import choice, flag, integer

SCENES = ("behaviour", "graph", "circuit", "gradients", "path", "methods", "questions")
PLANTED_METHODS = {"eap": "EAP", "eap-ig": "EAP-IG", "exact": "Exact patching"}
CHOICES = ("", "a", "b", "c")
FIELDS = (
    integer("scene", 1, 1, len(SCENES), "Which scene is shown."),
    flag("swapped", False, "Read the sentence with the word exchanged.", label="Exchange the word"),
    integer("size", 0, 0, 10_000_000, "How many of the strongest edges are kept.", label="Edges"),
    flag("without", False, "Take away the head that the answer leans on most.", label="Remove its strongest head"),
    choice("by", "eap", PLANTED_METHODS, "Which method looks for the planted edges.", label="Method"),
    integer("step", 0, 0, 1000, "How far the path has been walked.", label="Step"),
    *(choice(f"q{place}", "", CHOICES, "Your answer.") for place in (1, 2, 3)),
)
