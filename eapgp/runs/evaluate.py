"""From a run to the faithfulness of its circuits; what was evaluated once is kept beside the run.

1. select the circuits (NumPy; wrong sizes fail here)
2. answer from evaluation.json if the same question was asked before
3. load the model, check that it is the run's, run the circuits, keep the answer
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from eapgp.attribution.method import ALL_INTERVENTIONS
from eapgp.attribution.result import EdgeScores, Floats
from eapgp.circuits import Circuit, select, select_many
from eapgp.errors import OptionError, RunError, UnknownNameError
from eapgp.evaluation.areas import with_area_names
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.bundled import is_bundled
from eapgp.runs.canonical import content_key
from eapgp.runs.compute import ModelLoader, load_run_model
from eapgp.runs.imported import METHOD as IMPORTED
from eapgp.runs.run import Run
from eapgp.runs.stable_edges import check_per_pair, edge_stability
from eapgp.runs.version import RESULT_VERSION
from eapgp.types import Progress

if TYPE_CHECKING:
    from eapgp.evaluation.curves import Curve
    from eapgp.evaluation.runner import CircuitRuns

GRIDS = ("default", "mib")
PATCHING = "patching"


@dataclass(frozen=True)
class Question:
    """Which circuits of a set of scores are run, and how.

    Circuits: `sizes` (edges), `nodes` (the edges among that many best heads and MLPs), `thresholds`, else
    the `grid` ("default" or "mib"). rule: "top-n" or "greedy". metric None means the run's on prompts of its
    task, else the prompts' own. intervention: what edges outside carry; None means what the run's scores were made
    with, and `patching` for scores of a file.
    baseline: seeds of random circuits. completeness, minimality: also run each circuit's complement,
    and each circuit without one edge. stability: how often each kept edge is in the top n over resamples of
    the pairs that the scores were made on.
    """

    sizes: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    thresholds: tuple[float, ...] = ()
    grid: str = "default"
    rule: str = "top-n"
    absolute: bool = True
    prune: bool = True
    metric: str | None = None
    intervention: str | None = None
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0
    baseline: int = 0
    completeness: bool = False
    minimality: bool = False
    stability: bool = False

    def __post_init__(self) -> None:
        if self.grid not in GRIDS:
            raise OptionError(f"grid: expected one of {', '.join(GRIDS)}, got {self.grid!r}.")
        given = [name for name in ("sizes", "nodes", "thresholds") if getattr(self, name)]
        if len(given) > 1:
            raise OptionError(f"circuits: expected sizes, nodes or thresholds, got {' and '.join(given)}; give one.")
        if self.intervention is not None and self.intervention not in ALL_INTERVENTIONS:
            raise UnknownNameError.of("intervention", self.intervention, ALL_INTERVENTIONS)
        if not 0 < self.level < 1:
            raise OptionError(f"level: expected a share between 0 and 1, got {self.level}.")
        if self.resamples < 1 or self.baseline < 0:
            raise OptionError(
                f"resamples must be at least 1 and baseline at least 0; got {self.resamples}, {self.baseline}."
            )

        if self.stability and (self.nodes or self.thresholds or self.rule != "top-n"):
            raise OptionError("stability: expected circuits of the top n edges; give sizes and no other rule.")

    def circuits(self, scores: EdgeScores, node_scores: Floats | None = None) -> list[Circuit]:
        """The circuits, smallest first as given. node_scores `[src]` rank the nodes. Errors: as `select`."""
        if self.nodes:
            how_nodes: dict[str, Any] = {"absolute": self.absolute, "prune": self.prune, "node_scores": node_scores}
            return [select(scores, n=n, rule=self.rule, by="nodes", **how_nodes) for n in self.nodes]  # type: ignore[arg-type]
        if self.thresholds:
            return [
                select(scores, threshold=limit, rule="threshold", absolute=self.absolute, prune=self.prune)
                for limit in self.thresholds
            ]
        how: dict[str, Any] = {"rule": self.rule, "absolute": self.absolute, "prune": self.prune}
        return select_many(scores, self.sizes or self._grid(scores.graph.n_edges), **how)

    def to_dict(self) -> dict[str, Any]:
        """Plain values. What came later is left out where it is not asked: names of earlier answers stay so."""
        return {name: value for name, value in asdict(self).items() if name not in ("nodes", "stability") or value}

    def _grid(self, n_edges: int) -> list[int]:
        from eapgp.evaluation.curves import default_sizes
        from eapgp.evaluation.statistics import mib_sizes

        return mib_sizes(n_edges) if self.grid == "mib" else default_sizes(n_edges)


def evaluate_run(
    run: Run,
    question: Question | None = None,
    *,
    prompts: PromptSet | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    progress: Progress | None = None,
    use_cache: bool = True,
    save: bool = True,
    model_loader: ModelLoader | None = None,
    pairs: bool = False,
) -> dict[str, Any]:
    """Faithfulness of a run's circuits as plain values; `curve` lists them, `cached` says where they came from.

    prompts: other pairs than those the scores were made on (None: the same). `save` keeps the
    answer in the run's evaluation.json under a name made of the question; a bundled run, or one whose folder
    cannot be written, stays as it is, and `kept` is false. pairs: also the metric of every pair, from which
    differences between methods can be resampled.

    Errors: InputError for what is asked wrongly, and where the model is no longer the run's.
    """
    if run.request["method"] == IMPORTED:
        raise RunError(
            f"run {run.id[:12]}: expected a run with a model and prompts, got scores imported from a file; "
            f"evaluate the file: eapgp evaluate --scores {run.record['options'].get('file', 'FILE')} --model … --task …"
        )
    judged = prompts or run.prompts()
    question = _settled(question or Question(), run, judged)
    circuits = question.circuits(run.scores(), run.attribution().node_scores if question.nodes else None)
    if question.stability:
        check_per_pair(run)
    asked = {**question.to_dict(), "prompts": judged.hash, "result_version": RESULT_VERSION}
    name = f"faithfulness-{content_key(asked)[:10]}"
    if use_cache and (known := run.evaluation().get(name)) is not None:
        return _told({**with_area_names(known), "cached": True, "kept": True}, pairs)
    from eapgp.metrics import get_metric

    get_metric(question.metric or judged.metric)  # an unknown name is refused before the model is loaded
    model = load_run_model(run, device=device, progress=progress, model_loader=model_loader)
    answer = evaluate_circuits(model, judged, circuits, question, batch_size=batch_size, progress=progress, pairs=True)
    answer = {"name": name, "asked": asked, "task": judged.task, **answer}
    if question.stability:
        answer["stability"] = edge_stability(run, circuits, question)
    stored = _stored(run, name, answer) if save else None
    return _told({**(stored or answer), "cached": False, "kept": stored is not None}, pairs)


def _settled(question: Question, run: Run, judged: PromptSet) -> Question:
    """The question with the run's metric and intervention where it names none.

    Prompts of another task have a metric of their own.
    """
    own = judged.hash == run.request["prompts"]["hash"] or judged.task == run.request["task"]
    return replace(
        question,
        metric=question.metric or (run.request["metric"] if own else judged.metric),
        intervention=question.intervention or run.request.get("intervention", PATCHING),
    )


def _stored(run: Run, name: str, answer: dict[str, Any]) -> dict[str, Any] | None:
    """The answer as it was stored beside the run; None where nothing may or can be stored there."""
    if is_bundled(run.path):
        return None
    try:
        return dict(run.add_evaluation(name, answer)[name])
    except (OSError, RunError):
        return None


def _told(answer: dict[str, Any], pairs: bool) -> dict[str, Any]:
    return answer if pairs else {key: value for key, value in answer.items() if key != "pairs"}


def evaluate_circuits(
    model: Any,
    prompts: PromptSet,
    circuits: list[Circuit],
    question: Question,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
    pairs: bool = False,
) -> dict[str, Any]:
    """Run circuits on prompts; see `evaluate_run`."""
    from eapgp.evaluation.curves import summarise
    from eapgp.evaluation.runner import CircuitRunner

    runner = CircuitRunner(
        model,
        prompts,
        metric=question.metric,
        intervention=question.intervention or PATCHING,
        batch_size=batch_size,
        progress=progress,
    )
    how: dict[str, Any] = {"resamples": question.resamples, "seed": question.seed}
    runs = runner.run(circuits, progress=progress)
    curve = summarise("", circuits, runs, level=question.level, **how)
    answer = {key: value for key, value in curve.to_dict().items() if key != "name"}
    answer |= {"metric": runner.metric.name, "intervention": runner.intervention}
    if runner.messages:
        answer["messages"] = list(runner.messages)
    if pairs:
        answer["pairs"] = _pairs(runs, curve)
    if question.baseline:
        answer["baseline"] = _baseline(runner, circuits, question, progress)
    extras: Mapping[str, Callable[..., Any]] = {"completeness": _complement, "minimality": _minimality}
    for name, compute in extras.items():
        if getattr(question, name):
            answer[name] = [compute(runner, circuit, how) for circuit in circuits]
    return answer


def _pairs(runs: CircuitRuns, curve: Curve) -> dict[str, Any]:
    """The metric of every pair and circuit `[size, pair]`, and the fractions over which areas are taken."""
    return {
        "fractions": curve.shares.tolist(),
        **{key: getattr(runs, key).round(7).tolist() for key in ("metric", "metric_clean", "metric_corrupted")},
    }


def _baseline(runner: Any, circuits: list[Circuit], question: Question, progress: Progress | None) -> dict[str, Any]:
    from eapgp.evaluation.curves import random_baseline

    sizes = [circuit.n_selected for circuit in circuits]
    found = random_baseline(runner, sizes, seeds=question.baseline, level=question.level, progress=progress)
    return {"seeds": question.baseline, "mean": found.mean, "low": found.low, "high": found.high}


def _complement(runner: Any, circuit: Circuit, how: dict[str, Any]) -> dict[str, Any]:
    from eapgp.evaluation.curves import completeness

    found = completeness(runner, circuit, **how)
    value, low, high = (getattr(found.faithfulness, key)[1] for key in ("value", "low", "high"))
    return {"edges_kept": circuit.n_kept, "complement_edges": found.complement.n_kept} | {
        "complement_faithfulness": value,
        "complement_faithfulness_low": low,
        "complement_faithfulness_high": high,
    }


def _minimality(runner: Any, circuit: Circuit, how: dict[str, Any]) -> dict[str, Any]:
    from eapgp.evaluation.curves import minimality

    found = minimality(runner, circuit, **how)
    values = found.contribution.value
    order = sorted(range(len(found.edges)), key=lambda index: -abs(float(values[index])))
    edges = [{"name": found.edges[index], "contribution": float(values[index])} for index in order]
    return {"edges_kept": circuit.n_kept, "sampled": found.sampled, "edges": edges}
