"""Jobs that compute runs and run their circuits, and what is known of circuits without computing."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from eapgp.circuits.circuit import Circuit
from eapgp.runs.bundled import MEASURED
from eapgp.runs.run import open_run
from eapgp.runs.spec import RunSpec
from eapgp.types import Floats, Progress
from eapgp.ui.jobs import server
from eapgp.ui.jobs import workshop as work
from eapgp.ui.jobs.workshop import with_gradients
from eapgp.ui.library import results
from eapgp.ui.library.consent import lane_of_card, runs_at_once
from eapgp.ui.library.shelf import RunInfo

WARM_UP_AFTER = 1.5  # seconds after the first page was made, when its picture is drawn


def submit_run(spec: RunSpec, label: str) -> str:
    """Start (or join) the computation of a run; the job's result is the run's id."""
    lane = server.lane_of(spec)
    job = work.attribution_work(server.workshop(), lane, spec, results.shelf().library)
    return server.manager().submit(f"run-{spec.key()}", label, job, lane=lane)


def submit_circuits(card: RunInfo, circuits: Sequence[Circuit], label: str, *, slot: str | None = None) -> str:
    """Start (or join) the running of circuits; the job's result is a `work.Measured`.

    Circuits that were measured when a bundled example was made are answered from its folder.
    """
    stored = stored_measure(card, circuits)
    if stored is not None:
        return server.manager().submit(
            f"stored-{card.id}-{stored.selected}", label, lambda progress: stored, lane="stored"
        )
    digest = hashlib.sha256(card.id.encode())
    for circuit in circuits:
        digest.update(circuit.edges.tobytes())
    lane = lane_of_card(card)
    job = work.measure_work(server.workshop(), lane, card.run, circuits)
    return server.manager().submit(f"circuits-{digest.hexdigest()[:20]}", label, job, lane=lane, slot=slot)


def stored_measure(card: RunInfo, circuits: Sequence[Circuit]) -> work.Measured | None:
    """What an example's folder says about these circuits, where it knows all of them."""
    stored = _stored(str(card.run.path), card.id) if card.example else {}
    rows = {int(row["n"]): row for row in stored.get("circuits", ())}
    found = []
    for circuit in circuits:
        row = rows.get(circuit.n_selected)
        if row is None or row["kept"] != circuit.n_kept or circuit.name != f"top {circuit.n_selected}":
            return None
        found.append(row["metric"])
    return work.measured_before(found, stored["metric_clean"], stored["metric_corrupted"], circuits)


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


@st.cache_resource(max_entries=64, show_spinner=False)
def _stored(path: str, run_id: str) -> dict[str, Any]:
    return dict(open_run(path).evaluation().get(MEASURED, {}))


def submit_edges(card: RunInfo, names: Sequence[str]) -> str:
    """Start (or join) the patching of single edges, one at a time."""
    circuits = work.without_edge(Circuit.full(card.graph), names)
    return submit_circuits(card, circuits, f"patching {len(names)} edges of {card.task}")


def bootstrap_band(result: work.Measured) -> tuple[Floats, Floats]:
    """`[circuit]` ends of the 95 % interval of faithfulness over prompt pairs drawn with replacement."""
    from eapgp.evaluation.statistics import bootstrap_ratio

    band = bootstrap_ratio(result.runs.metric, result.runs.metric_clean, result.runs.metric_corrupted)
    return np.asarray(band.low, dtype=np.float64), np.asarray(band.high, dtype=np.float64)


def weakness(result: work.Measured) -> str:
    """Why faithfulness on these pairs says little; empty where it does not."""
    from eapgp.evaluation.statistics import bootstrap_ratio

    return bootstrap_ratio(result.runs.metric, result.runs.metric_clean, result.runs.metric_corrupted).reason
