"""How well the model of the settings does their task, before anything is scored: forward passes in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from eapgp.attribution.registry import get_method
from eapgp.evaluation.behaviour import behaviour
from eapgp.runs.compute import load_for, resolve, selection_remarks
from eapgp.runs.files import content_key
from eapgp.runs.info import RunInfo
from eapgp.runs.spec import LATER_FIELDS, PROMPT_FIELDS, RunSpec
from eapgp.types import Progress
from eapgp.ui.jobs import server
from eapgp.ui.jobs.workshop import Workshop, with_gradients
from eapgp.ui.library.consent import live_lane

_DECIDING = (*PROMPT_FIELDS, *LATER_FIELDS, "prompts", "metric", "dtype")


@dataclass(frozen=True)
class Doing:
    """A model on the pairs of the settings.

    clean, corrupted: the metric, mean over pairs; remarks: what was left out.
    """

    n_pairs: int
    n_right: int
    metric: str
    clean: float
    corrupted: float
    remarks: tuple[str, ...] = ()


def doing_work(shop: Workshop, lane: str, spec: RunSpec) -> Callable[[Progress], Doing]:
    """Run the prompts of a spec through its model."""

    def work(progress: Progress) -> Doing:
        from eapgp.attribution.api import prepare  # brings torch

        loader = partial(shop.model, lane)
        resolved = resolve(spec, loader)
        progress("loading the model", 0.0)
        model = load_for(spec, loader, progress)
        resolved = resolved.for_model(model, progress)
        contrast = get_method(spec.method).needs_contrast(spec.intervention)
        pairs, _ = prepare(model, resolved.prompts, resolved.metric, contrast=contrast)
        found = behaviour(model, pairs, metric=resolved.metric, progress=progress)
        ends = float(found.clean.mean()), float(found.corrupted.mean())
        return Doing(pairs.n, int(found.right.sum()), resolved.metric, *ends, selection_remarks(resolved.prompts))

    return with_gradients(work, quick=True)


def job_id(spec: RunSpec) -> str:
    """The job that answers for a spec: one per model, pairs, metric and how they are put to the model."""
    values = spec.to_dict()
    return f"doing-{content_key({name: values.get(name) for name in _DECIDING})}"


def submit(spec: RunSpec, *, slot: str | None = None) -> str:
    """Start (or join) the job for a spec."""
    lane = live_lane(spec.model, spec)
    job = doing_work(server.workshop(), lane, spec)
    return server.manager().submit(job_id(spec), f"how well {spec.model} does it", job, lane=lane, slot=slot)


def of_run(card: RunInfo) -> Doing | None:
    """What a run knows of it; None for runs that were stored without it."""
    if card.accuracy is None or card.metric_clean is None or card.metric_corrupted is None:
        return None
    right = round(card.accuracy * card.n_pairs)
    return Doing(card.n_pairs, right, card.metric, card.metric_clean, card.metric_corrupted)


def named(spec: RunSpec) -> str:
    """The model as the line calls it."""
    return Path(spec.model).name if Path(spec.model).is_absolute() else spec.model
