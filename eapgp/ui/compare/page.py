"""The Compare page: its fields, which runs stand side by side, and what they differ in."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from eapgp.runs import describe
from eapgp.runs.spec import RunSpec
from eapgp.ui.base.draw import plain
from eapgp.ui.base.fields import choice, integer, names, text
from eapgp.ui.base.names import metric_title, variant
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.jobs.polling import watch
from eapgp.ui.jobs.progress import progress_row
from eapgp.ui.library import measure, results
from eapgp.ui.library.shelf import RunInfo
from eapgp.ui.parts.bound_view import VIEW_FIELDS
from eapgp.ui.sidebar import settings
from eapgp.ui.sidebar.panel import FIELDS_OF_RUN

MOST_RUNS = 4
TABS = {
    "scatter": "Score against score",
    "overlap": "Agreement",
    "sets": "Shared and not",
    "curves": "Faithfulness",
    "costs": "Costs",
}
MEASURES = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "kendall": "Kendall",
    "sign_agreement": "Equal signs",
}
FIELDS = (
    *FIELDS_OF_RUN,
    choice(
        "by",
        "methods",
        ("methods", "steps", "tasks", "seeds", "models", "runs"),
        "What differs from the settings on the left: the method, its steps, the task, the prompts drawn, the model "
        "(of the same number of layers and heads), or any stored runs that you pick.",
    ),
    names("these", (), "Two to four of them. What has no result yet is computed at a click.", most=MOST_RUNS),
    names("runs", (), "Two to four runs to compare. All must be of the same model size.", most=MOST_RUNS),
    integer("a", 1, 1, MOST_RUNS, "The first of the two that are compared edge by edge, in one picture and below."),
    integer("b", 2, 1, MOST_RUNS, "The second of the two that are compared edge by edge, in one picture and below."),
    integer("k", 50, 1, 10_000_000, "How many of the strongest edges each circuit takes; the same for all."),
    text("sel", "", "The selected node or edge.", pattern=r"[\w.<>\-]{1,80}", expected="the name of a node or edge"),
    *VIEW_FIELDS,
    choice(
        "picture",
        "panes",
        ("panes", "sets"),
        "One circuit beside the other, or both in one picture with shared edges told apart.",
    ),
    choice(
        "quantity",
        "scores",
        ("scores", "ranks"),
        "Compare the scores themselves, or each edge's place in the ranking (when units differ).",
    ),
    choice(
        "agree",
        "spearman",
        tuple(MEASURES),
        "The measure of agreement in the bars: correlations of scores or of ranks, or how many signs are the same.",
    ),
    choice("group", "types", ("types", "layers"), "Bars by the kind of input that edges enter, or by its layer."),
    choice(
        "reference",
        "auto",
        ("auto", "exact", "a"),
        "What the others are held against: exact patching (the real effect of every edge) or A. Automatic takes exact "
        "patching where it was computed.",
    ),
    choice("grid", "quick", ("quick", "mib"), "Which sizes are measured: eleven from 0.5 % up, or MIB's ten shares."),
    choice("tab", "scatter", tuple(TABS), "Which view is open below the circuits."),
)
# What “compute more” offers: method, options, label.
OFFERS: tuple[tuple[str, dict[str, object]], ...] = (
    ("eap", {}),
    ("eap-ig", {"steps": 5, "points": "left"}),
    ("eap-gp", {"steps": 5, "step": "relative", "objective": "all"}),
    ("eap-gp", {"steps": 5, "step": "unit", "objective": "all"}),
    ("exact", {}),
    ("random", {}),
)


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
    told = [f"{one} · {card.id[:6]}" if labels.count(one) > 1 else one for one, card in zip(labels, cards, strict=True)]
    return dict(zip(told, cards, strict=True))


def default_runs(context: RunInfo) -> tuple[str, ...]:
    """EAP, EAP-IG and EAP-GP (both step rules) on the context's prompts, as far as they exist.

    Those of as many steps as the context come first.
    """
    found = results.comparable(context)
    usual = [card for card in found if card.method in ("eap", "eap-ig", "eap-gp")]
    steps = context.options.get("steps")
    usual.sort(key=lambda card: steps is not None and card.options.get("steps", steps) != steps)
    return tuple(card.id for card in (usual if len(usual) > 1 else found)[:MOST_RUNS])


def say_lost(session: Session, context: RunInfo) -> None:
    """Name the runs of the link that cannot be shown here; call it above the row that `choose` stands in."""
    known = {card.id for card in results.shelf().cards() if card.graph == context.graph}
    lost = [run for run in session["runs"] if run not in known]
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
    chosen = session.widget(
        "runs",
        st.multiselect,
        "Runs side by side",
        options=[card.id for card in order],
        format_func=lambda run: labels.get(run, run),
        max_selections=MOST_RUNS,
        placeholder="Pick two to four runs",
    )
    return [candidates[run] for run in chosen]


def offer_more(session: Session, spec: RunSpec, context: RunInfo | None) -> None:
    """Buttons that compute the methods which this context still lacks, and how far those are."""
    have = {variant(card.method, card.options) for card in results.comparable(context)} if context else set()
    missing = [(m, o) for m, o in OFFERS if variant(m, o) not in have]
    live = {job.id for job in _live_runs()}
    if live:
        watch_runs()
    if not missing:
        return
    with st.popover(
        "Compute more", icon=":material/add:", help="Methods that have no result yet for the settings on the left."
    ):
        st.caption(f"On {plain(spec.task)}, {spec.n_pairs} pairs, seed {spec.seed}, {plain(spec.model)}:")
        for method, options in missing:
            asked = settings.with_method(spec, method, options)
            name = variant(method, options)
            st.button(
                name,
                key=f"add-{name}",
                width="stretch",
                icon=":material/play_arrow:",
                on_click=_start,
                args=(session, asked, name),
                disabled=f"run-{asked.key()}" in live,
                help="Exact patching runs the model once per edge: seconds on the demo model, hours on large ones."
                if method == "exact"
                else "Computed in the background; it joins the comparison when it is done.",
            )


def _start(session: Session, spec: RunSpec, name: str) -> None:
    measure.submit_run(spec, f"{name} on {spec.task}")
    st.session_state.setdefault("compare-wanted", []).append(spec)


def watch_runs() -> None:
    """All runs that are being computed, until one ends or another comes."""
    known = frozenset(job.id for job in _live_runs())
    watch(lambda: job_rows(_live_runs()), lambda: {job.id for job in _live_runs()} != known, every=0.5)


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
        job = server.job(f"run-{spec.key()}")
        if job is not None and job.live:
            left.append(spec)
        elif job is not None and job.state == "done":
            if job.result not in session["runs"] and len(session["runs"]) < MOST_RUNS:
                session["runs"] = (*session["runs"], job.result)
        elif job is not None and job.state == "failed":
            st.error(plain(job.message), icon=":material/error:")
    st.session_state["compare-wanted"] = left


def differences(cards: Sequence[RunInfo]) -> list[str]:
    """What the runs differ in, in words."""
    return describe.differences([card.record["request"] for card in cards])


def unpaired(a: RunInfo, b: RunInfo) -> str:
    """Why two runs cannot be compared pair by pair; empty where they can."""
    apart = [name for name in differences([a, b]) if name in ("prompts", "metric", "intervention", "model")]
    return f"they have different {' and '.join(apart)}" if apart else ""


def say_unlike(cards: Sequence[RunInfo]) -> None:
    """Say plainly what else than the method differs, and what is left out for that reason."""
    apart = [name for name in differences(cards) if name not in ("method", "step settings")]
    if not apart:
        return
    left_out = ["the paired difference of faithfulness"]
    if "metric" in apart:
        left_out.append("one scale for all panes and scores on common axes (their units differ)")
    st.info(
        f"These runs differ in {', '.join(apart)}: part of what differs below comes from that. "
        f"Left out: {'; '.join(left_out)}.",
        icon=":material/info:",
    )


def nothing_to_compare() -> None:
    """What the page says when fewer than two results are there."""
    st.info(
        "A comparison needs two results: pick two to four above; what is not computed yet is computed at a click.",
        icon=":material/compare_arrows:",
    )
