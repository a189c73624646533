"""`python -m tools.real_model`: run the study of docs/study-real-model.md, and write what came out.

Goes on where it stopped. With `--tables` nothing is run: the tables are made of what is kept.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from eapgp.circuits.select import select
from eapgp.runs.library import RunLibrary
from eapgp.study.plan import Cell, Study
from eapgp.study.sweep import study_folder, sweep
from eapgp.study.worker import DONE, Worker, read_record
from tools import ROOT
from tools.real_model.protocol import (
    EXACT_EDGES,
    EXACT_LABELS,
    EXACT_SEED,
    HEADLINE,
    PARTS,
    SEEDS,
    exact_study,
    study,
)
from tools.real_model.records import Record, read, reduced, write
from tools.real_model.text import report

log = logging.getLogger(__name__)
EXACT = "exact"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run parts of the study and write the outcome."""
    parser = argparse.ArgumentParser(prog="python -m tools.real_model", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m", help="any model that eapgp takes")
    parser.add_argument("--bos", default="<|endoftext|>", help="start token, as `eapgp --bos` takes it")
    parser.add_argument("--parts", nargs="+", choices=(*PARTS, EXACT), default=[*PARTS, EXACT], help="parts to run")
    parser.add_argument("--home", type=Path, default=None, help="folder of the run library")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--tables", action="store_true", help="only write the tables, from what is kept")
    parser.add_argument("--kept", type=Path, default=ROOT / "docs" / "study-real-model.jsonl.gz", help="the records")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "real-model.md", help="the outcome")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    if not given.tables:
        torch.set_num_threads(given.threads)
        library = RunLibrary(given.home)
        for part in [one for one in (*PARTS, EXACT) if one in given.parts]:
            new = _run(part, given.model, given.bos, library)
            write(given.kept, [*(one for one in read(given.kept) if one["part"] != part), *new])
    given.out.write_text(report(read(given.kept)), encoding="utf-8")
    log.info("written to %s", given.out)
    return 0


def _run(part: str, model: str, bos: str, library: RunLibrary) -> list[Record]:
    """The finished cells of a part."""
    if part == EXACT:
        return list(_exact(model, bos, library))
    planned = study(part, model, bos)
    _sweep(planned, library)
    return [reduced(record, part) for _, record in _done(planned, library)]


def _sweep(planned: Study, library: RunLibrary) -> None:
    log.info("%s: %d cells", planned.name, len(planned.cells))
    last = ""

    def progress(phase: str, share: float) -> None:
        nonlocal last
        if (line := f"{share:.1%}") != last:
            last = line
            log.info("%s %s %s", planned.name, phase, line)

    sweep(planned, library, progress=progress, worker=Worker(library))


def _done(planned: Study, library: RunLibrary) -> Iterable[tuple[Cell, Record]]:
    for cell in planned.cells:
        record = read_record(study_folder(planned, library), cell)
        if record is not None and record["status"] == DONE:
            yield cell, record


def _exact(model: str, bos: str, library: RunLibrary) -> Iterable[Record]:
    """The scores of a sample of edges by several methods and by exact patching, a record for each task.

    The sample is drawn from the edges that any of the methods has among its 2.5 %.
    """
    planned = study("tasks", model, bos)
    runs = {
        (cell.spec.task, cell.label): library.open(record["run"])
        for cell, record in _done(planned, library)
        if cell.spec.seed == SEEDS[0] and cell.label in EXACT_LABELS
    }
    for task in dict.fromkeys(task for task, _ in runs):
        scores = {label: run.scores() for (of, label), run in runs.items() if of == task}
        graph = next(iter(scores.values())).graph
        count = int(HEADLINE * graph.n_edges)
        pool = np.argwhere(np.any([select(one, n=count, prune=False).edges for one in scores.values()], axis=0))
        drawn = np.random.default_rng(EXACT_SEED).choice(pool, EXACT_EDGES, replace=False)
        names = [graph.edge_name(source, destination) for source, destination in drawn.tolist()]
        asked = exact_study(model, bos, str(task), names)
        _sweep(asked, library)
        for _, record in _done(asked, library):
            scores[EXACT] = library.open(record["run"]).scores()
            values = {label: one.values[drawn[:, 0], drawn[:, 1]].tolist() for label, one in scores.items()}
            yield {"part": EXACT, "task": task, "edges": names, "pool": len(pool), "scores": values}


if __name__ == "__main__":
    raise SystemExit(main())
