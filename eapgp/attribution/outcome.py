"""What a method gives back for one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from eapgp.attribution.recorder import PathPart


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
