"""How the interface names methods, metrics and what cut edges carry."""

from __future__ import annotations

from eapgp.attribution.registry import INTERVENTIONS, METHODS
from eapgp.metrics import METRICS


def blurb(method: str) -> str:
    """First sentence of a method's explanation."""
    return METHODS[method].explanation.split(". ")[0].rstrip(".") + "." if method in METHODS else ""


def carried(intervention: str) -> str:
    """What an edge carries that is cut."""
    return INTERVENTIONS.get(intervention, intervention)


def metric_title(name: str) -> str:
    """The title of a metric; its name where it is unknown."""
    return METRICS[name].title if name in METRICS else name
