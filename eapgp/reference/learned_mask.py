"""Edge masks learned by gradient descent: an upper reference for circuits of the same number of edges.

1. Every edge has a weight w. The circuit at hand is that of the n edges of largest w + η · noise (logistic, redrawn at
   each step); destinations read the clean output of its edges and the corrupted output of all others.
2. Loss, of a few pairs at a time: L = (mean of d)² + λ · mean of d², with d = (M(clean) − M(circuit)) / g and g² the
   mean over all pairs of (M(clean) − M(corrupted))². The first part is what faithfulness, a ratio of means, is judged
   by; the second keeps single pairs from paying for each other.
3. ∂L/∂m_uv = Σ_pos (z_u(circuit) − z′_u) · ∂L/∂x_v for the mixture m z_u + (1 − m) z′_u of every edge, in the circuit
   or not: exact, from one forward and one backward pass. w follows it as if w were m (straight through), by Adam with
   a rate that falls to 0, as η does.
4. Every few steps the circuit without noise is run on all pairs. The one of smallest loss is the answer, the circuits
   of the scores that it begins at included: on the pairs it is learned on it never does worse than they do.

Weights begin at the ranking of given scores: grown from the logits, then by |score|.

Masks over edges as circuits: Bhaskar, Wettig, Friedman & Chen 2024, "Finding Transformer Circuits with Edge Pruning"
(arXiv:2406.16778), with hard-concrete gates under a budget that falls; the n largest weights straight through:
Ramanujan et al. 2020 (arXiv:1911.13299). That a circuit is best found by optimising what it is judged by: Li & Janson
2024, "Optimal ablation" (arXiv:2409.09951). Hard-concrete gates with the budget held were tried here first: with 300
steps on `demo` their circuits of 20 edges kept less than those of EAP-IG's scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.attribution.api import prepare
from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit, prune
from eapgp.circuits.select import check_size, greedy_order, rank_edges, select_many
from eapgp.engine.batches import Batch, make_batch, split_batches
from eapgp.engine.gradients import gradients_of
from eapgp.engine.passes import Capture, Keep, capture
from eapgp.engine.weighted_pass import weighted_run, weighted_scores
from eapgp.errors import OptionError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.metrics import Compute, Metric
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs
from eapgp.prompts.pairs import PromptSet
from eapgp.types import Bools, Floats, Progress

RATE, NOISE = 0.1, 0.2
"""Adam's rate and η at the first step."""
SINGLE = 0.1
"""λ: what single pairs count beside their mean."""
GROWN = 8
"""Weights begin in the order in which edges would be grown from the logits for this many times the circuit's size."""
LOOK = 5  # steps between two looks at the circuit without noise
SMALL_GAP = 1e-6  # below this share of the metric there is nothing to learn from


@dataclass(frozen=True)
class Training:
    """How masks are learned. steps: of each size; pairs_at_once: of one step; seed: of noise and of the pairs' order.

    Errors: OptionError for numbers below 1.
    """

    steps: int = 200
    pairs_at_once: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.pairs_at_once < 1:
            raise OptionError(
                "learned masks: expected steps and pairs at once of at least 1; "
                f"got {self.steps}, {self.pairs_at_once}."
            )


USUAL = Training()


@dataclass(frozen=True, eq=False)
class LearnedMask:
    """What was learned for one number of edges.

    circuit: the edges of the largest weights at the best look, pruned. scores: the weights then `[src, dst]`. losses:
    `[step]` of the steps' own circuits and pairs; best: L of the circuit on all pairs, before: of the better of the
    two circuits that the scores gave. passes: forward per pair (as many backward but for the looks); seconds.
    """

    circuit: Circuit
    scores: EdgeScores
    losses: Floats
    best: float
    before: float
    passes: float
    seconds: float


def learn_masks(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    sizes: Sequence[int],
    start: EdgeScores,
    *,
    metric: str | Compute | None = None,
    how: Training = USUAL,
    progress: Progress | None = None,
) -> list[LearnedMask]:
    """Learn a mask for each of the sizes, under patching.

    start: the scores that weights begin at.
    Errors: OptionError for sizes or steps out of range, for scores of another graph, and where the metric of no pair
    changes; as `attribute`.
    """
    EdgeScores.check(start)
    if start.graph != model.graph:
        raise OptionError(f"scores to begin at: expected those of this model's {model.graph}, got {start.graph}.")
    checked = [check_size(n, model.graph.n_edges, "edges") for n in sizes]
    if not checked or min(checked) < 1:
        raise OptionError(f"learned masks: expected sizes of at least 1; got {list(sizes)}.")
    encoded, measure = prepare(model, prompts, metric)
    runner = CircuitRunner(model, encoded, metric=metric if metric is not None else measure.name)
    task = _Task.of(runner, encoded, measure, how.pairs_at_once)

    def tell(number: int, step: int) -> None:
        if progress is not None:
            progress("learning a mask", (number + step / how.steps) / len(checked))

    return [
        _Learning(task, start, n, np.random.default_rng(how.seed)).run(how.steps, lambda step, at=at: tell(at, step))  # type: ignore[misc]
        for at, n in enumerate(checked)
    ]


def loss_of(gaps: Float[Tensor, " pair"]) -> Float[Tensor, ""]:
    """L of the gaps d of some pairs."""
    return gaps.mean().square() + SINGLE * gaps.square().mean()


def ranked(start: EdgeScores, n: int) -> Floats:
    """`[edge]` weights at the start: normal quantiles of the places in the order of growing, then of |score|."""
    graph = start.graph
    grown = greedy_order(start, min(GROWN * n, graph.n_edges))
    rest = rank_edges(start)
    order = np.concatenate([grown, rest[~np.isin(rest, grown)]])
    places = np.full(graph.mask.size, len(order), dtype=np.int64)  # unscored edges last, all alike
    places[order] = np.arange(len(order))
    shares = (places[graph.mask.ravel()] + 0.5) / (graph.n_edges + 1)
    return -torch.special.ndtri(torch.from_numpy(shares)).numpy()


@dataclass(frozen=True)
class _Some:
    """A few pairs with what does not change from step to step."""

    batch: Batch
    corrupted: Capture
    clean: Float[Tensor, " pair"]


@dataclass(frozen=True)
class _Task:
    """What masks are learned on. scale: g."""

    model: Model
    metric: Metric
    parts: list[_Some]
    scale: float
    runner: CircuitRunner

    @classmethod
    def of(cls, runner: CircuitRunner, encoded: EncodedPairs, metric: Metric, pairs_at_once: int) -> _Task:
        """Clean metric and corrupted run of every pair. Errors: OptionError where no metric changes."""
        model = runner.model
        gaps = runner.metric_clean - runner.metric_corrupted
        scale = float(np.sqrt(np.mean(gaps**2)))
        if not scale > SMALL_GAP * float(np.abs(runner.metric_clean).max()):
            raise OptionError(
                f"the metric {metric.name!r} is the same on clean and corrupted prompts: nothing to learn."
            )
        parts = []
        with torch.no_grad():
            for index in split_batches(model, encoded, min(pairs_at_once, encoded.n)):
                batch = make_batch(model, encoded, index, metric)
                corrupted = capture(model, batch.corrupted, keep=Keep.SOURCES | Keep.RESIDUALS)
                clean = torch.from_numpy(runner.metric_clean[index]).to(corrupted.logits)
                parts.append(_Some(batch, corrupted, clean))
        return cls(model, metric, parts, scale, runner)

    def forever(self, rng: np.random.Generator) -> Iterator[_Some]:
        """The pairs a few at a time, again and again in another order."""
        while True:
            yield from (self.parts[place] for place in rng.permutation(len(self.parts)))

    def step(self, some: _Some, inside: Float[np.ndarray, "src dst"]) -> tuple[float, Float[Tensor, "src dst"]]:
        """Loss of some pairs under a mask, and its slope for every edge."""
        run = weighted_run(self.model, some.batch.clean, some.corrupted, inside, inside)
        values = self.metric.compute(run.logits, some.batch.targets)
        loss = loss_of((some.clean - values) / self.scale)
        gradients = gradients_of(loss, run.inputs)
        with torch.no_grad():
            mask = some.batch.clean.mask.unsqueeze(-1).float()
            return float(loss.detach()), weighted_scores(self.model, run, gradients, mask).sum(0).double().cpu()

    def losses(self, circuits: Sequence[Circuit]) -> list[float]:
        """L of circuits on all pairs."""
        runs = self.runner.run(circuits)
        gaps = torch.from_numpy((runs.metric_clean - runs.metric) / self.scale)
        return [float(loss_of(one)) for one in gaps]


class _Learning:
    """The weights of one size on their way."""

    def __init__(self, task: _Task, start: EdgeScores, n: int, rng: np.random.Generator) -> None:
        self.task, self.n, self.rng, self.graph = task, n, rng, task.model.graph
        self.mask = torch.from_numpy(self.graph.mask)
        self.weights = torch.from_numpy(ranked(start, n)).requires_grad_(True)
        first = [*select_many(start, [n], rule="top-n"), *select_many(start, [n], rule="greedy")]
        losses = task.losses(first)
        self.before = self.best = min(losses)
        self.circuit, self.kept = first[int(np.argmin(losses))], self.weights.detach().clone()
        self.seen = {one.key for one in first}
        self.looks = len(first)

    def run(self, steps: int, tell: Callable[[int], None]) -> LearnedMask:
        """All steps, and the best circuit."""
        began, losses, pairs = time.perf_counter(), [], 0
        optimiser = torch.optim.Adam([self.weights], lr=RATE)
        batches = self.task.forever(self.rng)
        for step in range(steps):
            tell(step)
            left = 1 - step / steps
            optimiser.param_groups[0]["lr"] = RATE * left
            some = next(batches)
            loss, slopes = self.task.step(some, self.edges(NOISE * left).astype(np.float64))
            losses.append(loss)
            pairs += some.batch.size
            self.weights.grad = slopes[self.mask]
            optimiser.step()
            if step % LOOK == LOOK - 1 or step == steps - 1:
                self.look()
        scores = np.zeros(self.graph.mask.shape)
        scores[self.graph.mask] = self.kept.numpy()
        passes = pairs / self.task.runner.n_pairs + self.looks
        return LearnedMask(
            self.circuit,
            EdgeScores(self.graph, scores, {"method": "learned mask"}),
            np.array(losses),
            self.best,
            self.before,
            passes,
            time.perf_counter() - began,
        )

    def edges(self, noise: float) -> Bools:
        """`[src, dst]` the n edges of largest weight, with logistic noise of this size."""
        uniform = self.rng.uniform(1e-6, 1 - 1e-6, len(self.weights))
        key = self.weights.detach().numpy() + noise * np.log(uniform / (1 - uniform))
        chosen = np.zeros(len(key), dtype=bool)
        chosen[np.argsort(-key, kind="stable")[: self.n]] = True
        edges = np.zeros(self.graph.mask.shape, dtype=bool)
        edges[self.graph.mask] = chosen
        return edges

    def look(self) -> None:
        """Run the circuit without noise on all pairs, unless that was done, and keep it if it is the best so far."""
        circuit = prune(Circuit(self.graph, self.edges(0.0), self.n, f"learned {self.n}"))
        if circuit.key in self.seen:
            return
        self.seen.add(circuit.key)
        self.looks += 1
        loss = self.task.losses([circuit])[0]
        if loss < self.best:
            self.best, self.circuit, self.kept = loss, circuit, self.weights.detach().clone()
