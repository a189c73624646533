"""`python -m tools.real_model`: run the study of docs/study-real-model.md, and write what came out.

It goes on where it stopped, on another machine too: a cell whose record is kept is not computed again. Records are kept
after every task of a seed, seed after seed, and a part is told of once all its cells are there, so that nobody sees
numbers before the last one is computed. Two processes may compute two parts at once, with one `--home` and one thread
each. With `--tables` nothing is run: the tables are made of what is kept.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from eapgp.circuits.select import select
from eapgp.figures.print import save_figure
from eapgp.runs.files import locked
from eapgp.runs.library import RunLibrary
from eapgp.study.plan import Cell, Study
from eapgp.study.sweep import study_folder, sweep
from eapgp.study.worker import DONE, Worker, read_record
from tools import ROOT
from tools.real_model.answer import RANDOM, readme_text
from tools.real_model.beside import DEMO, STORY, demo_study, story_records
from tools.real_model.dip import DIP, explain
from tools.real_model.figures import methods_figure, spread_figure
from tools.real_model.outcome import Outcome
from tools.real_model.protocol import (
    BOS,
    EXACT_EDGES,
    EXACT_SEED,
    HEADLINE,
    MODEL,
    PARTS,
    exact_study,
    scores_study,
    study,
)
from tools.real_model.records import Record, left_of, read, reduced, write
from tools.real_model.rounding import ROUNDING, rounding_records
from tools.real_model.text import report, whole
from tools.results.study import shared_models

log = logging.getLogger(__name__)
EXACT = "exact"
ALL = (*PARTS, EXACT, ROUNDING, DEMO, STORY)
BEGIN, END = "<!-- made by python -m tools.real_model --readme -->", "<!-- end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run parts of the study and write the outcome."""
    parser = argparse.ArgumentParser(prog="python -m tools.real_model", description=__doc__)
    parser.add_argument("--model", default=MODEL, help="any model that eapgp takes")
    parser.add_argument("--bos", default=BOS, help="start token, as `eapgp --bos` takes it")
    parser.add_argument("--parts", nargs="+", choices=ALL, default=ALL, help="parts to run")
    parser.add_argument("--home", type=Path, default=None, help="folder of the run library")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--tables", action="store_true", help="only write what came out, from what is kept")
    parser.add_argument("--dip", action="store_true", help="look for the edges of the deepest fall of a curve")
    parser.add_argument("--kept", type=Path, default=ROOT / "docs" / "study-real-model.jsonl.gz", help="the records")
    parser.add_argument("--readme", type=Path, default=None, help="a page with the marks of the short answer")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "real-model.md", help="the outcome")
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    if not asked.tables:
        torch.set_num_threads(asked.threads)
        library = RunLibrary(asked.home)
        if asked.dip:
            _explain(asked.model, asked.bos, library, asked.kept)
            asked.parts = []
        for part in [one for one in ALL if one in asked.parts]:
            _run_part(part, asked.model, asked.bos, library, asked.kept)
    _write(asked.out, asked.readme, read(asked.kept), asked.model, asked.bos)
    log.info("written to %s", asked.out)
    return 0


def _write(out: Path, readme: Path | None, records: Sequence[Record], model: str, bos: str) -> None:
    """The page, its two figures, and the README's answer: each once the part of the study is whole that it tells of."""
    outcomes = whole(records, model, bos)
    out.write_text(report(records, outcomes, model, bos, figures=out.stem), encoding="utf-8")
    if outcomes is None:
        return
    save_figure(methods_figure(outcomes.tasks), out.with_name(f"{out.stem}-methods.svg"))
    if outcomes.spread:
        save_figure(spread_figure(outcomes.spread), out.with_name(f"{out.stem}-spread.svg"))
    if readme is not None:
        text = readme.read_text(encoding="utf-8")
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        readme.write_text(
            f"{before}{BEGIN}\n{readme_text(outcomes.tuning, outcomes.tasks, outcomes.spread)}\n{END}{after}",
            encoding="utf-8",
        )


def _run_part(part: str, model: str, bos: str, library: RunLibrary, kept: Path) -> None:
    if part == DEMO:
        _run(demo_study(), part, library, kept)
    elif part == EXACT:
        _keep(_exact(model, bos, library), part, library, kept)
    elif part == ROUNDING:
        _keep(rounding_records(model, bos, library), part, library, kept)
    elif part != STORY:
        _run(study(part, model, bos), part, library, kept)
    elif (models := shared_models()) is None:
        log.warning("the story model's folder is not here: what is kept of it stays")
    else:
        _keep(story_records(models, library), part, library, kept)


def _keep(made: Iterable[Record], part: str, library: RunLibrary, kept: Path) -> None:
    """Keep a part that is made as a whole, in place of what is kept of it."""
    made = list(made)
    with locked(library.home):
        write(kept, [*(one for one in read(kept) if one["part"] != part), *made])


def _explain(model: str, bos: str, library: RunLibrary, kept: Path) -> None:
    """Keep what makes the deepest fall of all curves of `tasks`, random scores' apart."""
    dips = Outcome(read(kept), "tasks").dips()
    _, task, label, seed, fraction = next(one for one in dips if one[2] != RANDOM)
    cells = study("tasks", model, bos).cells
    cell = next(one for one in cells if (one.spec.task, one.label, one.spec.seed) == (task, label, seed))
    _keep([dict(explain(cell, fraction, library))], DIP, library, kept)


def _run(planned: Study, part: str, library: RunLibrary, kept: Path) -> None:
    """Compute the cells of a part that are not kept; keep those of each task and seed once they are there."""
    worker = Worker(library)
    missing = left_of(planned.cells, read(kept))
    log.info("%s: %d of %d cells are left", planned.name, len(missing), len(planned.cells))
    by_seed = sorted(missing, key=lambda cell: cell.spec.seed)
    for (seed, task), cells in itertools.groupby(by_seed, key=lambda cell: (cell.spec.seed, cell.spec.task)):
        some = replace(planned, cells=tuple(cells))
        _sweep(some, library, worker)
        with locked(library.home):
            write(kept, [*read(kept), *(reduced(record, part) for _, record in _done(some, library))])
        log.info("%s: seed %d, %s: %d cells", planned.name, seed, task, len(some.cells))


def _sweep(planned: Study, library: RunLibrary, worker: Worker) -> None:
    last = ""

    def progress(phase: str, share: float) -> None:
        nonlocal last
        if (line := f"{share:.0%}") != last:
            last = line
            log.info("%s %s %s", planned.name, phase, line)

    sweep(planned, library, progress=progress, worker=worker)


def _done(planned: Study, library: RunLibrary) -> Iterable[tuple[Cell, Record]]:
    for cell in planned.cells:
        record = read_record(study_folder(planned, library), cell)
        if record is not None and record["status"] == DONE:
            yield cell, record


def _exact(model: str, bos: str, library: RunLibrary) -> Iterable[Record]:
    """The scores of a sample of edges by several methods and by exact patching, a record for each task.

    The sample is drawn from the edges that any of the methods has among its 2.5 %. Runs that are in the library, from
    another part of the study, are taken from there.
    """
    worker = Worker(library)
    planned = scores_study(model, bos)
    _sweep(planned, library, worker)
    runs = {(cell.spec.task, cell.label): library.open(record["run"]) for cell, record in _done(planned, library)}
    for task in dict.fromkeys(task for task, _ in runs):
        scores = {label: run.scores() for (of, label), run in runs.items() if of == task}
        graph = next(iter(scores.values())).graph
        count = int(HEADLINE * graph.n_edges)
        pool = np.argwhere(np.any([select(one, n=count, prune=False).edges for one in scores.values()], axis=0))
        drawn = np.random.default_rng(EXACT_SEED).choice(pool, EXACT_EDGES, replace=False)
        names = [graph.edge_name(source, destination) for source, destination in drawn.tolist()]
        asked = exact_study(model, bos, str(task), names)
        _sweep(asked, library, worker)
        for _, record in _done(asked, library):
            scores[EXACT] = library.open(record["run"]).scores()
            values = {label: one.values[drawn[:, 0], drawn[:, 1]].tolist() for label, one in scores.items()}
            yield {"part": EXACT, "task": task, "edges": names, "pool": len(pool), "scores": values}


if __name__ == "__main__":
    raise SystemExit(main())
