"""Task metrics: one number per prompt pair from the logits at the answer position.

Higher means that the behaviour is stronger. Everything is computed in float32 or wider,
whatever the model's dtype, and can be differentiated. torch is imported only where numbers
are computed, so names and explanations can be listed without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from eapgp.errors import OptionError, UnknownNameError, WrongTypeError
from eapgp.prompts.encode import EncodedPairs
from eapgp.prompts.prompting import OWN_METRIC

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Compute = Callable[["Tensor", "Targets"], "Tensor"]
"""(logits `[pair, vocab]`, targets) → `[pair]`."""
DEFAULT_METRIC = "logit-diff"


@dataclass(frozen=True, eq=False)
class Targets:
    """What a metric compares logits with: answer ids of prompt pairs as padded tensors, and the clean run.

    correct, incorrect: `[pair, answer]` int64; the masks are true at real answers, and a side without answers has
    none. clean: `[pair, vocab]` log probabilities of the clean run, only where the metric compares with it.
    """

    correct: Tensor
    correct_mask: Tensor
    incorrect: Tensor
    incorrect_mask: Tensor
    clean: Tensor | None = None

    def __len__(self) -> int:
        return int(self.correct.shape[0])

    def take(self, pairs: Any) -> Targets:
        """Some of the pairs: a slice, a list of indices, or an index tensor."""
        return self._each(lambda part: part[pairs])

    def repeat(self, times: int) -> Targets:
        """All pairs `times` times over, in blocks (for points stacked along the batch)."""
        return self._each(lambda part: part.repeat(times, 1))

    def to(self, device: Any) -> Targets:
        """The same on another device."""
        return self._each(lambda part: part.to(device))

    def with_clean(self, logits: Tensor) -> Targets:
        """The same with the clean run's logits `[pair, vocab]` to compare with."""
        return replace(self, clean=_wide(logits.detach()).log_softmax(-1))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Targets:
        correct, incorrect = change(self.correct), change(self.incorrect)
        clean = None if self.clean is None else change(self.clean)
        return Targets(correct, change(self.correct_mask), incorrect, change(self.incorrect_mask), clean)


def targets_of(encoded: EncodedPairs, device: torch.device | str = "cpu") -> Targets:
    """The answers of encoded pairs on a device."""
    correct, correct_mask = _padded(encoded.correct, device)
    incorrect, incorrect_mask = _padded(encoded.incorrect, device)
    return Targets(correct, correct_mask, incorrect, incorrect_mask)


def _padded(answers: Sequence[tuple[int, ...]], device: Any) -> tuple[Tensor, Tensor]:
    import torch

    distinct = {row: i for i, row in enumerate(dict.fromkeys(answers))}  # large sets are often shared
    width = max(1, *map(len, distinct))
    ids = torch.tensor([[*row, *[row[0] if row else 0] * (width - len(row))] for row in distinct], dtype=torch.int64)
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


def correct_logit(logits: Tensor, targets: Targets) -> Tensor:
    """`[pair, vocab]` → `[pair]`: mean logit of the correct answers."""
    return _mean(_wide(logits).gather(-1, targets.correct), targets.correct_mask)


def correct_probability(logits: Tensor, targets: Targets) -> Tensor:
    """`[pair, vocab]` → `[pair]`: Σ p(correct)."""
    return (_wide(logits).softmax(-1).gather(-1, targets.correct) * targets.correct_mask).sum(-1)


def negative_divergence(logits: Tensor, targets: Targets) -> Tensor:
    """`[pair, vocab]` → `[pair]`: −KL(p_clean ‖ p) = −Σ_t p_clean(t) · (log p_clean(t) − log p(t)), in nats.

    0 where the output is that of the clean prompt, below it elsewhere.
    Source: Conmy et al. 2023, arXiv:2304.14997, section 3.
    """
    assert targets.clean is not None  # `make_batch` adds it for a metric that `compares`
    wide = _wide(logits)
    clean = targets.clean.to(wide)
    return (clean.exp() * (wide.log_softmax(-1) - clean)).sum(-1)


def accuracy(logits: Tensor, targets: Targets) -> Tensor:
    """`[pair, vocab]` → `[pair]` bool: more probability on the correct than on the incorrect answers.

    With one answer on each side that is the larger logit. A pair without incorrect answers is right where the most
    probable token is a correct one; one without any answer is right where it is the clean run's most probable token.
    """
    log_probs = _wide(logits).log_softmax(-1)
    right = _log_mass(log_probs, targets.correct, targets.correct_mask)
    better = right > _log_mass(log_probs, targets.incorrect, targets.incorrect_mask)
    alone = ~targets.incorrect_mask.any(-1)
    if not bool(alone.any()):
        return better
    best = log_probs.argmax(-1)
    top = ((best[:, None] == targets.correct) & targets.correct_mask).any(-1)
    if targets.clean is not None:
        same = best == targets.clean.argmax(-1).to(best.device)
        top = top | (same & ~targets.correct_mask.any(-1))
    return top.where(alone, better)


@dataclass(frozen=True)
class Metric:
    """A task metric. compute(logits `[pair, vocab]`, targets) → `[pair]`.

    formula is plain text; unit names the axis. compares: whether it reads `targets.clean`, the clean run's output.
    """

    name: str
    title: str
    formula: str
    unit: str
    explanation: str
    compute: Compute = field(repr=False, compare=False)
    compares: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is a function of one's own, of which its name says too little to compute it again."""
        return self.name.startswith(OWN_METRIC)


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
        Metric(
            name="correct-logit",
            title="Logit of the right answer",
            formula="M = logit(correct)",
            unit="logits",
            explanation=(
                "The logit of the right answer alone (of several the mean); no wrong answers are needed. A logit has "
                "no zero of its own, and what lifts all tokens alike lifts it too: compare it within one model only."
            ),
            compute=correct_logit,
        ),
        Metric(
            name="correct-prob",
            title="Probability of the right answer",
            formula="M = Σ p(correct)",
            unit="probability",
            explanation=(
                "The probability of all right answers together, between 0 and 1; no wrong answers are needed. It "
                "saturates at both ends: its gradient vanishes there."
            ),
            compute=correct_probability,
        ),
        Metric(
            name="kl",
            title="Closeness to the clean output (−KL)",
            formula="M = −KL(p_clean ‖ p) = −Σ_t p_clean(t) · log(p_clean(t) / p(t))",
            unit="nats",
            explanation=(
                "How close the whole distribution of the next token is to that on the clean prompt: 0 where they are "
                "equal, below it elsewhere. It needs no answers. It is largest on the clean prompt, where its gradient "
                "is 0: methods that take the gradient there alone (EAP) give 0 to every edge; those that follow a path "
                "and exact patching do not."
            ),
            compute=negative_divergence,
            compares=True,
        ),
    )
}


def metric_title(name: str) -> str:
    """The title of a metric; its name where it is unknown."""
    return METRICS[name].title if name in METRICS else name


def get_metric(metric: str | Compute) -> Metric:
    """A metric by its name, or of a function (logits `[pair, vocab]`, targets) → `[pair]` of one's own.

    Errors: UnknownNameError; WrongTypeError for what is neither; OptionError, when it is computed, where such a
    function does not give one number per pair.
    """
    if isinstance(metric, str):
        if metric not in METRICS:
            raise UnknownNameError.of("metric", metric, METRICS)
        return METRICS[metric]
    WrongTypeError.check("metric", metric, Callable, "name one, or give a function(logits, targets)")  # type: ignore[arg-type]
    own = getattr(metric, "__qualname__", type(metric).__qualname__)
    return Metric(f"{OWN_METRIC}{own}", own, "", "", "", partial(_checked, own, metric), compares=True)


def _checked(name: str, compute: Compute, logits: Tensor, targets: Targets) -> Tensor:
    """What a function of one's own gives. Errors: OptionError."""
    import torch

    values = compute(logits, targets)
    if not isinstance(values, torch.Tensor) or values.shape != logits.shape[:1]:
        came = f"shape {tuple(values.shape)}" if isinstance(values, torch.Tensor) else type(values).__name__
        raise OptionError(
            f"metric {name}: expected a tensor of shape [pair] = ({len(logits)},), got {came}; "
            "reduce over the vocabulary alone."
        )
    if logits.requires_grad and not values.requires_grad:
        raise OptionError(
            f"metric {name}: expected a value that can be differentiated by the logits, got one that is cut off from "
            "them; leave out detach(), argmax and comparisons, or take the method exact."
        )
    return values
