"""The planted model, scored where the scene asks for it: built in a moment, nothing of it is kept on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

from eapgp.attribution.api import attribute
from eapgp.attribution.result import EdgeScores
from eapgp.circuits import Circuit, select
from eapgp.figures.circuit_view import Pane, Ranking, ViewPayload, build_payload
from eapgp.findings import Finding, of_truth
from eapgp.ground_truth.planted import TRUE_EDGES, build_planted, planted_circuit, planted_prompts
from eapgp.models import load_model
from eapgp.types import Progress
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import LIVE
from eapgp.ui.jobs.workshop import with_gradients

PAIRS = 24


def planted_scores(method: str) -> EdgeScores:
    """A method's scores of the planted model."""
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(str(build_planted(Path(folder) / "planted")))
        return attribute(model, planted_prompts(PAIRS), method=method).scores


def best_edges(scores: EdgeScores) -> Circuit:
    """As many of the strongest edges as were planted."""
    return select(scores, n=len(TRUE_EDGES), prune=False)


def finding(scores: EdgeScores, name: str) -> Finding:
    """Which planted edges are among the strongest."""
    return of_truth(best_edges(scores), planted_circuit(), name=name, of="planted")


def picture(scores: EdgeScores) -> ViewPayload:
    """The strongest edges that `finding` speaks of over the planted ones: all of them, also what leads nowhere."""
    return build_payload(
        scores,
        circuit=best_edges(scores),
        ranking=Ranking(prune=False),
        against=planted_circuit().edge_names(),
        pane=Pane(filename="planted", legend=False),
    )


def submit(method: str) -> str:
    """Start (or join) the scoring; the job's result are the scores."""

    def work(progress: Progress) -> EdgeScores:
        progress("building the planted model", 0.0)
        return planted_scores(method)

    job = with_gradients(work, quick=True)
    return server.manager().submit(f"start-planted-{method}", "the planted circuit", job, lane=LIVE)
