"""What the Faithfulness page measures: curves, random circuits, and the evidence on one circuit."""

from __future__ import annotations

from collections.abc import Mapping

from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import By
from eapgp.evaluation.evidence import OUTSIDE, SAMPLE, SEEDS, RandomBaseline
from eapgp.evaluation.runner import Measured
from eapgp.figures.inputs import OF_NODES
from eapgp.runs.files import content_key
from eapgp.runs.info import RunInfo
from eapgp.runs.measure import Conditions
from eapgp.ui.base.session import Session
from eapgp.ui.faithfulness import jobs as work
from eapgp.ui.faithfulness.jobs import Evidence
from eapgp.ui.jobs import server
from eapgp.ui.parts.measuring import Task, lane_of, measured_curve, settle, sizes_of

Cards = Mapping[str, RunInfo]


LEVELS: Mapping[str, tuple[By, ...]] = {"edges": ("edges",), "nodes": ("nodes",), "both": ("edges", "nodes")}


def curve_name(run: str, by: By) -> str:
    """What a curve of a run's circuits is called."""
    return run if by == "edges" else run + OF_NODES


def measured_curves(session: Session, cards: Cards) -> tuple[Cards, dict[str, Measured]]:
    """The curves' runs by the names of the curves, and what is known of their circuits by edges, nodes or both.

    What is not known is measured, with its progress drawn.
    """
    runs, curves = {}, {}
    for by in LEVELS[session["by"]]:
        for run, card in cards.items():
            name = curve_name(run, by)
            measured = measured_curve(card, name, session["grid"], session["measure"], by)
            if measured is not None:
                runs[name], curves[name] = card, measured
    return runs, curves


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
