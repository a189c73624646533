"""The bundled results that the dashboard opens with: `python -m tools.training.examples`.

1. Each example is an ordinary run of the demo model or of smollm2-135m, asked for by a `RunSpec`.
2. Path points are kept for the tasks in `WITH_POINTS` only, in half precision: they are most of
   the bytes and are used for drawing. Of smollm2-135m none are, nor the gradients by destination.
3. The metric of its circuits at a few sizes is stored beside it, so that the first picture shows a
   faithfulness that was measured; and what the model answers to the first pair, for the head of each page.
   Circuits that a page of the real model opens with are measured besides, and those of Start without their head.
4. GradPath runs hold the picture of the average besides: both paths in their planes, over what the model does there;
   and what each point of both adds to the strongest edge's score. `python -m tools.training.examples --pictures NAME …`
   adds them to runs that are there.

Writes one run folder per example below `assets/examples` and replaces what lies there.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.attribution.per_point import point_scores
from eapgp.attribution.result import Attribution, PathRecord
from eapgp.attribution.usual import USUAL, Variant
from eapgp.circuits import exclude_nodes
from eapgp.circuits.select import select_many, strongest_head
from eapgp.evaluation.answers import pair_answers
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.sizes import curve_sizes
from eapgp.runs.answers import ANSWERS
from eapgp.runs.bundled import MEASURED
from eapgp.runs.compute import load_for, resolve, run_attribution
from eapgp.runs.measure import Conditions, Rows
from eapgp.runs.run import Run, open_run, write_run
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS
from eapgp.ui.library.circuits import LARGE, USUAL_SIZES
from eapgp.ui.library.landscape import EDGE, PICTURE
from eapgp.ui.path.plane import picture_values
from tools import ROOT

N_PAIRS = 64
DEMO, REAL = "demo", "smollm2-135m"
REAL_METHODS = (
    Variant("eap", "eap"),
    Variant("eap-ig", "eap-ig", {"steps": 5, "points": "left"}),
    Variant("eap-gp-relative", "eap-gp", {"steps": 5, "step": "relative", "objective": "all"}),
    Variant("mask-ig", "mask-ig", {"steps": 3}),
)
DESCENDS = Variant("eap-gp-descend", "eap-gp", {"steps": 10, "step": "descend", "objective": "all"})
"""Of the real model's GradPaths the one that comes nearer to the corrupted output, on the task of `STORIES`."""
STORIES = {DEMO: "ioi-eap-gp-relative", REAL: f"{REAL}-country-capital-eap-gp-relative"}
"""The runs that Start shows: their circuits are measured without their strongest head too."""
WITH_POINTS = ("ioi",)
FIRST_SIZE = 50
REAL_SIZES = (200, 500, 1000, 2000, 5000)
FOLDER = ROOT / "assets" / "examples"
_LOG = logging.getLogger("tools.training.examples")
METHODS = {DEMO: ("", USUAL), REAL: (f"{REAL}-", REAL_METHODS)}
"""Model → what its folders' names begin with, and its methods."""


def example_specs(model: str = DEMO) -> dict[str, RunSpec]:
    """Folder name → what is computed."""
    prefix, methods = METHODS[model]
    cells = [(task, one) for task in TASKS.values() for one in methods]
    if model == REAL:
        cells.append((TASKS["country-capital"], DESCENDS))
    return {
        f"{prefix}{task.name}-{one.label}": RunSpec(
            model=model,
            task=task.name,
            task_options={option.name: option.default for option in task.options},
            n_pairs=N_PAIRS,
            method=one.method,
            options=one.options,
        )
        for task, one in cells
    }


def make_examples(folder: Path, names: Sequence[str] | None = None) -> list[Run]:
    """Compute the examples (all, or those named) and write them below the folder."""
    specs = example_specs() | (example_specs(REAL) if names else {})
    chosen = [(name, specs[name]) for name in names or specs]
    runs = []
    for _, same in itertools.groupby(chosen, key=lambda entry: entry[1].model):
        model = None
        for name, spec in same:
            model = model or load_for(spec)
            runs.append(make_example(spec, folder / name, model))
            _LOG.info("%s: %d bytes", name, runs[-1].size())
    return runs


def make_example(spec: RunSpec, folder: Path, model: Any) -> Run:
    """Compute one example on the loaded model and write its run folder."""
    resolved = resolve(spec).for_model(model)
    computed = run_attribution(resolved, model)
    bundled = _slim(computed, spec)
    run = write_run(folder, bundled, resolved.request(model), resolved.prompts, device=str(model.device), spec=spec)
    run.add_evaluation(MEASURED, _measure(computed, resolved.prompts, resolved.metric, model))
    run.add_evaluation(ANSWERS, pair_answers(model, resolved.prompts).to_dict())
    add_picture(run, spec, computed, model)
    add_circuits(run, model)
    (folder / ".lock").unlink(missing_ok=True)
    return run


def add_circuits(run: Run, model: Any) -> None:
    """Store what further circuits do that a page opens with: grown ones of a large graph, and those of Start."""
    scores = run.scores()
    grown = scores.graph.n_edges > LARGE
    circuits = select_many(scores, USUAL_SIZES, rule="greedy") if grown else []
    if run.path.name in STORIES.values():
        sizes = [int(row["n"]) for row in run.evaluation()[MEASURED]["circuits"]]
        head = strongest_head(scores)
        circuits += [exclude_nodes(one, [head]) for one in circuits or select_many(scores, sizes)]
    if circuits:
        runner = CircuitRunner(model, run.prompts(), metric=run.request["metric"])
        rows = Rows.of(circuits, runner.run(circuits), runner.messages)
        run.add_evaluation(Conditions.of(run).name("circuits"), vars(rows))


def add_picture(run: Run, spec: RunSpec, computed: Attribution, model: Any) -> None:
    """Store the picture of a GradPath run's average: its path, as computed with its points, and the straight line.

    And what each of their points adds to the score of the edge that the run ranks first.
    """
    if "gradpath" not in computed.paths:
        return
    line = replace(spec, method="eap-ig", options={"steps": spec.options["steps"], "points": "left"})
    straight = run_attribution(resolve(line).for_model(model), model).paths["straight"]
    records = {"gradpath": computed.paths["gradpath"], "straight": straight}
    objective = str(spec.options["objective"])
    run.add_evaluation(PICTURE, picture_values(model, run, records, objective=objective))
    edge = run.scores().top(1)[0][0]
    adds = {kind: _adds(model, run, one, edge, records[kind]) for kind, one in (("gradpath", spec), ("straight", line))}
    run.add_evaluation(EDGE, {"name": edge, "adds": adds})


def _adds(model: Any, run: Run, spec: RunSpec, edge: str, record: PathRecord) -> list[float]:
    """`[point]` what each point of a path adds to an edge's score; 0 where it is not used."""
    parts = point_scores(model, run.prompts(), method=spec.method, metric=run.request["metric"], **spec.options)
    source, destination = run.scores().graph.edge_index(edge)
    adds = np.zeros(record.n_points)
    adds[record.used] = parts[:, source, destination]
    return [float(f"{value:.6g}") for value in adds]


def add_pictures(folder: Path, names: Sequence[str]) -> None:
    """Add the pictures to bundled GradPath runs that are there."""
    specs = example_specs() | example_specs(REAL)
    chosen = [name for name in names if specs[name].method == "eap-gp"]
    for _, same in itertools.groupby(chosen, key=lambda name: specs[name].model):
        model = None
        for name in same:
            spec, run = specs[name], open_run(folder / name)
            if run.spec is not None:
                spec = run.spec
            model = model or load_for(spec)
            add_picture(run, spec, run_attribution(resolve(spec).for_model(model), model), model)
            (folder / name / ".lock").unlink(missing_ok=True)
            _LOG.info("%s: the picture of its path", name)


def _slim(result: Attribution, spec: RunSpec) -> Attribution:
    points = spec.model != REAL and spec.task in WITH_POINTS

    def record(one: PathRecord) -> PathRecord:
        return replace(
            one,
            points=one.points.astype(np.float16) if points and one.points is not None else None,
            destination_gradient=None if spec.model == REAL else one.destination_gradient,
        )

    return replace(result, paths={kind: record(one) for kind, one in result.paths.items()})


def _measure(result: Attribution, prompts: Any, metric: str, model: Any) -> dict[str, Any]:
    """The metric per pair of the circuits of several sizes."""
    further = REAL_SIZES if result.graph.n_edges > max(REAL_SIZES) else ()
    sizes = sorted({*curve_sizes(result.graph.n_edges), FIRST_SIZE, *further})
    circuits = select_many(result.scores, sizes)
    runs = CircuitRunner(model, prompts, metric=metric).run(circuits)
    rows = [
        {"n": size, "kept": circuit.n_kept, "metric": [round(float(value), 6) for value in values]}
        for size, circuit, values in zip(sizes, circuits, runs.metric, strict=True)
    ]
    return {
        "metric_clean": runs.metric_clean.tolist(),
        "metric_corrupted": runs.metric_corrupted.tolist(),
        "circuits": rows,
    }


def main() -> None:
    """Make the demo model's examples, or those named; or add pictures to them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if sys.argv[1:2] == ["--pictures"]:
        add_pictures(FOLDER, sys.argv[2:])
    else:
        make_examples(FOLDER, sys.argv[1:] or None)


if __name__ == "__main__":
    main()
