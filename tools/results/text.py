"""The report of the results study: tables, and sentences that the measured numbers write.

A difference whose interval includes 0 is a tie and is called one.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eapgp import __version__
from eapgp.ground_truth.planted import SATURATED_EDGE, TRUE_EDGES, PlantedScore
from tools.results.measure import TaskResult, mean_of
from tools.results.study import Results, Settings
from tools.results.verdicts import study_section
from tools.results.words import count, flips, listed, number, table, verdict

COMMAND = "python -m tools.results"
SHOWN = (0.01, 0.02, 0.05, 0.1, 0.2)  # fractions of MIB's grid that the tables show
PAIRED = (
    ("eap-ig", "eap"),
    ("eap-gp (relative)", "eap-ig"),
    ("eap-gp (unit)", "eap-ig"),
    ("eap-gp (relative)", "eap"),
    ("eap-gp (relative)", "eap-gp (unit)"),
    ("clean-corrupted", "eap-ig"),
    ("ceap", "eap-ig"),
    ("mask-ig", "eap-ig"),
    ("mask-ig-refined", "eap-ig"),
    ("exact", "eap-ig"),
)
WARNING = (
    "**Read this apart from faithfulness.** Agreement with exact single-edge patching says how well a method ranks "
    "edges taken alone. It is not a measure of circuits: of two redundant edges each is worth nothing alone, and "
    "exact patching's own ranking need not make the best circuits. A method can agree more and be less faithful."
)


def report(results: Results, *, threads: int = 1) -> str:
    """The whole page in Markdown."""
    parts = [
        "# Results",
        "Measured by one command; every number and every sentence about numbers below is written by it. "
        "Square brackets are 95 % bootstrap intervals over prompt seeds and pairs. A difference whose interval "
        "includes 0 is a tie. `eap-gp (unit)` takes the paper's step as we read it: of length 1, for each pair.",
        _how(results, threads),
    ]
    if results.planted:
        parts.append(_planted(results.planted))
    if results.tasks:
        parts.append(_tasks(results))
    if results.tuning or results.held_out or results.second:
        parts.append(study_section(results))
    return "\n\n".join(parts) + "\n"


# -- how --------------------------------------------------------------------------------------


def _how(results: Results, threads: int) -> str:
    packages = ("torch", "transformers", "transformer-lens", "numpy", "scipy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    settings = results.settings
    rows = [
        ("command", f"`{_command(settings)}`"),
        ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("machine", f"{_processor()}, {os.cpu_count()} logical cores, {platform.system()}; {threads} thread used"),
        ("versions", f"eapgp {__version__}, Python {platform.python_version()}, {versions}"),
        ("model", f"bundled demo model, weights {results.weights_hash}, float32, {_edges(results)}"),
        (
            "prompts",
            f"{settings.pairs} pairs to score on (combinations the model was trained on) and {settings.pairs} others "
            f"to run circuits on (held-out combinations), afresh for each of {count(len(settings.seeds), 'seed')}",
        ),
        (
            "intervals",
            f"{settings.resamples:,} bootstrap resamples: seeds, then the judged pairs within each; the same for every "
            "method of a task",
        ),
        ("time", f"{results.seconds / 60:.0f} minutes"),
    ]
    return "## How it was made\n\n" + table(("", ""), rows).replace("---:", "---")


def _command(settings: Settings) -> str:
    words, default = [COMMAND], Settings()
    if settings.parts != default.parts:
        words.append("--parts " + " ".join(settings.parts))
    if settings.seeds != default.seeds:
        words.append("--seeds " + " ".join(map(str, settings.seeds)))
    if settings.pairs != default.pairs:
        words.append(f"--pairs {settings.pairs}")
    if settings.cell_pairs != default.cell_pairs:
        words.append(f"--cell-pairs {settings.cell_pairs}")
    if settings.resamples != default.resamples:
        words.append(f"--resamples {settings.resamples}")
    return " ".join(words)


def _edges(results: Results) -> str:
    return f"{results.tasks[0].n_edges} edges" if results.tasks else "4 layers of 4 heads"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# -- the planted circuit ----------------------------------------------------------------------


def _planted(scores: Sequence[PlantedScore]) -> str:
    rows = [
        (
            f"`{s.label}`",
            f"{s.edges.auroc:.4f}",
            f"{s.edges.average_precision:.4f}",
            f"{s.found} of {s.edges.n_true}",
            f"{s.saturated_rank:g}",
            f"{s.saturated_share:.3f}",
        )
        for s in scores
    ]
    head = ("method", "AUROC", "average precision", "true edges in its top 8", "place of the saturated edge", "share")
    complete = [f"`{s.label}`" for s in scores if s.found == s.edges.n_true]
    blind = [f"`{s.label}`" for s in scores if s.saturated_share == 0]
    sentences = [
        f"All {len(TRUE_EDGES)} true edges are the top {len(TRUE_EDGES)} of {listed(complete)}."
        if complete
        else "No method has all true edges at its top.",
        f"{listed(blind)} scored the saturated edge 0, no more than an edge that does nothing."
        if blind
        else "No method scored the saturated edge 0.",
    ]
    return "\n\n".join(
        [
            "## 1. A circuit that is known exactly",
            f"A transformer built by construction (`eapgp/ground_truth/planted.py`): {len(TRUE_EDGES)} of its "
            f"{scores[0].edges.n} edges are true. One of them, `{SATURATED_EDGE}`, feeds a clamp whose gradient is "
            "zero on clean and on corrupted prompts, though corrupting it costs half of the behaviour. *Share* is "
            "that edge's |score| over the method's largest.",
            table(head, rows),
            " ".join(sentences) + " One planted circuit shows what can be missed, not how often real models hide "
            "edges this way. Where the clamp lies on a path decides which points see it; see the module for its width.",
        ]
    )


# -- the six tasks ----------------------------------------------------------------------------


def _tasks(results: Results) -> str:
    tasks = results.tasks
    parts = [
        "## 2. The bundled model, all tasks",
        "CPR is the area under normalised faithfulness over MIB's grid (higher is better), CMD the area between "
        "it and 1 (lower is better). Then faithfulness of the circuits of five sizes, in per cent of the edges. "
        "k = 5 for path methods, k = 3 for `mask-ig`.",
    ]
    parts += [_task(task) for task in tasks]
    parts += [_means(tasks), _differences(tasks), _conclusions(tasks), _costs(tasks), _agreement(tasks)]
    return "\n\n".join(part for part in parts if part)


def _task(task: TaskResult) -> str:
    places = [task.selected.index(int(fraction * task.n_edges)) for fraction in SHOWN]
    rows = [
        (
            f"`{label}`",
            number(task.cpr[label]),
            number(task.cmd[label]),
            *(number(task.faithfulness[label][i], 2) for i in places),
        )
        for label in task.labels
    ]
    head = ("method", "CPR", "CMD", *(f"{fraction:.0%}" for fraction in SHOWN))
    intro = (
        f"### {task.task}\n\nMetric `{task.metric}`: {task.metric_clean:.3f} clean, {task.metric_corrupted:.3f} "
        f"corrupted, {count(task.seeds, 'seed')} of {task.n_pairs} pairs."
    )
    return f"{intro}\n\n{table(head, rows)}"


def _means(tasks: Sequence[TaskResult]) -> str:
    rows = [
        (f"`{label}`", number(mean_of([t.cpr[label] for t in tasks])), number(mean_of([t.cmd[label] for t in tasks])))
        for label in tasks[0].labels
    ]
    return f"### Mean over the {count(len(tasks), 'task')}\n\n" + table(("method", "CPR", "CMD"), rows)


def _differences(tasks: Sequence[TaskResult]) -> str:
    rows = []
    for a, b in _present(tasks):
        each = [t.cpr[a] - t.cpr[b] for t in tasks]
        verdicts = [verdict(d) for d in each]
        counts = " / ".join(str(verdicts.count(word)) for word in ("higher", "tie", "lower"))
        cmd = mean_of([t.cmd[a] - t.cmd[b] for t in tasks])
        cpr = mean_of(each)
        cells = (number(cpr, 4, sign=True), flips(cpr), counts, number(cmd, 4, sign=True), flips(cmd))
        rows.append((f"`{a}` − `{b}`", *cells))
    head = (
        "difference",
        "CPR, mean over tasks",
        "order flips",
        "tasks higher / tie / lower",
        "CMD, mean",
        "order flips",
    )
    note = (
        "Order flips: share of resamples in which the two stand the other way round. Intervals are not corrected for "
        "the number of comparisons: about one in twenty misses 0 where nothing differs."
    )
    return f"### Differences, paired\n\n{note}\n\n{table(head, rows)}" if rows else ""


def _conclusions(tasks: Sequence[TaskResult]) -> str:
    lines = []
    for a, b in _present(tasks):
        each = {t.task: t.cpr[a] - t.cpr[b] for t in tasks}
        mean = mean_of(list(each.values()))
        word = verdict(mean)
        what = (
            f"`{a}` and `{b}` **tie** on average (CPR difference {number(mean, 4, sign=True)})"
            if word == "tie"
            else f"`{a}` is **{word}** than `{b}` on average (CPR difference {number(mean, 4, sign=True)})"
        )
        groups = [(w, [t for t, d in each.items() if verdict(d) == w]) for w in ("higher", "lower", "tie")]
        detail = "; ".join(f"{w}: {', '.join(names)}" for w, names in groups if names)
        lines.append(f"- {what}. By task, {detail}.")
    best = {t.task: max(t.cpr, key=lambda label, t=t: t.cpr[label].value) for t in tasks}  # type: ignore[misc]
    lines.append(
        "- The largest CPR of each task: "
        + ", ".join(f"{task} `{label}`" for task, label in best.items())
        + ". The largest number alone proves nothing where the differences are ties."
    )
    return "### What the numbers say\n\n" + "\n".join(lines)


def _costs(tasks: Sequence[TaskResult]) -> str:
    rows = [
        (
            f"`{label}`",
            f"{np.mean([t.passes[label][0] for t in tasks]):g} + {np.mean([t.passes[label][1] for t in tasks]):g}",
            f"{np.mean([t.seconds[label] for t in tasks]):.2f}",
        )
        for label in tasks[0].labels
    ]
    head = ("method", "forward + backward passes per pair", "seconds per task")
    note = "Seconds on a machine that did other work at the same time; passes are exact."
    return f"### Cost\n\n{note}\n\n{table(head, rows)}"


def _agreement(tasks: Sequence[TaskResult]) -> str:
    if not tasks[0].spearman:
        return ""
    rows = [
        (
            f"`{label}`",
            *(f"{t.spearman[label]:.3f}" for t in tasks),
            f"{np.mean([t.spearman[label] for t in tasks]):.3f}",
        )
        for label in tasks[0].labels
    ]
    labels = [label for label in tasks[0].labels if label not in ("exact", "random")]
    agree = {label: float(np.mean([t.spearman[label] for t in tasks])) for label in labels}
    areas = {label: float(np.mean([t.cpr[label].value for t in tasks])) for label in labels}
    by_agreement = sorted(labels, key=lambda label: -agree[label])
    by_area = sorted(labels, key=lambda label: -areas[label])
    top = by_agreement[0]
    seen = (
        f"Here `{top}` agrees most ({agree[top]:.3f}) and has place {by_area.index(top) + 1} of {len(labels)} by mean "
        f"CPR; `{by_area[0]}` has the largest mean CPR and place {by_agreement.index(by_area[0]) + 1} by agreement."
    )
    head = ("method", *(t.task for t in tasks), "mean")
    title = "### Spearman's correlation with exact patching, over all edges, signed, mean over seeds"
    return f"{title}\n\n{WARNING}\n\n{table(head, rows)}\n\n{seen}"


def _present(tasks: Sequence[TaskResult]) -> list[tuple[str, str]]:
    return [(a, b) for a, b in PAIRED if a in tasks[0].labels and b in tasks[0].labels]
