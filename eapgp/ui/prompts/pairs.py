"""The pairs on the Prompts page, what the model makes of them, and the way to Explore."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from eapgp import findings
from eapgp.attribution.registry import get_method, variant
from eapgp.errors import EapgpError, one_line
from eapgp.findings import Finding
from eapgp.metrics import METRICS, metric_title
from eapgp.numerals import decimal, percent
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.compute import folder_stamp, make_prompt_set
from eapgp.runs.files import content_key
from eapgp.runs.spec import PROMPT_FIELDS, RunSpec
from eapgp.tasks import TASKS
from eapgp.ui.base.draw import plain
from eapgp.ui.base.routes import page_file
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow
from eapgp.ui.library import consent, measure, results
from eapgp.ui.library.own_prompts import PromptStore, safe_name
from eapgp.ui.prompts.fields import TABS
from eapgp.ui.prompts.jobs import Seen, see_work
from eapgp.ui.sidebar import doing, settings
from eapgp.ui.sidebar.settings import NAMES, OWN, metric_of, own_prompts


def couple(session: Session) -> None:
    """Make the source of the pairs and the task of the settings say one thing; what was changed last decides.

    My own pairs and the task "My own pairs…" are the same, so that Run computes the pairs that are on screen.
    """
    before = st.session_state.get(_COUPLED, ("task", ""))
    source, task = str(session["source"]), str(session["task"])
    if (source == "own") != (task == OWN):
        source_moved = source != before[0]
        own_now = source == "own" if source_moved else task == OWN
        session["source"] = "own" if own_now else "task"
        if own_now != (task == OWN):
            session["task"] = OWN if own_now else st.session_state.get(_TASK_BEFORE, "ioi")
    if session["task"] != OWN:
        st.session_state[_TASK_BEFORE] = session["task"]
    st.session_state[_COUPLED] = (session["source"], session["task"])


def tab_labels(seen: Seen | None) -> dict[str, str]:
    """The tabs; the one of pairs that cannot be used says how many there are."""
    count = len(seen.fit.problems) if seen is not None else 0
    return TABS | ({"problems": f"{TABS['problems']} ({count:,})"} if count else {})


_COUPLED = "eapgp-prompts-coupled"  # source and task as they were last
_TASK_BEFORE = "eapgp-prompts-task"  # the task before it was My own pairs


@dataclass(frozen=True)
class Selection:
    """The pairs on screen. own: whether they are typed, pasted or uploaded, and kept nowhere yet."""

    spec: RunSpec
    prompts: PromptSet
    metric: str
    own: bool
    digest: str


@st.cache_resource(max_entries=8, show_spinner="Choosing words that fit the model's tokenizer …")
def _generated(asked: str, stamp: object, _spec: RunSpec) -> PromptSet:
    server.workshop().try_tokenizer(_spec)
    return make_prompt_set(_spec)


def pairs_on_the_left(session: Session, spec: RunSpec) -> Selection:
    """The pairs that the settings on the left name."""
    stored = own_prompts(session["task"])
    if stored is not None:
        prompts = stored.read()
    else:
        fields = {name: value for name, value in spec.to_dict().items() if name in PROMPT_FIELDS}
        prompts = _generated(content_key(fields), folder_stamp(spec.model), spec)
    metric = metric_of({"task": session["task"], "metric": session["metric"]})
    return Selection(spec, prompts, metric, False, _digest(prompts))


def own(session: Session, spec: RunSpec, prompts: PromptSet) -> Selection:
    """Pairs that were typed, pasted or uploaded."""
    metric = prompts.metric if session["metric"] == "task" else str(session["metric"])
    return Selection(spec, prompts, metric, True, _digest(prompts))


def no_own_pairs() -> None:
    """Nothing was typed, pasted or uploaded: Run has nothing to take."""
    settings.set_own_pairs(None)


@st.cache_resource(max_entries=16, show_spinner=False)
def _digest_of(key: int, _prompts: PromptSet) -> tuple[str, PromptSet]:
    return _prompts.hash, _prompts  # the set is held, so that its id stays its own


def _digest(prompts: PromptSet) -> str:
    return _digest_of(id(prompts), prompts)[0]


def loaded_with(spec: RunSpec) -> dict[str, Any]:
    """How the model of the settings is loaded, where that is not usual."""
    drawn: dict[str, Any] = {"random_weights": True, "seed": spec.seed} if spec.random_weights else {}
    other = {"dtype": spec.dtype, "tokenizer": spec.tokenizer}
    return drawn | {name: value for name, value in other.items() if value != getattr(RunSpec(), name)}


def see(selection: Selection) -> str:
    """Start (or join) the running of the model on these pairs; the job's id."""
    model = selection.spec.model
    how = {**loaded_with(selection.spec), **selection.spec.prompting.to_dict()}
    contrast = get_method(selection.spec.method).needs_contrast(selection.spec.intervention)
    key = (
        f"{model}|{how}|{selection.metric}|{selection.digest}|{selection.prompts.origin.get('answers', '')}|{contrast}"
    )
    lane = consent.live_lane(model)
    work = see_work(server.workshop(), lane, selection.spec, selection.prompts, selection.metric, contrast=contrast)
    job = f"prompts-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
    return server.manager().submit(job, f"{len(selection.prompts)} prompt pairs", work, lane=lane)


def seen_by_the_model(selection: Selection) -> Seen | None:
    """What the model makes of the pairs; None, with its progress drawn, until that is known."""
    answers: list[Seen] = []
    follow(
        see(selection),
        lambda job: answers.append(job.result),
        waiting="Running the model on these prompts ·",
        cancel=True,
    )
    return answers[0] if answers else None


def about(task: str) -> None:
    """What the task asks of a model."""
    if task in TASKS:
        st.markdown(plain(TASKS[task].explanation))


def metric_line(metric: str) -> None:
    """The metric and its formula in one line."""
    one = METRICS[metric]
    st.markdown(f"**{one.title}** &nbsp; {plain(one.formula)}", help=f"{one.explanation} It is chosen on the left.")


def finding(selection: Selection, seen: Seen) -> Finding | None:
    """On how many of the pairs the model is right, in words."""
    if not seen.fit.usable:
        return None
    return findings.of_prompts(int(seen.right.sum()), len(seen.right), name=doing.named(selection.spec))


READOUT_HEIGHT = 102  # px of the readout and the row below it, where nothing wraps


def readout(seen: Seen, metric: str, n: int) -> None:
    """How well the model does, in four numbers."""
    for remark in seen.fit.remarks:
        st.warning(plain(remark), icon=":material/warning:")
    if not seen.fit.usable:
        st.warning(
            f"None of the {n:,} pairs can be used with this model. {plain(seen.fit.problems[0].message)}",
            icon=":material/warning:",
        )
        return
    title = metric_title(metric)
    with st.container(horizontal=True, gap="medium", key="prompts-readout"):
        for label, value, help in (
            (
                "Right on the clean prompts",
                percent(float(seen.right.mean())),
                f"Share of pairs whose right answers are likelier than the wrong ones: {seen.right.sum():,} of "
                f"{len(seen.fit.usable):,}.",
            ),
            (f"{title}, clean", decimal(float(seen.clean.mean())), "Mean over the pairs that can be used."),
            (f"{title}, corrupted", decimal(float(seen.corrupted.mean())), "Mean over the pairs that can be used."),
            (
                "Pairs",
                f"{len(seen.fit.usable):,} of {n:,}",
                "Pairs that this model can use. The others are listed under Cannot be used.",
            ),
        ):
            st.metric(label, value, help=help, width="content")


def chosen_pairs(seen: Seen, *, right: bool) -> PromptSet:
    """The pairs that a run would take: usable ones, and with `right` only those the model gets right."""
    if not right:
        return seen.ready
    keep = [pair for pair, good in zip(seen.ready.pairs, seen.right, strict=True) if good]
    return replace(seen.ready, pairs=tuple(keep))


def hand_to_run(session: Session, selection: Selection, seen: Seen) -> None:
    """Tell the sidebar which pairs Run takes while the task is My own pairs: those that Use takes."""
    if selection.own:
        wanted = chosen_pairs(seen, right=session["right"])
        settings.set_own_pairs(replace(wanted, task=safe_name(_name_of(session, selection))) if len(wanted) else None)


def use(session: Session, selection: Selection, seen: Seen) -> None:
    """The row that leads on: which pairs, under which name, scored by what."""
    if not seen.fit.usable:
        return
    wanted = chosen_pairs(seen, right=session["right"])
    as_they_are = not selection.own and len(wanted) == len(selection.prompts)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="prompts-use"):
        session.widget("right", st.toggle, width="content")
        if not as_they_are:
            session.widget("name", st.text_input, placeholder=safe_name(_usual_name(selection)), width=200)
        pressed = st.button(
            f"Use {'this pair' if len(wanted) == 1 else f'these {len(wanted):,} pairs'}",
            key="use-pairs",
            type="primary",
            icon=":material/hub:",
            disabled=not len(wanted),
            help=f"Scores every edge on these pairs with {variant(selection.spec.method, selection.spec.options)}, in "
            "the background, and opens Explore, which shows the circuit when it is done.",
        )
        keep = not as_they_are and st.button(
            "Keep",
            key="keep-pairs",
            icon=":material/bookmark:",
            disabled=not len(wanted),
            help="Keeps these pairs on this machine, so that the settings on the left list them and a link to this "
            "page brings them back.",
        )
    if not len(wanted):
        st.info("No pair is left: switch off the filter, or change the pairs.", icon=":material/filter_alt_off:")
    if pressed or keep:
        try:
            changed = {} if as_they_are else _keep(session, selection, wanted)
            if pressed:
                _start(session, changed)
        except EapgpError as error:
            st.error(plain(one_line(error)), icon=":material/error:")
            return
        session.later(**changed, source="task", run="")
        if pressed:
            st.switch_page(page_file("explore"))
        st.rerun()


def _name_of(session: Session, selection: Selection) -> str:
    """The name under which pairs are kept: the one given, else one that tells where they are from."""
    name = session["name"] or _usual_name(selection)
    return f"{safe_name(name)}-right" if session["right"] and not session["name"] else name


def _usual_name(selection: Selection) -> str:
    return selection.prompts.task if selection.prompts.task != "custom" else ""


def _keep(session: Session, selection: Selection, wanted: PromptSet) -> dict[str, Any]:
    """Keep the pairs; the settings that name them."""
    name = _name_of(session, selection)
    stored = PromptStore(results.shelf().library.home).add(wanted, name=name)
    return {"task": stored.id, "right": False, "row": 1, "name": ""}


def _start(session: Session, changed: Mapping[str, Any]) -> None:
    """Queue the run that the settings ask for with these changes, unless it is there already."""
    values = {name: session[name] for name in NAMES} | {name: changed[name] for name in changed if name in NAMES}
    spec, key = settings.question(values)
    if results.shelf().find(key) is None:
        measure.submit_run(spec, f"{variant(spec.method, spec.options)} on {spec.task}")


def kept_sets(session: Session) -> None:
    """The kept set that is on screen: edit a copy, or remove it."""
    stored = own_prompts(session["task"])
    gone = st.session_state.get("prompts-removed")
    store = PromptStore(results.shelf().library.home)
    if gone:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info("The kept pairs were removed; runs that used them keep their own copy.", icon=":material/delete:")
            if st.button("Undo", key="prompts-undo", icon=":material/undo:", help="Bring the pairs back."):
                store.restore(gone)
                del st.session_state["prompts-removed"]
                session.later(task=gone)
                st.rerun()
    if stored is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="prompts-kept"):
        st.markdown(f"**{plain(stored.title)}**", width="content")
        if st.button(
            "Edit a copy", key="prompts-edit", icon=":material/edit:", help="Puts these pairs into the table."
        ):
            from eapgp.ui.prompts.own import put_into_table

            put_into_table(stored.read())
            session.later(source="own", name=stored.name)
            st.rerun()
        if st.button("Remove", key="prompts-remove", icon=":material/delete:", help="Can be undone."):
            store.remove(stored.id)
            st.session_state["prompts-removed"] = stored.id
            session.later(task="ioi")
            st.rerun()
