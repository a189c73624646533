"""How a reproduction was made, and how to make it again: facts, Python, command line."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from eapgp.study.reproduce_result import Reproduction
from eapgp.ui.base.draw import plain
from eapgp.ui.paper.panel import Outcome, question_of
from eapgp.ui.parts import snippets


def made(outcome: Outcome, result: Reproduction) -> None:
    """What decided the numbers, and how to make them again."""
    left, right = st.columns([1, 1], gap="large")
    with left:
        st.markdown("**What decided these numbers**")
        table = pd.DataFrame(facts(outcome, result), columns=["", "value"]).set_index("")
        st.table(table.map(plain), border="horizontal", hide_header=True)
    with right:
        lines = snippets.reproduce_lines(result.model, question_of(result))
        snippets.draw(*lines, title="Run it again in Python")
        st.caption("Runs that are in the library already are not computed again.")


def facts(outcome: Outcome, result: Reproduction) -> list[tuple[str, str]]:
    """What decided the numbers, and where and when they were computed."""
    asked, record = result.asked, result.made
    rows = [("Model", result.model), ("Pairs per task", f"{asked.n_pairs}, seed {asked.seed}")]
    if not record:
        return [*rows, ("Computed", "nothing")]
    libraries = record["libraries"]
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items() if name != "platform")
    runs = sum(len(methods) for methods in record["runs"].values())
    origin = "bundled with the project" if outcome.bundled else "in the run library"
    return [
        *rows,
        ("Weights", f"{record['model']['weights_hash']}, {record['model']['dtype']}"),
        ("Tokenizer", str(record["model"].get("tokenizer_hash", "–"))),
        ("Runs", f"{runs}, {origin}"),
        ("Computed", f"{record['created']} on {record['device']}, {record['seconds']:.0f} s of computing"),
        ("Versions", versions),
        ("Platform", str(libraries.get("platform", "–"))),
    ]
