"""A place on a page that looks at a job by itself until it has ended, and then runs the page again."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from eapgp.ui import services
from eapgp.ui.jobs import JobView


def poll(job_id: str, draw: Callable[[JobView], None], *, every: float = 0.4) -> None:
    """Draw a live job every so many seconds; once it has ended the whole page runs.

    The page never runs again from within its own run, even where the job ends just then: Streamlit
    would drop what this run has drawn but not sent yet, and with it the values given to widgets.
    """
    within_page = [True]

    def look() -> None:
        first = bool(within_page)
        within_page.clear()
        job = services.job(job_id)
        if job is not None and (job.live or first):
            draw(job)
        elif not first:
            st.rerun(scope="app")

    st.fragment(look, run_every=every)()
