"""Which stored runs stand side by side: their labels, the list to choose from, and more of them to compute."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from eapgp.attribution.registry import variant
from eapgp.attribution.usual import USUAL
from eapgp.metrics import metric_title
from eapgp.runs import info
from eapgp.runs.info import RunInfo
from eapgp.runs.spec import RunSpec
from eapgp.ui.base.draw import plain
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import progress_row, say_failed, watch
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import measure, results
from eapgp.ui.sidebar import settings

MOST_RUNS = 4


def label_of(card: RunInfo, context: RunInfo) -> str:
    """The variant, with what differs from the context's task, model or pairs."""
    parts = [variant(card.method, card.options)]
    if not card.imported:
        parts += [card.intervention] if card.intervention != context.intervention else []
        parts += [card.dtype] if card.dtype != context.dtype else []
    if card.run.name:
        parts.append(card.run.name)
    if card.task != context.task:
        parts.append(card.task)
    if card.model != context.model:
        parts.append(card.model_title)
    elif card.untrained:
        parts.append("untrained")
    if card.prompts_hash != context.prompts_hash and card.task == context.task:
        seed = f"seed {card.record['request']['seed']}"
        parts.append(", ".join((f"{card.n_pairs} pairs", *card.prompt_conditions, seed)))
    if card.metric != context.metric and card.task == context.task:
        parts.append(metric_title(card.metric).lower())
    return " · ".join(parts)


def named(cards: Sequence[RunInfo], context: RunInfo) -> dict[str, RunInfo]:
    """The cards by their labels, in order; where two have one label, their ids tell them apart."""
    labels = [label_of(card, context) for card in cards]
    names = [
        f"{one} · {card.id[:6]}" if labels.count(one) > 1 else one for one, card in zip(labels, cards, strict=True)
    ]
    return dict(zip(names, cards, strict=True))


def default_runs(context: RunInfo) -> tuple[str, ...]:
    """EAP, EAP-IG and EAP-GP (both step rules) on the context's prompts, as far as they exist.

    Those of as many steps as the context come first.
    """
    comparable = results.comparable(context)
    usual = [card for card in comparable if card.method in ("eap", "eap-ig", "eap-gp")]
    steps = context.options.get("steps")
    usual.sort(key=lambda card: steps is not None and card.options.get("steps", steps) != steps)
    return tuple(card.id for card in (usual if len(usual) > 1 else comparable)[:MOST_RUNS])


def say_lost(session: Session, context: RunInfo) -> None:
    """Name the runs of the link that cannot be shown here; call it above the row that `choose` stands in."""
    ids = {card.id for card in results.shelf().cards() if card.graph == context.graph}
    lost = [run for run in session["runs"] if run not in ids]
    if lost:
        one = len(lost) == 1
        st.warning(
            f"{'Run' if one else 'Runs'} {plain(', '.join(lost))} {'is' if one else 'are'} not here or of a model of "
            "another size; left out.",
            icon=":material/link_off:",
        )


def choose(session: Session, context: RunInfo) -> list[RunInfo]:
    """The runs to compare, picked from all of the context's graph."""
    candidates = {card.id: card for card in results.shelf().cards() if card.graph == context.graph}
    own = [card for card in results.comparable(context) if card.id in candidates]
    order = [*own, *(card for card in candidates.values() if card.id not in {one.id for one in own})]
    labels = {card.id: name for name, card in named(order, context).items()}
    wanted = tuple(run for run in session["runs"] if run in candidates)
    session["runs"] = wanted
    session.usual("runs", default_runs(context))
    run_ids = session.widget(
        "runs",
        st.multiselect,
        "Runs side by side",
        options=[card.id for card in order],
        format_func=lambda run: labels.get(run, run),
        max_selections=MOST_RUNS,
        placeholder="Pick two to four runs",
    )
    return [candidates[run] for run in run_ids]


def offer_more(session: Session, spec: RunSpec, context: RunInfo | None) -> None:
    """Buttons that compute the methods which this context still lacks, and how far those are."""
    have = {variant(card.method, card.options) for card in results.comparable(context)} if context else set()
    missing = [one for one in USUAL if variant(one.method, one.options) not in have]
    live = {job.id for job in _live_runs()}
    if live:
        watch_runs()
    if not missing:
        return
    with st.popover(
        "Compute more", icon=":material/add:", help="Methods that have no result yet for the settings on the left."
    ):
        st.caption(f"On {plain(spec.task)}, {spec.n_pairs} pairs, seed {spec.seed}, {plain(spec.model)}:")
        for one in missing:
            asked = settings.with_method(spec, one.method, one.options)
            name = variant(one.method, one.options)
            st.button(
                name,
                key=f"add-{name}",
                width="stretch",
                icon=":material/play_arrow:",
                on_click=_start,
                args=(session, asked, name),
                disabled=f"run-{asked.job_key()}" in live,
                help="Exact patching runs the model once per edge: seconds on the demo model, hours on large ones."
                if one.method == "exact"
                else "Computed in the background; it joins the comparison when it is done.",
            )


def _start(session: Session, spec: RunSpec, name: str) -> None:
    measure.submit_run(spec, f"{name} on {spec.task}")
    st.session_state.setdefault("compare-wanted", []).append(spec)


def watch_runs() -> None:
    """All runs that are being computed, until one ends or another comes."""
    ids = frozenset(job.id for job in _live_runs())
    watch(lambda: job_rows(_live_runs()), lambda: {job.id for job in _live_runs()} != ids, every=0.5)


def _live_runs() -> list[JobView]:
    return [job for job in server.manager().live() if job.id.startswith("run-")]


def job_rows(jobs: Sequence[JobView]) -> None:
    """Live jobs with their place in the queue or progress, each with a button to stop it."""
    for job in jobs:
        progress_row(job, key=f"stop-{job.id}")


def adopt_finished(session: Session) -> None:
    """Runs that were started here join the comparison when they are done; failures are told."""
    left = []
    for spec in st.session_state.get("compare-wanted", []):
        job = server.job(f"run-{spec.job_key()}")
        if job is not None and job.live:
            left.append(spec)
        elif job is not None and job.state == "done":
            if job.result not in session["runs"] and len(session["runs"]) < MOST_RUNS:
                session["runs"] = (*session["runs"], job.result)
        elif job is not None and job.state == "failed":
            say_failed(job)
            left += [spec] if job.result is not None else []  # it can still be saved
    st.session_state["compare-wanted"] = left


def differences(cards: Sequence[RunInfo]) -> list[str]:
    """What the runs differ in, in words."""
    return info.differences([card.record["request"] for card in cards])


def unpaired(a: RunInfo, b: RunInfo) -> str:
    """Why two runs cannot be compared pair by pair; empty where they can."""
    apart = [name for name in differences([a, b]) if name in ("prompts", "metric", "intervention", "model")]
    return f"they have different {' and '.join(apart)}" if apart else ""
