"""What a method gives back for one batch, the records of its paths, and how batches become one result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eapgp.attribution.context import Passes
from eapgp.attribution.gradpath import pair_norm
from eapgp.attribution.result import PathRecord
from eapgp.models.model import widen


@dataclass
class PathPart:
    """The record of one batch, as `PathRecord` has it for all. Lists hold one tensor per point."""

    kind: str
    clean: Float[Tensor, "pair pos d_model"]
    corrupted: Float[Tensor, "pair pos d_model"]
    n_destinations: int
    keep_points: bool
    output_distance: list[Float[Tensor, " pair"]] = field(default_factory=list)
    metric: list[Float[Tensor, " pair"]] = field(default_factory=list)
    to_corrupted: list[Float[Tensor, " pair"]] = field(default_factory=list)
    to_clean: list[Float[Tensor, " pair"]] = field(default_factory=list)
    gradient_norm: list[Float[Tensor, " pair"]] = field(default_factory=list)
    destination_gradient: list[Float[Tensor, "pair dst"]] = field(default_factory=list)
    step_length: list[Float[Tensor, " pair"]] = field(default_factory=list)
    used: list[bool] = field(default_factory=list)
    points: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)
    latest: Float[Tensor, "pair pos d_model"] | None = None

    def add(
        self,
        value: Float[Tensor, "pair pos d_model"],
        metric: Float[Tensor, " pair"],
        distance: Float[Tensor, " pair"],
        *,
        input_gradient: Float[Tensor, "pair pos d_model"] | None = None,
        norms: Float[Tensor, "pair dst"] | None = None,
        used: bool = True,
    ) -> None:
        """Write one point down; gradients that were not taken are NaN."""
        value = widen(value)
        if self.latest is not None:
            self.step_length.append(_rows(pair_norm(value - self.latest)))
        self.latest = value.detach()
        pairs = value.shape[0]
        self.output_distance.append(_rows(distance))
        self.metric.append(_rows(metric))
        self.to_corrupted.append(_rows(pair_norm(value - self.corrupted)))
        self.to_clean.append(_rows(pair_norm(value - self.clean)))
        nan = torch.full((pairs,), float("nan"))
        self.gradient_norm.append(nan if input_gradient is None else _rows(pair_norm(input_gradient)))
        empty = torch.full((pairs, self.n_destinations), float("nan"))
        self.destination_gradient.append(empty if norms is None else _rows(norms))
        self.used.append(used)
        if self.keep_points:
            self.points.append(_rows(value))

    def reverse(self) -> None:
        """Turn the record round: the first point becomes the last."""
        for name in ("output_distance", "metric", "to_corrupted", "to_clean", "gradient_norm", "step_length"):
            getattr(self, name).reverse()
        for values in (self.destination_gradient, self.used, self.points):
            values.reverse()  # type: ignore[attr-defined]


def join_parts(
    parts: Sequence[tuple[Int[np.ndarray, " _"], PathPart]], lengths: Int[np.ndarray, " pair"], longest: int
) -> PathRecord:
    """One record of all pairs, in the order of the prompt set."""
    first = parts[0][1]
    order = np.argsort(np.concatenate([index for index, _ in parts]))

    def joined(name: str) -> Float[np.ndarray, "point pair *axes"]:
        stacks = [torch.stack(getattr(part, name)).numpy() for _, part in parts]
        return np.concatenate(stacks, axis=1)[:, order]

    points = None
    if first.keep_points:
        padded = [_pad(torch.stack(part.points).numpy(), longest) for _, part in parts]
        points = np.concatenate(padded, axis=1)[:, order]
    return PathRecord(
        kind=first.kind,
        output_distance=joined("output_distance"),
        metric=joined("metric"),
        to_corrupted=joined("to_corrupted"),
        to_clean=joined("to_clean"),
        gradient_norm=joined("gradient_norm"),
        step_length=joined("step_length"),
        destination_gradient=joined("destination_gradient"),
        used=np.array(first.used),
        lengths=lengths,
        points=points,
    )


def _pad(
    points: Float[np.ndarray, "point pair pos d_model"], length: int
) -> Float[np.ndarray, "point pair length d_model"]:
    """The points filled with zeros up to `length` positions."""
    missing = length - points.shape[2]
    return np.pad(points, ((0, 0), (0, 0), (0, missing), (0, 0))) if missing else points


def _rows(values: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Per-pair numbers on the CPU, float32 or wider."""
    return widen(values.detach()).cpu()


@dataclass(frozen=True)
class Outcome:
    """Result of a method on one batch.

    parts: path kind → record. complete: (sum, gap) where the contributions should add up to a change of
    the metric, else None. nodes: the attribution of each node's output, where it is not the sum over the
    node's outgoing edges. right: whether the right answer wins on the clean prompt; `Scoring` fills it in.
    """

    scores: Float[Tensor, "pair src dst"]
    metric_clean: Float[Tensor, " pair"]
    metric_corrupted: Float[Tensor, " pair"]
    parts: dict[str, PathPart] = field(default_factory=dict)
    complete: tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]] | None = None
    nodes: Float[Tensor, "pair src"] | None = None
    right: Bool[Tensor, " pair"] | None = None

    @classmethod
    def of_inputs(
        cls,
        scores: Float[Tensor, "pair src dst"],
        clean: Float[Tensor, " pair"],
        corrupted: Float[Tensor, " pair"],
        parts: Sequence[PathPart] = (),
    ) -> Outcome:
        """An outcome whose input edges should add up to M(clean) − M(corrupted)."""
        complete = (input_sum(scores).to(clean.device), clean - corrupted)
        return cls(scores, clean, corrupted, {part.kind: part for part in parts}, complete)


def input_sum(scores: Float[Tensor, "pair src dst"]) -> Float[Tensor, " pair"]:
    """Σ over the edges that leave `input`: what the whole input is worth."""
    return scores[:, 0].sum(-1)


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
