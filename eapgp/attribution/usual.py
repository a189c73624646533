"""Which methods are laid side by side where nothing else is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A method with options, under the label that tables show."""

    label: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)


USUAL = (
    Variant("eap", "eap"),
    Variant("eap-ig", "eap-ig", {"steps": 5, "points": "left"}),
    Variant("eap-gp-relative", "eap-gp", {"steps": 5, "step": "relative", "objective": "all"}),
    Variant("eap-gp-unit", "eap-gp", {"steps": 5, "step": "unit", "objective": "all"}),
    Variant("exact", "exact"),
    Variant("random", "random"),
)
"""The bundled examples' methods, which the dashboard offers to compute elsewhere too."""

COMPARED = (
    Variant("eap", "eap"),
    Variant("clean-corrupted", "clean-corrupted"),
    Variant("eap-ig", "eap-ig"),
    Variant("eap-gp (unit)", "eap-gp", {"step": "unit"}),
    Variant("eap-gp (relative)", "eap-gp", {"step": "relative"}),
    Variant("ceap", "ceap"),
    Variant("mask-ig", "mask-ig"),
    Variant("mask-ig-refined", "mask-ig-refined"),
    Variant("exact", "exact"),
    Variant("random", "random"),
)
"""What the studies measure (docs/results.md, the planted circuit), in the order of their tables."""
