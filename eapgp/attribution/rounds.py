"""The batches of a round joined in pair order, and the rounds of a method summed into one.

A method of several rounds goes through all pairs once per round. With a_r the mean scores of round r,

    scores = Σ_r w_r a_r,   w_r = (Σ|a_0| / Σ|a_r|) / number of rounds:

every round counts alike, and the sum keeps the unit of the metric and the size of the first round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eapgp.attribution.context import Passes
from eapgp.attribution.outcome import Outcome
from eapgp.attribution.recorder import join_parts
from eapgp.attribution.result import PathRecord


@dataclass(frozen=True)
class Round:
    """What a method gave for every batch of pairs, in the order in which they ran. index: which pairs they were."""

    index: list[Int[np.ndarray, " _"]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    passes: list[Passes] = field(default_factory=list)

    def add(self, index: Int[np.ndarray, " _"], outcome: Outcome, passes: Passes) -> None:
        """One more batch; index: which pairs of the prompt set it holds."""
        self.index.append(index)
        self.outcomes.append(outcome)
        self.passes.append(passes)

    @property
    def order(self) -> Int[np.ndarray, " pair"]:
        """Where each pair of the prompt set lies in the batches, one after another."""
        return np.argsort(np.concatenate(self.index))

    def joined(self, pick: Callable[[Outcome], Tensor]) -> Float[np.ndarray, "pair ..."]:
        """What `pick` takes of an outcome, for all pairs of the prompt set in their order."""
        parts = [np.asarray(pick(outcome).detach().float().cpu()) for outcome in self.outcomes]
        return np.concatenate(parts)[self.order]

    @property
    def has_right(self) -> bool:
        """Whether it is known on which pairs the model is right."""
        return all(outcome.right is not None for outcome in self.outcomes)

    def right(self) -> Bool[np.ndarray, " pair"] | None:
        """Whether the right answer wins on the clean prompt of each pair of the prompt set, in their order."""
        if not self.has_right:
            return None
        return np.concatenate([np.asarray(outcome.right.cpu()) for outcome in self.outcomes])[self.order]  # type: ignore[union-attr]

    def completeness(self) -> dict[str, Float[np.ndarray, " pair"]]:
        """The contributions' sum and the change of the metric that it should be; empty where no claim is made."""
        pairs = [outcome.complete for outcome in self.outcomes if outcome.complete is not None]
        if not pairs:
            return {}
        sides = zip(("sum", "gap"), zip(*pairs, strict=True), strict=True)
        return {
            name: np.concatenate([np.asarray(part.detach().float().cpu()) for part in parts])[self.order]
            for name, parts in sides
        }

    def passes_per_pair(self) -> Passes:
        """Passes made, as a mean over the pairs."""
        sizes = np.array([len(index) for index in self.index])
        names = ("forward", "backward", "reference")
        return Passes(*(float(np.dot([getattr(p, n) for p in self.passes], sizes) / sizes.sum()) for n in names))

    def paths(self, lengths: Int[np.ndarray, " pair"]) -> dict[str, PathRecord]:
        """Record of every path that was followed. lengths: token counts."""
        return {
            kind: join_parts(
                [(index, outcome.parts[kind]) for index, outcome in zip(self.index, self.outcomes, strict=True)],
                lengths,
                int(lengths.max()),
            )
            for kind in self.outcomes[0].parts
        }


def merge(rounds: Sequence[Round], means: Sequence[Float[np.ndarray, "src dst"]]) -> Round:
    """The rounds' weighted sum, pair by pair, as one batch; metrics are the first round's.

    means: mean scores of each round over all pairs.
    """
    if len(rounds) == 1:
        return rounds[0]

    def in_order(each: Round, name: str) -> Tensor:
        return torch.cat([getattr(outcome, name).detach().cpu() for outcome in each.outcomes])[each.order]

    weights = shares(means)
    scores = in_order(rounds[0], "scores") * weights[0]
    for each, weight in zip(rounds[1:], weights[1:], strict=True):
        scores += in_order(each, "scores") * weight
    passes = Passes()
    for each in rounds:
        passes = passes.plus(each.passes_per_pair())
    names = ("metric_clean", "metric_corrupted", *(("right",) if rounds[0].has_right else ()))
    outcome = Outcome(scores, **{name: in_order(rounds[0], name) for name in names})
    return Round([np.arange(len(scores))], [outcome], [passes])


def accumulated(means: Sequence[Float[np.ndarray, "src dst"]]) -> Float[np.ndarray, "src dst"]:
    """Σ over rounds of a / Σ|a|; a round without any score adds nothing."""
    total = np.zeros(means[0].shape)
    for scores in means:
        size = float(np.abs(scores).sum())
        total += scores / size if size > 0 else 0.0
    return total


def shares(means: Sequence[Float[np.ndarray, "src dst"]]) -> list[float]:
    """What each round's scores count in the sum: Σ|a_0| / Σ|a_r| / number of rounds."""
    sizes = [float(np.abs(scores).sum()) for scores in means]
    return [sizes[0] / size / len(means) if size > 0 else 0.0 for size in sizes]
