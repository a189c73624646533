"""What is compared: a row of questions that differ in one thing from the settings on the left, or runs of one's own.

1. `proposals` lists what an axis offers (methods, step settings, tasks, prompt seeds, models), each with
   the run that answers it, if there is one.
2. `choose` lets the user pick two to four; those without a run are offered for computing in one click.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from eapgp.attribution.registry import METHODS, short_name, variant
from eapgp.attribution.usual import USUAL
from eapgp.errors import EapgpError
from eapgp.models.catalogue import CATALOGUE
from eapgp.options import Option, WholeNumber
from eapgp.runs.compute import resolve_options
from eapgp.runs.files import content_key
from eapgp.runs.info import RunInfo
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS
from eapgp.ui.base.draw import plain
from eapgp.ui.base.session import Session
from eapgp.ui.compare.fields import AXES
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll_all, say_failed
from eapgp.ui.library import measure, results
from eapgp.ui.library.results import question_key
from eapgp.ui.parts import run_choice
from eapgp.ui.sidebar import settings
from eapgp.ui.sidebar.panel import Panel

SHOWN = "eapgp-compared"  # ids of the runs that were last side by side


@dataclass(frozen=True)
class Proposal:
    """One thing that can be compared. key: its name in the link; card: the run that answers it, if any."""

    key: str
    label: str
    spec: RunSpec
    card: RunInfo | None

    @property
    def job_id(self) -> str:
        """The job that computes it."""
        return f"run-{self.spec.job_key()}"


def proposals(axis: str, spec: RunSpec, context: RunInfo) -> list[Proposal]:
    """What an axis offers around the settings; those of the settings themselves first where that makes sense."""
    questions = {"methods": _methods, "steps": _steps, "tasks": _tasks, "seeds": _seeds, "models": _models}[axis](
        spec, context
    )
    answers = results.shelf().answers()
    rows = [Proposal(key, label, asked, answer(asked, context, answers)) for key, label, asked in questions]
    same = [one for one in rows if one.card is None or one.card.graph == context.graph]
    return list({one.key: one for one in same}.values())


def answer(spec: RunSpec, context: RunInfo, answers: Mapping[str, RunInfo]) -> RunInfo | None:
    """The run that answers a spec, of the shelf's `answers`, or None. Errors in the spec mean that there is none."""
    try:
        options = resolve_options(spec)
    except EapgpError:
        return None
    custom, own = bool(spec.prompts or spec.prompts_file), context.run.spec
    same = custom and own is not None and (spec.prompts, spec.prompts_file) == (own.prompts, own.prompts_file)
    metric = spec.metric or (context.metric if custom or spec.task not in TASKS else TASKS[spec.task].metric)
    prompts_hash = context.prompts_hash if same else ""
    return answers.get(question_key(spec, metric=metric, options=options, prompts=prompts_hash))


Offered = list[tuple[str, str, RunSpec]]


def _methods(spec: RunSpec, context: RunInfo) -> Offered:
    offers = [(one.method, dict(one.options)) for one in USUAL]
    offers.append((spec.method, dict(spec.options)))
    offers += [(card.method, dict(card.options)) for card in results.comparable(context)]
    offers += [(name, _usual_options(name)) for name in METHODS if name not in {method for method, _ in offers}]
    rows = []
    for method, options in offers:
        asked = settings.with_method(spec, method, _settled(method, options))
        other = f" · {asked.intervention}" if asked.intervention != spec.intervention else ""
        rows.append((_slug(method, options), variant(method, options) + other, asked))
    return rows


def _usual_options(method: str) -> dict[str, Any]:
    return {name: value for name, value in METHODS[method].settings({}).items() if value is not None}


def _settled(method: str, options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "keep_points"}


def _slug(method: str, options: Mapping[str, Any]) -> str:
    """The variant's name in the link; what links always say comes first."""
    rows = METHODS[method].own_options if method in METHODS else ()
    marks = [_mark(row, options[row.name]) for row in sorted(rows, key=_silent) if row.name in options]
    return " ".join((method, *(mark for mark in marks if mark)))


def _silent(row: Option) -> bool:
    return not row.mark(row.default)


def _mark(row: Option, value: Any) -> str:
    names = row.check(value) if row.repeatable else None
    return content_key(sorted(names))[:8] if names else row.mark(value)


def _steps(spec: RunSpec, context: RunInfo) -> Offered:
    """The method of the settings with its options changed one by one (EAP-GP where it has none to change)."""
    own = METHODS.get(spec.method)
    method = own if own and any(_others(row, row.default) for row in own.own_options) else METHODS[RunSpec().method]
    asked = spec.options if method is own else {}
    base = {row.name: asked.get(row.name, row.default) for row in method.own_options}
    changes = [{row.name: value} for row in method.own_options for value in _others(row, base[row.name])]
    numbers = [row for row in method.own_options if isinstance(row, WholeNumber)]
    rows = []
    for change in ({}, *changes):
        options = base | change
        names = method.variant({name: options[name] for name in options.keys() - {row.name for row in numbers}})
        label = " · ".join((names, *(row.phrase(options[row.name]) for row in numbers)))
        rows.append((_slug(method.name, options), label, settings.with_method(spec, method.name, options)))
    return rows


def _others(row: Option, value: Any) -> list[Any]:
    """Other values of an option: every other name, or twice, four times and half the number."""
    if isinstance(row, WholeNumber):
        return [n for n in (2 * value, 4 * value, max(row.low, value // 2)) if n != value and n <= row.high]
    return [name for name in row.values if name != value]


def _tasks(spec: RunSpec, context: RunInfo) -> Offered:
    rows = []
    for name in dict.fromkeys([spec.task, *TASKS]):
        if name not in TASKS:
            continue
        own = name == spec.task
        options = spec.task_options if own else {option.name: option.default for option in TASKS[name].options}
        asked = replace(spec, task=name, task_options=options, metric=spec.metric if own else None)
        rows.append((str(name), TASKS[name].title, replace(asked, prompts=None, prompts_file=None)))
    return rows


def _seeds(spec: RunSpec, context: RunInfo) -> Offered:
    return [
        (f"seed {seed}", f"{short_name(spec.method)} · seed {seed}", replace(spec, seed=seed))
        for seed in range(spec.seed, spec.seed + run_choice.MOST_RUNS)
    ]


def _models(spec: RunSpec, context: RunInfo) -> Offered:
    """Models of the same graph, and the same architecture untrained."""
    titles = {entry.name: entry.title for entry in CATALOGUE if entry.graph == context.graph}
    titles |= {
        card.model: card.model for card in results.shelf().cards() if card.graph == context.graph and card.run.spec
    }
    if "demo" in titles:
        titles["demo"] = "Demo model"
    names = [name for name in dict.fromkeys([spec.model, *titles]) if name in titles]
    rows = [(name, titles[name], replace(spec, model=name, random_weights=False)) for name in names]
    untrained = f"{titles.get(spec.model, spec.model)}, untrained"
    rows.append(("untrained", untrained, replace(spec, random_weights=True)))
    return rows


def base(session: Session, panel: Panel) -> RunSpec:
    """The settings around which things are proposed: those on the left, or those of the run that was opened."""
    card = panel.card
    opened = card is not None and session["run"] and card.id.startswith(session["run"])
    return card.run.spec if opened and card is not None and card.run.spec is not None else panel.spec


# -- the widgets -------------------------------------------------------------------------------


def choose(session: Session, spec: RunSpec, context: RunInfo) -> dict[str, RunInfo]:
    """What is compared, by name; what is not computed yet is offered, and its progress drawn."""
    axis = str(session["by"])
    offered: dict[str, Proposal] = {}
    if axis == "runs":
        session["runs"] = session["runs"] or st.session_state.get(SHOWN, ())
        run_choice.say_lost(session, context)
    else:
        session["runs"] = ()
        offered = {one.key: one for one in proposals(axis, spec, context)}
        keys = tuple(key for key in session["these"] if key in offered)
        session.settle("these", keys, f"some of {', '.join(list(offered)[:12])}")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="compare-choice"):
        session.widget("by", st.selectbox, width=160)
        if axis == "runs":
            cards = run_choice.choose(session, context)
            run_choice.offer_more(session, spec, context)
        else:
            picked = _pick(session, axis, offered)
        session.widget("picture", st.segmented_control, width="content")
    if axis == "runs":
        return run_choice.named(cards, context)
    _compute([offered[key] for key in picked if offered[key].card is None])
    cards_by_label: dict[str, RunInfo] = {}
    for key in picked:
        card = offered[key].card
        if card is not None:
            label = offered[key].label
            cards_by_label[label if label not in cards_by_label else f"{label} ({key})"] = card
    st.session_state[SHOWN] = tuple(card.id for card in cards_by_label.values())
    return cards_by_label


def usual(offered: Sequence[Proposal]) -> tuple[str, ...]:
    """The two that are shown before a choice: EAP-IG and EAP-GP, else others that estimate something; with results."""

    def place(one: Proposal) -> tuple[bool, bool, int]:
        method = one.spec.method
        first = _FIRST.index(method) if method in _FIRST else len(_FIRST)
        return method in ("exact", "random"), one.card is None, first

    return tuple(one.key for one in sorted(offered, key=place)[:2])


_FIRST = ("eap-ig", "eap-gp")


def _pick(session: Session, axis: str, offered: dict[str, Proposal]) -> tuple[str, ...]:
    session.usual("these", usual(list(offered.values())))
    keys_picked = session.widget(
        "these",
        st.multiselect,
        f"{AXES[axis]} side by side",
        options=list(offered),
        format_func=lambda key: offered[key].label,  # labels stay: one that changes would be another option
        max_selections=run_choice.MOST_RUNS,
        placeholder="Pick two to four",
    )
    return tuple(keys_picked)


def _compute(missing: Sequence[Proposal]) -> None:
    """One button for all that is missing; the place in the queue and the progress of what was asked for."""
    live: list[Proposal] = []
    idle: list[Proposal] = []
    for one in missing:
        job = server.job(one.job_id)
        (live if job is not None and job.live else idle).append(one)
        if job is not None and job.state == "failed":
            say_failed(job, title="Could not be computed", label=one.label)
    if live:
        poll_all([one.job_id for one in live], run_choice.job_rows, every=0.5)
    if not idle:
        return
    listed = ", ".join(one.label for one in idle)
    exact = any(one.spec.method == "exact" for one in idle)
    with st.container(horizontal=True, vertical_alignment="center", key="compare-missing"):
        st.button(
            f"Compute {len(idle)} missing",
            key="compute-missing",
            type="primary",
            icon=":material/play_arrow:",
            on_click=_start,
            args=(tuple(idle),),
            help="Queues all of them in the background, one after the other; each joins the comparison when it is done."
            + (" Exact patching runs the model once per edge: seconds here, hours on large models." if exact else ""),
        )
        st.caption(f"Not computed yet: {plain(listed)}.")


def _start(missing: Sequence[Proposal]) -> None:
    for one in missing:
        measure.submit_run(one.spec, f"{one.label} on {one.spec.task}")
