"""What a sweep costs beyond the computation, per cell: `python tests/sweep_overhead.py --cells 200`.

The same attributions and circuits are computed by a bare loop over `attribute` and `CircuitRunner` and
by a sweep (specs, claims, library, evaluations, records, table, report); the difference is the overhead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eapgp.attribution.api import attribute
from eapgp.circuits import select_many
from eapgp.evaluation.curves import summarise
from eapgp.evaluation.runner import CircuitRunner, Measured
from eapgp.evaluation.statistics import Resampling
from eapgp.runs import RunLibrary
from eapgp.study.plan import Execution, Study, make_study
from eapgp.study.sweep import sweep
from eapgp.study.worker import Worker
from eapgp.tasks import make_prompts

SIZES = (20, 100)
IN_PROCESS = Execution("in-process")
METHODS = ("eap", "random", "ifr", "relp")


def study_of(n_cells: int, pairs: int) -> Study:
    """A study of about n cells: four cheap methods on as many seeds as that takes."""
    seeds = list(range(-(-n_cells // len(METHODS))))
    evaluations = [{"sizes": list(SIZES), "resamples": 100}]
    mapping: dict[str, Any] = {"name": "overhead", "models": ["demo"], "tasks": ["ioi"], "methods": list(METHODS)}
    return make_study({**mapping, "seeds": seeds, "pairs": pairs, "evaluations": evaluations}).limited(n_cells)


def bare(model: Any, study: Study) -> None:
    """The computation alone."""
    for cell in study.cells:
        spec = cell.spec
        prompts = make_prompts("ioi", spec.n_pairs or 1, seed=spec.seed)
        result = attribute(model, prompts, method=spec.method, **spec.options)
        circuits = select_many(result.scores, SIZES)
        summarise(Measured.of(circuits, CircuitRunner(model, prompts).run(circuits)), how=Resampling(100))


def measure(n_cells: int, pairs: int) -> dict[str, float]:
    """Seconds per cell of both, by the clock and by the processor."""
    import torch

    from eapgp.models import load_model

    torch.set_num_threads(1)
    model = load_model("demo")
    study = study_of(n_cells, pairs)
    bare(model, study.limited(8))  # warm up
    found: dict[str, float] = {"cells": len(study.cells)}
    with tempfile.TemporaryDirectory() as folder:
        library = RunLibrary(Path(folder))
        worker = Worker(library, model_loader=lambda name, **how: model)
        for name, work in (
            ("bare", lambda: bare(model, study)),
            ("sweep", lambda: sweep(study, library, worker=worker, execution=IN_PROCESS)),
        ):
            clock, processor = time.perf_counter(), time.process_time()
            work()
            found[f"{name}_wall"] = (time.perf_counter() - clock) / len(study.cells)
            found[f"{name}_cpu"] = (time.process_time() - processor) / len(study.cells)
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=4)
    given = parser.parse_args()
    found = measure(given.cells, given.pairs)
    for kind in ("wall", "cpu"):
        sweep_time, bare_time = found[f"sweep_{kind}"], found[f"bare_{kind}"]
        difference = sweep_time - bare_time
        print(f"{kind}: {bare_time:.4f} s bare, {sweep_time:.4f} s swept, {difference:+.4f} s per cell")
    return 0


if __name__ == "__main__":
    sys.exit(main())
