"""Results that arrive while the user looks: a place on the page that waits for a job by itself."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.jobs.polling import poll
from eapgp.ui.jobs.progress import progress_text, stop_button

QUICK = 0.2  # seconds that a page waits for a job before it shows progress instead


def follow(job_id: str, show: Callable[[JobView], None], *, waiting: str, cancel: bool = False) -> None:
    """Draw a job's result by `show`; until then its progress, refreshed without touching the page.

    waiting: what to say in front of the progress. cancel: offer to stop it.
    """
    job = server.manager().wait(job_id, QUICK)
    if job is None:
        st.caption("This result is no longer kept. Change something to ask again.")
    elif job.live:
        poll(job_id, lambda now: _wait(now, waiting, cancel))
    else:
        end(job, show)


def end(job: JobView, show: Callable[[JobView], None]) -> None:
    """Draw a job that no longer lives."""
    if job.state == "done":
        show(job)
    elif job.state == "failed":
        st.error(plain(job.message), icon=":material/error:")
    else:
        st.caption("Stopped.")


def _wait(job: JobView, waiting: str, cancel: bool) -> None:
    st.progress(job.fraction, text=f"{waiting} {progress_text(job)}")
    if cancel:
        stop_button(job, key=f"cancel-{job.id}")
