"""`attribute`: score every edge of a model on a prompt set with one method."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eapgp import __version__
from eapgp.attribution.method import Method
from eapgp.attribution.registry import get_method
from eapgp.attribution.result import Attribution, EdgeScores, PathRecord
from eapgp.errors import OptionError, WrongTypeError
from eapgp.metrics import DEFAULT_METRIC, get_metric
from eapgp.prompts.encode import EncodedPairs, encode
from eapgp.prompts.pairs import PromptSet
from eapgp.types import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from eapgp.attribution.context import Passes
    from eapgp.attribution.method import Outcome
    from eapgp.models.model import Model

POINTS_BUDGET = 64 * 2**20  # bytes of path points kept in a result by default


class Pool(Protocol):
    """Processes that score the pairs of one request together; each holds its share of them."""

    def share(self, n_pairs: int) -> NDArray[np.int64]:
        """Which pairs this process scores; never none."""

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over the processes; every one of them calls this at the same places."""


@dataclass
class _Gathered:
    """Batch results on their way into one."""

    index: list[NDArray[np.int64]]
    outcomes: list[Outcome]
    passes: list[Passes]


def attribute(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    *,
    method: str = "eap-gp",
    metric: str | None = None,
    intervention: str = "patching",
    batch_size: int | None = None,
    keep_pairs: bool = False,
    keep_points: bool | None = None,
    progress: Progress | None = None,
    pool: Pool | None = None,
    **options: Any,
) -> Attribution:
    """Score every edge: `[src, dst]`, mean over pairs, positive where the edge supports the behaviour.

    options: those of the method (`steps`, `step`, `objective`, `points`, `seed`, …); `METHODS`
    says which. `metric` defaults to the task's. keep_pairs keeps `[pair, src, dst]` scores.
    keep_points keeps the points of the path (by default where they take at most 64 MB). With a
    pool the scores are those of all pairs, and what is per pair covers this process's share.

    Errors: InputError for what the caller supplied, ComputationError (NaN, out of memory),
    Cancelled from `progress`.
    """
    chosen = get_method(method)
    settings = chosen.settings(options)
    encoded, metric_name = prepare(model, prompts, metric)
    if keep_points is None:
        longest = int(encoded.lengths.max())
        keep_points = encoded.n * longest * model.d_model * 4 * (settings.get("steps", 0) + 2) <= POINTS_BUDGET
    started, everything = time.perf_counter(), encoded
    encoded = encoded if pool is None else encoded.take(pool.share(encoded.n))
    mean = _Mean(everything.n, pool)
    gathered, messages = _run(
        model, encoded, everything, chosen, settings, metric_name, intervention, batch_size, keep_points, mean, progress
    )
    seconds = time.perf_counter() - started
    provenance = {
        **model.describe(),
        "method": method,
        "options": settings,
        "metric": metric_name,
        "intervention": intervention,
        "n_pairs": everything.n,
        "version": __version__,
    }
    if isinstance(prompts, PromptSet):
        provenance |= {"task": prompts.task, "prompts_hash": prompts.hash, "prompts_origin": prompts.origin}
    return _join(model, encoded, chosen, settings, gathered, mean, keep_pairs, seconds, provenance, messages)


def prepare(model: Model, prompts: PromptSet | EncodedPairs, metric: str | None) -> tuple[EncodedPairs, str]:
    """Token ids of the prompts, and the metric's checked name."""
    from eapgp.models.model import Model

    WrongTypeError.check("model", model, Model, "load it: load_model('demo')")
    WrongTypeError.check("prompts", prompts, (PromptSet, EncodedPairs), "make them: make_prompts('ioi', 64)")
    if isinstance(prompts, PromptSet):
        if not len(prompts):
            raise OptionError("there are no prompt pairs: at least one is needed.")
        encoded = encode(prompts, model.tokenizer, prepend_bos=model.prepend_bos)
        name = metric or prompts.metric
    else:
        encoded, name = prompts, metric or DEFAULT_METRIC
    return encoded, get_metric(name).name


def _run(
    model: Model,
    encoded: EncodedPairs,
    reference: EncodedPairs,
    method: Method,
    settings: dict[str, Any],
    metric: str,
    intervention: str,
    batch_size: int | None,
    keep_points: bool,
    mean: _Mean,
    progress: Progress | None,
) -> tuple[_Gathered, list[str]]:
    from eapgp.attribution.context import Context
    from eapgp.engine.batches import make_batch, run_halving, split_batches
    from eapgp.engine.interventions import make_intervention

    means = make_intervention(intervention, model, reference, method.interventions)
    rounds: list[_Gathered] = []
    earlier: tuple[NDArray[np.float64], ...] = ()
    messages = list(model.notes)
    every = sum(method.passes(int(settings.get("steps", 1)), model.graph.n_layers))
    expected = every / 2 / method.rounds + 2  # forward and backward are one tick, the reference runs two
    state = {"done": 0, "ticks": 0.0, "size": 0}

    def tick(share: float | None = None) -> None:
        state["ticks"] += 1
        if progress is not None:
            inside = min(state["ticks"] / expected if share is None else share, 0.99) * state["size"]
            progress("scoring edges", (len(rounds) + (state["done"] + inside) / encoded.n) / method.rounds)

    def work(index: NDArray[np.int64]) -> tuple[Outcome, Passes]:
        state["ticks"], state["size"] = 0.0, len(index)
        options = {**settings, "keep_points": keep_points}
        ctx = Context(
            model, make_batch(model, encoded, index), get_metric(metric), options, means, tick, earlier=earlier
        )
        outcome = method.run(ctx)
        outcome.scores = outcome.scores.detach().cpu()
        return outcome, ctx.passes

    if progress is not None:
        progress("scoring edges", 0.0)
    for number in range(method.rounds):
        gathered = _Gathered([], [], [])
        state["done"] = 0
        for index, (outcome, passes) in run_halving(split_batches(model, encoded, batch_size), work, messages.append):
            gathered.index.append(index)
            gathered.outcomes.append(outcome)
            gathered.passes.append(passes)
            state["done"] += len(index)
            if progress is not None:
                progress("scoring edges", (number + state["done"] / encoded.n) / method.rounds)
        rounds.append(gathered)
        earlier = (*earlier, mean(gathered))
    return _merged(rounds, method.shares(earlier)), messages


@dataclass(frozen=True)
class _Mean:
    """Mean of an outcome's scores (or its nodes) over all pairs, those of other processes included."""

    n_pairs: int
    pool: Pool | None

    def __call__(self, gathered: _Gathered, name: str = "scores") -> NDArray[np.float64]:
        values = (getattr(outcome, name).detach().cpu().double().sum(0) for outcome in gathered.outcomes)
        total: NDArray[np.float64] = sum(np.asarray(v) for v in values)  # type: ignore[assignment]
        return (total if self.pool is None else self.pool.total(total)) / self.n_pairs


def _merged(rounds: list[_Gathered], shares: list[float]) -> _Gathered:
    """The rounds' weighted sum, pair by pair, as one batch; metrics are the first round's."""
    import torch

    from eapgp.attribution.context import Passes
    from eapgp.attribution.method import Outcome

    if len(rounds) == 1:
        return rounds[0]

    def in_order(gathered: _Gathered, name: str) -> Tensor:
        order = torch.from_numpy(np.argsort(np.concatenate(gathered.index)))
        return torch.cat([getattr(outcome, name).detach().cpu() for outcome in gathered.outcomes])[order]

    scores = in_order(rounds[0], "scores") * shares[0]
    for gathered, share in zip(rounds[1:], shares[1:], strict=True):
        scores += in_order(gathered, "scores") * share
    passes = Passes()
    for gathered in rounds:
        sizes = np.array([len(index) for index in gathered.index])
        for name in ("forward", "backward", "reference"):
            mean = float(np.dot([getattr(p, name) for p in gathered.passes], sizes) / sizes.sum())
            setattr(passes, name, getattr(passes, name) + mean)
    metrics = (in_order(rounds[0], name) for name in ("metric_clean", "metric_corrupted"))
    return _Gathered([np.arange(len(scores))], [Outcome(scores, *metrics)], [passes])


def _join(
    model: Model,
    encoded: EncodedPairs,
    method: Method,
    settings: dict[str, Any],
    gathered: _Gathered,
    mean: _Mean,
    keep_pairs: bool,
    seconds: float,
    provenance: dict[str, Any],
    messages: list[str],
) -> Attribution:
    sizes = np.array([len(index) for index in gathered.index])
    order = np.argsort(np.concatenate(gathered.index))
    values = mean(gathered).astype(np.float32)
    scores = EdgeScores(model.graph, values, provenance)
    own_nodes = gathered.outcomes[0].nodes is not None
    nodes = mean(gathered, "nodes").astype(np.float32) if own_nodes else values.sum(1)

    def joined(pick: Callable[[Outcome], Any]) -> NDArray[Any]:
        return np.concatenate([np.asarray(pick(outcome).detach().float().cpu()) for outcome in gathered.outcomes])[
            order
        ]

    def per_pair(name: str) -> float:
        return float(np.dot([getattr(p, name) for p in gathered.passes], sizes) / sizes.sum())

    completeness = {}
    if gathered.outcomes[0].complete is not None:
        completeness = {
            "sum": joined(lambda o: o.complete[0]),  # type: ignore[index]
            "gap": joined(lambda o: o.complete[1]),  # type: ignore[index]
        }
    paths = _paths(encoded, gathered)
    return Attribution(
        method=method.name,
        options=settings,
        scores=scores,
        metric_clean=joined(lambda o: o.metric_clean),
        metric_corrupted=joined(lambda o: o.metric_corrupted),
        forward_passes=per_pair("forward"),
        backward_passes=per_pair("backward"),
        seconds=seconds,
        reference_passes=per_pair("reference"),
        paths=paths,
        pair_scores=joined(lambda o: o.scores) if keep_pairs else None,
        node_scores=nodes,
        completeness=completeness,
        messages=(*messages, *path_remarks(paths)),
    )


def _paths(encoded: EncodedPairs, gathered: _Gathered) -> dict[str, PathRecord]:
    from eapgp.attribution.recorder import join_parts

    kinds = gathered.outcomes[0].parts
    return {
        kind: join_parts(
            [(index, outcome.parts[kind]) for index, outcome in zip(gathered.index, gathered.outcomes, strict=True)],
            encoded.lengths,
            int(encoded.lengths.max()),
        )
        for kind in kinds
    }


def path_remarks(paths: dict[str, PathRecord]) -> list[str]:
    """What a reader of the path should know."""
    record = paths.get("gradpath")
    if record is None:
        return []
    first = int(record.rose()[0].sum())
    if not first:
        return []
    pairs = record.output_distance.shape[1]
    return [
        f"the first GradPath step raised the distance to the corrupted output on {first} of {pairs} pairs; "
        "the step overshoots. Try a shorter one: step 'relative' with more steps, or a number."
    ]
