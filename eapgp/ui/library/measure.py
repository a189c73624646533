"""Jobs that compute runs and run their circuits, and what is known of circuits without computing."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import streamlit as st

from eapgp.circuits.circuit import Circuit
from eapgp.circuits.ops import remove_edges
from eapgp.errors import OptionError
from eapgp.evaluation.runner import Measured
from eapgp.runs.files import content_key
from eapgp.runs.info import RunInfo
from eapgp.runs.measure import Conditions, stored_circuits
from eapgp.runs.spec import DEFAULT_PAIRS, RunSpec
from eapgp.study.estimate import method_passes
from eapgp.types import Progress
from eapgp.ui.base import visitor
from eapgp.ui.base.policy import policy
from eapgp.ui.jobs import server
from eapgp.ui.jobs import workshop as work
from eapgp.ui.jobs.manager import STORED
from eapgp.ui.jobs.workshop import with_gradients
from eapgp.ui.library import results
from eapgp.ui.library.consent import cost, lane_of_card, runs_at_once
from eapgp.ui.library.own_prompts import PromptStore

WARM_UP_AFTER = 1.5  # seconds after the first page was made, when its picture is drawn


def submit_run(spec: RunSpec, label: str) -> str:
    """Start (or join) the computation of a run; the job's result is the run's id.

    Errors: OptionError, RunError, ComputationError where the server's limits refuse it.
    """
    if reason := refuses(spec):
        raise OptionError(f"this run: {reason}.")
    policy().check_room(visitor.home())
    lane = server.lane_of(spec)
    job = work.attribution_work(server.workshop(), lane, spec, results.shelf().library)
    return server.manager().submit(f"run-{spec.job_key()}", label, job, lane=lane)


def refuses(spec: RunSpec) -> str:
    """Why the server's limits refuse a run, or ""."""
    own = PromptStore(visitor.home()).at(spec.prompts_file) if spec.prompts_file else None
    return policy().refuses_run(spec, n_pairs=None if own is None else own.n_pairs)


def submit_circuits(
    card: RunInfo, circuits: Sequence[Circuit], label: str, *, slot: str | None = None, keep: bool = True
) -> str:
    """Start (or join) the running of circuits; the job's result is a `Measured`.

    What the run's folder knows is answered from it. keep: what is run is added to it, so that it is there after a
    restart too; bundled runs stay as they are.
    """
    key = job_key("circuits", card, circuits, keep=keep)
    stored = known(card, circuits)
    if stored is not None:
        return server.manager().submit(f"stored-{key}", label, lambda progress: stored, lane=STORED)
    lane = lane_of_card(card)
    job = work.circuits_work(server.workshop(), lane, card.run, circuits, keep=keep)
    return server.manager().submit(key, label, job, lane=lane, slot=slot)


def job_key(what: str, card: RunInfo, circuits: Sequence[Circuit], **how: Any) -> str:
    """Key of the job that measures circuits of a run: other sizes are another question, also where pruning leaves the
    same edges.
    """
    asked = [(circuit.key, circuit.n_selected, *(circuit.nodes or ())) for circuit in circuits]
    return f"{what}-{content_key({'run': card.id, 'circuits': asked, **how})}"


def known(card: RunInfo, circuits: Sequence[Circuit], *, whole: bool = False) -> Measured | None:
    """What a run's folder says about these circuits, where it knows all of them; `whole`: accuracy and KL too."""
    rows = stored_circuits(card.run, Conditions.of(card.run))
    return rows.measured(circuits) if all(rows.has(circuit, whole=whole) for circuit in circuits) else None


def run_cost(spec: RunSpec) -> float | None:
    """Seconds that a run takes, about, from the time that runs of its model took; None where there is none.

    Those of one's own go before bundled ones, which another machine computed. Loading the model comes on top.
    """
    cards = [card for card in results.shelf().cards() if card.model == spec.model and card.seconds and card.n_pairs]
    own = [card for card in cards if not card.example]
    if not cards:
        return None
    per_pass = sorted(0.5 * cost(card) / card.n_pairs for card in own or cards)[len(own or cards) // 2]
    forward, backward = method_passes(spec, cards[0].graph)
    kept = PromptStore(visitor.home()).at(spec.prompts_file) if spec.prompts_file else None
    pairs = kept.n_pairs if kept is not None else spec.n_pairs or DEFAULT_PAIRS
    return per_pass * pairs * (forward + 2 * backward)


def warm_up(card: RunInfo) -> None:
    """Make a small model ready to run circuits of a run, soon after the first picture: the first change of size waits
    for seconds otherwise. `EAPGP_WARM_UP=0` leaves it to the first change.
    """
    if os.environ.get("EAPGP_WARM_UP", "1") != "0" and runs_at_once(card.model):
        _warm_up(card.model, card)


@st.cache_resource(max_entries=8, show_spinner=False)
def _warm_up(model: str, _card: RunInfo) -> bool:
    lane, shop, jobs = lane_of_card(_card), server.workshop(), server.manager()

    def work(progress: Progress) -> None:
        shop.runner(lane, _card.run, progress)

    def start() -> None:
        jobs.submit(f"ready-{_card.id}", f"getting {model} ready", with_gradients(work), lane=lane)

    timer = threading.Timer(WARM_UP_AFTER, start)
    timer.daemon = True
    timer.start()
    return True


def submit_edges(card: RunInfo, names: Sequence[str]) -> str:
    """Start (or join) the patching of single edges, one at a time."""
    whole = Circuit.full(card.graph)
    circuits = [remove_edges(whole, [name]) for name in names]
    return submit_circuits(card, circuits, f"patching {len(names)} edges of {card.task}", keep=False)
