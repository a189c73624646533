"""How far a job is: in words, as a bar, and with a way to stop it. For use inside of what `polling` draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobView


def stop_button(
    job: JobView,
    *,
    key: str,
    help: str = "Stop this computation.",
    type: Literal["secondary", "tertiary"] = "secondary",
    width: Literal["content", "stretch"] = "content",
) -> None:
    """A button that cancels a job."""
    if st.button("Cancel", key=key, icon=":material/close:", help=help, type=type, width=width):
        server.manager().cancel(job.id)
        st.rerun(scope="app")


def progress_bars(jobs: Sequence[JobView]) -> None:
    """Live jobs, one bar each."""
    for job in jobs:
        st.progress(job.fraction, text=f"{plain(job.label)} · {progress_text(job)}")


def progress_row(job: JobView, *, key: str, label: str | None = None, help: str | None = None) -> None:
    """A live job with its place in the queue or progress, and a button to stop it."""
    left, right = st.columns([6, 1], vertical_alignment="center")
    left.progress(job.fraction, text=f"{plain(label or job.label)} · {progress_text(job)}")
    with right:
        stop_button(job, key=key, help=help or f"Stop: {plain(job.label)}.")


def progress_text(job: JobView) -> str:
    """One line about a live job: its place in the queue, or phase, share done and time left."""
    if job.state == "queued":
        ahead = f"{job.position} job{'s' if job.position != 1 else ''} ahead" if job.position else "next"
        if job.stopping:
            ahead += ", when the cancelled one has stopped"
        return f"Waiting · {ahead}"
    phase = (job.phase or "starting").capitalize()
    left = f" · about {seconds_text(job.seconds_left)} left" if job.seconds_left is not None else ""
    share = f" · {job.fraction:.0%}" if job.fraction > 0 else ""
    return f"{phase}{share}{left}"


def seconds_text(seconds: float) -> str:
    """A duration in a few characters."""
    if seconds < 1:
        return "1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
