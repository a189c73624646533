"""Task metrics: one number per prompt pair from the logits at the answer position.

Higher means that the behaviour is stronger. Everything is computed in float32 or wider,
whatever the model's dtype, and can be differentiated. torch is imported only where numbers
are computed, so names and explanations can be listed without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eapgp.errors import UnknownNameError
from eapgp.prompts.encode import EncodedPairs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DEFAULT_METRIC = "logit-diff"


@dataclass(frozen=True, eq=False)
class Targets:
    """Answer ids of prompt pairs as padded tensors.

    correct, incorrect: `[pair, answer]` int64; the masks are true at real answers.
    """

    correct: Tensor
    correct_mask: Tensor
    incorrect: Tensor
    incorrect_mask: Tensor

    def __len__(self) -> int:
        return int(self.correct.shape[0])

    def take(self, pairs: Any) -> Targets:
        """Some of the pairs: a slice, a list of indices, or an index tensor."""
        return Targets(self.correct[pairs], self.correct_mask[pairs], self.incorrect[pairs], self.incorrect_mask[pairs])

    def repeat(self, times: int) -> Targets:
        """All pairs `times` times over, in blocks (for points stacked along the batch)."""
        parts = (self.correct, self.correct_mask, self.incorrect, self.incorrect_mask)
        return Targets(*(part.repeat(times, 1) for part in parts))

    def to(self, device: Any) -> Targets:
        """The same on another device."""
        parts = (self.correct, self.correct_mask, self.incorrect, self.incorrect_mask)
        return Targets(*(part.to(device) for part in parts))


def targets_of(encoded: EncodedPairs, device: torch.device | str = "cpu") -> Targets:
    """The answers of encoded pairs on a device."""
    correct, correct_mask = _padded(encoded.correct, device)
    incorrect, incorrect_mask = _padded(encoded.incorrect, device)
    return Targets(correct, correct_mask, incorrect, incorrect_mask)


def _padded(answers: Sequence[tuple[int, ...]], device: Any) -> tuple[Tensor, Tensor]:
    import torch

    distinct = {row: i for i, row in enumerate(dict.fromkeys(answers))}  # large sets are often shared
    width = max(map(len, distinct))
    ids = torch.tensor([[*row, *[row[0]] * (width - len(row))] for row in distinct], dtype=torch.int64)
    sizes = torch.tensor([len(row) for row in distinct])
    rows = torch.tensor([distinct[row] for row in answers])
    mask = torch.arange(width)[None, :] < sizes[:, None]
    return ids[rows].to(device), mask[rows].to(device)


def _wide(logits: Tensor) -> Tensor:
    import torch

    return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(-1) / mask.sum(-1)


def _log_mass(log_probs: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    return log_probs.gather(-1, ids).masked_fill(~mask, float("-inf")).logsumexp(-1)


def logit_difference(logits: Tensor, targets: Targets) -> Tensor:
    """`[pair, vocab]` → `[pair]`: mean logit of the correct minus mean logit of the incorrect answers."""
    wide = _wide(logits)
    right = _mean(wide.gather(-1, targets.correct), targets.correct_mask)
    return right - _mean(wide.gather(-1, targets.incorrect), targets.incorrect_mask)


def probability_difference(logits: Tensor, targets: Targets) -> Tensor:
    """`[pair, vocab]` → `[pair]`: Σ p(correct) − Σ p(incorrect)."""
    probs = _wide(logits).softmax(-1)
    right = (probs.gather(-1, targets.correct) * targets.correct_mask).sum(-1)
    return right - (probs.gather(-1, targets.incorrect) * targets.incorrect_mask).sum(-1)


def log_probability(logits: Tensor, targets: Targets) -> Tensor:
    """`[pair, vocab]` → `[pair]`: log Σ p(correct), in nats."""
    return _log_mass(_wide(logits).log_softmax(-1), targets.correct, targets.correct_mask)


def accuracy(logits: Tensor, targets: Targets) -> Tensor:
    """`[pair, vocab]` → `[pair]` bool: more probability on the correct than on the incorrect answers.

    With one answer on each side that is the larger logit.
    """
    log_probs = _wide(logits).log_softmax(-1)
    right = _log_mass(log_probs, targets.correct, targets.correct_mask)
    return right > _log_mass(log_probs, targets.incorrect, targets.incorrect_mask)


@dataclass(frozen=True)
class Metric:
    """A task metric. compute(logits `[pair, vocab]`, targets) → `[pair]`.

    formula is plain text; unit names the axis.
    """

    name: str
    title: str
    formula: str
    unit: str
    explanation: str
    compute: Callable[[Tensor, Targets], Tensor] = field(repr=False, compare=False)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="logit-diff",
            title="Logit difference",
            formula="M = logit(correct) − logit(incorrect)",
            unit="logits",
            explanation=(
                "How much higher the model rates the right answer than the wrong one, before the softmax. 0 means "
                "undecided, 1 means e ≈ 2.7 times as probable. It does not saturate, so it keeps growing while "
                "probabilities stand still near 1. With several answers on a side their mean is taken."
            ),
            compute=logit_difference,
        ),
        Metric(
            name="prob-diff",
            title="Probability difference",
            formula="M = Σ p(correct) − Σ p(incorrect)",
            unit="probability",
            explanation=(
                "The probability of all right answers together minus that of all wrong ones, between −1 and 1. It "
                "suits tasks where many words are right. Near −1 and 1 it saturates: its gradient vanishes there, "
                "which misleads methods that look at one point only."
            ),
            compute=probability_difference,
        ),
        Metric(
            name="log-prob",
            title="Log probability",
            formula="M = log Σ p(correct)",
            unit="nats",
            explanation=(
                "The logarithm of the probability of the right answers together. 0 is certainty; every step of "
                "−1 makes them e ≈ 2.7 times less probable. Wrong answers count only through what they take away."
            ),
            compute=log_probability,
        ),
    )
}


def get_metric(name: str) -> Metric:
    """A metric by its name. Errors: UnknownNameError."""
    if name not in METRICS:
        raise UnknownNameError.of("metric", name, METRICS)
    return METRICS[name]
