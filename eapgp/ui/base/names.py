"""How the interface names methods, metrics and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eapgp.attribution.registry import METHODS
from eapgp.metrics import METRICS

# Short names start with the registry's name, so that figures know a method's colour.
_SHORT = {
    "eap": "EAP",
    "clean-corrupted": "Clean-corrupted",
    "eap-ig": "EAP-IG",
    "eap-ig-activations": "EAP-IG-activations",
    "eap-gp": "EAP-GP",
    "eap-gp-activations": "EAP-GP-activations",
    "ceap": "CEAP",
    "eap-gp-conductance": "EAP-GP-conductance",
    "ifr": "IFR",
    "atp-graddrop": "AtP-GradDrop",
    "relp": "RelP",
    "mask-ig": "Mask-IG",
    "mask-ig-refined": "Mask-IG-refined",
    "exact": "Exact patching",
    "random": "Random",
    "imported": "Imported scores",
}
STEPS = 5  # k of most methods, left out of a variant's name
# Settings of the sidebar that a method takes but whose choice changes no score.
_WITHOUT_EFFECT = {"eap-ig": ("objective",)}


def short_name(method: str) -> str:
    """Name of a method in lists and legends."""
    return _SHORT.get(method, METHODS[method].title if method in METHODS else method)


def blurb(method: str) -> str:
    """First sentence of a method's explanation."""
    if method not in METHODS:
        return ""
    return METHODS[method].explanation.split(". ")[0].rstrip(".") + "."


def option_names(method: str) -> tuple[str, ...]:
    """The options of a method that change its scores."""
    if method not in METHODS:
        return ()
    return tuple(o.name for o in METHODS[method].options if o.name not in _WITHOUT_EFFECT.get(method, ()))


def usual_steps(method: str) -> int:
    """k that a method takes where nothing is said (the dashboard starts at 5 with every method)."""
    options = METHODS[method].options if method in METHODS else ()
    return next((int(option.default) for option in options if option.name == "steps"), STEPS)


def draws_noise(method: str) -> bool:
    """Whether a method's scores depend on a seed of its own."""
    return method in METHODS and any(option.name == "seed" for option in METHODS[method].options)


_CARRIED = {
    "patching": "the corrupted run's activation",
    "zero": "zero",
    "mean": "its mean over the corrupted prompts",
    "mean-positional": "its mean over the corrupted prompts, position by position",
}


def carried(intervention: str) -> str:
    """What an edge carries that is cut."""
    return _CARRIED.get(intervention, intervention)


def metric_title(name: str) -> str:
    """The title of a metric; its name where it is unknown."""
    return METRICS[name].title if name in METRICS else name


def edge_names(options: Mapping[str, Any]) -> list[str]:
    """The edges that exact patching was narrowed to; none where it took all."""
    given = options.get("edges") or []
    return [name.strip() for name in given.split(",") if name.strip()] if isinstance(given, str) else list(given)


def every_edge(method: str, options: Mapping[str, Any]) -> bool:
    """Whether a run is exact patching of all edges, and so can be held against as the real effects."""
    return method == "exact" and not edge_names(options)


def variant(method: str, options: Mapping[str, Any]) -> str:
    """Short name with what tells variants apart: `EAP-GP · unit (paper)`, `EAP-IG · k = 10`."""
    parts = [short_name(method)]
    if "step" in options:
        parts.append({"unit": "unit (paper)"}.get(str(options["step"]), str(options["step"])))
    if options.get("steps", STEPS) != STEPS:
        parts.append(f"k = {options['steps']}")
    if options.get("points", "left") != "left":
        parts.append(str(options["points"]))
    if options.get("objective", "all") != "all" and "objective" in option_names(method):
        parts.append("answer only")
    if options.get("nodes", "midpoints") != "midpoints":
        parts.append(str(options["nodes"]))
    if n := len(edge_names(options)):
        parts.append(f"{n:,} edge{'s' if n > 1 else ''} only")
    return " · ".join(parts)
