"""What the Faithfulness page measures beside the curves: random circuits, and the evidence on one circuit.

A result is kept in the run's evaluation.json (bundled examples are left as they are), and found there by the command
line, or when the server has been started anew. No Streamlit here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eapgp.circuits.circuit import Circuit
from eapgp.circuits.ops import complement
from eapgp.evaluation.evidence import SEEDS, Minimality, Outside, RandomBaseline
from eapgp.evaluation.statistics import Band
from eapgp.runs.measure import Conditions, is_stored, minimality_name, outside_name, random_name, stored_circuits
from eapgp.runs.run import Run
from eapgp.types import Progress
from eapgp.ui.jobs.workshop import Work, Workshop


@dataclass(frozen=True)
class Evidence:
    """One circuit looked at closely: edges kept and left, faithfulness `[2]` of both parts, single edges."""

    kept: int
    rest: int
    faithfulness: Band
    minimality: Minimality
    outside: Outside


def baseline_work(shop: Workshop, lane: str, run: Run, sizes: Sequence[int], *, seeds: int = SEEDS) -> Work:
    """Run random circuits; the result is a `RandomBaseline`."""

    def work(progress: Progress) -> RandomBaseline:
        return shop.measurer(lane, run, progress).baseline(sizes, seeds)

    return work


def has_baseline(run: Run, sizes: Sequence[int], *, seeds: int = SEEDS) -> bool:
    """Whether these random circuits were measured and kept."""
    conditions = Conditions.of(run)
    return is_stored(run, (random_name(conditions, sizes, seed) for seed in range(seeds)))


def evidence_work(shop: Workshop, lane: str, run: Run, circuit: Circuit) -> Work:
    """Look at one circuit closely; the result is an `Evidence`."""

    def work(progress: Progress) -> Evidence:
        measurer, rest = shop.measurer(lane, run, progress), complement(circuit)
        minimality, outside = measurer.minimality(circuit), measurer.outside(circuit)
        return Evidence(circuit.n_kept, rest.n_kept, measurer.circuits([circuit, rest]).band(), minimality, outside)

    return work


def has_evidence(run: Run, circuit: Circuit) -> bool:
    """Whether the evidence on a circuit was measured and kept."""
    conditions = Conditions.of(run)
    rows, both = stored_circuits(run, conditions), (circuit, complement(circuit))
    names = (minimality_name(conditions, circuit), outside_name(conditions, circuit))
    return is_stored(run, names) and all(rows.has(one, whole=True) for one in both)
