"""Why the selected head looks from one word at another, in the drawer below its attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from eapgp.numerals import decimal, percent, signed
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, dark, plain, written
from eapgp.ui.base.fields import integer
from eapgp.ui.base.session import Session
from eapgp.ui.jobs.follow import follow
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.parts import node_jobs

if TYPE_CHECKING:
    from eapgp.readings import AttentionTerms, HeadPattern
    from eapgp.readings.attention_terms import SourceCheck

MOST = 4_096  # positions; no prompt is longer
FIELDS = (
    integer(
        "looks", -1, -1, MOST, "The word whose attention is explained; at first the one that answers.", label="From"
    ),
    integer("at", -1, -1, MOST, "The word that is looked at; at first the one looked at most.", label="At"),
)
TOP = 8  # pairs of sources in the table


def section(session: Session, card: RunInfo, node: str, pair: int, pattern: HeadPattern) -> None:
    """The attention logit from one position to another as pairs of sources; pattern: of the same head and pair."""
    query, key = _places(session, pattern)
    key_of_job = node_jobs.submit_terms(card, node, pair, query, key)
    follow(key_of_job, lambda job: _show(card, job.result, key_of_job), waiting="Taking the logit apart ·")


def _places(session: Session, pattern: HeadPattern) -> tuple[int, int]:
    """The two positions: chosen ones that this prompt has, else the last and the one that it looks at most."""
    tokens, n = pattern.clean_tokens, len(pattern.clean_tokens)
    session.usual("looks", n - 1)
    session.settle("looks", min(session["looks"], n - 1), f"a position up to {n - 1}, the last of this prompt")
    session.usual("at", int(pattern.clean[session["looks"]].argmax()))
    session.settle("at", min(session["at"], session["looks"]), "a position up to the one that looks")
    st.markdown("**Why it looks there**")
    with st.container(horizontal=True, key="looking"):
        for name, options in (("looks", range(n)), ("at", range(session["looks"] + 1))):
            session.widget(
                name,
                st.selectbox,
                options=list(options),
                format_func=lambda place: f"{place} {tokens[place]}" if 0 <= place < n else str(place),
            )
    return int(session["looks"]), int(session["at"])


def _show(card: RunInfo, found: AttentionTerms, job: str) -> None:
    from eapgp.figures.attention_terms import term_map

    clean, corrupted = found.clean, found.corrupted
    before = " Logits are those before this model's soft cap." if found.capped else ""
    st.caption(
        f"Attention {percent(clean.weight)} on the clean prompt, {percent(corrupted.weight)} on the corrupted one; "
        f"logit {signed(clean.logit)} and {signed(corrupted.logit)}: a sum over pairs of what earlier nodes wrote into "
        f"the query and into the key; {signed(clean.rest)} and {signed(corrupted.rest)} belong to no pair.{before}"
    )
    chart(term_map(clean.terms, found.parts, dark=dark()), "terms-clean")
    chart(term_map(found.difference, found.parts, of=clean.terms, side="difference", dark=dark()), "terms-difference")
    rows = [
        {
            "query × key": f"{query} × {key}",
            "clean": clean.terms[u, v],
            "corrupted": corrupted.terms[u, v],
            "Δ": found.difference[u, v],
        }
        for query, key, u, v in found.largest(TOP)
    ]
    forms = dict.fromkeys(("clean", "corrupted", "Δ"), signed)
    about = {"Δ": st.column_config.NumberColumn(help="Clean minus corrupted.", width=64)}
    st.dataframe(written(pd.DataFrame(rows), forms), hide_index=True, row_height=26, column_config=about)
    _check(card, found, job)


def _check(card: RunInfo, found: AttentionTerms, job: str) -> None:
    """The terms held against real changes, after a click."""
    asked = st.session_state.setdefault("terms-checked", set())
    if job not in asked:
        if not st.button(
            "Check by patching",
            key="check-terms",
            icon=":material/science:",
            help="Gives the query, and then the key, the corrupted output of one source at a time, runs the attention "
            "on that, and compares the change of the logit with what the terms say.",
        ):
            return
        asked.add(job)
    checked = node_jobs.submit_terms(card, found.node, found.pair, found.query, found.key, check=True)
    follow(checked, _checked, waiting="Patching sources ·")


def _checked(job: JobView) -> None:
    for one in job.result.checks:
        st.caption(f":material/science: {plain(_in_words(one))}")


def _in_words(check: SourceCheck) -> str:
    """How well the terms tell what corrupting sources does; the largest of them as an example."""
    where = {"q": "query", "k": "key"}[check.letter]
    at = int(abs(check.measured).argmax())
    example = f"{check.parts[at]}: {signed(check.predicted[at])} by the terms, {signed(check.measured[at])} for real"
    agreement = "–" if check.agreement != check.agreement else decimal(check.agreement, 2)
    return (
        f"{len(check.parts) - 1} sources corrupted in the {where}, one at a time: correlation {agreement}; largest "
        f"{example}. Real changes move the norm too, which the terms hold."
    )
