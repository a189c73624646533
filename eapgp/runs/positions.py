"""At which words a run's edges matter, and whether circuits that know words are more faithful than ones that do not.

1. The scores of the run are told apart by span (the parts of its prompts, or the tokens of one pair).
2. For each size, circuits of the best (edge, span) are run beside the circuit of the run's best edges, which keeps each
   in every span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eapgp.attribution.registry import METHODS_BY_POSITION
from eapgp.attribution.result import SpanScores
from eapgp.circuits.select import select
from eapgp.circuits.spans import SpanCircuit, select_spans
from eapgp.errors import OptionError
from eapgp.evaluation.runner import CircuitRunner, Measured
from eapgp.evaluation.statistics import USUAL, Band, Resampling
from eapgp.prompts.pairs import PromptSet
from eapgp.prompts.spans import TOKENS, Marks
from eapgp.runs.compute import load_run_model
from eapgp.runs.evaluate import USUAL_WAY, Running
from eapgp.runs.run import Run
from eapgp.tasks.registry import prompt_spans

BLIND, AS_MANY, AS_WIDE = "blind", "as_many", "as_wide"


@dataclass(frozen=True)
class SpanCurve:
    """Circuits that know words beside circuits that do not, in the order of sizes; all run on the same pairs.

    By name, circuits and what they did. blind: the run's n best edges, each kept in every span. as_many: the n best
    (edge, span), so that as many edges are kept, each in one span. as_wide: as many (edge, span) as the blind circuit
    has in the spans in which the two prompts differ at all.
    """

    circuits: dict[str, tuple[SpanCircuit, ...]]
    measured: dict[str, Measured]

    def to_dict(self, how: Resampling = USUAL) -> list[dict[str, Any]]:
        """A row per size: by name the (edge, span) and edges that are kept, faithfulness with its interval, and the
        paired difference from the blind circuit."""
        bands = {name: one.band(how=how) for name, one in self.measured.items()}
        blind = self.measured[BLIND]
        apart = {name: one.minus(blind, how=how) for name, one in self.measured.items() if name != BLIND}
        rows = []
        for at in range(len(self.circuits[BLIND])):
            row: dict[str, Any] = {}
            for name, circuits in self.circuits.items():
                row[name] = {"kept": circuits[at].n_kept, "edges": circuits[at].n_edges} | _at(
                    "faithfulness", bands[name], at
                )
                if name in apart:
                    row[name] |= _at("difference", apart[name], at)
            rows.append(row)
        return rows


def _at(name: str, band: Band, at: int) -> dict[str, float]:
    return {name: float(band.value[at]), f"{name}_low": float(band.low[at]), f"{name}_high": float(band.high[at])}


def run_span_scores(
    run: Run, *, pair: int | None = None, marks: Marks | None = None, how: Running = USUAL_WAY
) -> SpanScores:
    """A run's scores told apart by the parts of its prompts; pair: of this one alone (from 0), token by token.

    marks: parts of one's own, as `prompt_spans` takes them.

    Errors: OptionError for a method that does not tell positions apart, or no such pair; as `span_scores`.
    """
    from eapgp.attribution.per_position import span_scores

    method = run.request["method"]
    if method not in METHODS_BY_POSITION:
        raise OptionError(
            f"run {run.id[:12]} by {method!r} does not tell positions apart: expected a run by "
            f"{', '.join(METHODS_BY_POSITION)}."
        )
    prompts = run.prompts()
    if pair is not None and not 0 <= pair < len(prompts):
        raise OptionError(f"pair {pair + 1} does not exist: expected 1 to {len(prompts)}.")
    model = load_run_model(run, device=how.device, progress=how.progress, model_loader=how.model_loader)
    some = prompts if pair is None else prompts.pick([pair])
    options = {name: value for name, value in run.record["options"].items() if name != "keep_points"}
    return span_scores(
        model,
        some,
        prompt_spans(some, model, marks=marks if pair is None else TOKENS),
        method=method,
        metric=run.request["metric"],
        intervention=run.request.get("intervention", "patching"),
        progress=how.progress,
        **options,
    )


def span_curve(
    run: Run,
    scores: SpanScores,
    edges: Sequence[int],
    *,
    prompts: PromptSet | None = None,
    marks: Marks | None = None,
    how: Running = USUAL_WAY,
) -> SpanCurve:
    """Circuits of (edge, span) beside the run's circuits of these numbers of edges.

    scores: those of `run_span_scores` over all pairs, by the same marks. prompts: others than the run's to run on.
    """
    model = load_run_model(run, device=how.device, progress=how.progress, model_loader=how.model_loader)
    judged = prompts or run.prompts()
    spans = prompt_spans(judged, model, marks=marks)
    if set(spans.names) != set(scores.spans):
        raise OptionError(
            f"the prompts to run on have the parts {', '.join(spans.names)}: expected {', '.join(scores.spans)}."
        )
    order = [spans.names.index(name) for name in scores.spans]
    own = SpanScores(scores.graph, spans.names, scores.values[np.argsort(order)], scores.method)
    intervention = run.request.get("intervention", "patching")
    runner = CircuitRunner(
        model, judged, metric=run.request["metric"], intervention=intervention, batch_size=how.batch_size
    )
    live = np.abs(own.values).max(axis=(1, 2)) > 0
    best = [select(run.scores(), n=n) for n in edges]
    circuits = {
        BLIND: tuple(SpanCircuit.everywhere(one, spans.names) for one in best),
        AS_MANY: tuple(select_spans(own, one.n_kept) for one in best),
        AS_WIDE: tuple(select_spans(own, one.n_kept * int(live.sum())) for one in best),
    }
    measured = {
        name: Measured(
            scores.graph.n_edges * len(spans.names),
            tuple(one.n_selected for one in some),
            tuple(one.n_kept for one in some),
            runner.run_spans(some, spans, progress=how.progress),
        )
        for name, some in circuits.items()
    }
    return SpanCurve(circuits, measured)
