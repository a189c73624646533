"""How far are a run's circuits from the best that is known at their size? Measured on pairs that nothing was found on.

1. Circuits of the run's scores (top n, and greedy), and, found on the same pairs at any cost, learned edge masks and on
   small models greedy pruning by exact effect (`eapgp.reference`).
2. All of them are run on other pairs, at equal numbers of edges.

No circuit found this way is proved to be the best: what is found is a lower bound of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select_many
from eapgp.errors import OptionError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.statistics import USUAL, Band, Resampling, bootstrap_difference, bootstrap_ratio
from eapgp.prompts.pairs import PromptSet
from eapgp.reference.pruned import prune_by_effect
from eapgp.runs.compute import load_run_model
from eapgp.runs.evaluate import USUAL_WAY, Running
from eapgp.runs.other_pairs import divide, judging_runner, score_pairs
from eapgp.runs.run import Run
from eapgp.runs.spec import PATCHING
from eapgp.types import Floats

if TYPE_CHECKING:
    from eapgp.reference.learned_mask import LearnedMask

TOP, GREEDY, LEARNED, PRUNED = "top-n", "greedy", "learned", "pruned"
WAYS = {
    TOP: "largest scores",
    GREEDY: "grown from the logits",
    LEARNED: "learned mask",
    PRUNED: "pruned by exact effect",
}
"""How a circuit was found, in words."""
STEPS = 200
"""Of a learned mask, for each size."""


@dataclass(frozen=True)
class Cost:
    """Forward passes per pair (of learned masks as many backward ones beside), and seconds."""

    passes: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Reference:
    """Circuits of a run's scores beside circuits found at any cost, at sizes `[size]`, on judged pairs.

    scores: the run's, of `found_on`; gates: `[size]` weights of the learned masks; losses: `[size][step]` of learning.
    circuits: by way (`top-n`, `greedy`, `learned`, and `pruned` where it was asked for). metric: by way `[size, pair]`.
    clean, corrupted: `[pair]` metric of the whole model and of the empty circuit. found_on, judged: the pairs. cost: by
    way, of all sizes together.
    """

    method: str
    sizes: tuple[int, ...]
    scores: EdgeScores
    gates: tuple[EdgeScores, ...]
    circuits: Mapping[str, tuple[Circuit, ...]]
    metric: Mapping[str, Floats]
    clean: Floats
    corrupted: Floats
    found_on: PromptSet
    judged: PromptSet
    losses: tuple[Floats, ...]
    cost: Mapping[str, Cost]

    def kept(self, way: str, how: Resampling = USUAL) -> Band:
        """`[size]` faithfulness of one way on the judged pairs."""
        return bootstrap_ratio(self.metric[way], self.clean, self.corrupted, how=how)

    def minus(self, way: str, other: str, how: Resampling = USUAL) -> Band:
        """`[size]` faithfulness of one way minus that of another, on the same resamples."""
        return bootstrap_difference(self.metric[way], self.metric[other], self.clean, self.corrupted, how=how)

    def shared(self, way: str, other: str) -> list[int]:
        """`[size]` how many edges the circuits of two ways share."""
        pairs = zip(self.circuits[way], self.circuits[other], strict=True)
        return [int((one.edges & two.edges).sum()) for one, two in pairs]

    def evidence(self, at: int) -> dict[str, Any]:
        """What `findings.of_reference` makes a sentence of, for one of the sizes: beside the scores' better rule."""
        own = max((TOP, GREEDY), key=lambda way: np.nan_to_num(self.kept(way).value[at], nan=-np.inf))
        bands = {"own": self.kept(own), "best": self.kept(LEARNED), "gap": self.minus(LEARNED, own)}
        return {"name": self.method, "rule": own, "edges": self.sizes[at], "at": at, **bands}

    def to_dict(self, how: Resampling = USUAL) -> dict[str, Any]:
        """Plain values for JSON."""
        bands = {way: self.kept(way, how) for way in self.circuits}
        gaps = {f"learned_minus_{way}": self.minus(LEARNED, way, how) for way in self.circuits if way != LEARNED}
        rows = []
        for at, size in enumerate(self.sizes):
            row: dict[str, Any] = {"edges": size}
            row |= {f"{way}_kept_edges": circuits[at].n_kept for way, circuits in self.circuits.items()}
            row |= {f"learned_shares_with_{way}": self.shared(LEARNED, way)[at] for way in (TOP, GREEDY)}
            rows.append(row | {name: band.at(at) for name, band in (bands | gaps).items()})
        cost = {way: {"passes": one.passes, "seconds": one.seconds} for way, one in self.cost.items()}
        return {
            "method": self.method,
            "found_on": len(self.found_on),
            "judged": len(self.judged),
            "sizes": rows,
            "cost": cost,
        }


def run_reference(
    run: Run,
    edges: Sequence[int],
    *,
    steps: int = STEPS,
    pruned: bool = False,
    seed: int = 0,
    how: Running = USUAL_WAY,
) -> Reference:
    """Hold circuits of a run's scores against learned masks of equal size, and against pruning by exact effect.

    edges: sizes. steps: of the learned mask, for each size; it begins at the run's scores. pruned: also prune by exact
    effect. seed: of the judged pairs and of the mask's noise.
    Errors: OptionError for a run without prompts or under another intervention than patching, as `learn_masks` and
    `prune_by_effect`, and for too few pairs.
    """
    from eapgp.reference.learned_mask import Training, learn_masks

    if run.request.get("intervention", PATCHING) != PATCHING:
        raise OptionError(
            f"learned masks mix clean and corrupted activations: expected a run under patching, got "
            f"{run.request['intervention']!r}."
        )
    if not edges:
        raise OptionError("no size: expected at least one number of edges.")
    training = Training(steps, how.batch_size or Training.pairs_at_once, seed)
    model = load_run_model(run, device=how.device, progress=how.progress, model_loader=how.model_loader)
    found_on, judged, again = divide(run, model.tokenizer, seed)
    result = score_pairs(run, model, found_on, how) if again else run.attribution()
    asked: dict[str, Any] = {"metric": run.request["metric"], "how": training, "progress": how.progress}
    learned = learn_masks(model, found_on, edges, result.scores, **asked)
    ways = _of_scores(result, edges) | {LEARNED: _of_masks(learned)}
    if pruned:
        ways[PRUNED] = _pruned(judging_runner(run, model, found_on, how), edges, how)
    circuits = {way: some for way, (some, _) in ways.items()}
    runs = judging_runner(run, model, judged, how).run([one for some in circuits.values() for one in some])
    return Reference(
        method=run.request["method"],
        sizes=tuple(edges),
        scores=result.scores,
        gates=tuple(one.scores for one in learned),
        circuits=circuits,
        metric=dict(zip(circuits, runs.metric.reshape(len(circuits), len(edges), -1), strict=True)),
        clean=runs.metric_clean,
        corrupted=runs.metric_corrupted,
        found_on=found_on,
        judged=judged,
        losses=tuple(one.losses for one in learned),
        cost={way: cost for way, (_, cost) in ways.items()},
    )


Found = tuple[tuple[Circuit, ...], Cost]


def _of_scores(result: Attribution, edges: Sequence[int]) -> dict[str, Found]:
    """Both circuits of the scores, which cost the scores once."""
    cost = Cost(result.forward_passes, result.seconds)
    rules: tuple[Literal["top-n", "greedy"], ...] = ("top-n", "greedy")
    return {rule: (tuple(select_many(result.scores, edges, rule=rule)), cost) for rule in rules}


def _of_masks(learned: Sequence[LearnedMask]) -> Found:
    cost = Cost(sum(one.passes for one in learned), sum(one.seconds for one in learned))
    return tuple(one.circuit for one in learned), cost


def _pruned(runner: CircuitRunner, edges: Sequence[int], how: Running) -> Found:
    began = time.perf_counter()
    circuits, n_runs = prune_by_effect(runner, edges, progress=how.progress)
    return tuple(circuits), Cost(n_runs, time.perf_counter() - began)
