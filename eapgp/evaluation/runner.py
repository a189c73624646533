"""`CircuitRunner`: run circuits on a prompt set and read the metric, accuracy and KL divergence.

What circuits did is kept per pair (`Measured`): every band, area and difference is taken from it in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eapgp.circuits.circuit import Circuit
from eapgp.engine.circuit_plan import plan
from eapgp.errors import InputError, WrongTypeError
from eapgp.evaluation.areas import area_shares
from eapgp.evaluation.statistics import (
    USUAL,
    Area,
    Band,
    Difference,
    Resampling,
    bootstrap_area,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
)
from eapgp.metrics import Compute, accuracy
from eapgp.types import Floats, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from eapgp.circuits.spans import SpanCircuit
    from eapgp.engine.circuit_pass import Base
    from eapgp.engine.circuit_plan import CircuitPlan
    from eapgp.models.model import Model
    from eapgp.prompts.encode import EncodedPairs
    from eapgp.prompts.pairs import PromptSet
    from eapgp.prompts.spans import Spans


STORE_BUDGET = 256 * 2**20  # bytes of source differences and streams that one stacked run may keep
EXTRA_ROWS = 16  # what a circuit's own passing through the model takes, in sources' worth


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
        metric: str | Compute | None = None,
        intervention: str = "patching",
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        from eapgp.attribution.api import prepare
        from eapgp.engine.batches import split_batches
        from eapgp.engine.differences import INTERVENTIONS, make_intervention

        self.model, self.graph = model, model.graph
        encoded, self.metric = prepare(model, prompts, metric, contrast=intervention == "patching")
        self.intervention, self.n_pairs = intervention, encoded.n
        self._encoded, self._means = encoded, make_intervention(intervention, model, encoded, INTERVENTIONS)
        self._budget = STORE_BUDGET
        self.messages: list[str] = list(encoded.remarks)
        parts = split_batches(model, encoded, batch_size)
        self._bases = list(self._make_bases(parts, progress))
        self.metric_clean = self._per_pair(lambda base: self._value(base, base.clean_logits))
        self.metric_corrupted = self._empty_metric()

    @property
    def nbytes(self) -> int:
        """Memory that the clean and corrupted runs take."""
        return sum(base.nbytes for base in self._bases)

    def _value(self, base: Base, logits: Tensor) -> Tensor:
        return self.metric.compute(logits, base.batch.targets)

    def _make_bases(self, parts: list[NDArray[np.int64]], progress: Progress | None = None) -> Iterator[Base]:
        """The clean and corrupted runs of some batches, halved where they do not fit in memory."""
        from eapgp.engine.batches import make_batch, run_halving
        from eapgp.engine.circuit_pass import make_base

        def work(index: NDArray[np.int64]) -> Base:
            if progress is not None:
                progress("clean and corrupted runs", done / total)
            batch = make_batch(self.model, self._encoded, index, self.metric)
            batch = batch.after_shared(self.model) if self.intervention == "patching" else batch
            return make_base(self.model, batch, self._means)

        done, total = 0, sum(map(len, parts))
        for index, base in run_halving(parts, work, self.messages.append):
            done += len(index)
            yield base

    def _per_pair(self, read: Callable[[Base], Tensor]) -> Floats:
        order = np.argsort(np.concatenate([base.batch.index for base in self._bases]))
        return np.concatenate([read(base).float().cpu().numpy() for base in self._bases])[order]

    def _empty_metric(self) -> Floats:
        """M with every edge cut: the corrupted run under patching, the ablated model otherwise."""
        if self.intervention == "patching":
            return self._per_pair(lambda base: self._value(base, base.corrupted_logits))
        from eapgp.engine.circuit_pass import run_circuits

        empty = Circuit.empty(self.graph).edges
        return self._per_pair(lambda base: self._value(base, run_circuits(self.model, base, [empty])[0]))

    def run(self, circuits: Sequence[Circuit], *, progress: Progress | None = None) -> CircuitRuns:
        """Run every circuit; circuits of similar size are stacked along the batch.

        What does not fit in memory is run in smaller pieces, and `messages` says so.

        Errors: InputError if a circuit belongs to another graph; ComputationError if one circuit on one
        pair does not fit in memory.
        """
        from eapgp.engine.batches import first_line, out_of_memory

        WrongTypeError.check("circuits", circuits, Sequence, "give a list of circuits, or one to `faithfulness`")
        for circuit in circuits:
            WrongTypeError.check("circuit", circuit, Circuit, "select one from scores: select(scores, n=50)")
            if circuit.graph != self.graph:
                raise InputError(
                    f"circuit {circuit.name or '(unnamed)'} belongs to {circuit.graph}, the model has {self.graph}; "
                    "select it again from scores of this model."
                )
        shape = (len(circuits), self.n_pairs)
        metric, kl, correct = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
        order = sorted(range(len(circuits)), key=lambda i: circuits[i].n_kept)
        waiting, done, total = list(self._bases), 0, max(1, len(circuits) * self.n_pairs)
        finished: list[Base] = []
        while waiting:
            base, problem = waiting.pop(0), None
            try:
                for stack, plans in self._stacks(base, circuits, order):
                    if progress is not None:
                        progress("running circuits", min(1.0, done / total))
                    where = np.ix_(np.array(stack), base.batch.index)
                    metric[where], correct[where], kl[where] = self._run_stack(base, plans)
                    done += len(stack) * base.batch.size
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                problem = first_line(error)
            if problem is None:
                finished.append(base)
            else:
                waiting = [*self._smaller(base, len(plans), problem), *waiting]
        self._bases = finished
        if progress is not None:
            progress("running circuits", 1.0)
        return CircuitRuns(metric, correct, kl, self.metric_clean, self.metric_corrupted)

    def run_spans(
        self, circuits: Sequence[SpanCircuit], spans: Spans, *, progress: Progress | None = None
    ) -> CircuitRuns:
        """As `run`, for circuits of (edge, span). spans: of this runner's prompts.

        Errors: InputError if a circuit or the spans belong to something else.
        """
        from eapgp.engine.span_pass import run_spans

        if spans.of.shape != self._encoded.clean.shape:
            raise InputError("the spans are those of other prompts: make them from the prompts of this runner.")
        for circuit in circuits:
            if circuit.graph != self.graph or circuit.spans != spans.names:
                raise InputError("a circuit belongs to another graph or other spans; select it from scores of these.")
        shape = (len(circuits), self.n_pairs)
        metric, kl, correct = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
        for done, circuit in enumerate(circuits):
            for base in self._bases:
                if progress is not None:
                    progress("running circuits", done / len(circuits))
                logits = run_spans(self.model, base, circuit.edges, spans.of[base.batch.index])
                where = np.ix_(np.array([done]), base.batch.index)
                metric[where], correct[where], kl[where] = self._read(base, logits.unsqueeze(0))
        return CircuitRuns(metric, correct, kl, self.metric_clean, self.metric_corrupted)

    def _smaller(self, base: Base, stacked: int, problem: str) -> list[Base]:
        """What to run in place of a base on which memory ran out: smaller stacks, then fewer pairs.

        Errors: ComputationError if nothing smaller is left.
        """
        from eapgp.engine.batches import free_memory, one_pair_too_large

        free_memory()
        if stacked > 1:
            self._budget //= 2
            self.messages.append(f"out of memory with {stacked} circuits at once; going on with fewer")
            return [base]
        index = base.batch.index
        if len(index) == 1:
            raise one_pair_too_large(int(index[0]), problem)
        half = (len(index) + 1) // 2
        self.messages.append(f"out of memory with {len(index)} pairs; going on with batches of {half}")
        return list(self._make_bases([index[:half], index[half:]]))

    def _stacks(
        self, base: Base, circuits: Sequence[Circuit], order: list[int]
    ) -> Iterator[tuple[list[int], list[CircuitPlan]]]:
        """Circuits that go through the model together, planned: as many as keep within the budget."""
        stack: list[int] = []
        plans: list[CircuitPlan] = []
        spent = 0
        for i in order:
            todo = plan(self.graph, circuits[i].edges, add_only=base.add_only)
            cost = (len(todo.rows) + EXTRA_ROWS) * base.bytes_per_source
            if stack and spent + cost > self._budget:
                yield stack, plans
                stack, plans, spent = [], [], 0
            stack, plans, spent = [*stack, i], [*plans, todo], spent + cost
        if stack:
            yield stack, plans

    def _run_stack(self, base: Base, plans: Sequence[CircuitPlan]) -> tuple[Floats, NDArray[np.bool_], Floats]:
        from eapgp.engine.circuit_pass import run_plans

        return self._read(base, run_plans(self.model, base, plans))

    def _read(self, base: Base, logits: Tensor) -> tuple[Floats, NDArray[np.bool_], Floats]:
        """`[circuit, pair]` metric, whether the right answer wins, and KL from the clean run."""
        import torch

        with torch.no_grad():
            flat, targets = logits.flatten(0, 1), base.batch.targets.repeat(len(logits))
            metric = self.metric.compute(flat, targets).reshape(len(logits), -1)
            right = accuracy(flat, targets).reshape(len(logits), -1)
            clean = base.clean_logits.log_softmax(-1)
            kl = (clean.exp() * (clean - logits.log_softmax(-1))).sum(-1)
        return metric.float().cpu().numpy(), right.cpu().numpy(), kl.float().cpu().numpy()

    def faithfulness(self, circuit: Circuit) -> float:
        """(M(circuit) − M(corrupted)) / (M(clean) − M(corrupted)), means over pairs: the whole graph 1, no edge 0.

        NaN where M(clean) and M(corrupted) are too close. Errors: as `run`.
        """
        return float(self.run([circuit]).faithfulness[0])


@dataclass(frozen=True)
class Measured:
    """Circuits on one prompt set, in the order in which they were asked for.

    n_edges: of the graph. selected, kept: `[circuit]` edges before and after pruning. runs: `[circuit, pair]`;
    accuracy and KL are empty where the metric alone was kept. nodes: `[circuit]` how many of `n_nodes` with a score
    were selected, where all circuits were selected by nodes; else empty.
    """

    n_edges: int
    selected: tuple[int, ...]
    kept: tuple[int, ...]
    runs: CircuitRuns
    nodes: tuple[int, ...] = ()
    n_nodes: int = 0

    @classmethod
    def of(cls, circuits: Sequence[Circuit], runs: CircuitRuns) -> Measured:
        """Circuits and what their runner gave."""
        n_edges = circuits[0].graph.n_edges if circuits else 0
        selected = tuple(circuit.n_selected for circuit in circuits)
        by_nodes = [circuit.nodes for circuit in circuits if circuit.nodes is not None]
        nodes = tuple(n for n, _ in by_nodes) if len(by_nodes) == len(circuits) else ()
        kept = tuple(circuit.n_kept for circuit in circuits)
        return cls(n_edges, selected, kept, runs, nodes, max(of for _, of in by_nodes) if nodes else 0)

    @property
    def faithfulness(self) -> tuple[float, ...]:
        """`[circuit]` normalised faithfulness; NaN where M(clean) and M(corrupted) are too close."""
        return tuple(float(value) for value in self.runs.faithfulness)

    @property
    def metric(self) -> tuple[float, ...]:
        """`[circuit]` the metric, mean over pairs."""
        return tuple(float(value) for value in self.runs.metric.mean(axis=1))

    @property
    def clean(self) -> float:
        """M(clean), mean over pairs."""
        return float(self.runs.metric_clean.mean())

    @property
    def corrupted(self) -> float:
        """M(corrupted), mean over pairs."""
        return float(self.runs.metric_corrupted.mean())

    @property
    def whole(self) -> bool:
        """Whether accuracy and KL were kept too (bundled examples keep the metric alone)."""
        return self.runs.kl.shape == self.runs.metric.shape

    def has(self, quantity: str) -> bool:
        """Whether a quantity can be told."""
        return self.whole or quantity in ("faithfulness", "metric")

    @property
    def shares(self) -> Floats:
        """`[circuit]` what areas are taken over, see `area_shares`; of the nodes where they were selected."""
        return area_shares(self.nodes, self.n_nodes) if self.nodes else area_shares(self.selected, self.n_edges)

    def take(self, places: Sequence[int]) -> Measured:
        """Some of the circuits."""
        runs, at = self.runs, list(places)
        some = replace(runs, metric=runs.metric[at], correct=runs.correct[at], kl=runs.kl[at])
        selected, kept = (tuple(values[place] for place in at) for values in (self.selected, self.kept))
        nodes = tuple(self.nodes[place] for place in at) if self.nodes else ()
        return Measured(self.n_edges, selected, kept, some, nodes, self.n_nodes)

    def band(self, quantity: str = "faithfulness", *, how: Resampling = USUAL) -> Band:
        """`[circuit]` one quantity with its interval over prompt pairs drawn with replacement."""
        runs = self.runs
        if quantity == "faithfulness":
            return bootstrap_ratio(runs.metric, runs.metric_clean, runs.metric_corrupted, how=how)
        values = {"metric": runs.metric, "accuracy": runs.correct.astype(np.float64), "kl": runs.kl}[quantity]
        return bootstrap_mean(values, how=how)

    def areas(self, *, how: Resampling = USUAL) -> tuple[Band, Band] | None:
        """Areas under faithfulness and between it and 1 over `shares`, CPR and CMD on MIB's grid; None for one size."""
        keep = np.unique(self.shares, return_index=True)[1]
        if len(keep) < 2:
            return None
        arguments = (self.shares[keep], self.runs.metric[keep], self.runs.metric_clean, self.runs.metric_corrupted)
        return bootstrap_area(*arguments, area="cpr", how=how), bootstrap_area(*arguments, area="cmd", how=how)

    def minus(self, other: Measured, *, area: Area | None = None, how: Resampling = USUAL) -> Difference:
        """Faithfulness of this minus the other on the same resamples of the same pairs; with `area`, of the areas."""
        return bootstrap_difference(
            self.runs.metric,
            other.runs.metric,
            self.runs.metric_clean,
            self.runs.metric_corrupted,
            fractions=None if area is None else self.shares,
            area=area,
            how=how,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back, bit for bit."""
        runs = self.runs
        return {
            "n_edges": self.n_edges,
            "selected": list(self.selected),
            "kept": list(self.kept),
            "metric": exact(runs.metric),
            "correct": runs.correct.astype(int).tolist(),
            "kl": exact(runs.kl),
            "metric_clean": exact(runs.metric_clean),
            "metric_corrupted": exact(runs.metric_corrupted),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measured:
        """Inverse of `to_dict`; null is NaN."""
        selected, kept = (tuple(map(int, values[name])) for name in ("selected", "kept"))
        correct = np.asarray(values["correct"], dtype=bool)
        metric, kl, clean, corrupted = (read_exact(values[name]) for name in _ARRAYS)
        return cls(int(values["n_edges"]), selected, kept, CircuitRuns(metric, correct, kl, clean, corrupted))


_ARRAYS = ("metric", "kl", "metric_clean", "metric_corrupted")


def exact(values: Floats) -> Any:
    """Numbers of a model as nested lists: the shortest decimals that are these float32 values."""
    rows = np.asarray(values, dtype=np.float32)
    return [exact(row) for row in rows] if rows.ndim > 1 else [float(str(value)) for value in rows]


def read_exact(values: Any) -> Floats:
    """Inverse of `exact`, in double precision; null is NaN."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)
