"""The server's shared objects: one job manager, one workshop; and which lane a run's long jobs take."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from eapgp.runs.spec import RunSpec
from eapgp.ui.jobs import workshop as work
from eapgp.ui.jobs.manager import JobManager, JobView


@st.cache_resource(max_entries=1, show_spinner=False)
def manager() -> JobManager:
    """The server's job manager."""
    return JobManager()


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
