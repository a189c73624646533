"""The study's methods on the bundled model and on the story model, as the table that stands beside the studied one.

The story model can pose none of the tasks; it has 64 pairs of its own. They are halved at random: each half is scored
on while the other is judged on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.attribution.registry import get_method
from eapgp.prompts.files import read_prompts
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.evaluate import Running, evaluate_run
from eapgp.runs.library import RunLibrary
from eapgp.runs.spec import RunSpec
from eapgp.study.plan import Cell, Evaluation, Study
from eapgp.study.worker import DONE, Worker
from tools.real_model.outcome import AREA, HEADLINE_CELL, Outcome, signed
from tools.real_model.protocol import COMPARISONS, METHODS, study
from tools.real_model.records import Record, left_of, reduced
from tools.results.words import table

DEMO, STORY = "demo", "story"
"""The model beside the studied one, and the part that its records are kept as."""
STORY_TASK = "she or he"
HALVINGS = (1, 2, 3)
Records = Sequence[Mapping[str, Any]]


def demo_study() -> Study:
    """The part `tasks` on the bundled model, with its own start token."""
    return replace(study("tasks", DEMO, None), name="real-model-beside-demo")


def story_records(models: Path, library: RunLibrary) -> Iterable[Record]:
    """A record of every method on every half. models: the folder of `stories260K` and its pairs."""
    worker = Worker(library)
    pairs = read_prompts(models / "stories260K-gender.csv")
    planned = study("tasks", str(models / "stories260K"), None).cells[0].evaluations
    for seed, (scored, judged) in enumerate(_halves(pairs), start=1):
        for row in METHODS:
            spec = _story_spec(models / "stories260K", row, scored, seed)
            yield _story_record(Cell(spec, planned, row["label"]), judged, worker)


def _halves(pairs: PromptSet) -> Iterable[tuple[PromptSet, PromptSet]]:
    for halving in HALVINGS:
        order = np.random.default_rng(halving).permutation(len(pairs))
        first, second = (
            replace(pairs, pairs=tuple(pairs.pairs[i] for i in np.sort(half))) for half in np.array_split(order, 2)
        )
        yield from ((first, second), (second, first))


def _story_spec(model: Path, row: Mapping[str, Any], scored: PromptSet, seed: int) -> RunSpec:
    prompts = tuple(
        {"clean": one.clean, "corrupted": one.corrupted, "correct": one.correct, "incorrect": one.incorrect}
        for one in scored
    )
    options = get_method(row["name"]).settings(row.get("options", {}))
    return RunSpec(str(model), STORY_TASK, prompts=prompts, seed=seed, method=row["name"], options=options)


def _story_record(cell: Cell, judged: PromptSet, worker: Worker) -> Record:
    """The cell's record, judged on other pairs than those of its spec."""
    record = worker.compute(replace(cell, evaluations=()))
    if record["status"] != DONE:
        raise RuntimeError(f"{cell.title}: {record['error']['message']}")
    run = worker.library.open(record["run"])
    how = Running(model_loader=worker.load, make_runner=worker.runner)

    def answer(entry: Evaluation) -> dict[str, Any]:
        given = evaluate_run(run, entry.question, prompts=judged, how=how, pairs=True)
        return {**given, "prompts": given["asked"]["prompts"]}

    answers = {entry.name: answer(entry) for entry in cell.evaluations}
    short = reduced({**record, "cell": cell.key, "evaluations": answers}, STORY)
    short["asked"]["spec"] |= {"model": "stories260K", "n_pairs": len(cell.spec.prompts or ())}
    return short


def told(records: Records, studied: Outcome, name: str) -> str:
    """Differences and means of the models side by side; empty unless both others were run to the end."""
    outcomes = {name: studied, **{part: Outcome(records, part) for part in (DEMO, STORY)}}
    halves = sum(record["part"] == STORY for record in records)
    if left_of(demo_study().cells, records) or halves < 2 * len(HALVINGS) * len(METHODS):
        return ""
    differences = [
        (key, f"`{a}` − `{b}`", quantity, *(_difference(one, a, b, quantity) for one in outcomes.values()))
        for key, a, b in COMPARISONS
        for quantity in (AREA, HEADLINE_CELL)
    ]
    means = [(f"`{label}`", *(str(one.mean(label, AREA)) for one in outcomes.values())) for label in studied.labels]
    return "\n\n".join(
        [
            _TEXT,
            table(("", "comparison", "quantity", *outcomes), differences),
            "Mean faithfulness from 0.2 to 20 % of the edges:",
            table(("method", *outcomes), means),
        ]
    )


def _difference(outcome: Outcome, a: str, b: str, quantity: str) -> str:
    one = outcome.difference(a, b, quantity)
    return f"{signed(one)} {one.verdict}"


_TEXT = (
    "The same methods, judged alike, on `demo` (the bundled model of four layers; six tasks, the same seeds, as many "
    "pairs) and on the story model (five layers, Llama's architecture, trained on children's stories; its 64 pairs "
    f"of she and he, halved at random {len(HALVINGS)} times, each half scored on while the other is judged on: the "
    "halves overlap, so that the intervals are too narrow rather than too wide). Prompts begin there as each "
    "tokenizer has it. Nothing was chosen on these models here, and they decide nothing: they say what carries over."
)
