"""The fields and tabs of the Paper page."""

from __future__ import annotations

from eapgp.study.reproduce import FEASIBLE_EDGES
from eapgp.study.reproduce_rows import TASKS
from eapgp.ui.base.fields import choice, flag, integer, text
from eapgp.ui.sidebar.settings import FIELDS as RUN_FIELDS

_SHARED = {field.name: field for field in RUN_FIELDS}
EXACT = {"auto": None, "yes": True, "no": False}
TABS = {
    "cells": "Every cell",
    "all": "All tasks",
    "manual": "Manual circuits",
    "protocol": "The protocol",
    "made": "How it was made",
}
FIELDS = (
    _SHARED["model"],
    integer(
        "first",
        len(TASKS),
        1,
        len(TASKS),
        "How many of the six tasks are run, in the paper's order, for a quick pass.",
        label="First tasks",
    ),
    integer(
        "each",
        0,
        0,
        5000,
        "Prompt pairs per task. 0 takes the usual number: 64 for the demo model, 100 for others. Fewer pairs are "
        "quicker and give wider intervals.",
        label="Pairs (0: usual)",
    ),
    choice(
        "exact",
        "auto",
        {"auto": "If small", "yes": "Yes", "no": "No"},
        f"Whether every edge is also patched one at a time. If small: on models of up to {FEASIBLE_EDGES:,} edges; on "
        "GPT-2 small it takes hours.",
        label="Exact patching",
    ),
    _SHARED["seed"],
    text(
        "job",
        "",
        "The computation that this page waits for.",
        pattern=r"paper-[\w.\-]{1,120}",
        expected="a job's id",
    ),
    choice("on", "ioi", (*TASKS,), "Whose curves are drawn.", label="Task"),
    integer(
        "size",
        0,
        0,
        10_000_000,
        "Size of the circuits in the table of outcomes, in edges. The first choice is the paper's headline: 2.5 % of "
        "the edges, 812 on GPT-2 small.",
        label="Size of the circuits",
    ),
    flag(
        "gpt2",
        True,
        "On another model: also show what is published for GPT-2 small at the same share of its edges. It is no target "
        "for that model.",
        label="GPT-2 small's published numbers",
    ),
    choice("tab", "cells", tuple(TABS), "Which view is open below the curves."),
)
