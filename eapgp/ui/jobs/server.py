"""The server's shared objects: one job manager, one workshop; and which lane a run's long jobs take.

A page sees the jobs of its visitor alone: keys of jobs carry the owner, which is "" where the server is not public.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import streamlit as st
from streamlit import config
from streamlit.runtime.scriptrunner import get_script_run_ctx

from eapgp.errors import ComputationError
from eapgp.runs.spec import RunSpec
from eapgp.ui.base import visitor
from eapgp.ui.base.policy import Policy, policy
from eapgp.ui.jobs import workshop as work
from eapgp.ui.jobs.manager import STORED, JobManager, JobView, Work

QUICK = 0.2  # seconds that a page waits for a job before it shows progress instead


@st.cache_resource(max_entries=1, show_spinner=False)
def _manager() -> JobManager:
    read_settings_without_lock()
    return JobManager(seconds=policy().seconds)


def read_settings_without_lock() -> None:
    """Let Streamlit look up its settings without waiting.

    It does so some hundred times in a run of a script, with every message that it sends, each time behind one lock of
    the whole process: of a class of fifty, three quarters of all scripts' time was spent waiting for it. A dictionary
    that is only read needs none; what changes settings while the server runs takes no other way than before.
    """
    if hasattr(config, "_config_lock"):
        config._config_lock = contextlib.nullcontext()  # type: ignore[assignment]


@dataclass(frozen=True)
class VisitorJobs:
    """The server's jobs as one visitor may see and ask for them; methods as those of `JobManager`."""

    jobs: JobManager
    owner: str
    policy: Policy

    def submit(self, key: str, label: str, work: Work, *, lane: str = "cpu", slot: str | None = None) -> str:
        """Queue the work, as `JobManager.submit`. Errors: ComputationError where the queue is full."""
        if self.policy.public and lane != STORED and self.view(key) is None:
            self._check_room()
        self.jobs.submit(self._full(key), label, work, lane=lane, slot=slot, owner=self.owner)
        return key

    def _check_room(self) -> None:
        if len(self.live()) >= self.policy.visitor_jobs:
            most = f"{self.policy.visitor_jobs:.0f} jobs of yours"
            raise ComputationError(f"{most} wait or run, as many as you may have; wait, or cancel some.")
        if len(self.jobs.live()) >= self.policy.jobs:
            raise ComputationError("this server's queue is full; try again in some minutes.")

    def view(self, job_id: str) -> JobView | None:
        """The job as it is now, or None."""
        return self._own(self.jobs.view(self._full(job_id)))

    def live(self, *, lane: str | None = None) -> list[JobView]:
        """The visitor's jobs that wait or run, oldest first."""
        prefix = self._full("")
        return [job for one in self.jobs.live(lane=lane) if one.id.startswith(prefix) and (job := self._own(one))]

    def cancel(self, job_id: str) -> None:
        """Stop a waiting or running job."""
        self.jobs.cancel(self._full(job_id))

    def forget(self, job_id: str) -> None:
        """Drop a finished job, so that the same key is computed anew."""
        self.jobs.forget(self._full(job_id))

    def wait(self, job_id: str, timeout: float) -> JobView | None:
        """The job once it no longer lives, or as it is after `timeout` seconds."""
        return self._own(self.jobs.wait(self._full(job_id), timeout))

    def soon(self, job_id: str) -> JobView | None:
        """As `wait`, for a moment; not at all where others wait before it."""
        job = self.view(job_id)
        return job if job is None or job.position > 1 else self.wait(job_id, QUICK)

    def _full(self, key: str) -> str:
        return f"{self.owner}:{key}" if self.owner else key

    def _own(self, job: JobView | None) -> JobView | None:
        return None if job is None else replace(job, id=job.id.removeprefix(self._full("")))


def manager() -> VisitorJobs:
    """The jobs of this page's visitor."""
    return VisitorJobs(_manager(), visitor.owner(), policy())


@st.cache_resource(max_entries=1, show_spinner=False)
def workshop() -> work.Workshop:
    """The models and circuit runners that the jobs keep."""
    return work.Workshop()


def job(job_id: str) -> JobView | None:
    """A job as it is now."""
    return manager().view(job_id) if job_id else None


def session_slot(place: str) -> str:
    """A name for one place of this browser session, for jobs of which only the newest counts."""
    context = get_script_run_ctx()
    return f"{context.session_id if context else 'none'}:{place}"


def lane_of(spec: RunSpec) -> str:
    """The lane of long jobs: one per device."""
    return "cpu" if spec.device in ("auto", "cpu") else spec.device
