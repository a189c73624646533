"""Background jobs: what is computed outlives the page that asked for it.

1. `submit` names the work by the content hash of what it computes; the same hash asked for twice
   (two tabs, a reload) is one job.
2. Every lane (one per device) has one worker thread, so that two jobs never share a model's hooks.
3. The work reports `progress(phase, fraction)`. When the job was cancelled, that call raises
   `Cancelled`; whoever looks sees the job as cancelled at once.
4. A finished job keeps its result (a run id or a small value) or one line of what went wrong;
   tracebacks go to the log. Whatever a job raises, its lane goes on to the next.

Plain Python: no Streamlit here, so that it can be tested and reused without it.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

from eapgp.errors import Cancelled, ComputationError, EapgpError, NotSavedError, one_line
from eapgp.types import Progress

State = Literal["queued", "running", "done", "failed", "cancelled"]
Work = Callable[[Progress], Any]

LIVE, STORED = "live", "stored"
"""The lanes of what a page waits for: readouts on small models, and answers that are there already."""
BEHIND = 10
"""How far the other lanes' threads stand back in a crowd (a `nice` value): pages that are looked at go first."""

_LOG = logging.getLogger("eapgp.ui.jobs")


@dataclass(frozen=True, slots=True)
class JobView:
    """What is known about a job at one moment.

    position: jobs ahead of it in its lane (0 when it runs or is next). stopping: its lane is still
    held by a cancelled job that has not come to its next step. fraction: 0 … 1 of the
    phase. seconds: since it started. seconds_left: estimate for the phase, None until one can be
    made. message: why it failed or was cancelled, one line. result: what the work returned,
    or what a failed one could not store (`Unsaved`).
    """

    id: str
    label: str
    state: State
    position: int
    phase: str
    fraction: float
    seconds: float
    seconds_left: float | None
    message: str
    result: Any
    stopping: bool = False

    @property
    def live(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("queued", "running")


@dataclass(eq=False)
class _Job:
    id: str
    label: str
    work: Work
    lane: str
    owner: str = ""
    slots: set[str] = field(default_factory=set)
    state: State = "queued"
    phase: str = ""
    fraction: float = 0.0
    started: float = 0.0
    phase_started: float = 0.0
    ended: float = 0.0
    message: str = ""
    result: Any = None


class JobManager:
    """Runs jobs, one at a time in each lane: owners in turn, the jobs of each first come first served.

    keep: how many finished jobs are remembered (oldest forgotten first). seconds: that a job may run.
    """

    def __init__(
        self, *, keep: int = 256, seconds: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keep = keep
        self._seconds = seconds
        self._turns: dict[str, list[str]] = {}  # lane: owners, the one that was served last at the end
        self._clock = clock
        self._changed = threading.Condition()
        self._jobs: dict[str, _Job] = {}
        self._queues: dict[str, deque[_Job]] = {}
        self._working: dict[str, _Job] = {}
        self._crowded = False

    def crowded(self) -> None:
        """From now on long jobs let pages go first: so many look that they would wait for one another."""
        self._crowded = True

    def submit(
        self, key: str, label: str, work: Work, *, lane: str = "cpu", slot: str | None = None, owner: str = ""
    ) -> str:
        """Queue the work unless a job of this key lives or is done; returns the job's id (the key).

        owner: whose it is; in a lane, owners take turns.

        slot: a place that shows only its newest job (a live readout): another job that was asked
        for by this slot alone is cancelled.
        """
        with self._changed:
            if slot is not None:
                self._supersede(slot, key)
            job = self._jobs.get(key)
            if job is None or job.state in ("failed", "cancelled"):
                job = _Job(key, label, work, lane, owner)
                self._enqueue(job)  # first: no thread may be had for a new lane
                self._jobs.pop(key, None)
                self._jobs[key] = job
                self._forget()
            if slot is not None:
                job.slots.add(slot)
            return key

    def view(self, job_id: str) -> JobView | None:
        """The job as it is now, or None if there is none of this id."""
        with self._changed:
            job = self._jobs.get(job_id)
            return None if job is None else self._view(job, self._place(job))

    def live(self, *, lane: str | None = None) -> list[JobView]:
        """Jobs that wait or run, oldest first."""
        with self._changed:
            jobs = [job for job in self._jobs.values() if job.state in ("queued", "running")]
            jobs = [job for job in jobs if lane in (None, job.lane)]
            orders = [self._order(one) for one in {job.lane for job in jobs}]  # once, for all that wait
            places = {job.id: place for order in orders for place, job in enumerate(order)}
            return [self._view(job, places.get(job.id, 0)) for job in jobs]

    def cancel(self, job_id: str) -> None:
        """Stop a waiting or running job; no effect on a finished or unknown one."""
        with self._changed:
            job = self._jobs.get(job_id)
            if job is not None:
                self._cancel(job, "Cancelled.")

    def forget(self, job_id: str) -> None:
        """Drop a finished job, so that the same key is computed anew."""
        with self._changed:
            job = self._jobs.get(job_id)
            if job is not None and job.state not in ("queued", "running"):
                del self._jobs[job_id]

    def wait(self, job_id: str, timeout: float) -> JobView | None:
        """The job once it no longer lives, or as it is after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            job = self._jobs.get(job_id)
            while job is not None and job.state in ("queued", "running"):
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            return None if job is None else self._view(job, self._place(job))

    def _supersede(self, slot: str, key: str) -> None:
        for job in self._jobs.values():
            if slot in job.slots and job.id != key:
                job.slots.discard(slot)
                if not job.slots:
                    self._cancel(job, "Superseded by a newer request.")

    def _enqueue(self, job: _Job) -> None:
        queue = self._queues.get(job.lane)
        if queue is None:
            queue = deque()
            threading.Thread(target=self._serve, args=(job.lane, queue), name=f"eapgp-{job.lane}", daemon=True).start()
            self._queues[job.lane] = queue
        queue.append(job)
        self._changed.notify_all()

    def _cancel(self, job: _Job, message: str) -> None:
        if job.state not in ("queued", "running"):
            return
        if job.state == "queued":
            self._queues[job.lane].remove(job)
        self._end(job, "cancelled", message=message)

    def _end(self, job: _Job, state: State, *, message: str = "", result: Any = None) -> None:
        job.state, job.message, job.result, job.ended = state, message, result, self._clock()
        self._changed.notify_all()

    def _forget(self) -> None:
        finished = [job.id for job in self._jobs.values() if job.state not in ("queued", "running")]
        for job_id in finished[: max(0, len(finished) - self._keep)]:
            del self._jobs[job_id]

    def _place(self, job: _Job) -> int:
        """How many of its lane's waiting jobs come before it."""
        return self._order(job.lane).index(job) if job.state == "queued" else 0

    def _view(self, job: _Job, place: int) -> JobView:
        now = job.ended or self._clock()
        ahead, stopping = place, False
        if job.state == "queued":
            held = self._working.get(job.lane)
            ahead += held is not None and held.state == "running"
            stopping = held is not None and held.state == "cancelled"
        spent = now - job.phase_started
        left = spent * (1 - job.fraction) / job.fraction if job.state == "running" and job.fraction > 0.02 else None
        seconds = now - job.started if job.started else 0.0
        return JobView(
            job.id,
            job.label,
            job.state,
            ahead,
            job.phase,
            job.fraction,
            seconds,
            left,
            job.message,
            job.result,
            stopping,
        )

    def _order(self, lane: str) -> list[_Job]:
        """The waiting jobs of a lane as they will be served: the owner who was served longest ago comes first."""
        turns = self._turns.get(lane, [])
        by_owner: dict[str, list[_Job]] = {}
        for job in self._queues[lane]:
            by_owner.setdefault(job.owner, []).append(job)
        first = sorted(by_owner, key=lambda owner: turns.index(owner) if owner in turns else -1)
        rounds = zip_longest(*(by_owner[owner] for owner in first))
        return [job for one in rounds for job in one if job is not None]

    def _serve(self, lane: str, queue: deque[_Job]) -> None:
        ahead = lane not in (LIVE, STORED)  # what pages wait for never stands back
        while True:
            with self._changed:
                while not queue:
                    self._changed.wait()
                job = self._order(lane)[0]
                queue.remove(job)
                turns = self._turns.setdefault(lane, [])
                turns[:] = [owner for owner in turns if owner != job.owner] + [job.owner]
                self._working[job.lane] = job
                job.state = "running"
                job.started = job.phase_started = self._clock()
                self._changed.notify_all()
            if self._crowded and ahead:
                step_back()
                ahead = False
            self._run(job)
            with self._changed:
                self._working.pop(job.lane, None)

    def _run(self, job: _Job) -> None:
        def progress(phase: str, fraction: float) -> None:
            with self._changed:
                if job.state != "running":
                    raise Cancelled(job.message)
                if self._clock() - job.started > self._seconds:
                    raise ComputationError(
                        f"stopped: this server gives a computation {self._seconds / 60:.0f} minutes; ask for less."
                    )
                if phase != job.phase:
                    job.phase, job.phase_started = phase, self._clock()
                job.fraction = min(max(float(fraction), 0.0), 1.0)

        try:
            result = job.work(progress)
        except Cancelled:
            self._finish(job, "cancelled", message="Cancelled.")
        except NotSavedError as error:
            self._finish(job, "failed", message=one_line(error), result=error.unsaved)
        except EapgpError as error:
            self._finish(job, "failed", message=one_line(error))
        except MemoryError:
            _LOG.exception("job %s ran out of memory", job.label)
            self._finish(
                job, "failed", message="Not enough memory: use fewer pairs, a smaller batch or a smaller model."
            )
        except BaseException as error:  # a panic of a Rust library or an exit would end the lane's only thread
            _LOG.exception("job %s failed", job.label)
            text = f"{type(error).__name__}: {one_line(error)}"
            self._finish(job, "failed", message=f"Unexpected error ({text}). Details are in the server's log.")
        else:
            self._finish(job, "done", result=result)

    def _finish(self, job: _Job, state: State, *, message: str = "", result: Any = None) -> None:
        with self._changed:
            if job.state == "running":
                self._end(job, state, message=message, result=result)


def step_back() -> None:
    """Let this thread have the processor when no page wants it, where threads have priorities of their own (Linux)."""
    if sys.platform == "linux":
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, min(19, os.getpriority(os.PRIO_PROCESS, own) + BEHIND))
