"""The bundled results that the dashboard opens with: `python -m tools.training.examples`.

1. Each example is an ordinary run of the demo model or of smollm2-135m, asked for by a `RunSpec`.
2. Path points are kept for the tasks in `WITH_POINTS` only, in half precision: they are most of
   the bytes and are used for drawing. Of smollm2-135m none are, and the gradients by destination for the
   tasks in `WITH_GRADIENTS` alone.
3. The metric of its circuits at a few sizes is stored beside it, so that the first picture shows a
   faithfulness that was measured; and what the model answers to the first pair, for the head of each page.
4. GradPath runs hold the picture of the average besides: both paths in their planes, over what the model does there.
   `python -m tools.training.examples --pictures [NAME …]` adds it to runs that are there.

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

from eapgp.attribution.result import Attribution, PathRecord
from eapgp.attribution.usual import USUAL, Variant
from eapgp.circuits.select import select_many
from eapgp.evaluation.answers import pair_answers
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.sizes import curve_sizes
from eapgp.runs.answers import ANSWERS
from eapgp.runs.bundled import MEASURED
from eapgp.runs.compute import load_for, resolve, run_attribution
from eapgp.runs.run import Run, open_run, write_run
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS
from eapgp.ui.path.plane import PICTURE, picture_values
from tools import ROOT

N_PAIRS = 64
REAL = "smollm2-135m"
REAL_METHODS = (
    Variant("eap", "eap"),
    Variant("eap-ig", "eap-ig", {"steps": 5, "points": "left"}),
    Variant("eap-gp-relative", "eap-gp", {"steps": 5, "step": "relative", "objective": "all"}),
    Variant("mask-ig", "mask-ig", {"steps": 3}),
)
WITH_POINTS = ("ioi",)
WITH_GRADIENTS = ("ioi", "sva")
FIRST_SIZE = 50
REAL_SIZES = (200, 500, 1000, 2000, 5000)
FOLDER = ROOT / "assets" / "examples"
_LOG = logging.getLogger("tools.training.examples")
DEMO = "demo"
METHODS = {DEMO: ("", USUAL), REAL: (f"{REAL}-", REAL_METHODS)}
"""Model → what its folders' names begin with, and its methods."""


def example_specs(model: str = DEMO) -> dict[str, RunSpec]:
    """Folder name → what is computed."""
    prefix, methods = METHODS[model]
    return {
        f"{prefix}{task.name}-{one.label}": RunSpec(
            model=model,
            task=task.name,
            task_options={option.name: option.default for option in task.options},
            n_pairs=N_PAIRS,
            method=one.method,
            options=one.options,
        )
        for task in TASKS.values()
        for one in methods
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
    (folder / ".lock").unlink(missing_ok=True)
    return run


def add_picture(run: Run, spec: RunSpec, computed: Attribution, model: Any) -> None:
    """Store the picture of a GradPath run's average: its path, as computed with its points, and the straight line."""
    if "gradpath" not in computed.paths:
        return
    line = replace(spec, method="eap-ig", options={"steps": spec.options["steps"], "points": "left"})
    straight = run_attribution(resolve(line).for_model(model), model).paths["straight"]
    records = {"gradpath": computed.paths["gradpath"], "straight": straight}
    objective = str(spec.options["objective"])
    run.add_evaluation(PICTURE, picture_values(model, run, records, objective=objective))


def add_pictures(folder: Path, names: Sequence[str] | None = None) -> None:
    """Add the picture to bundled GradPath runs that are there (all of the demo model's, or those named)."""
    specs = example_specs() | (example_specs(REAL) if names else {})
    chosen = [name for name in names or specs if specs[name].method == "eap-gp"]
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
    gradients = spec.model != REAL or (spec.method == "eap-gp" and spec.task in WITH_GRADIENTS)
    half = np.float16

    def record(one: PathRecord) -> PathRecord:
        norms = one.destination_gradient
        if norms is not None and spec.model == REAL:
            norms = norms.astype(half) if gradients else None
        return replace(
            one,
            points=one.points.astype(half) if points and one.points is not None else None,
            destination_gradient=norms,
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
        add_pictures(FOLDER, sys.argv[2:] or None)
    else:
        make_examples(FOLDER, sys.argv[1:] or None)


if __name__ == "__main__":
    main()
