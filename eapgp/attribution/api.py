"""`attribute`: score every edge of a model on a prompt set with one method.

One request goes through the method in rounds of batches (`Scoring`); what comes of them is put together at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from eapgp import __version__
from eapgp.attribution.context import Context, Passes
from eapgp.attribution.outcome import Outcome, Round, merge
from eapgp.attribution.registry import Method, get_method
from eapgp.attribution.result import Attribution, EdgeScores, path_remarks
from eapgp.attribution.survey import Surveyed, survey_pairs
from eapgp.engine.batches import make_batch, run_halving, split_batches
from eapgp.engine.differences import Intervention, make_intervention
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
        "threads": torch.get_num_threads(),
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


PHASE = "scoring edges"


@runtime_checkable
class Pool(Protocol):
    """Processes that score the pairs of one request together; each holds its share of them."""

    def share(self, n_pairs: int) -> NDArray[np.int64]:
        """Which pairs this process scores; never none."""

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over the processes; every one of them calls this at the same places."""


@dataclass
class Ticker:
    """Tells `progress` how far a request is: rounds, pairs within the round, passes within the batch.

    expected: ticks that one batch is thought to take. tick is called after every pass.
    """

    progress: Progress | None
    n_pairs: int
    rounds: int
    expected: float
    round: int = 0
    pairs_done: int = 0
    batch_size: int = 0
    ticks: int = 0

    def start_batch(self, size: int) -> None:
        """A batch of `size` pairs begins (or, halved, begins again)."""
        self.ticks, self.batch_size = 0, size

    def tick(self, share: float | None = None) -> None:
        """A pass is done; or, where the method knows better, this share of the batch is."""
        self.ticks += 1
        inside = self.ticks / self.expected if share is None else share
        self.tell(min(inside, 0.99) * self.batch_size)

    def end_batch(self, size: int) -> None:
        """The pairs of a batch are done."""
        self.pairs_done += size
        self.tell()

    def end_round(self) -> None:
        """All pairs have been gone through once."""
        self.round, self.pairs_done = self.round + 1, 0

    def tell(self, pairs_inside: float = 0.0) -> None:
        """Call `progress`, with a part of the running batch counted as done."""
        if self.progress is not None:
            self.progress(PHASE, (self.round + (self.pairs_done + pairs_inside) / self.n_pairs) / self.rounds)


@dataclass(frozen=True)
class Mean:
    """Mean of an outcome's scores (or its nodes) over all pairs, those of other processes included."""

    n_pairs: int
    pool: Pool | None

    def __call__(self, batches: Round, name: str = "scores") -> Float[np.ndarray, "src ..."]:
        values = (getattr(outcome, name).detach().cpu().double().sum(0) for outcome in batches.outcomes)
        total: NDArray[np.float64] = sum(np.asarray(v) for v in values)  # type: ignore[assignment]
        return (total if self.pool is None else self.pool.total(total)) / self.n_pairs


@dataclass(frozen=True)
class Scoring:
    """What is scored, and how. pairs: those of this process; mean: over the pairs of all processes.

    options: those of the method, each with its value. keep_points: whether path records hold their points.
    """

    model: Model
    pairs: EncodedPairs
    method: Method
    options: dict[str, Any]
    metric: Metric
    intervention: Intervention
    keep_points: bool
    mean: Mean

    def run(self, batch_size: int | None, progress: Progress | None) -> tuple[Round, list[str]]:
        """Go through all pairs, once per round; what was given for them, and what was said on the way.

        A batch that does not fit in memory is halved and started again.
        """
        messages = list(self.model.notes)
        rounds: list[Round] = []
        means: list[NDArray[np.float64]] = []
        ticker = self._ticker(progress)
        ticker.tell()

        def work(index: NDArray[np.int64]) -> tuple[Outcome, Passes]:
            ticker.start_batch(len(index))
            ctx = self._context(index, ticker.tick, surveyed, tuple(means))
            outcome = self.method.run(ctx)
            right = ctx.right[0] if ctx.right else None
            outcome = replace(outcome, scores=outcome.scores.detach().cpu(), right=right)
            return outcome, ctx.passes.plus(surveyed.passes)

        surveyed = survey_pairs(
            self.method,
            self._options,
            split_batches(self.model, self.pairs, batch_size),
            lambda index: self._context(index, ticker.tick),
            None if self.mean.pool is None else self.mean.pool.total,
            messages.append,
        )
        for _ in range(self.method.rounds):
            batches = Round()
            parts = split_batches(self.model, self.pairs, batch_size)
            for index, (outcome, passes) in run_halving(parts, work, messages.append):
                batches.add(index, outcome, passes)
                ticker.end_batch(len(index))
            ticker.end_round()
            rounds.append(batches)
            means.append(self.mean(batches))
        return merge(rounds, means), messages

    def _ticker(self, progress: Progress | None) -> Ticker:
        passes = sum(self.method.passes(int(self.options.get("steps", 1)), self.model.graph.n_layers))
        per_batch = passes / 2 / self.method.rounds + 2  # forward and backward are one tick, the reference runs two
        return Ticker(progress, self.pairs.n, self.method.rounds, per_batch)

    @property
    def _options(self) -> dict[str, Any]:
        """All of the method's options, those that go without saying too."""
        return self.method.every_option(self.options) | {"keep_points": self.keep_points}

    def _context(
        self,
        index: Int[np.ndarray, " pair"],
        tick: Callable[..., None],
        surveyed: Surveyed | None = None,
        means: tuple[Float[np.ndarray, "src dst"], ...] = (),
    ) -> Context:
        """A batch on its way. means: mean scores over all pairs of the rounds before this one."""
        batch = make_batch(self.model, self.pairs, index, self.metric)
        if self.method.after_shared and self.intervention.kind == "patching":
            batch = batch.after_shared(self.model)
        options = {**self._options, **(surveyed.facts if surveyed else {})}
        passes = Passes(reference=int(self.metric.compares))  # the clean run that the metric compares with
        return Context(self.model, batch, self.metric, options, self.intervention, tick, passes, earlier=means)

    def result(self, batches: Round, provenance: dict[str, Any], seconds: float, *, keep_pairs: bool) -> Attribution:
        """The batches as one result. keep_pairs: with the scores of every pair."""
        values = self.mean(batches).astype(np.float32)
        own_nodes = batches.outcomes[0].nodes is not None
        passes = batches.passes_per_pair()
        paths = batches.paths(self.pairs.lengths)
        return Attribution(
            method=self.method.name,
            options=self.options,
            scores=EdgeScores(self.model.graph, values, provenance),
            metric_clean=batches.joined(lambda outcome: outcome.metric_clean),
            metric_corrupted=batches.joined(lambda outcome: outcome.metric_corrupted),
            forward_passes=passes.forward,
            backward_passes=passes.backward,
            seconds=seconds,
            reference_passes=passes.reference,
            paths=paths,
            pair_scores=batches.joined(lambda outcome: outcome.scores) if keep_pairs else None,
            node_scores=self.mean(batches, "nodes").astype(np.float32) if own_nodes else values.sum(1),
            completeness=batches.completeness(),
            messages=tuple(path_remarks(paths)),
            right=batches.right(),
        )
