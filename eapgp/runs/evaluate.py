"""From a run to the faithfulness of its circuits, as plain values.

1. select the circuits (NumPy; wrong sizes fail here)
2. measure them (`Measurer`: what the run's folder knows is read, the rest is run on the run's model and kept)
3. take bands, areas and evidence from what was measured (NumPy)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np

from eapgp.attribution.registry import ALL_INTERVENTIONS, IMPORTED
from eapgp.attribution.result import EdgeScores
from eapgp.circuits import Circuit, select, select_many
from eapgp.circuits.ops import complement
from eapgp.circuits.select import By, node_attribution, select_nodes
from eapgp.errors import OptionError, RunError, UnknownNameError
from eapgp.evaluation.areas import with_area_names
from eapgp.evaluation.curves import Curve, summarise
from eapgp.evaluation.evidence import Minimality
from eapgp.evaluation.runner import CircuitRunner, Measured, exact
from eapgp.evaluation.sizes import GRIDS
from eapgp.evaluation.statistics import LEVEL, Resampling
from eapgp.metrics import get_metric
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.arrays import RESULT_VERSION
from eapgp.runs.compute import ModelLoader, load_run_model
from eapgp.runs.files import content_key
from eapgp.runs.measure import Conditions, Measurer
from eapgp.runs.run import Run
from eapgp.runs.spec import PATCHING
from eapgp.runs.stable_edges import check_per_pair, edge_stability
from eapgp.types import Floats, Progress


@dataclass(frozen=True)
class Question:
    """Which circuits of a set of scores are run, and how.

    Circuits: `sizes` (edges), `nodes` (all edges among that many best nodes), `thresholds`, else the `grid` ("default"
    or "mib"). by: "edges" or "nodes", what thresholds and the grid are of. rule: "top-n" or "greedy". metric None means
    the run's on prompts of its task, else the prompts' own. intervention: what edges outside carry; None means what the
    run's scores were made with, and `patching` for scores of a file.
    baseline: seeds of random circuits. completeness, minimality: also run each circuit's complement,
    and each circuit without one edge. stability: how often each kept edge is in the top n over resamples of
    the pairs that the scores were made on.
    """

    sizes: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    thresholds: tuple[float, ...] = ()
    by: By = "edges"
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
        grids = [name for name in ("sizes", "nodes", "thresholds") if getattr(self, name)]
        if len(grids) > 1:
            raise OptionError(f"circuits: expected sizes, nodes or thresholds, got {' and '.join(grids)}; give one.")
        if self.by not in get_args(By):
            raise UnknownNameError.of("selection unit", self.by, get_args(By))
        if self.by == "nodes" and self.sizes:
            raise OptionError("by nodes: expected nodes, thresholds or a grid, got sizes in edges; give nodes.")
        if self.by_nodes and self.rule != "top-n":
            raise OptionError(f"by nodes: expected rule='top-n', got {self.rule!r}, which selects edges.")
        if self.intervention is not None and self.intervention not in ALL_INTERVENTIONS:
            raise UnknownNameError.of("intervention", self.intervention, ALL_INTERVENTIONS)
        if not 0 < self.level < 1:
            raise OptionError(f"level: expected a share between 0 and 1, got {self.level}.")
        if self.resamples < 1 or self.baseline < 0:
            raise OptionError(
                f"resamples must be at least 1 and baseline at least 0; got {self.resamples}, {self.baseline}."
            )

        if self.stability and (self.by_nodes or self.thresholds or self.rule != "top-n"):
            raise OptionError("stability: expected circuits of the top n edges; give sizes and no other rule.")

    @property
    def by_nodes(self) -> bool:
        """Whether circuits are selected by nodes."""
        return bool(self.nodes) or self.by == "nodes"

    def circuits(self, scores: EdgeScores, node_scores: Floats | None = None) -> list[Circuit]:
        """The circuits, smallest first as given. node_scores `[src]` rank the nodes.

        Scores of nodes alone give circuits of nodes where the grid is asked for. Errors: as `select`.
        """
        how: dict[str, Any] = {"absolute": self.absolute, "prune": self.prune}
        of_nodes: dict[str, Any] = {"by": "nodes", "node_scores": node_scores} if self.by_nodes else {}
        if self.thresholds:
            return [select(scores, threshold=limit, rule="threshold", **of_nodes, **how) for limit in self.thresholds]
        nodes_alone = node_scores is not None and not scores.n_scored
        if self.by_nodes or (nodes_alone and not self.sizes and self.rule == "top-n"):
            sizes = self.nodes or GRIDS[self.grid](int(np.isfinite(node_attribution(scores, node_scores)).sum()))
            return select_nodes(scores, sizes, node_scores, **how)
        return select_many(scores, self.edges(scores.graph.n_edges), rule=self.rule, **how)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Plain values. What came later is left out where it is not asked: names of earlier answers stay so."""
        later = {"nodes": (), "by": "edges", "stability": False}
        return {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}

    def edges(self, n_edges: int) -> Sequence[int]:
        """The circuits' sizes in edges on a graph of `n_edges`: those named, else the grid's."""
        return self.sizes or GRIDS[self.grid](n_edges)


@dataclass(frozen=True)
class Running:
    """How circuits are run; nothing of it changes what comes out.

    model_loader: as for `compute_run`. make_runner: called as `CircuitRunner` is, by whoever keeps runners from one
    question to the next (None: `CircuitRunner` itself).
    """

    device: str = "auto"
    batch_size: int | None = None
    progress: Progress | None = None
    model_loader: ModelLoader | None = None
    make_runner: Callable[..., CircuitRunner] | None = None


USUAL_WAY: Running = Running()


def evaluate_run(
    run: Run,
    question: Question | None = None,
    *,
    prompts: PromptSet | None = None,
    how: Running = USUAL_WAY,
    use_cache: bool = True,
    save: bool = True,
    pairs: bool = False,
) -> dict[str, Any]:
    """Faithfulness of a run's circuits as plain values; `curve` lists them, `cached` says whether nothing was run.

    prompts: other pairs than those the scores were made on (None: the same). `save` keeps what was measured in the
    run's evaluation.json; a bundled run, or one whose folder cannot be written, stays as it is, and `kept` is false.
    pairs: also the metric of every pair, from which differences between methods can be resampled.

    Errors: InputError for what is asked wrongly, and where the model is no longer the run's.
    """
    if run.request["method"] == IMPORTED:
        raise RunError(
            f"run {run.id[:12]}: expected a run with a model and prompts, got scores imported from a file; "
            f"evaluate the file: eapgp evaluate --scores {run.record['options'].get('file', 'FILE')} --model … --task …"
        )
    judged = prompts or run.prompts()
    question = _settled(question or Question(), run, judged)
    circuits = question.circuits(run.scores(), run.attribution().node_scores if question.by_nodes else None)
    if question.stability:
        check_per_pair(run)
    conditions = _conditions(question, judged)  # an unknown metric is refused before the model is loaded
    asked = {**question.to_dict(), "prompts": judged.hash, "result_version": RESULT_VERSION}
    if use_cache and (earlier := _earlier_answer(run, asked, circuits)) is not None:
        return _with_pairs({**earlier, "cached": True, "kept": True}, pairs)

    def make_runner() -> Any:
        model = load_run_model(run, device=how.device, progress=how.progress, model_loader=how.model_loader)
        return _runner(model, judged, conditions, how)

    measurer = Measurer(conditions, make_runner, run=run, use_cache=use_cache, save=save, progress=how.progress)
    answer: dict[str, Any] = {"name": conditions.name("circuits"), "asked": asked, "task": judged.task}
    answer |= _answer(measurer, circuits, question)
    if question.stability:
        ranking: dict[str, Any] = {
            "resamples": question.resamples,
            "seed": question.seed,
            "absolute": question.absolute,
        }
        answer["stability"] = edge_stability(run, circuits, **ranking)
    return _with_pairs({**answer, "cached": not measurer.ran, "kept": not measurer.lost}, pairs)


def evaluate_circuits(
    model: Any, prompts: PromptSet, circuits: list[Circuit], question: Question, *, how: Running = USUAL_WAY
) -> dict[str, Any]:
    """Run circuits on prompts, as `evaluate_run` does those of a run; nothing is kept."""
    conditions = _conditions(question, prompts)
    measurer = Measurer(conditions, lambda: _runner(model, prompts, conditions, how), progress=how.progress)
    return _with_pairs(_answer(measurer, circuits, question), False)


def _runner(model: Any, prompts: PromptSet, conditions: Conditions, how: Running) -> Any:
    asked = {"metric": conditions.metric, "intervention": conditions.intervention}
    make_runner = how.make_runner or CircuitRunner
    return make_runner(model, prompts, **asked, batch_size=how.batch_size, progress=how.progress)


def _conditions(question: Question, prompts: PromptSet) -> Conditions:
    metric = get_metric(question.metric or prompts.metric).name
    return Conditions(prompts.hash, metric, question.intervention or PATCHING)


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


def _earlier_answer(run: Run, asked: Mapping[str, Any], circuits: Sequence[Circuit]) -> dict[str, Any] | None:
    """An answer that an earlier version kept whole under the name of its question, if it is of these circuits."""
    stored = run.evaluation().get(f"faithfulness-{content_key(asked)[:10]}")
    if stored is None or [entry["edges_kept"] for entry in stored["curve"]] != [one.n_kept for one in circuits]:
        return None
    return with_area_names(stored)


def _with_pairs(answer: dict[str, Any], pairs: bool) -> dict[str, Any]:
    return answer if pairs else {key: value for key, value in answer.items() if key != "pairs"}


def _answer(measurer: Measurer, circuits: list[Circuit], question: Question) -> dict[str, Any]:
    """What was asked of circuits, measured where it is not known."""
    rests = [complement(circuit) for circuit in circuits] if question.completeness else []
    both = measurer.circuits([*circuits, *rests])
    how = Resampling(question.resamples, question.level, question.seed)
    curve = summarise(measurer.circuits(circuits) if rests else both, how=how)
    answer = {key: value for key, value in curve.to_dict().items() if key != "name"}
    answer |= {"metric": measurer.conditions.metric, "intervention": measurer.conditions.intervention}
    answer["pairs"] = _pairs(curve)
    if measurer.messages:
        answer["messages"] = list(measurer.messages)
    if question.baseline:
        draws = measurer.baseline([circuit.n_selected for circuit in circuits], question.baseline)
        spread = (values.tolist() for values in draws.spread(level=question.level))
        answer["baseline"] = {"seeds": question.baseline, **dict(zip(("mean", "low", "high"), spread, strict=True))}
    if rests:
        answer["completeness"] = _completeness(both, replace(how, level=LEVEL))
    if question.minimality:
        answer["minimality"] = [
            _minimality(measurer.minimality(circuit, seed=question.seed), circuit.n_kept) for circuit in circuits
        ]
    return answer


def _pairs(curve: Curve) -> dict[str, Any]:
    """The metric of every pair and circuit `[size, pair]`, and the fractions over which areas are taken."""
    values = {key: exact(getattr(curve.runs, key)) for key in ("metric", "metric_clean", "metric_corrupted")}
    return {"fractions": curve.measured.shares.tolist(), **values}


def _completeness(measured: Measured, how: Resampling) -> list[dict[str, Any]]:
    """Faithfulness of the complements, which follow the circuits in what was measured.

    A complete circuit leaves a complement that does not show the behaviour (near 0).
    Source: Wang et al. 2022, arXiv:2211.00593, section 4 (there over subsets; here the whole circuit).
    """
    band, count = measured.band(how=how), len(measured.kept) // 2
    return [
        {
            "edges_kept": measured.kept[at],
            "complement_edges": measured.kept[count + at],
            "complement_faithfulness": float(band.value[count + at]),
            "complement_faithfulness_low": float(band.low[count + at]),
            "complement_faithfulness_high": float(band.high[count + at]),
        }
        for at in range(count)
    ]


def _minimality(minimality: Minimality, n_kept: int) -> dict[str, Any]:
    values = minimality.contribution.value
    order = sorted(range(len(minimality.edges)), key=lambda index: -abs(float(values[index])))
    edges = [{"name": minimality.edges[index], "contribution": float(values[index])} for index in order]
    return {"edges_kept": n_kept, "sampled": minimality.sampled, "edges": edges}
