"""All that is being computed on this server, at the foot of every page's sidebar, each with a way to stop it."""

from __future__ import annotations

import streamlit as st

from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.jobs.polling import watch
from eapgp.ui.jobs.progress import progress_text, stop_button
from eapgp.ui.sidebar.panel import OWN_JOB

PATIENCE = 1.5  # seconds: what is over sooner needs no line
EVERY = 2.0  # seconds between two looks


def draw() -> None:
    """The list, where there is something to list; it keeps itself up to date without touching the page."""
    if _listed():
        with st.sidebar, st.container(key="jobs-bar"):
            own = st.session_state.get(OWN_JOB, "")
            watch(lambda: _list(own), lambda: not _listed(), every=EVERY)


def _listed() -> list[JobView]:
    """Live jobs but the quick ones."""
    waiting = [job for job in server.manager().live() if job.state == "queued" or job.seconds > PATIENCE]
    return [job for job in waiting if not job.id.startswith("stored-")]


def _list(own: str) -> None:
    jobs = _listed()
    if not jobs:
        return
    st.markdown(f"**{len(jobs)} job{'s' if len(jobs) != 1 else ''}** · {_in_words(jobs)}")
    for job in jobs:
        if job.id == own:  # its progress stands further up
            continue
        st.progress(job.fraction, text=f"{plain(job.label)} · {progress_text(job)}")
        help = f"Stop: {plain(job.label)}. It stops for everybody who waits for it."
        stop_button(job, key=f"bar-cancel-{job.id}", help=help, type="tertiary")


def _in_words(jobs: list[JobView]) -> str:
    running = sum(job.state == "running" for job in jobs)
    parts = [f"{running} running" if running else "", f"{len(jobs) - running} waiting" if running < len(jobs) else ""]
    return ", ".join(part for part in parts if part)
