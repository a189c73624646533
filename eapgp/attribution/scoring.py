"""One request on its way: every batch of every round through the method, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from eapgp.attribution.context import Context, Passes
from eapgp.attribution.method import Method
from eapgp.attribution.outcome import Outcome
from eapgp.attribution.result import Attribution, EdgeScores, path_remarks
from eapgp.attribution.rounds import Round, merge
from eapgp.engine.batches import make_batch, run_halving, split_batches
from eapgp.engine.interventions import Intervention
from eapgp.metrics import Metric
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs
from eapgp.types import Progress

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
            return self._batch(index, tuple(means), ticker.tick)

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

    def _batch(
        self,
        index: Int[np.ndarray, " pair"],
        means: tuple[Float[np.ndarray, "src dst"], ...],
        tick: Callable[..., None],
    ) -> tuple[Outcome, Passes]:
        batch = make_batch(self.model, self.pairs, index, self.metric)
        options = {**self.options, "keep_points": self.keep_points}
        passes = Passes(reference=int(self.metric.compares))  # the clean run that the metric compares with
        ctx = Context(self.model, batch, self.metric, options, self.intervention, tick, passes, earlier=means)
        outcome = self.method.run(ctx)
        right = ctx.right[0] if ctx.right else None
        return replace(outcome, scores=outcome.scores.detach().cpu(), right=right), ctx.passes

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
