"""Circuits that are known, and how close scores come to them."""

from eapgp.ground_truth.compare import Overlap, Roc, SizeOverlap, precision_recall, precision_recall_at, roc
from eapgp.ground_truth.manual import GPT2_SMALL, GROUND_TRUTHS, GroundTruth, ground_truth, roles
from eapgp.ground_truth.roles import Role

__all__ = [
    "GPT2_SMALL",
    "GROUND_TRUTHS",
    "GroundTruth",
    "Overlap",
    "Role",
    "Roc",
    "SizeOverlap",
    "ground_truth",
    "precision_recall",
    "precision_recall_at",
    "roc",
    "roles",
]
