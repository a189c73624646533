"""`attribute`: score every edge of a model on a prompt set with one method."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from eapgp import __version__
from eapgp.attribution.registry import get_method
from eapgp.attribution.result import Attribution
from eapgp.attribution.scoring import Mean, Pool, Scoring
from eapgp.engine.interventions import make_intervention
from eapgp.errors import WrongTypeError
from eapgp.metrics import DEFAULT_METRIC, Compute, Metric, get_metric
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs, encoded_for
from eapgp.prompts.pairs import PromptSet
from eapgp.types import Progress

POINTS_BUDGET = 64 * 2**20  # bytes of path points kept in a result by default


def attribute(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    *,
    method: str = "eap-gp",
    metric: str | Compute | None = None,
    intervention: str = "patching",
    batch_size: int | None = None,
    keep_pairs: bool = False,
    keep_points: bool | None = None,
    progress: Progress | None = None,
    pool: Pool | None = None,
    **options: Any,
) -> Attribution:
    """Score every edge: `[src, dst]`, mean over pairs, positive where the edge supports the behaviour.

    options: those of the method (`steps`, `step`, `objective`, `points`, `seed`, …); `METHODS`
    says which. metric: a name (None: the task's own), or a function (logits `[pair, vocab]`, targets) → `[pair]` of
    one's own, which `provenance` calls "custom:NAME". keep_pairs keeps `[pair, src, dst]` scores.
    keep_points keeps the points of the path (by default where they take at most 64 MB). With a
    pool the scores are those of all pairs, and what is per pair covers this process's share.

    Errors: InputError for what the caller supplied, ComputationError (NaN, out of memory),
    Cancelled from `progress`.
    """
    row = get_method(method)
    settings = row.settings(options)
    everything, measure = prepare(model, prompts, metric, contrast=row.needs_contrast(intervention))
    if keep_points is None:
        keep_points = _points_fit(model, everything, settings.get("steps", 0))
    started = time.perf_counter()
    scoring = Scoring(
        model,
        everything if pool is None else everything.take(pool.share(everything.n)),
        row,
        settings,
        measure,
        make_intervention(intervention, model, everything, row.interventions),
        keep_points,
        Mean(everything.n, pool),
    )
    batches, messages = scoring.run(batch_size, progress)
    seconds = time.perf_counter() - started
    provenance = {
        **model.describe(),
        "method": method,
        "options": settings,
        "metric": measure.name,
        "intervention": intervention,
        "n_pairs": everything.n,
        "version": __version__,
    }
    if isinstance(prompts, PromptSet):
        provenance |= {"task": prompts.task, "prompts_hash": prompts.hash, "prompts_origin": prompts.origin}
    result = scoring.result(batches, provenance, seconds, keep_pairs=keep_pairs)
    flat = _flat_at_clean(result, measure)
    return replace(result, messages=(*everything.remarks, *messages, *result.messages, *flat))


def _flat_at_clean(result: Attribution, measure: Metric) -> tuple[str, ...]:
    """A remark where a metric that is largest on the clean prompt gave a method no gradient to go by."""
    gap = abs(float(result.metric_clean.mean() - result.metric_corrupted.mean()))
    if not measure.compares or np.nanmax(np.abs(result.scores.values)) > 1e-5 * gap:
        return ()
    return (
        f"all scores are 0: the gradient of {measure.name} vanishes on the clean prompt, where {result.method} "
        "takes it. Take a method that follows a path (eap-ig, eap-gp) or exact.",
    )


def prepare(
    model: Model, prompts: PromptSet | EncodedPairs, metric: str | Compute | None, *, contrast: bool = True
) -> tuple[EncodedPairs, Metric]:
    """Token ids of the prompts, and the metric; contrast: as in `fit`."""
    WrongTypeError.check("model", model, Model, "load it: load_model('demo')")
    WrongTypeError.check("prompts", prompts, (PromptSet, EncodedPairs), "make them: make_prompts('ioi', 64)")
    usual = prompts.metric if isinstance(prompts, PromptSet) else DEFAULT_METRIC
    measure = get_metric(metric or usual)
    if isinstance(prompts, PromptSet):
        prompts = replace(prompts, metric=measure.name)  # which answers are needed and may overlap depends on it
    return encoded_for(prompts, model, contrast=contrast), measure


def _points_fit(model: Model, pairs: EncodedPairs, steps: int) -> bool:
    """Whether the points of a path over all pairs are few enough to be kept unasked."""
    return pairs.n * int(pairs.lengths.max()) * model.d_model * 4 * (steps + 2) <= POINTS_BUDGET
