"""How a reproduction was made, and how to make it again: facts, Python, command line."""

from __future__ import annotations

import shlex

import pandas as pd
import streamlit as st

from eapgp.study.reproduce_result import Reproduction
from eapgp.ui.base.draw import plain
from eapgp.ui.paper.page import Shown, question_of


def made(shown: Shown, result: Reproduction) -> None:
    """What decided the numbers, and how to make them again."""
    left, right = st.columns([1, 1], gap="large")
    with left:
        st.markdown("**What decided these numbers**")
        table = pd.DataFrame(facts(shown, result), columns=["", "value"]).set_index("")
        st.table(table.map(plain), border="horizontal", hide_header=True)
    with right:
        st.markdown("**Run it again in Python**")
        st.code(python_snippet(result), language="python")
        st.markdown("**… or on the command line**")
        st.code(shell_snippet(result), language="bash", wrap_lines=True)
        st.caption("Runs that are in the library already are not computed again.")


def facts(shown: Shown, result: Reproduction) -> list[tuple[str, str]]:
    """What decided the numbers, and where and when they were computed."""
    asked, record = result.asked, result.made
    rows = [("Model", result.model), ("Pairs per task", f"{asked.n_pairs}, seed {asked.seed}")]
    if not record:
        return [*rows, ("Computed", "nothing")]
    libraries = record["libraries"]
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items() if name != "platform")
    runs = sum(len(methods) for methods in record["runs"].values())
    origin = "bundled with the project" if shown.bundled else "in the run library"
    return [
        *rows,
        ("Weights", f"{record['model']['weights_hash']}, {record['model']['dtype']}"),
        ("Tokenizer", str(record["model"].get("tokenizer_hash", "–"))),
        ("Runs", f"{runs}, {origin}"),
        ("Computed", f"{record['created']} on {record['device']}, {record['seconds']:.0f} s of computing"),
        ("Versions", versions),
        ("Platform", str(libraries.get("platform", "–"))),
    ]


def python_snippet(result: Reproduction) -> str:
    """Python that runs the protocol again."""
    arguments = "".join(f", {name}={value!r}" for name, value in question_of(result).items())
    return (
        "import eapgp\n\n"
        f"result = eapgp.reproduce({result.model!r}{arguments})\n"
        "print(result.verdicts())\n"
        'result.table().to_csv("paper.csv", index=False)\n'
        "for title, figure in result.figures():\n"
        "    figure.show()\n"
    )


def shell_snippet(result: Reproduction) -> str:
    """The command that runs the protocol again."""
    words = ["eapgp", "reproduce", "--model", result.model]
    for name, value in question_of(result).items():
        words += [f"--{name}" if value else f"--no-{name}"] if name == "exact" else [f"--{name}", str(value)]
    return " ".join(shlex.quote(word) for word in words) + " --out report --json"
