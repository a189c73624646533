"""The sidebar that Explore, Compare and Path share: what to compute, and how far it is.

The run on screen is the one that answers the settings. Where none does yet, the last one stays and
the panel offers to compute the new one, so no page is ever empty and nothing is computed unasked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st

from eapgp.attribution.registry import METHODS, blurb, variant
from eapgp.errors import EapgpError, one_line
from eapgp.metrics import metric_title
from eapgp.models.catalogue import CATALOGUE
from eapgp.models.store import set_title
from eapgp.numerals import duration
from eapgp.runs.info import RunInfo, model_title
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS
from eapgp.ui.base import visitor
from eapgp.ui.base.draw import curtain, guard, plain
from eapgp.ui.base.fields import Field, text
from eapgp.ui.base.policy import policy
from eapgp.ui.base.routes import page_file
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll, progress_text, stop_button
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import measure, results
from eapgp.ui.library.own_prompts import PromptStore
from eapgp.ui.sidebar import availability, doing, settings
from eapgp.ui.sidebar.rows import draw_options, entered, option_values
from eapgp.ui.sidebar.settings import (
    FIELDS,
    NAMES,
    OWN,
    PROMPTING,
    START_TOKENS,
    intervention_names,
    metric_names,
    metric_of,
    model_problem,
    own_pairs_now,
    own_prompts,
    settings_of,
)

_LAST = "eapgp-last-run"
_OPENED = "eapgp-opened"
OWN_JOB = "eapgp-own-job"  # key of the session's state: the job whose progress the panel shows

RUN_FIELDS: tuple[Field, ...] = (
    text("run", "", "The run that was opened by its id.", pattern=r"[0-9a-f]{4,64}", expected="a run's id"),
    text("job", "", "The computation that this page waits for.", pattern=r"run-[0-9a-f]{8,64}", expected="a job's id"),
)
FIELDS_OF_RUN = (*FIELDS, *RUN_FIELDS)


@dataclass(frozen=True)
class Panel:
    """What the sidebar says. card: the run on screen (None: no run exists at all).

    answers: whether the card is what the settings ask for.
    """

    spec: RunSpec
    card: RunInfo | None
    answers: bool
    job: JobView | None


def open_panel(session: Session) -> Panel:
    """Draw the sidebar and find the run to show."""
    _adopt_run(session)
    with st.sidebar, curtain("settings"):
        values = _settings(session)
        spec, key = settings.question(values)
        card = results.shelf().find(key)
        opened = results.shelf().get(session["run"]) if session["run"] else None
        run = opened or card or _last_shown(values)
        answers = run is not None and (opened is not None or card is not None)
        with st.container(key="run-foot"):  # stays in sight below the settings (brand.STYLE)
            answered = card if opened in (None, card) else None
            if session.page != "prompts" and session["task"] != OWN and not _hindrance(session, spec):
                doing.line(spec, None if answered is None else doing.of_run(answered))
            job = _run_controls(session, spec, answered=answered is not None)
    if run is not None:
        st.session_state[_LAST] = run.id
    session.awaits(run is not None and not answers and run.model != spec.model)
    return Panel(spec, run, answers, job)


def _last_shown(values: Mapping[str, Any]) -> RunInfo | None:
    """What this session showed last; where it is new, the run that is nearest to the settings."""
    shelf = results.shelf()
    last = st.session_state.get(_LAST)
    card = shelf.get(last) if last else None
    if card is None:
        card = max(shelf.cards(), key=lambda one: nearness(one, values), default=None)
    return card


def nearness(card: RunInfo, values: Mapping[str, Any]) -> tuple[bool, ...]:
    """How much of the settings a run shares, what matters most first; to be compared."""
    shared = [str(getattr(card, name)) == str(values[name]) for name in ("task", "model", "method")]
    return (*shared, card.method == "eap-gp" and card.options.get("step") == "relative", card.model == "demo")


def _adopt_run(session: Session) -> None:
    """Bring the settings to the run that the link names; let go of it once a setting is changed."""
    run_id = session["run"]
    if not run_id:
        return
    card = results.shelf().get(run_id)
    if card is None:
        session.complain(f"The link names run {run_id}, {results.shelf().absence(run_id)} Showing another one.")
        session["run"] = ""
        return
    values = {name: session[name] for name in NAMES}
    if st.session_state.get(_OPENED) != run_id:
        st.session_state[_OPENED] = run_id
        spec = spec_to_ask_again(card)
        if spec is not None:
            for name, value in settings_of(spec, metric=card.metric, options=card.options).items():
                session[name] = value
        st.session_state["eapgp-opened-values"] = {name: session[name] for name in NAMES}
    elif st.session_state.get("eapgp-opened-values") != values:
        session["run"] = ""
        st.session_state.pop(_OPENED, None)


def spec_to_ask_again(card: RunInfo) -> RunSpec | None:
    """What a run was asked with; prompts that came with it are kept as a file that can be named."""
    spec = card.run.spec
    if spec is None or (not spec.prompts and not spec.prompts_file):
        return spec
    try:
        own = results.kept_prompts(card)
    except EapgpError:
        return None
    return replace(spec, prompts=None, prompts_file=str(own.path), task=own.name, n_pairs=None)


def _settings(session: Session) -> Mapping[str, Any]:
    titles = {entry.name: entry.title for entry in CATALOGUE} | {"demo": "Demo model (bundled)"}
    public = policy().public
    models = [entry.name for entry in CATALOGUE if not (public and model_problem(entry.name))]
    if session["model"] not in models:
        models.append(session["model"])
    st.subheader("What to compute", anchor=False)
    session.widget(
        "model",
        st.selectbox,
        options=models,
        format_func=lambda name: titles.get(name) or model_title(name),
        accept_new_options=not public,
    )
    if Path(session["model"]).is_absolute() and not public:
        _name_of_model(session["model"])
    session.widget("task", st.selectbox)
    availability.say(session["model"], session["tokenizer"] or None, session["task"])
    _prompt_settings(session)
    session.widget("method", st.selectbox)
    st.caption(blurb(session["method"]))
    draw_options(session, [row for row in METHODS[session["method"]].own_options if not row.seldom])
    session.widget(
        "metric",
        st.selectbox,
        options=metric_names(),
        format_func=lambda name: (
            f"Of the task: {metric_title(metric_of({'task': session['task'], 'metric': 'task'})).lower()}"
            if name == "task"
            else metric_title(name)
        ),
    )
    _more_settings(session)
    return {name: session[name] for name in NAMES}


def _name_of_model(path: str) -> None:
    """What a model in a folder or file is called; kept on this machine."""
    key = f"model-title-{path}"

    def save() -> None:
        try:
            set_title(path, st.session_state[key])
        except EapgpError as error:
            st.session_state[f"{key}-problem"] = one_line(error)

    st.text_input(
        "Name of this model",
        value=model_title(path),
        key=key,
        max_chars=60,
        on_change=save,
        help="Pages, lists and figures call the model so; its folder stays as it is.",
    )
    if problem := st.session_state.pop(f"{key}-problem", ""):
        st.error(plain(problem), icon=":material/error:")


def _prompt_settings(session: Session) -> None:
    """Which pairs a task makes; pairs of one's own are used as they are."""
    if session["task"] == OWN or own_prompts(session["task"]) is not None:
        st.caption("Pairs of your own; the Prompts page shows them.")
        if session["task"] == OWN and session.page != "prompts":
            st.page_link(page_file("prompts"), label="Make them on Prompts", icon=":material/edit_note:")
            st.page_link(page_file("sentence"), label="Type a sentence instead", icon=":material/short_text:")
        if session["seed"] or METHODS[session["method"]].draws_noise(_own_options(session)):
            session.widget("seed", st.number_input)
        return
    draw_options(session, TASKS[session["task"]].options)
    left, right = st.columns(2)
    with left:
        session.widget("pairs", st.number_input)
    with right:
        session.widget("seed", st.number_input)
    if session.page == "prompts" or session["split"] != "all":
        session.widget("split", st.selectbox)


def _own_options(session: Session) -> dict[str, Any]:
    """The options that the settings mean for the method."""
    rows = METHODS[session["method"]].own_options
    return option_values(rows, {row.field: session[row.field] for row in rows})


def _more_settings(session: Session) -> None:
    """What is seldom changed; open where something of it is not usual, and drawn only while it is open."""
    interventions = intervention_names(session["method"])
    unusual = (session["dtype"], session["weights"]) != ("float32", "trained")
    unusual = unusual or any(session[field.name] != field.default for field in PROMPTING)
    unusual = unusual or (len(interventions) > 1 and session["intervention"] != "patching")
    seldom = [row for row in METHODS[session["method"]].own_options if row.seldom]
    unusual = unusual or any(session[row.field] != entered(row, row.default) for row in seldom)
    key = f"more-settings-{'unusual' if unusual else 'usual'}"
    more = st.expander("More settings", expanded=unusual, key=key, on_change="rerun")
    if not more.open:
        return
    with more:
        draw_options(session, seldom)
        if len(interventions) > 1:
            session.widget(
                "intervention",
                st.selectbox,
                options=interventions,
                format_func=lambda name: name.replace("-", ", ").capitalize(),
            )
        _prompting_settings(session)
        session.widget("dtype", st.selectbox)
        session.widget("weights", st.segmented_control)


def _prompting_settings(session: Session) -> None:
    """How prompts reach the model, and which of them do."""
    starts = [*START_TOKENS, *([session["bos"]] if session["bos"] not in START_TOKENS else [])]
    session.widget(
        "bos",
        st.selectbox,
        options=starts,
        format_func=lambda name: START_TOKENS.get(name, name),
        accept_new_options=True,
    )
    session.widget("chat", st.toggle)
    session.widget("answers", st.selectbox)
    if not policy().public:
        session.widget("tokenizer", st.text_input, placeholder="the model's own")
    session.widget("skip_unusable", st.toggle)
    session.widget("only_correct", st.toggle)


def _run_controls(session: Session, spec: RunSpec, *, answered: bool) -> JobView | None:
    job_id = f"run-{spec.job_key()}"
    job = server.job(job_id)
    waiting = job is not None and job.live
    hindrance = _hindrance(session, spec)
    if availability.is_missing(spec.model) and not (answered or spec.random_weights):
        availability.offer(spec.model)
    elif not waiting:
        pressed = st.button(
            "Computed" if answered else "Run",
            key="run-button",
            type="primary",
            width="stretch",
            icon=":material/check:" if answered else ":material/play_arrow:",
            disabled=answered or bool(hindrance),
            help=hindrance or (_COMPUTED if answered else _RUN),
        )
        if not (answered or hindrance or pressed):
            _say_cost(spec)
        if pressed:
            with guard("The run"):
                job_id = _start(session, spec)
                job, waiting = server.job(job_id), True
    st.session_state[OWN_JOB] = job_id if waiting else ""
    if waiting:
        poll(job_id, _progress, every=0.5)
    elif session["job"]:
        session["job"] = ""
    return job


def _say_cost(spec: RunSpec) -> None:
    """How long the run takes, where runs of its model tell."""
    seconds = measure.run_cost(spec)
    if seconds is not None:
        st.caption(f"It takes about {duration(max(seconds, 1.0))}.", help=_COST)


def _start(session: Session, spec: RunSpec) -> str:
    """Ask for the run of the settings; the job's id. Errors: those of `submit_run`."""
    if session["task"] == OWN:
        spec = _kept_now(session, spec)
    job_id = measure.submit_run(spec, f"{variant(spec.method, spec.options)} on {spec.task}")
    session["job"], session["run"] = job_id, ""  # a run that was opened by its id gives way to the new one
    st.session_state.pop(_OPENED, None)
    return job_id


_COST = (
    "Going by the passes of this method and the time that runs of this model took: yours, else the bundled ones, which "
    "another machine computed. Loading the model comes on top."
)
_COMPUTED = "This result is in the library and on screen. Change a setting to compute another."
_RUN = "Compute this in the background. You can go on browsing; closing the tab loses nothing."


def _hindrance(session: Session, spec: RunSpec) -> str:
    """Why nothing can be run as the settings are, or ""."""
    if problem := model_problem(spec.model):
        return f"This model cannot be run: {problem}."
    if reason := availability.unposable(spec.model, spec.tokenizer).get(session["task"]):
        return f"This task cannot be posed to this model: {reason}."
    if session["task"] == OWN and own_pairs_now() is None:
        return "Type, paste or upload pairs on the Prompts page first; Run takes the ones shown there."
    if reason := measure.refuses(spec):
        return f"This server does not run it: {reason}."
    return ""


def _kept_now(session: Session, spec: RunSpec) -> RunSpec:
    """The spec with the pairs that the Prompts page shows, which are kept and become the task of the settings."""
    pairs = own_pairs_now()
    assert pairs is not None
    own = PromptStore(visitor.home()).add(pairs)
    session.later(task=own.id, source="task")
    return replace(spec, task=own.name, task_options={}, prompts_file=str(own.path), n_pairs=None, split="all")


def _progress(job: JobView) -> None:
    st.progress(job.fraction, text=progress_text(job))
    stop_button(job, key="cancel-button", width="stretch")
