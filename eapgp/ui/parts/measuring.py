"""What pages measure of runs: one curve of circuits per run, and how a page waits for what is not known yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import streamlit as st

from eapgp.circuits.select import By
from eapgp.evaluation.runner import Measured
from eapgp.evaluation.sizes import GRIDS
from eapgp.runs.info import RunInfo
from eapgp.runs.spec import RunSpec
from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll, progress_row
from eapgp.ui.jobs.manager import STORED, JobView
from eapgp.ui.jobs.workshop import Work, circuits_work, with_gradients
from eapgp.ui.library import measure
from eapgp.ui.library.circuits import circuits_of

T = TypeVar("T")
AT_ONCE = 5_000  # edges up to which a page measures unasked: seconds on two cores
GRID_TITLES = {"quick": "Quick", "mib": "MIB"}
_GRID_NAMES = {"quick": "default", "mib": "mib"}


def sizes_of(grid: str) -> Callable[[int], list[int]]:
    """The sizes of a grid, by its name in links, on a graph of n edges."""
    return GRIDS[_GRID_NAMES[grid]]


@dataclass(frozen=True)
class Task:
    """Something to measure: its job's key, what to call it, how; and whether its result is stored.

    asks: it takes minutes on any model, so it is never measured unasked.
    """

    key: str
    label: str
    card: RunInfo
    compute: Work
    stored: bool = False
    asks: bool = False

    @property
    def at_once(self) -> bool:
        """Whether it is measured without being asked for: small models, and what was kept before."""
        return self.stored or (not self.asks and self.card.graph.n_edges <= AT_ONCE)

    def start(self) -> None:
        """Queue it, also where it was stopped or failed before."""
        lane = STORED if self.stored else lane_of(self.card)
        job = self.compute if self.stored else with_gradients(self.compute)
        server.manager().submit(self.key, self.label, job, lane=lane)


def lane_of(card: RunInfo) -> str:
    """The lane of long jobs on a run's device."""
    return server.lane_of(card.run.spec or RunSpec())


def obtain(task: Task) -> JobView | None:
    """The task's job, started where that needs no asking; None if it waits for the user."""
    if server.job(task.key) is None and task.at_once:
        task.start()
    return server.manager().soon(task.key)


def settle(task: Task, kind: type[T], *, ask: str) -> T | None:
    """The task's result; until there is one, what to do or how far it is is drawn, and None returned.

    ask: the label of the button that starts it.
    """
    job = obtain(task)
    if job is None:
        _ask(task, ask, "Runs the model in the background; you can go on browsing.")
    elif job.live:
        poll(task.key, lambda now: progress_row(now, key=f"stop-{task.key}"))
    elif job.state == "done":
        assert isinstance(job.result, kind)
        return job.result
    elif job.state == "failed":
        st.error(plain(job.message), icon=":material/error:", title=f"Could not be measured: {plain(task.label)}")
        _ask(task, "Try again", "Measures it again.")
    else:
        st.caption(f"Stopped: {plain(task.label)}.")
        _ask(task, "Start again", "Measures it from the start.")
    return None


def _ask(task: Task, label: str, help: str) -> None:
    st.button(label, key=f"start-{task.key}", icon=":material/play_arrow:", on_click=task.start, help=help)


def measured_curve(
    card: RunInfo, name: str, grid: str, quantity: str = "faithfulness", by: By = "edges"
) -> Measured | None:
    """The circuits of one run over a grid of sizes, with at least this quantity; by: what they are selected by.

    What is not known is measured, with its progress drawn; meanwhile what is known comes back.
    """
    circuits = circuits_of(card, sizes_of(grid), by)
    measured = measure.known(card, circuits)
    if measured is not None and measured.has(quantity):
        return measured
    key = measure.job_key("curve", card, circuits)
    work = circuits_work(server.workshop(), lane_of(card), card.run, circuits, keep=True)
    task = Task(key, f"circuits of {name}", card, work)
    return settle(task, Measured, ask=f"Measure the circuits of {name}") or measured
