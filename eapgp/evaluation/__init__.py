"""Evaluation: what circuits do when run, with its uncertainty, and how far methods agree."""

from eapgp.evaluation.agreement import Agreement, agreement
from eapgp.evaluation.curves import Curve, faithfulness_curve, mib_curve
from eapgp.evaluation.runner import CircuitRunner, CircuitRuns

__all__ = ["Agreement", "CircuitRunner", "CircuitRuns", "Curve", "agreement", "faithfulness_curve", "mib_curve"]
