"""docs/real-model.md, written from what is kept of the study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from tools.real_model.answer import answers, deviation, known_within, rule
from tools.real_model.beside import told as told_beside
from tools.real_model.dip import DIP, told
from tools.real_model.outcome import (
    AREA,
    DEEP,
    GREEDY_CELL,
    HEADLINE_CELL,
    QUANTITIES,
    SMALL_CELL,
    Outcome,
    signed,
)
from tools.real_model.protocol import (
    BOS,
    COMPARISONS,
    HELD_OUT_TASKS,
    MODEL,
    SEEDS,
    SPREAD_PAIRS,
    SPREAD_SEEDS,
    TUNING_SEEDS,
    TUNING_TASKS,
    study,
)
from tools.real_model.records import left_of
from tools.real_model.rounding import ROUNDING
from tools.real_model.rounding import told as told_rounding

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Outcomes:
    """What can be told of the study; spread: by number of pairs to score on, empty while a cell of it is missing."""

    tuning: Outcome
    tasks: Outcome
    spread: Sequence[Outcome]


def whole(records: Records, model: str = MODEL, bos: str = BOS) -> Outcomes | None:
    """The outcomes, or None while a cell of the tuning half or of all tasks is missing."""
    unfinished = {part for part in _PARTS if left_of(study(part, model, bos).cells, records)}
    if unfinished - {"spread"}:
        return None
    cells = _cells(records)
    spread = () if unfinished else _by_pairs(records)
    return Outcomes(Outcome(cells, "tuning"), Outcome(cells, "tasks"), spread)


def report(
    records: Records, outcomes: Outcomes | None, model: str = MODEL, bos: str = BOS, *, figures: str = ""
) -> str:
    """The whole page. A part is told of once all its cells are there; of one that is not, how many are.

    outcomes: of `whole`. figures: how the names of the figures beside the page begin.
    """
    parts = [_HEAD.format(libraries=_libraries(records))]
    if outcomes is not None:
        parts += ["## What it says", *answers(outcomes.tasks, outcomes.spread)]
        drawn = [name for name in _FIGURES if name != "spread" or outcomes.spread]
        parts += [f"![{_FIGURES[name]}]({figures}-{name}.svg)" for name in drawn]
        parts += ["## The default of `eap-gp`", rule(outcomes.tuning, outcomes.tasks)]
    for part, (title, text) in _PARTS.items():
        planned = study(part, model, bos).cells
        left = len(left_of(planned, records))
        unfinished = _UNFINISHED.format(done=len(planned) - left, n=len(planned))
        parts.append(f"## {title}\n\n" + (unfinished if left else text(records)))
    parts.append("## Agreement with exact patching\n\n" + (_exact(records) or _NOT_RUN))
    if rounded := told_rounding(records):
        parts.append(f"## What rounding alone changes\n\n{rounded}")
    if outcomes is not None and (beside := told_beside(_cells(records), outcomes.tasks, model)):
        parts.append(f"## Beside it: the bundled model and the story model\n\n{beside}")
    return "\n\n".join(parts) + "\n"


_NOT_RUN = "Not run yet."
_UNFINISHED = "{done} of {n} cells are computed. Their numbers are not looked at before all of them are there."
_HEAD = """# The paper's question on a real language model: what came out

Written by `python -m tools.real_model` from docs/study-real-model.jsonl.gz; the protocol is
[study-real-model.md](study-real-model.md). Numbers in brackets are 95 % intervals over prompt seeds (sets to score on)
and judged pairs. {libraries}"""


def _cells(records: Records) -> Records:
    return [record for record in records if record["part"] not in ("exact", DIP, ROUNDING)]


def _libraries(records: Records) -> str:
    versions = {tuple(sorted(one["libraries"].items())) for one in _cells(records)}
    texts = {", ".join(f"{name} {value}" for name, value in one if name in _NAMED) for one in versions}
    return "; ".join(sorted(texts)) + ("." if texts else "")


_NAMED = ("eapgp", "torch", "transformers", "transformer_lens", "numpy")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    align = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, align, *rows])


def _means(outcome: Outcome, quantity: str, tasks: Sequence[str]) -> str:
    rows = [
        (
            f"`{label}`",
            str(outcome.mean(label, quantity, tasks)),
            *(f"{outcome.mean(label, quantity, [task]).value:.3f}" for task in tasks),
        )
        for label in outcome.labels
    ]
    return _table(("method", "mean", *tasks), rows)


def _tuning(records: Records) -> str:
    outcome = Outcome(_cells(records), "tuning")
    text = f"Tasks {', '.join(TUNING_TASKS)}; seeds {', '.join(map(str, TUNING_SEEDS))}. Nothing is concluded from it."
    shown = [task for task in TUNING_TASKS if task in outcome.tasks]
    return "\n\n".join([text, *(f"**{name}**\n\n{_means(outcome, name, shown)}" for name in (AREA, HEADLINE_CELL))])


def _tasks(records: Records) -> str:
    outcome = Outcome(_cells(records), "tasks")
    blocks = [f"Seeds {', '.join(map(str, SEEDS))}."]
    blocks += [f"### {_LONG[name]}\n\n{_means(outcome, name, outcome.tasks)}" for name in QUANTITIES]
    held = [task for task in HELD_OUT_TASKS if task in outcome.tasks]
    for title, tasks in (("held-out tasks", held), ("all tasks", outcome.tasks)):
        blocks.append(f"### Differences, {title}\n\n" + _differences(outcome, tasks))
    blocks.append("### Where curves fall\n\n" + _dips(outcome))
    blocks += [told(record) for record in records if record["part"] == DIP]
    blocks.append("### Cost per pair\n\n" + _costs(outcome))
    return "\n\n".join(blocks)


_LONG = {
    AREA: "Mean faithfulness from 0.2 to 20 % of the edges, clipped to 0 … 1",
    SMALL_CELL: "Faithfulness at 0.6 % of the edges",
    HEADLINE_CELL: "Faithfulness at 2.5 % of the edges, the paper's sparsity",
    GREEDY_CELL: "Faithfulness at 2.5 % of the edges, grown from the logits",
}


def _differences(outcome: Outcome, tasks: Sequence[str]) -> str:
    rows = []
    for name, a, b in COMPARISONS:
        for quantity in (AREA, HEADLINE_CELL):
            one = outcome.difference(a, b, quantity, tasks)
            against, count = outcome.flips(a, b, quantity, tasks)
            rows.append((name, f"`{a}` − `{b}`", quantity, signed(one), one.verdict, f"{against} of {count}"))
    return _table(("", "comparison", "quantity", "difference", "verdict", "cells the other way"), rows)


def _dips(outcome: Outcome) -> str:
    drops = outcome.dips()
    deep = sum(drop > DEEP for drop, *_ in drops)
    rows = [
        (f"{drop:.3f}", task, f"`{label}`", str(seed), f"{fraction:.1%}")
        for drop, task, label, seed, fraction in drops[:8]
    ]
    text = f"{deep} of {len(drops)} curves fall by more than {DEEP} from one size of the grid to the next; the deepest:"
    return text + "\n\n" + _table(("by", "task", "method", "seed", "down to the size"), rows)


def _costs(outcome: Outcome) -> str:
    rows = []
    for label in outcome.labels:
        forward, backward, seconds = outcome.cost(label)
        rows.append((f"`{label}`", f"{forward:g}", f"{backward:g}", f"{seconds:.1f}"))
    return _table(("method", "forward passes", "backward passes", "median seconds of a cell"), rows)


def _spread(records: Records) -> str:
    """Standard deviation over scoring sets against their number of pairs, all judged on one set."""
    by_pairs = dict(zip(SPREAD_PAIRS, _by_pairs(records), strict=True))
    rows = []
    for task, label in dict.fromkeys(
        (task, label) for one in by_pairs.values() for task in one.tasks for label in one.labels
    ):
        rows.append((task, f"`{label}`", *(_deviation(one, task, label) for one in by_pairs.values())))
    text = (
        "Standard deviation of faithfulness over sets to score on, at 2.5 % of the edges (in brackets: mean from "
        "0.2 to 20 %), by the number of pairs in a set. All circuits of a task are judged on the same pairs. "
        + known_within(len(SPREAD_SEEDS))
    )
    return text + "\n\n" + _table(("task", "method", *(f"{n} pairs" for n in SPREAD_PAIRS)), rows)


def _by_pairs(records: Records) -> list[Outcome]:
    """The part `spread`, by number of pairs to score on."""
    mine = [record for record in records if record["part"] == "spread"]
    return [Outcome([one for one in mine if one["asked"]["spec"]["n_pairs"] == n], "spread") for n in SPREAD_PAIRS]


def _deviation(outcome: Outcome, task: str, label: str) -> str:
    if not outcome.has(task, label) or len(outcome.cells(task, label).seeds) < 2:
        return "–"
    cell, area = (deviation(outcome, task, label, name) for name in (HEADLINE_CELL, AREA))
    return f"{cell:.3f} ({area:.3f})"


def _exact(records: Records) -> str:
    mine = [record for record in records if record["part"] == "exact"]
    if not mine:
        return ""
    labels = [label for label in mine[0]["scores"] if label != "exact"]
    rows = [
        (f"`{label}`", *(f"{_rank_correlation(one['scores'][label], one['scores']['exact']):.3f}" for one in mine))
        for label in labels
    ]
    text = (
        f"Spearman's correlation of scores with exact patching over {len(mine[0]['edges'])} edges that are drawn from "
        "those any of these methods has among its 2.5 %; seed " + str(SEEDS[0]) + "."
    )
    return text + "\n\n" + _table(("method", *(one["task"] for one in mine)), rows)


def _rank_correlation(scores: Sequence[float], exact: Sequence[float]) -> float:
    return float(spearmanr(np.array(scores), np.array(exact)).statistic)


_FIGURES = {
    "methods": "Faithfulness of each method with its interval, on all and on the held-out tasks",
    "spread": "Spread of faithfulness over sets to score on, against their number of pairs",
}
_PARTS: Mapping[str, tuple[str, Callable[[Records], str]]] = {
    "tuning": ("Tuning half", _tuning),
    "tasks": ("All six tasks", _tasks),
    "spread": ("How many pairs a stable circuit needs", _spread),
}
