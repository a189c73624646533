"""What the Compare page keeps in its link, and what it says of runs that differ."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from eapgp.runs.info import RunInfo
from eapgp.ui.base.fields import choice, integer, names
from eapgp.ui.parts.bound_view import SELECTED, SIZE, VIEW_FIELDS
from eapgp.ui.parts.run_choice import MOST_RUNS, differences
from eapgp.ui.sidebar.panel import FIELDS_OF_RUN

TABS = {
    "scatter": "Score against score",
    "overlap": "Agreement",
    "sets": "Shared and not",
    "curves": "Faithfulness",
    "costs": "Costs",
}
AXES = {
    "methods": "Methods",
    "steps": "Step settings",
    "tasks": "Tasks",
    "seeds": "Prompt seeds",
    "models": "Models",
    "runs": "Any runs",
}
MEASURES = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "kendall": "Kendall",
    "sign_agreement": "Equal signs",
}
FIELDS = (
    *FIELDS_OF_RUN,
    choice(
        "by",
        "methods",
        AXES,
        "What differs from the settings on the left: the method, its steps, the task, the prompts drawn, the model "
        "(of the same number of layers and heads), or any stored runs that you pick.",
        label="Compare",
    ),
    names("these", (), "Two to four of them. What has no result yet is computed at a click.", most=MOST_RUNS),
    names(
        "runs",
        (),
        "Two to four runs to compare. All must be of the same model size.",
        most=MOST_RUNS,
        label="Runs side by side",
    ),
    integer("a", 1, 1, MOST_RUNS, "The first of the two that are compared edge by edge.", label="A"),
    integer("b", 2, 1, MOST_RUNS, "The second of the two that are compared edge by edge.", label="B"),
    SIZE,
    SELECTED,
    *VIEW_FIELDS,
    choice(
        "picture",
        "panes",
        {"panes": "Side by side", "sets": "A and B in one"},
        "One circuit beside the other, or both in one picture with shared edges told apart.",
        label="Picture",
    ),
    choice(
        "quantity",
        "scores",
        {"scores": "Scores", "ranks": "Ranks"},
        "Compare the scores themselves, or each edge's place in the ranking (when units differ).",
        label="Compare",
    ),
    choice(
        "agree",
        "spearman",
        MEASURES,
        "The measure of agreement in the bars: correlations of scores or of ranks, or how many signs are the same.",
        label="Measure",
    ),
    choice(
        "group",
        "types",
        {"types": "Edge type", "layers": "Layer"},
        "Bars by the kind of input that edges enter, or by its layer.",
        label="Bars by",
    ),
    choice(
        "reference",
        "auto",
        {"auto": "Automatic", "exact": "Exact patching", "a": "A"},
        "What the others are held against: exact patching (the real effect of every edge) or A. Automatic takes exact "
        "patching where it was computed.",
        label="Hold against",
    ),
    choice(
        "grid",
        "quick",
        {"quick": "Quick", "mib": "MIB"},
        "Which sizes are measured: eleven from 0.5 % up, or MIB's ten shares.",
        label="Sizes",
    ),
    choice("tab", "scatter", tuple(TABS), "Which view is open below the circuits."),
)


def say_unlike(cards: Sequence[RunInfo]) -> None:
    """Say plainly what else than the method differs, and what is left out for that reason."""
    apart = [name for name in differences(cards) if name not in ("method", "step settings")]
    if not apart:
        return
    left_out = ["the paired difference of faithfulness"]
    if "metric" in apart:
        left_out.append("one scale for all panes and scores on common axes (their units differ)")
    st.info(
        f"These runs differ in {', '.join(apart)}: part of what differs below comes from that. "
        f"Left out: {'; '.join(left_out)}.",
        icon=":material/info:",
    )


def nothing_to_compare() -> None:
    """What the page says when fewer than two results are there."""
    st.info(
        "A comparison needs two results: pick two to four above; what is not computed yet is computed at a click.",
        icon=":material/compare_arrows:",
    )
