"""What the shell completes: names of models, tasks, methods, metrics and runs. None of it imports torch."""

from __future__ import annotations

from collections.abc import Iterable

from eapgp.attribution.registry import METHODS
from eapgp.errors import EapgpError
from eapgp.metrics import METRICS
from eapgp.models.catalogue import CATALOGUE
from eapgp.runs.library import RunLibrary
from eapgp.tasks import TASKS


def _starting(incomplete: str, entries: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, about) for name, about in entries if name.startswith(incomplete)]


def models(incomplete: str) -> list[tuple[str, str]]:
    """Models that can be picked by name."""
    return _starting(incomplete, ((entry.name, entry.title) for entry in CATALOGUE))


def tasks(incomplete: str) -> list[tuple[str, str]]:
    """Tasks with a generator."""
    return _starting(incomplete, ((name, task.title) for name, task in TASKS.items()))


def methods(incomplete: str) -> list[tuple[str, str]]:
    """Attribution methods."""
    return _starting(incomplete, ((name, method.title) for name, method in METHODS.items()))


def metrics(incomplete: str) -> list[tuple[str, str]]:
    """Metrics."""
    return _starting(incomplete, ((name, metric.title) for name, metric in METRICS.items()))


def runs(incomplete: str) -> list[tuple[str, str]]:
    """Names and ids of the runs in the usual library."""
    try:
        listed = RunLibrary().list()
    except (OSError, EapgpError):
        return []
    entries = ((run.name or run.id[:12], f"{run.method} on {run.task}, {run.model}") for run in listed)
    return _starting(incomplete, entries)
