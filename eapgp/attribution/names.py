"""How methods and their variants are called, for methods of the registry and for scores that came from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eapgp.attribution.registry import METHODS

IMPORTED = "imported"  # the method of runs whose scores came in a file


def short_name(method: str) -> str:
    """Name of a method in lists and legends."""
    return variant(method, {})


def variant(method: str, options: Mapping[str, Any]) -> str:
    """Short name with what tells variants apart: `EAP-GP · unit (paper)`, `EAP-IG · k = 10`."""
    if method in METHODS:
        return METHODS[method].variant(options)
    return "Imported scores" if method == IMPORTED else method


def rank(method: str) -> int:
    """Place of a method in the registry's order; what is not in it comes last."""
    return list(METHODS).index(method) if method in METHODS else len(METHODS)


def every_edge(method: str, options: Mapping[str, Any]) -> bool:
    """Whether a run is exact patching of all edges, and so can be held against as the real effects."""
    return method == "exact" and not options.get("edges")
