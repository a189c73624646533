"""Places on a page that look at jobs by themselves until something has ended, and then run the page again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobView


def watch(draw: Callable[[], None], over: Callable[[], bool], *, every: float) -> None:
    """Draw every so many seconds until `over`; then the whole page runs.

    The page never runs again from within its own run, even where things end just then: Streamlit
    would drop what this run has drawn but not sent yet, and with it the values given to widgets.
    """
    within_page = [True]

    def look() -> None:
        first = bool(within_page)
        within_page.clear()
        if first or not over():
            draw()
        else:
            st.rerun(scope="app")

    st.fragment(look, run_every=every)()


def poll(job_id: str, draw: Callable[[JobView], None], *, every: float = 0.4) -> None:
    """Draw a live job until it has ended."""
    poll_all((job_id,), lambda jobs: draw(jobs[0]), every=every)


def poll_all(job_ids: Sequence[str], draw: Callable[[Sequence[JobView]], None], *, every: float = 0.4) -> None:
    """Draw live jobs until one of them has ended."""

    def known() -> list[JobView]:
        return [job for job in map(server.job, job_ids) if job is not None]

    def show() -> None:
        jobs = known()
        if jobs:
            draw(jobs)

    watch(show, lambda: sum(job.live for job in known()) < len(job_ids), every=every)
