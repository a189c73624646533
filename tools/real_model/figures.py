"""The study's two figures: methods with their intervals, and how the spread falls with the pairs to score on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eapgp.figures.print_style import new_figure, settings
from tools.real_model.answer import deviation, held_out
from tools.real_model.outcome import AREA, HEADLINE_CELL, Outcome
from tools.real_model.protocol import SPREAD_PAIRS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALL, HELD, TASK = "#0072B2", "#D55E00", "#9a9a9a"
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MARKS = ("o", "s", "^", "D")
TITLES = {HEADLINE_CELL: "Faithfulness at 2.5 % of the edges", AREA: "Mean faithfulness, 0.2 to 20 % of the edges"}


def methods_figure(outcome: Outcome) -> Figure:
    """A row for each method: mean over all tasks and over the held-out ones with intervals, and each task by itself."""
    figure = new_figure(9, 0.36 * len(outcome.labels) + 1.5)
    with settings():
        axes = figure.subplots(1, 2, sharey=True)
        for panel, quantity in zip(axes, TITLES, strict=True):
            _methods(panel, outcome, quantity)
        axes[0].set_yticks(range(len(outcome.labels)), outcome.labels)
        axes[0].invert_yaxis()
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, fontsize=8)
        figure.tight_layout(rect=(0, 0.06, 1, 1))
    return figure


def _methods(panel: Axes, outcome: Outcome, quantity: str) -> None:
    rows = np.arange(len(outcome.labels))
    for i, label in enumerate(outcome.labels):
        values = [outcome.mean(label, quantity, [task]).value for task in outcome.tasks]
        panel.plot(values, [i] * len(values), "|", color=TASK, markersize=7, label="a task" if i == 0 else None)
    for tasks, ink, shift, name in ((None, ALL, -0.14, "all tasks"), (held_out(outcome), HELD, 0.14, "held-out tasks")):
        means = [outcome.mean(label, quantity, tasks) for label in outcome.labels]
        value, low, high = np.array([[one.value, one.low, one.high] for one in means]).T
        errors = np.abs([value - low, high - value])
        panel.errorbar(value, rows + shift, xerr=errors, fmt="o", color=ink, markersize=4, lw=1.4, label=name)
    panel.set_title(TITLES[quantity], fontsize=9)
    panel.axvline(0, color="#cccccc", lw=0.8, zorder=0)
    panel.grid(axis="x", color="#eeeeee")
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right", "left"]].set_visible(False)


def spread_figure(spread: Sequence[Outcome]) -> Figure:
    """Standard deviation of faithfulness at 2.5 % over sets to score on, against their pairs: a panel for each task."""
    figure, tasks = new_figure(8, 3.2), spread[0].tasks
    with settings():
        axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for panel, task in zip(axes, tasks, strict=True):
            for label, ink, mark in zip(spread[0].labels, LINES, MARKS, strict=True):
                shown = [(n, one) for n, one in zip(SPREAD_PAIRS, spread, strict=True) if one.has(task, label)]
                values = [deviation(one, task, label, HEADLINE_CELL) for _, one in shown]
                panel.plot([n for n, _ in shown], values, marker=mark, color=ink, lw=1.4, markersize=5, label=label)
            panel.set_xscale("log", base=2)
            panel.set_xticks(SPREAD_PAIRS, [str(n) for n in SPREAD_PAIRS])
            panel.set_xlabel("pairs to score on", fontsize=8)
            panel.set_title(task, fontsize=9)
            panel.grid(axis="y", color="#eeeeee")
            panel.tick_params(labelsize=8)
            panel.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylim(bottom=0)
        axes[0].set_ylabel("standard deviation of faithfulness\nat 2.5 % of the edges", fontsize=8)
        axes[-1].legend(frameon=False, fontsize=8)
        figure.tight_layout()
    return figure
