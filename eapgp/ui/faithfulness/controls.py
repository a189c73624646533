"""The top of the Faithfulness page: its settings, and faithfulness at one size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from eapgp.circuits.circuit import Circuit
from eapgp.numerals import decimal, ends
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import plain
from eapgp.ui.base.session import Session
from eapgp.ui.faithfulness.measurements import Cards
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll_all, progress_text
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import measure, results
from eapgp.ui.library.circuits import circuit_of
from eapgp.ui.parts.measuring import AT_ONCE

_CONTEXT = "faith-context"


def follow_context(session: Session, context: RunInfo) -> None:
    """Let go of the chosen runs when the sidebar has moved on to other prompts, model or metric."""
    now = (context.prompts_hash, context.metric, context.model)
    before = st.session_state.get(_CONTEXT, now)
    st.session_state[_CONTEXT] = now
    if before != now:
        session["runs"] = ()


def controls(session: Session) -> None:
    """The row of settings above the curves."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="faith-controls"):
        session.widget("measure", st.segmented_control, width="content")
        session.widget("by", st.segmented_control, width="content")
        session.widget("grid", st.segmented_control, width="content")
        session.widget("base", st.toggle, width="content")


def look_closely(session: Session, cards: Cards, context: RunInfo, page: str) -> tuple[str, int]:
    """Whose circuit is looked at closely (the name of one of the runs) and of what size, and the way to it on Explore.

    page: path of the page's own file; Explore lies beside it.
    """
    by_id = {card.id: name for name, card in cards.items()}
    n_edges = next(iter(cards.values())).graph.n_edges
    session.settle("k", min(session["k"], n_edges), f"at most {n_edges:,}, the edges of this model")
    session.settle("of", session["of"] if session["of"] in by_id else "", "the id of one of the runs side by side")
    session.usual("of", context.id if context.id in by_id else next(iter(by_id)))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="faith-closely"):
        session.widget("of", st.selectbox, options=list(by_id), format_func=lambda run: by_id.get(run, run))
        k = session.widget("k", st.number_input, max_value=n_edges, width=112)
        name = by_id[session["of"]]
        opened = st.button(
            "Open in Explore",
            key="faith-explore",
            icon=":material/hub:",
            help="Shows this run's circuit of size k on the Explore page, edge by edge.",
        )
    if opened:
        if cards[name].id != context.id:
            session.later(run=cards[name].id)
        beside = Path(page).with_name("explore.py")
        st.switch_page(f"{beside.parent.name}/{beside.name}")
    return name, int(k)


def readout(cards: Cards, k: int, closely: str) -> None:
    """Faithfulness at the chosen size with its interval, one number per run."""
    waiting = []
    with st.container(horizontal=True, gap="medium", key="faith-readout"):
        for name, card in cards.items():
            circuit = circuit_of(card, results.attribution(card).scores, k)
            slot = server.session_slot(f"faith-{card.id}")
            if card.graph.n_edges > AT_ONCE and measure.known(card, [circuit]) is None:
                continue
            key = measure.submit_circuits(card, [circuit], f"{circuit.n_kept} edges of {name}", slot=slot)
            job = server.manager().soon(key)
            if job is not None and job.live:
                waiting.append(key)
            elif job is not None and job.state == "done":
                _metric(name, job, circuit, bold=name == closely)
            elif job is not None and job.state == "failed":
                st.error(plain(f"{name}: {job.message}"), icon=":material/error:")
    if waiting:
        poll_all(waiting, _waiting)


def _metric(name: str, job: JobView, circuit: Circuit, *, bold: bool) -> None:
    band, value = job.result.band(), job.result.faithfulness[0]
    text = decimal(value)
    st.metric(
        f"**{plain(name)}**" if bold else plain(name),
        text,
        delta=None if math.isnan(value) else ends(band.low[0], band.high[0]),
        delta_color="off",
        delta_arrow="off",
        help=f"Faithfulness of the circuit of {circuit.n_selected:,} selected edges ({circuit.n_kept:,} after "
        "pruning), with its 95 % interval over prompt pairs drawn with replacement. 1 = all of the behaviour, 0 none.",
        width="content",
    )


def _waiting(jobs: Sequence[JobView]) -> None:
    running = next((job for job in jobs if job.state == "running"), jobs[0])
    more = f" · {len(jobs) - 1} more circuit{'s' if len(jobs) > 2 else ''} after it" if len(jobs) > 1 else ""
    st.progress(running.fraction, text=f"{plain(running.label)} · {progress_text(running)}{more}")
