"""What a method gives back for one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from eapgp.attribution.recorder import PathPart


@dataclass(frozen=True)
class Outcome:
    """Result of a method on one batch.

    scores `[pair, src, dst]`; metric_clean, metric_corrupted `[pair]`; parts: path kind → record.
    complete: (sum `[pair]`, gap `[pair]`) where the contributions should add up to a change of
    the metric, else None. nodes `[pair, src]`: the attribution of each node's output, where it is not
    the sum over the node's outgoing edges.
    """

    scores: Tensor
    metric_clean: Tensor
    metric_corrupted: Tensor
    parts: dict[str, PathPart] = field(default_factory=dict)
    complete: tuple[Tensor, Tensor] | None = None
    nodes: Tensor | None = None

    @classmethod
    def of_inputs(cls, scores: Tensor, clean: Tensor, corrupted: Tensor, parts: Sequence[PathPart] = ()) -> Outcome:
        """An outcome whose input edges should add up to M(clean) − M(corrupted)."""
        complete = (input_sum(scores).to(clean.device), clean - corrupted)
        return cls(scores, clean, corrupted, {part.kind: part for part in parts}, complete)


def input_sum(scores: Tensor) -> Tensor:
    """`[pair]` Σ over the edges that leave `input`: what the whole input is worth."""
    return scores[:, 0].sum(-1)
