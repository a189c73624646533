"""Attribution: edge scores by every method of the family, and the paths they were taken along."""

from eapgp.attribution.registry import METHODS, get_method
from eapgp.attribution.result import Attribution, EdgeScores, PathRecord

__all__ = ["METHODS", "Attribution", "EdgeScores", "PathRecord", "get_method"]
