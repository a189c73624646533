"""What the Faithfulness page measures: curves, random circuits, and the evidence on one circuit."""

from __future__ import annotations

from collections.abc import Mapping

from eapgp.circuits.circuit import Circuit
from eapgp.evaluation.evidence import OUTSIDE, SAMPLE, SEEDS, RandomBaseline
from eapgp.evaluation.runner import Measured
from eapgp.runs.files import content_key
from eapgp.runs.info import RunInfo
from eapgp.runs.measure import Conditions
from eapgp.ui.base.session import Session
from eapgp.ui.faithfulness import jobs as work
from eapgp.ui.faithfulness.jobs import Evidence
from eapgp.ui.jobs import server
from eapgp.ui.parts.measuring import Task, lane_of, measured_curve, settle, sizes_of

Cards = Mapping[str, RunInfo]


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
