"""Results that arrive while the user looks: a place on the page that waits for a job by itself."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from eapgp.ui import services
from eapgp.ui.draw import plain
from eapgp.ui.jobs import JobView
from eapgp.ui.polling import poll
from eapgp.ui.progress import progress_text, stop_button
from eapgp.ui.shelf import Card

_AGREED = "eapgp-agreed"
QUICK = 0.2  # seconds that a page waits for a job before it shows progress instead


def follow(job_id: str, show: Callable[[JobView], None], *, waiting: str, cancel: bool = False) -> None:
    """Draw a job's result by `show`; until then its progress, refreshed without touching the page.

    waiting: what to say in front of the progress. cancel: offer to stop it.
    """
    job = services.manager().wait(job_id, QUICK)
    if job is None:
        st.caption("This result is no longer kept. Change something to ask again.")
    elif job.live:
        poll(job_id, lambda now: _wait(now, waiting, cancel))
    else:
        end(job, show)


def agreed(card: Card) -> bool:
    """Whether the model of a run may be run without asking (again)."""
    return services.runs_at_once(card.model) or card.id in st.session_state.get(_AGREED, ())


def may_run(card: Card, what: str, *, key: str) -> bool:
    """Whether the model of a run may be run now; where it is large or must be fetched, a button asks first.

    what: what it is run for, as the button says it, e.g. "Measure this circuit".
    """
    if agreed(card):
        return True
    fetched = "" if services.at_hand(card.model) else " and first fetches it from Hugging Face"
    pressed = st.button(
        what,
        key=key,
        icon=":material/play_arrow:",
        help=f"Runs {plain(card.model)} in the background{fetched}. It is not done unasked because the model is large "
        "or not on this machine; after this click, what this page shows of the run is measured as it changes.",
    )
    if pressed:
        st.session_state.setdefault(_AGREED, set()).add(card.id)
        st.rerun()
    return False


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
