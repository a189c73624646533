"""The report's section on mask-ig: areas, judged differences and the outcome, by the committed protocol."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from eapgp.tasks import make_prompts
from tools import ROOT
from tools.results.measure import AREA_FRACTIONS, Estimate, over_cells
from tools.results.study import COMPARISONS, JUDGED_SEED, Cells, Results, Settings
from tools.results.words import count, flips, listed, number, table, verdict

PROTOCOL = "docs/study-mask-ig.md"


def study_section(results: Results) -> str:
    sizes = ", ".join(f"{100 * fraction:g}" for fraction in AREA_FRACTIONS)
    parts = [
        "## 3. Does mask-ig's small advantage hold?",
        f"Protocol and hypotheses: [{Path(PROTOCOL).name}]({Path(PROTOCOL).name}){_committed()}. "
        "The measure is the mean of faithfulness clipped to 0 … 1 over circuits of up to half of the edges "
        f"({sizes} %), with {results.settings.cell_pairs} pairs to score on and as many others to judge on in every "
        "cell. Seeds are resampled within tasks and pairs within seeds.",
    ]
    if results.tuning:
        parts.append("### Tuning half (nothing is concluded from it)\n\n" + _areas(results.tuning))
    if results.held_out:
        parts += [f"### Held-out half, bundled model\n\n{_distinct(results.settings)}\n\n" + _areas(results.held_out)]
        parts.append(_judged(results.held_out))
    if results.second:
        parts += [
            "### Second model (story model, Llama architecture)\n\n" + _areas(results.second, "half of its pairs")
        ]
        parts += [_judged(results.second), f"Weights {results.second_hash}."]
    elif "second-model" in results.settings.parts:
        parts.append("### Second model\n\nNot measured: the story model's folder was absent where this was run.")
    parts.append(_outcome(results))
    return "\n\n".join(part for part in parts if part)


def _distinct(settings: Settings) -> str:
    """How many different pairs the seeds bring: tasks of facts have few, so that their seeds overlap."""
    found = []
    for task in settings.held_out_tasks:
        sets = [
            make_prompts(task, settings.cell_pairs, seed=JUDGED_SEED + s, split="test") for s in settings.held_out_seeds
        ]
        found.append(f"{task} {len({pair for prompts in sets for pair in prompts.pairs})}")
    total = settings.cell_pairs * len(settings.held_out_seeds)
    return f"Different pairs among the {total} judged: {', '.join(found)}."


def _areas(cells: Cells, kind: str = "task × seed") -> str:
    labels = list(next(iter(cells.values()))[0])
    rows = []
    for label in labels:
        by_task = {task: [cell[label] for cell in row] for task, row in cells.items()}
        each = [f"{np.mean([e.value for e in estimates]):.4f}" for estimates in by_task.values()]
        rows.append((f"`{label}`", number(over_cells(by_task), 4), *each))
    n_cells = sum(len(row) for row in cells.values())
    return f"{count(n_cells, 'cell')} ({kind}).\n\n" + table(("method", "area", *cells), rows)


def differences(cells: Cells, a: str, b: str) -> tuple[Estimate, dict[str, Estimate]]:
    """Paired difference of the areas of a and b: over all cells, and per task."""
    each = {task: [cell[a] - cell[b] for cell in row] for task, row in cells.items()}
    return over_cells(each), {task: over_cells({task: row}) for task, row in each.items()}


def _judged(cells: Cells) -> str:
    rows = []
    for name, a, b, passes in COMPARISONS:
        whole, by_task = differences(cells, a, b)
        each = ", ".join(f"{task} {number(d, 4, sign=True)}" for task, d in by_task.items())
        single = [cell[a] - cell[b] for row in cells.values() for cell in row]
        verdicts = [verdict(d) for d in single]
        counts = " / ".join(str(verdicts.count(word)) for word in ("higher", "tie", "lower"))
        rows.append(
            (
                f"{name}: `{a}` − `{b}`",
                passes,
                number(whole, 4, sign=True),
                f"**{verdict(whole)}**",
                flips(whole),
                counts,
                each,
            )
        )
    head = ("comparison", "passes", "difference", "verdict", "order flips", "cells higher / tie / lower", "by task")
    return table(head, rows)


def _outcome(results: Results) -> str:
    lines = []
    for name, a, b, _ in COMPARISONS:
        for cells, where in (
            (results.held_out, "held-out tasks of the bundled model"),
            (results.second, "story model"),
        ):
            if not cells:
                continue
            whole, _by_task = differences(cells, a, b)
            word = {"higher": "holds", "tie": "does not show (a tie)", "lower": "is refuted (lower)"}[verdict(whole)]
            lines.append(f"- {name}, {where}: the advantage of `{a}` over `{b}` {word}: {number(whole, 4, sign=True)}.")
    lines += _undecided(results)
    return "### Outcome\n\n" + "\n".join(lines) if lines else ""


def _undecided(results: Results) -> list[str]:
    """Which ties of the second model include the advantage of the first: they neither confirm nor exclude it."""
    if not results.held_out or not results.second:
        return []
    names = []
    for name, a, b, _ in COMPARISONS:
        first, second = (differences(cells, a, b)[0] for cells in (results.held_out, results.second))
        low, high = second.interval
        if second.tie and low <= first.value <= high:
            names.append(name)
    if not names:
        return []
    return [
        f"- On the story model the intervals of {listed(names)} include 0 and also the difference measured on the "
        "bundled model: with its few pairs they neither confirm nor exclude it."
    ]


def _committed() -> str:
    """The commit that brought the protocol in, where git can tell."""
    command = ["git", "log", "--diff-filter=A", "--format=%h %cI", "--", PROTOCOL]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ""
    return f", committed as {found[0]} at {found[1]}, before the first held-out number" if len(found) >= 2 else ""
