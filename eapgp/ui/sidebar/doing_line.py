"""One line under the settings: how well the model does the task, before Run.

Small models on this machine are asked by themselves, a moment after the page is drawn; others at a click.
"""

from __future__ import annotations

import os

import streamlit as st

from eapgp.runs.spec import RunSpec
from eapgp.ui.base.draw import plain
from eapgp.ui.base.names import metric_title
from eapgp.ui.jobs import server
from eapgp.ui.jobs.polling import poll, watch
from eapgp.ui.jobs.progress import progress_text
from eapgp.ui.library import doing
from eapgp.ui.library.consent import at_hand, runs_at_once
from eapgp.ui.library.doing import Doing

AFTER = 1.5  # seconds after which the job starts: pages are drawn first, and settings that move on start none
_WEAK = 0.75  # share of right answers below which the line warns
_HELP = (
    "Right: the right answers are likelier than the wrong ones on the clean prompt. A circuit explains a behaviour "
    "that the model has: with few pairs right, or a metric that hardly differs between clean and corrupted prompts, "
    "there is little to explain. More settings can keep only the pairs it gets right."
)


def line(spec: RunSpec, known: Doing | None) -> None:
    """Draw the line for what the settings ask. known: what a stored run says already."""
    job = server.job(doing.job_id(spec))
    if known is not None:
        _say(spec, known)
    elif job is not None and job.live:
        poll(job.id, lambda now: st.caption(f"How well {plain(doing.named(spec))} does this · {progress_text(now)}"))
    elif job is not None and job.state == "done":
        _say(spec, job.result)
    elif job is not None and job.state == "failed":
        st.caption(f":material/error: {plain(_short(job.message))}", help=plain(job.message))
    elif runs_at_once(spec.model) and os.environ.get("EAPGP_WARM_UP", "1") != "0":
        _soon(spec)
    elif at_hand(spec.model) or spec.random_weights:
        _ask(spec)


def _soon(spec: RunSpec) -> None:
    """Start the job at the second look."""
    looked = [False]

    def draw() -> None:
        st.caption(f"How well {plain(doing.named(spec))} does this · …")
        if looked[0]:
            doing.submit(spec, slot=server.session_slot("doing"))
        looked[0] = True

    watch(draw, lambda: server.job(doing.job_id(spec)) is not None, every=AFTER)


def _ask(spec: RunSpec) -> None:
    pressed = st.button(
        "How well does it do this?",
        key="doing-button",
        type="tertiary",
        icon=":material/quiz:",
        help=f"Runs {plain(doing.named(spec))} on the prompts once: the share of right answers, and the metric.",
    )
    if pressed:
        doing.submit(spec, slot=server.session_slot("doing"))
        st.rerun()


def _say(spec: RunSpec, known: Doing) -> None:
    weak = ":material/warning: " if known.n_right < _WEAK * known.n_pairs else ""
    title = metric_title(known.metric).lower()
    left_out = " · some pairs left out" if known.remarks else ""
    st.caption(
        f"{weak}{plain(doing.named(spec))} gets {known.n_right:,} of {known.n_pairs:,} right · {title} "
        f"{_number(known.clean)} clean / {_number(known.corrupted)} corrupted{left_out}",
        help=" ".join((_HELP, *map(plain, known.remarks))),
    )


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _short(message: str) -> str:
    return message if len(message) <= 160 else message[:157] + "…"
