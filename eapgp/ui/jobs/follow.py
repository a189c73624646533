"""How pages wait for jobs: places that look by themselves until something has ended, progress, results.

A few pages look each as often as they want, those of a class no oftener than that all together.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st

from eapgp.errors import EapgpError, one_line
from eapgp.numerals import duration, percent
from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobView

TOGETHER = 4.0
"""Looks a second of all pages of a server; each takes a hundredth of a second of its one thread that runs at a time."""
MOST = 8.0
"""How many times longer a page waits at most."""
CROWD, PAGES = 2.0, 4
"""How many times longer pages wait from where on long jobs stand back for them, and how many pages make a crowd."""
SECONDS = 10.0
"""How far back looks are counted."""


class Looks:
    """The looks of the last seconds, each as many as it would have been had its page not waited longer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, float, str]] = deque(maxlen=1_000)

    def note(self, stretch: float, page: str) -> None:
        """Count a look of a page, by its session's name, that waits so many times longer than it wants."""
        self._recent.append((self._clock(), stretch, page))

    def stretch(self) -> float:
        """How many times longer than it wants a page should wait, at least 1."""
        wanted = sum(stretch for stretch, _ in self._last()) / SECONDS
        return min(MOST, max(1.0, wanted / TOGETHER))

    def crowd(self) -> bool:
        """Whether pages of several people wait for one another; one page with several bars is none."""
        return self.stretch() >= CROWD and len({page for _, page in self._last()}) >= PAGES

    def _last(self) -> list[tuple[float, str]]:
        since = self._clock() - SECONDS
        return [(stretch, page) for at, stretch, page in list(self._recent) if at >= since]


@st.cache_resource(max_entries=1, show_spinner=False)
def looks_so_far() -> Looks:
    """How often the pages of this server look for jobs."""
    return Looks()


def watch(draw: Callable[[], None], over: Callable[[], bool], *, every: float) -> None:
    """Draw every so many seconds until `over`; then the whole page runs.

    The page never runs again from within its own run, even where things end just then: Streamlit
    would drop what this run has drawn but not sent yet, and with it the values given to widgets.
    What cannot be drawn (a full queue, say) is said in its place, and tried again at the next look.
    """
    within_page = [True]
    looks = looks_so_far()
    stretch = looks.stretch()
    if looks.crowd():
        server.manager().jobs.crowded()

    def look() -> None:
        first = bool(within_page)
        within_page.clear()
        if not first:
            looks.note(stretch, server.session_slot("look"))
        if first or not over():
            try:
                draw()
            except EapgpError as error:
                st.caption(plain(one_line(error)))
        else:
            st.rerun(scope="app")

    st.fragment(look, run_every=every * stretch)()


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
    left = f" · about {duration(job.seconds_left)} left" if job.seconds_left is not None else ""
    share = f" · {percent(job.fraction)}" if job.fraction > 0 else ""
    return f"{phase}{share}{left}"


def follow(job_id: str, show: Callable[[JobView], None], *, waiting: str, cancel: bool = False) -> None:
    """Draw a job's result by `show`; until then its progress, refreshed without touching the page.

    waiting: what to say in front of the progress. cancel: offer to stop it.
    """
    job = server.manager().soon(job_id)
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


def say_failed(job: JobView, *, title: str | None = None, label: str = "") -> None:
    """Why a job failed; a result that the disk had no room for is in memory still, and can be saved."""
    st.error(plain(f"{label}: {job.message}" if label else job.message), icon=":material/error:", title=title)
    if job.result is None:
        return
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.caption("The result is kept in the server's memory until it stops: free space and press Save.")
    if right.button("Save", key=f"save-{job.id}", icon=":material/save:", width="stretch", help="Store it now."):
        try:
            job.result.save()
        except EapgpError as error:
            st.error(plain(one_line(error)), icon=":material/error:")
            return
        server.manager().forget(job.id)
        st.rerun()


def _wait(job: JobView, waiting: str, cancel: bool) -> None:
    st.progress(job.fraction, text=f"{waiting} {progress_text(job)}")
    if cancel:
        stop_button(job, key=f"cancel-{job.id}")
