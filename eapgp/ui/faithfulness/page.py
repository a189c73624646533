"""The Faithfulness page: its fields, what it has measured, and the top of it. `faithfulness_views` draws the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from eapgp.circuits.circuit import Circuit
from eapgp.evaluation.evidence import OUTSIDE, SAMPLE, SEEDS, RandomBaseline
from eapgp.evaluation.measured import Measured
from eapgp.runs.canonical import content_key
from eapgp.runs.info import RunInfo
from eapgp.runs.measure import Conditions
from eapgp.ui.base.draw import plain
from eapgp.ui.base.fields import choice, flag, integer, names, text
from eapgp.ui.base.names import carried
from eapgp.ui.base.session import Session
from eapgp.ui.faithfulness import jobs as work
from eapgp.ui.faithfulness.jobs import Evidence
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import QUICK
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.jobs.polling import poll_all
from eapgp.ui.jobs.progress import progress_text
from eapgp.ui.library import measure, results
from eapgp.ui.library.circuits import DEFAULT_EDGES, circuit_of
from eapgp.ui.parts import run_choice
from eapgp.ui.parts.measuring import AT_ONCE, GRID_TITLES, Task, lane_of, measured_curve, settle, sizes_of
from eapgp.ui.sidebar.panel import FIELDS_OF_RUN

Cards = Mapping[str, RunInfo]
_CONTEXT = "faith-context"
QUANTITIES = {"faithfulness": "Faithfulness", "metric": "Metric", "accuracy": "Accuracy", "kl": "KL divergence"}
TABS = {
    "areas": "Areas",
    "difference": "Differences",
    "evidence": "Complete and minimal",
    "numbers": "Numbers",
    "made": "How it was made",
}
FIELDS = (
    *FIELDS_OF_RUN,
    names(
        "runs",
        (),
        "The runs whose circuits are measured, up to four of one model size.",
        most=run_choice.MOST_RUNS,
        label="Runs side by side",
    ),
    integer(
        "k",
        DEFAULT_EDGES,
        1,
        10_000_000,
        "The circuit size that is looked at closely: the k strongest edges. Dotted on the curve; clicking a point of "
        "a curve sets it. It is the same k as on Explore.",
        label="Circuit size k",
    ),
    choice(
        "measure",
        "faithfulness",
        QUANTITIES | {"kl": "KL"},  # all four fit a phone
        "What the curves show: faithfulness (metric scaled to 0 … 1), the metric itself, how often the right answer "
        "wins, or how far the circuit's output is from the whole model's. The last two may have to be measured first.",
        label="Show",
    ),
    choice(
        "grid",
        "quick",
        GRID_TITLES,
        "Which sizes are measured. Quick: eleven sizes from 0.5 % up, known at once for the bundled examples. MIB: the "
        "ten shares 0.1 … 100 % of the benchmark, whose CPR and CMD compare with published ones.",
        label="Sizes",
    ),
    flag(
        "base",
        True,
        "Draw circuits of random edges too (grey): what a circuit of that size does by chance. Five draws, measured in "
        "the background.",
        label="Random circuits",
    ),
    text(
        "of",
        "",
        "Whose circuit is looked at closely, and the first of every difference.",
        pattern=r"[0-9a-f]{4,64}",
        expected="a run's id",
        label="Look closely at",
    ),
    choice("tab", "areas", tuple(TABS), "Which view is open below the curves."),
)


def measured_curves(session: Session, cards: Cards) -> dict[str, Measured]:
    """What is known of every run's circuits; what is not is measured, with its progress drawn."""
    curves = {}
    for name, card in cards.items():
        measured = measured_curve(card, name, session["grid"], session["measure"])
        if measured is not None:
            curves[name] = measured
    return curves


def baseline(session: Session, card: RunInfo) -> RandomBaseline | None:
    """Random circuits on the run's model and prompts."""
    sizes, run = sizes_of(session["grid"])(card.graph.n_edges), card.run
    asked = {"model": run.request["model"], **Conditions.of(run).to_dict(), "sizes": sizes, "seeds": SEEDS}
    compute = work.baseline_work(server.workshop(), lane_of(card), run, sizes)
    label, stored = f"random circuits on {card.task}", work.has_baseline(run, sizes)
    task = Task(f"random-{content_key(asked)[:16]}", label, card, compute, stored)
    return settle(task, RandomBaseline, ask=f"Measure {SEEDS} draws of random circuits")


def evidence_task(card: RunInfo, circuit: Circuit, name: str) -> Task:
    """One circuit's complement and what its edges contribute."""
    compute = work.evidence_work(server.workshop(), lane_of(card), card.run, circuit)
    label, stored = f"{circuit.n_kept} edges of {name}, one at a time", work.has_evidence(card.run, circuit)
    return Task(f"evidence-{card.id}-{circuit.key}", label, card, compute, stored)


def evidence(card: RunInfo, circuit: Circuit, name: str) -> Evidence | None:
    """The evidence on one circuit; None, with what to do drawn, until it is there."""
    runs = min(circuit.n_kept, SAMPLE) + OUTSIDE + 2
    return settle(evidence_task(card, circuit, name), Evidence, ask=f"Measure it ({runs} circuits)")


# -- the top of the page -----------------------------------------------------------------------


def heading(card: RunInfo) -> None:
    """What the page shows."""
    from eapgp.tasks import TASKS

    task = TASKS[card.task].title.lower() if card.task in TASKS else card.run.name or card.task
    model = "the demo model" if card.model_title == "demo" else card.run.name or card.model_title
    st.title("Faithfulness", anchor=False)
    st.caption(
        f"How much of the behaviour ({plain(task)}, {plain(model)}) the circuits keep when everything "
        f"else carries {carried(card.intervention)}: 1 is all of it, 0 none."
    )


def follow_context(session: Session, context: RunInfo) -> None:
    """Let go of the chosen runs when the sidebar has moved on to other prompts, model or metric."""
    now = (context.prompts_hash, context.metric, context.model)
    before = st.session_state.get(_CONTEXT, now)
    st.session_state[_CONTEXT] = now
    if before != now:
        session["runs"] = ()


def controls(session: Session, n_edges: int) -> int:
    """The row of settings above the curves; returns the chosen size."""
    session.settle("k", min(session["k"], n_edges), f"at most {n_edges:,}, the edges of this model")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="faith-controls"):
        session.widget("measure", st.segmented_control, width="content")
        session.widget("grid", st.segmented_control, width="content")
        k = session.widget("k", st.number_input, max_value=n_edges, width=150)
        session.widget("base", st.toggle, width="content")
    return int(k)


def look_closely(session: Session, cards: Cards, context: RunInfo, page: str) -> str:
    """Whose circuit is looked at closely (the name of one of the runs), and the way to it on Explore.

    page: path of the page's own file; Explore lies beside it.
    """
    by_id = {card.id: name for name, card in cards.items()}
    session.settle("of", session["of"] if session["of"] in by_id else "", "the id of one of the runs side by side")
    session.usual("of", context.id if context.id in by_id else next(iter(by_id)))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="faith-closely"):
        session.widget("of", st.selectbox, options=list(by_id), format_func=lambda run: by_id.get(run, run))
        name = by_id[session["of"]]
        opened = st.button(
            "Open in Explore",
            key="faith-explore",
            icon=":material/hub:",
            help="Shows this run's circuit of size k on the Explore page, edge by edge.",
        )
    if opened:
        if cards[name].id != context.id:
            session.later(run=cards[name].id)
        beside = Path(page).with_name("explore.py")
        st.switch_page(f"{beside.parent.name}/{beside.name}")
    return name


def readout(cards: Cards, k: int, closely: str) -> None:
    """Faithfulness at the chosen size with its interval, one number per run."""
    waiting = []
    with st.container(horizontal=True, gap="medium", key="faith-readout"):
        for name, card in cards.items():
            circuit = circuit_of(card, results.attribution(card).scores, k)
            slot = server.session_slot(f"faith-{card.id}")
            if card.graph.n_edges > AT_ONCE and measure.known(card, [circuit]) is None:
                continue
            key = measure.submit_circuits(card, [circuit], f"{circuit.n_kept} edges of {name}", slot=slot)
            job = server.manager().wait(key, QUICK)
            if job is not None and job.live:
                waiting.append(key)
            elif job is not None and job.state == "done":
                _metric(name, job, circuit, bold=name == closely)
            elif job is not None and job.state == "failed":
                st.error(plain(f"{name}: {job.message}"), icon=":material/error:")
    if waiting:
        poll_all(waiting, _waiting)


def _metric(name: str, job: JobView, circuit: Circuit, *, bold: bool) -> None:
    band, value = job.result.band(), job.result.faithfulness[0]
    shown = "undefined" if math.isnan(value) else f"{value:.3f}"
    st.metric(
        f"**{plain(name)}**" if bold else plain(name),
        shown,
        delta=None if math.isnan(value) else f"{band.low[0]:.3f} … {band.high[0]:.3f}",
        delta_color="off",
        delta_arrow="off",
        help=f"Faithfulness of the circuit of the {circuit.n_selected:,} strongest edges ({circuit.n_kept:,} after "
        "pruning), with its 95 % interval over prompt pairs drawn with replacement. 1 = all of the behaviour, 0 none.",
        width="content",
    )


def _waiting(jobs: Sequence[JobView]) -> None:
    running = next((job for job in jobs if job.state == "running"), jobs[0])
    more = f" · {len(jobs) - 1} more circuit{'s' if len(jobs) > 2 else ''} after it" if len(jobs) > 1 else ""
    st.progress(running.fraction, text=f"{plain(running.label)} · {progress_text(running)}{more}")
