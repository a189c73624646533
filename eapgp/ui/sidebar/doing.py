"""How well the model of the settings does their task, before anything is scored: one line under the settings.

Forward passes in the background: small models on this machine are asked by themselves, a moment after the page is
drawn; others at a click.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from eapgp.attribution.registry import get_method
from eapgp.evaluation.behaviour import behaviour
from eapgp.metrics import metric_title
from eapgp.numerals import decimal
from eapgp.runs.compute import load_for, resolve, selection_remarks
from eapgp.runs.files import content_key
from eapgp.runs.info import RunInfo
from eapgp.runs.spec import LATER_FIELDS, PROMPT_FIELDS, RunSpec
from eapgp.types import Progress
from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll, progress_text, watch
from eapgp.ui.jobs.workshop import Workshop, with_gradients
from eapgp.ui.library.consent import at_hand, live_lane, runs_at_once

_DECIDING = (*PROMPT_FIELDS, *LATER_FIELDS, "prompts", "metric", "dtype")


@dataclass(frozen=True)
class Doing:
    """A model on the pairs of the settings.

    clean, corrupted: the metric, mean over pairs; remarks: what was left out.
    """

    n_pairs: int
    n_right: int
    metric: str
    clean: float
    corrupted: float
    remarks: tuple[str, ...] = ()


def doing_work(shop: Workshop, lane: str, spec: RunSpec) -> Callable[[Progress], Doing]:
    """Run the prompts of a spec through its model."""

    def work(progress: Progress) -> Doing:
        from eapgp.attribution.api import prepare  # brings torch

        loader = partial(shop.model, lane)
        shop.try_spec(spec, progress)
        resolved = resolve(spec, loader)
        progress("loading the model", 0.0)
        model = load_for(spec, loader, progress)
        resolved = resolved.for_model(model, progress)
        contrast = get_method(spec.method).needs_contrast(spec.intervention)
        pairs, _ = prepare(model, resolved.prompts, resolved.metric, contrast=contrast)
        answers = behaviour(model, pairs, metric=resolved.metric, progress=progress)
        ends = float(answers.clean.mean()), float(answers.corrupted.mean())
        return Doing(pairs.n, int(answers.right.sum()), resolved.metric, *ends, selection_remarks(resolved.prompts))

    return with_gradients(work, quick=True)


def job_id(spec: RunSpec) -> str:
    """The job that answers for a spec: one per model, pairs, metric and how they are put to the model."""
    values = spec.to_dict()
    return f"doing-{content_key({name: values.get(name) for name in _DECIDING})}"


def submit(spec: RunSpec, *, slot: str | None = None) -> str:
    """Start (or join) the job for a spec."""
    lane = live_lane(spec.model, spec)
    job = doing_work(server.workshop(), lane, spec)
    return server.manager().submit(job_id(spec), f"how well {spec.model} does it", job, lane=lane, slot=slot)


def of_run(card: RunInfo) -> Doing | None:
    """What a run knows of it; None for runs that were stored without it."""
    if card.accuracy is None or card.metric_clean is None or card.metric_corrupted is None:
        return None
    right = round(card.accuracy * card.n_pairs)
    return Doing(card.n_pairs, right, card.metric, card.metric_clean, card.metric_corrupted)


def named(spec: RunSpec) -> str:
    """The model as the line calls it."""
    return Path(spec.model).name if Path(spec.model).is_absolute() else spec.model


AFTER = 1.5  # seconds after which the job starts: pages are drawn first, and settings that move on start none
_WEAK = 0.75  # share of right answers below which the line warns
_HELP = (
    "Right: the right answers are likelier than the wrong ones on the clean prompt. A circuit explains a behaviour "
    "that the model has: with few pairs right, or a metric that hardly differs between clean and corrupted prompts, "
    "there is little to explain. More settings can keep only the pairs it gets right."
)


def line(spec: RunSpec, stored: Doing | None) -> None:
    """Draw the line for what the settings ask. known: what a stored run says already."""
    job = server.job(job_id(spec))
    if stored is not None:
        _say(spec, stored)
    elif job is not None and job.live:
        poll(job.id, lambda now: st.caption(f"How well {plain(named(spec))} does this · {progress_text(now)}"))
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
        st.caption(f"How well {plain(named(spec))} does this · …")
        if looked[0]:
            submit(spec, slot=server.session_slot("doing"))
        looked[0] = True

    watch(draw, lambda: server.job(job_id(spec)) is not None, every=AFTER)


def _ask(spec: RunSpec) -> None:
    pressed = st.button(
        "How well does it do this?",
        key="doing-button",
        type="tertiary",
        icon=":material/quiz:",
        help=f"Runs {plain(named(spec))} on the prompts once: the share of right answers, and the metric.",
    )
    if pressed:
        submit(spec, slot=server.session_slot("doing"))
        st.rerun()


def _say(spec: RunSpec, known: Doing) -> None:
    weak = ":material/warning: " if known.n_right < _WEAK * known.n_pairs else ""
    title = metric_title(known.metric).lower()
    left_out = " · some pairs left out" if known.remarks else ""
    st.caption(
        f"{weak}{plain(named(spec))} gets {known.n_right:,} of {known.n_pairs:,} right · {title} "
        f"{decimal(known.clean, 2)} clean / {decimal(known.corrupted, 2)} corrupted{left_out}",
        help=" ".join((_HELP, *map(plain, known.remarks))),
    )


def _short(message: str) -> str:
    return message if len(message) <= 160 else message[:157] + "…"
