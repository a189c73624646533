"""What pages say they found, from what is measured already or is measured in the background."""

from __future__ import annotations

from eapgp import findings
from eapgp.circuits.circuit import Circuit
from eapgp.evaluation.runner import Measured
from eapgp.findings import Finding
from eapgp.runs.info import RunInfo
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll_all
from eapgp.ui.library import measure, results
from eapgp.ui.library.circuits import circuit_of
from eapgp.ui.library.consent import agreed
from eapgp.ui.parts import run_choice


def of_circuit(card: RunInfo, circuit: Circuit) -> Finding | None:
    """What a circuit keeps, where it is measured (the page's readout asks for it)."""
    measured = _measured(card, circuit)
    if measured is None:
        return None
    said = findings.of_circuit(measured)
    return Finding(said.text, said.numbers)  # what makes it weak stands below the readout


def of_pair(names: tuple[str, str], cards: tuple[RunInfo, RunInfo], k: int) -> Finding | None:
    """Which of two runs' circuits of k edges keeps more; of runs of other prompts, what each keeps."""
    first, second = (
        measured_now(card, circuit_of(card, results.attribution(card).scores, k), name)
        for name, card in zip(names, cards, strict=True)
    )
    if first is None or second is None:
        return None
    if not run_choice.unpaired(*cards):
        return findings.of_difference(names, first, second)
    parts = {name: findings.of_circuit(one) for name, one in zip(names, (first, second), strict=True)}
    text = "; ".join(f"{name}: {part.text.rstrip('.')}" for name, part in parts.items())
    return Finding(f"{text}.", {name: part.numbers for name, part in parts.items()})


def _measured(card: RunInfo, circuit: Circuit) -> Measured | None:
    known = measure.known(card, [circuit])
    if known is not None:
        return known
    job = server.job(measure.job_key("circuits", card, [circuit], keep=False))
    return job.result if job is not None and job.state == "done" else None


def measured_now(card: RunInfo, circuit: Circuit, name: str) -> Measured | None:
    """The measurement; where the model may be run unasked, it is started, and the page runs again once it is there."""
    measured = _measured(card, circuit)
    if measured is not None or not card.n_pairs or not agreed(card):
        return measured
    slot = server.session_slot(f"sentence-{card.id}")
    job = server.manager().soon(measure.submit_circuits(card, [circuit], f"{name}, one circuit", slot=slot))
    if job is not None and job.live:
        poll_all([job.id], lambda _: None)
    return job.result if job is not None and job.state == "done" else None
