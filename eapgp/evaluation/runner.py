"""`CircuitRunner`: run circuits on a prompt set and read the metric, accuracy and KL divergence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eapgp.circuits.circuit import Circuit
from eapgp.errors import InputError
from eapgp.metrics import accuracy, get_metric

if TYPE_CHECKING:
    from torch import Tensor

    from eapgp.engine.circuit_pass import Base
    from eapgp.models.model import Model
    from eapgp.prompts.encode import EncodedPairs
    from eapgp.prompts.pairs import PromptSet

Floats = NDArray[np.floating[Any]]
Progress = Callable[[str, float], None]
STORE_BUDGET = 768 * 2**20  # bytes of source differences that one stacked run may keep


@dataclass(frozen=True)
class CircuitRuns:
    """What circuits do on a prompt set.

    metric, kl `[circuit, pair]`: the task metric, and KL(clean model ‖ circuit) at the answer
    position in nats; correct `[circuit, pair]`: whether the right answer wins. metric_clean,
    metric_corrupted `[pair]`: the full and the empty graph.
    """

    metric: Floats
    correct: NDArray[np.bool_]
    kl: Floats
    metric_clean: Floats
    metric_corrupted: Floats

    @property
    def faithfulness(self) -> Floats:
        """`[circuit]` (M(circuit) − M(corrupted)) / (M(clean) − M(corrupted)), means over pairs.

        NaN where the gap is too small to divide by (`undefined`).
        """
        gap = self.metric_clean.mean() - self.metric_corrupted.mean()
        if self.undefined:
            return np.full(len(self.metric), np.nan)
        return (self.metric.mean(1) - self.metric_corrupted.mean()) / gap

    @property
    def undefined(self) -> bool:
        """Whether |M(clean) − M(corrupted)| is tiny beside the metric's own spread over pairs."""
        gap = abs(float(self.metric_clean.mean() - self.metric_corrupted.mean()))
        scale = float(max(np.abs(self.metric_clean).max(), np.abs(self.metric_corrupted).max(), 1e-12))
        return gap < 1e-4 * scale


class CircuitRunner:
    """Runs circuits of one model on one prompt set; the clean and corrupted runs are made once.

    intervention: what edges outside the circuit carry: `patching` (the corrupted run), `zero`,
    `mean`, `mean-positional` (over the corrupted prompts of this set).

    Errors: InputError for what the caller supplied (metric, intervention, a circuit of another
    graph); Cancelled from `progress`.
    """

    def __init__(
        self,
        model: Model,
        prompts: PromptSet | EncodedPairs,
        *,
        metric: str | None = None,
        intervention: str = "patching",
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        from eapgp.attribution.api import prepare
        from eapgp.engine.batches import make_batch, split_batches
        from eapgp.engine.circuit_pass import make_base
        from eapgp.engine.interventions import INTERVENTIONS, make_intervention

        self.model, self.graph = model, model.graph
        encoded, name = prepare(model, prompts, metric)
        self.metric, self.intervention, self.n_pairs = get_metric(name), intervention, encoded.n
        means = make_intervention(intervention, model, encoded, INTERVENTIONS)
        self._bases: list[Base] = []
        parts = split_batches(model, encoded, batch_size)
        for done, part in enumerate(parts):
            if progress is not None:
                progress("clean and corrupted runs", done / len(parts))
            self._bases.append(make_base(model, make_batch(model, encoded, part), means))
        self._order = np.argsort(np.concatenate([base.batch.index for base in self._bases]))
        self.metric_clean = self._per_pair(lambda base: self._value(base, base.clean_logits))
        self.metric_corrupted = self._empty_metric()

    def _value(self, base: Base, logits: Tensor) -> Tensor:
        return self.metric.compute(logits, base.batch.targets)

    def _per_pair(self, read: Callable[[Base], Tensor]) -> Floats:
        return np.concatenate([read(base).float().cpu().numpy() for base in self._bases])[self._order]

    def _empty_metric(self) -> Floats:
        """M with every edge cut: the corrupted run under patching, the ablated model otherwise."""
        if self.intervention == "patching":
            return self._per_pair(lambda base: self._value(base, base.corrupted_logits))
        from eapgp.engine.circuit_pass import run_circuits

        empty = Circuit.empty(self.graph).edges
        return self._per_pair(lambda base: self._value(base, run_circuits(self.model, base, [empty])[0]))

    def run(self, circuits: Sequence[Circuit], *, progress: Progress | None = None) -> CircuitRuns:
        """Run every circuit; circuits of similar size are stacked along the batch.

        Errors: InputError if a circuit belongs to another graph.
        """
        for circuit in circuits:
            if circuit.graph != self.graph:
                raise InputError(
                    f"circuit {circuit.name or '(unnamed)'} belongs to {circuit.graph}, the model has {self.graph}; "
                    "select it again from scores of this model."
                )
        shape = (len(circuits), self.n_pairs)
        metric, kl, correct = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
        order = sorted(range(len(circuits)), key=lambda i: circuits[i].n_kept)
        work = [(base, stack) for base in self._bases for stack in self._stacks(base, order)]
        for done, (base, stack) in enumerate(work):
            if progress is not None:
                progress("running circuits", done / len(work))
            values = self._run_stack(base, [circuits[i].edges for i in stack])
            where = np.ix_(np.array(stack), base.batch.index)
            metric[where], correct[where], kl[where] = values
        if progress is not None:
            progress("running circuits", 1.0)
        return CircuitRuns(metric, correct, kl, self.metric_clean, self.metric_corrupted)

    def _stacks(self, base: Base, order: list[int]) -> Iterable[list[int]]:
        size = max(1, STORE_BUDGET // (base.reference.numel() * base.reference.element_size()))
        return [order[start : start + size] for start in range(0, len(order), size)]

    def _run_stack(self, base: Base, edges: Sequence[NDArray[np.bool_]]) -> tuple[Floats, NDArray[np.bool_], Floats]:
        import torch

        from eapgp.engine.circuit_pass import run_circuits

        logits = run_circuits(self.model, base, edges)
        with torch.no_grad():
            flat, targets = logits.flatten(0, 1), base.batch.targets.repeat(len(edges))
            metric = self.metric.compute(flat, targets).reshape(len(edges), -1)
            right = accuracy(flat, targets).reshape(len(edges), -1)
            clean = base.clean_logits.log_softmax(-1)
            kl = (clean.exp() * (clean - logits.log_softmax(-1))).sum(-1)
        return metric.float().cpu().numpy(), right.cpu().numpy(), kl.float().cpu().numpy()

    def faithfulness(self, circuit: Circuit) -> float:
        """Normalised faithfulness of one circuit."""
        return float(self.run([circuit]).faithfulness[0])
