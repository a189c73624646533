"""What was reproduced already, and the sidebar that runs the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from eapgp import places
from eapgp.errors import FormatError
from eapgp.models.catalogue import CATALOGUE, find_model
from eapgp.numerals import duration
from eapgp.study.plan import Study
from eapgp.study.published import HEADLINE_SIZE, N_EDGES, published_model
from eapgp.study.reproduce import not_run, protocol
from eapgp.study.reproduce_result import BUNDLED_FILE, Reproduction, read_reproduction
from eapgp.study.reproduce_rows import METHODS, Asked
from eapgp.ui.base.draw import curtain, plain
from eapgp.ui.base.policy import policy
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll, progress_text, stop_button
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import results
from eapgp.ui.paper import jobs as work
from eapgp.ui.paper.fields import EXACT

_LAST = "eapgp-last-paper"
NOT_YET = "not run yet"


@dataclass(frozen=True)
class Outcome:
    """What the page shows. answers: whether it is what the settings ask for; bundled: it came with the project."""

    asked: Asked
    result: Reproduction | None
    answers: bool
    bundled: bool
    job: JobView | None


# -- what was reproduced already ---------------------------------------------------------------


@st.cache_resource(max_entries=16, show_spinner=False)
def _read(path: str, changed: int) -> Reproduction:
    return read_reproduction(path)


def _stored(path: Path) -> Reproduction | None:
    """What a file holds; None where it is missing or cannot be read (it is then made again)."""
    try:
        return _read(str(path), path.stat().st_mtime_ns)
    except (OSError, FormatError):
        return None


def bundled() -> Reproduction | None:
    """The reproduction that comes with the project."""
    path = places.bundled(BUNDLED_FILE)
    return None if path is None else _stored(path)


def asked_of(session: Session) -> Asked:
    """What the settings ask for."""
    return Asked(
        model=session["model"],
        limit=session["first"],
        pairs=session["each"] or None,
        exact=EXACT[session["exact"]],
        seed=session["seed"],
    )


def find(asked: Asked) -> tuple[Reproduction | None, bool]:
    """The reproduction that answers, and whether it is the bundled one."""
    own = _stored(work.result_file(asked, results.shelf().library))
    if own is not None and own.asked == asked:
        return own, False
    reproduction = bundled()
    return (reproduction, True) if reproduction is not None and reproduction.asked == asked else (None, False)


def _last() -> tuple[Reproduction | None, bool]:
    """What was shown before these settings, else the bundled one."""
    before: Asked | None = st.session_state.get(_LAST)
    if before is not None:
        result, is_bundled = find(before)
        if result is not None:
            return result, is_bundled
    return bundled(), True


# -- the sidebar -------------------------------------------------------------------------------


def open_panel(session: Session) -> Outcome:
    """Draw the sidebar and find what to show."""
    with st.sidebar, curtain("settings"):
        _settings(session)
        asked = asked_of(session)
        result, is_bundled = find(asked)
        job = _controls(session, asked, answered=result is not None)
    if result is not None:
        st.session_state[_LAST] = asked
        return Outcome(asked, result, True, is_bundled, job)
    if job is not None and job.state == "done" and isinstance(job.result, Reproduction):
        return Outcome(asked, job.result, True, False, job)
    if published_model(asked.model):
        return Outcome(asked, not_run(asked, NOT_YET), False, False, job)
    result, is_bundled = _last()
    return Outcome(asked, result, False, is_bundled, job)


@st.cache_resource(max_entries=16, show_spinner=False)
def _study(asked: Asked) -> Study:
    return protocol(asked)


def _settings(session: Session) -> None:
    titles = {entry.name: entry.title for entry in CATALOGUE} | {"demo": "Demo model (bundled)"}
    models = list(titles)
    if session["model"] not in models:
        models.append(session["model"])
    st.subheader("The protocol on", anchor=False)
    session.widget(
        "model", st.selectbox, options=models, format_func=lambda name: titles.get(name, name), accept_new_options=True
    )
    left, right = st.columns(2)
    with left:
        session.widget("first", st.number_input)
        session.widget("seed", st.number_input)
    with right:
        session.widget("each", st.number_input)
        session.widget("exact", st.selectbox)


def _controls(session: Session, asked: Asked, *, answered: bool) -> JobView | None:
    job_id = work.job_key(asked)
    job = server.job(job_id)
    if job is None or not job.live:
        study = _study(asked)
        st.caption(_cost(study, asked))
        refusal = _refusal(study, asked)
        pressed = st.button(
            "Reproduced" if answered else "Run the protocol",
            key="run-button",
            type="primary",
            width="stretch",
            icon=":material/check:" if answered else ":material/play_arrow:",
            disabled=answered or bool(refusal),
            help=refusal or "This outcome is stored and on screen. Change a setting to run another."
            if answered
            else "Runs what 'eapgp reproduce' runs, in the background. What is finished stays, also after Cancel.",
        )
        if pressed:
            _start(asked, study)
            session["job"] = job_id
            st.rerun()  # the button gives way to the progress
    if job is not None and job.live:
        poll(job_id, _progress, every=1.0)
    elif session["job"]:
        session["job"] = ""
    return job


def _cost(study: Study, asked: Asked) -> str:
    """What the run will take, as far as it can be told before."""
    passes = work.passes(study)
    parts = [f"{len(study.cells)} runs of {asked.n_pairs} pairs"]
    if passes is not None:
        parts.append(f"about {passes:,.0f} passes over a pair")
    reproduction = bundled()
    if reproduction is not None and reproduction.model == asked.model and reproduction.made:
        parts.append(
            f"the whole protocol took {duration(reproduction.made['seconds'])} where the bundled outcome was made"
        )
    return plain("; ".join(parts)) + "."


def _refusal(study: Study, asked: Asked) -> str:
    """Why the server's limits refuse the protocol, or ""."""
    entry, passes = find_model(asked.model), work.passes(study)
    reason = policy().refuses_model(asked.model)
    if not reason and entry is not None and passes is not None:
        reason = policy().refuses_work(passes, entry.parameters)
    return f"This server does not run it: {reason}." if reason else ""


def _start(asked: Asked, study: Study) -> None:
    job_id, shelf = work.job_key(asked), results.shelf()
    lane = server.lane_of(study.cells[0].spec)
    job = work.reproduce_work(server.workshop(), lane, asked, shelf.library)
    server.manager().forget(job_id)  # what failed or found no weights is tried again
    server.manager().submit(job_id, f"the paper's protocol on {asked.model}", job, lane=lane)


def _progress(job: JobView) -> None:
    st.progress(job.fraction, text=progress_text(job))
    stop_button(
        job,
        key="cancel-button",
        width="stretch",
        help="Stop. The runs that are finished stay in the library, and Run goes on from there.",
    )


# -- what the page says first ------------------------------------------------------------------


def say(outcome: Outcome) -> None:
    """What failed, and whether the picture lags behind the settings."""
    job = outcome.job
    if job is not None and job.state == "failed":
        st.error(plain(job.message), icon=":material/error:", title="The protocol failed")
    elif job is not None and job.state == "cancelled" and not outcome.answers:
        st.info("Cancelled. What was finished is kept; **Run the protocol** goes on.", icon=":material/cancel:")
    if outcome.job is not None and outcome.job.live:
        st.fragment(_board, run_every=3.0)(outcome.asked)
    elif outcome.result is not None and not outcome.answers and outcome.result.ran:
        st.info(
            "The settings on the left have no outcome yet: press **Run the protocol**. Meanwhile this shows "
            f"{plain(outcome.result.model)}, {outcome.result.asked.n_pairs} pairs per task.",
            icon=":material/hourglass_empty:",
        )


def _board(asked: Asked) -> None:
    """Which cells are done, which one is being computed."""
    import pandas as pd

    job = server.job(work.job_key(asked))
    if job is None or not job.live:
        return
    states = work.board(_study(asked), results.shelf().library, running=job.state == "running")
    table = pd.DataFrame(states).T
    table.columns = pd.Index([method_name(name) for name in table.columns])
    table.index.name = "task"
    st.dataframe(table, key="paper-board")
    st.caption("What is being computed. A finished cell stays, whatever happens to the rest.")


def method_name(method: str) -> str:
    """Short name of a method of the protocol."""
    return METHODS[method].label


def headline_size(result: Reproduction) -> int:
    """The circuit size of the paper's headline cell: 2.5 % of the edges."""
    sizes = sorted({row.edges for row in result.rows})
    share = HEADLINE_SIZE / N_EDGES
    return min(sizes, key=lambda size: abs(size / max(result.n_edges, 1) - share)) if result.n_edges else HEADLINE_SIZE


def question_of(result: Reproduction) -> dict[str, Any]:
    """The arguments of `eapgp.reproduce` that differ from its defaults."""
    asked = result.asked
    arguments = {"limit": asked.limit, "pairs": asked.pairs, "exact": asked.exact, "seed": asked.seed or None}
    return {name: value for name, value in arguments.items() if value is not None}
