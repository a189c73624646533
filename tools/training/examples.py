"""The bundled results that the dashboard opens with: `python -m tools.training.examples`.

1. Each example is an ordinary run of the demo model, asked for by a `RunSpec`.
2. Path points are kept for the tasks in `WITH_POINTS` only, in half precision: they are most of
   the bytes and are used for drawing.
3. The metric of its circuits at a few sizes is stored beside it, so that the first picture shows a
   faithfulness that was measured; and what the model answers to the first pair, for the head of each page.

Writes one run folder per example below `assets/examples` and replaces what lies there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.attribution.result import Attribution
from eapgp.attribution.usual import USUAL
from eapgp.circuits.select import select_many
from eapgp.evaluation.answers import pair_answers
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.sizes import curve_sizes
from eapgp.runs.answers import ANSWERS
from eapgp.runs.bundled import MEASURED
from eapgp.runs.compute import load_for, resolve, run_attribution
from eapgp.runs.run import Run, write_run
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS
from tools import ROOT

N_PAIRS = 64
WITH_POINTS = ("ioi",)
FIRST_SIZE = 50
FOLDER = ROOT / "assets" / "examples"
_LOG = logging.getLogger("tools.training.examples")


def example_specs() -> dict[str, RunSpec]:
    """Folder name → what is computed."""
    specs = {}
    for task in TASKS.values():
        options = {option.name: option.default for option in task.options}
        for one in USUAL:
            specs[f"{task.name}-{one.label}"] = RunSpec(
                model="demo",
                task=task.name,
                task_options=options,
                n_pairs=N_PAIRS,
                method=one.method,
                options=one.options,
            )
    return specs


def make_examples(folder: Path, names: Sequence[str] | None = None) -> list[Run]:
    """Compute the examples (all, or those named) and write them below the folder."""
    specs = example_specs()
    model = load_for(next(iter(specs.values())))
    runs = []
    for name in names or specs:
        run = make_example(specs[name], folder / name, model)
        _LOG.info("%s: %d bytes", name, run.size())
        runs.append(run)
    return runs


def make_example(spec: RunSpec, folder: Path, model: Any) -> Run:
    """Compute one example on the loaded demo model and write its run folder."""
    resolved = resolve(spec)
    computed = run_attribution(resolved, model)
    kept = _slim(computed, points=spec.task in WITH_POINTS)
    run = write_run(folder, kept, resolved.request(model), resolved.prompts, device=str(model.device), spec=spec)
    run.add_evaluation(MEASURED, _measure(computed, resolved.prompts, resolved.metric, model))
    run.add_evaluation(ANSWERS, pair_answers(model, resolved.prompts).to_dict())
    (folder / ".lock").unlink(missing_ok=True)
    return run


def _slim(result: Attribution, *, points: bool) -> Attribution:
    def record(one: Any) -> Any:
        kept = one.points.astype(np.float16) if points and one.points is not None else None
        return replace(one, points=kept)

    return replace(result, paths={kind: record(one) for kind, one in result.paths.items()})


def _measure(result: Attribution, prompts: Any, metric: str, model: Any) -> dict[str, Any]:
    """The metric per pair of the circuits of several sizes."""
    sizes = sorted({*curve_sizes(result.graph.n_edges), FIRST_SIZE})
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
    """Make all examples."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_examples(FOLDER)


if __name__ == "__main__":
    main()
