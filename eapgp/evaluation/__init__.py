"""Evaluation: what circuits do when run, with its uncertainty, and how far methods agree."""

from eapgp.evaluation.agreement import Agreement, agreement
from eapgp.evaluation.curves import Curve, faithfulness_curve, mib_curve, node_curve
from eapgp.evaluation.runner import CircuitRunner, CircuitRuns, Measured
from eapgp.evaluation.statistics import Resampling

__all__ = [
    "Agreement",
    "CircuitRunner",
    "CircuitRuns",
    "Curve",
    "Measured",
    "Resampling",
    "agreement",
    "faithfulness_curve",
    "mib_curve",
    "node_curve",
]
