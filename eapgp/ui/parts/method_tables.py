"""One node or edge under every method that was run on the same model, prompts and metric."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from eapgp.attribution.registry import variant
from eapgp.numerals import score
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import written
from eapgp.ui.library import results
from eapgp.ui.library.circuits import node_score, rank_of, score_of

_ABOUT_LOGITS = "The sum of its incoming edges' scores."
_ABOUT_NODES = (
    "The attribution of its output: the sum of its outgoing edges' scores. For exact patching, where edges act "
    "together, all of them were corrupted at once. Rank by size among all nodes that write."
)


def edge_across_methods(card: RunInfo, edge: str) -> None:
    """One edge's score and rank under each method that was run on the same prompts."""
    rows = []
    for other in results.comparable(card):
        scores = results.attribution(other).scores
        rows.append((variant(other.method, other.options), score_of(scores, edge), rank_of(scores, edge)))
    if len(rows) > 1:
        _method_table("This edge under every method", rows)
        st.caption("Runs on the same model, prompts and metric. Exact patching, where present, is the real effect.")


def node_across_methods(card: RunInfo, node: str) -> None:
    """A node's score under each method that was run on the same prompts."""
    rows = []
    for other in results.comparable(card):
        value, rank = node_score(results.attribution(other), node)
        rows.append((variant(other.method, other.options), value, rank))
    if len(rows) > 1:
        _method_table("This node under every method", rows)
        st.caption(_ABOUT_LOGITS if node == "logits" else _ABOUT_NODES)


def _method_table(title: str, rows: list[tuple[str, float, int]]) -> None:
    st.markdown(f"**{title}**")
    columns = {
        "score": st.column_config.NumberColumn(width=72),
        "rank": st.column_config.NumberColumn(format="%d", width=44),
    }
    table = pd.DataFrame(rows, columns=["method", "score", "rank"])
    st.dataframe(written(table, {"score": score}), hide_index=True, row_height=28, column_config=columns)
