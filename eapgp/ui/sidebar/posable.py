"""Which tasks a model's tokenizer cannot pose, and why: found in the background, said below the list of tasks."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from eapgp.models.catalogue import BUNDLED, find_model
from eapgp.runs.compute import spec_tokenizer
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS, posable
from eapgp.types import Progress
from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import QUICK
from eapgp.ui.jobs.polling import watch
from eapgp.ui.library.consent import at_hand, live_lane
from eapgp.ui.sidebar.settings import model_problem

EVERY = 1.0  # seconds between two looks


def unposable(model: str) -> Mapping[str, str]:
    """Tasks that a model's tokenizer cannot pose, with the reason, as far as that is known.

    Nothing is fetched for it: a model that is not on this machine is not asked.
    """
    entry = find_model(model)
    if (entry is not None and entry.source == BUNDLED) or model_problem(model) or not at_hand(model):
        return {}
    key = f"posable-{model}"

    def work(progress: Progress) -> dict[str, str]:
        progress("reading the tokenizer", 0.0)
        server.workshop().import_libraries()
        tokenizer = spec_tokenizer(RunSpec(model=model))
        return {task: reason for task in TASKS if (reason := posable(task, tokenizer))}

    server.manager().submit(key, f"tasks of {model}", work, lane=live_lane(model))
    job = server.manager().wait(key, QUICK)
    return job.result if job is not None and job.state == "done" else {}


def say(model: str, task: str) -> None:
    """Below the list of tasks: those that this model cannot be asked, the one chosen first."""
    reasons = unposable(model)
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
