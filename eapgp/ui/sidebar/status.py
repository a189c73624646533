"""What a page says before its figures: what is wrong, what was asked for, and what is shown in its place."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from eapgp.attribution.registry import variant
from eapgp.metrics import metric_title
from eapgp.runs.info import RunInfo, model_title, prompt_conditions
from eapgp.runs.spec import DEFAULT_PAIRS, PATCHING, RunSpec
from eapgp.ui.base.draw import plain
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import follow
from eapgp.ui.library import consent
from eapgp.ui.sidebar import availability, chip
from eapgp.ui.sidebar.panel import Panel
from eapgp.ui.sidebar.settings import OWN, model_problem, own_prompts, prompts_title

# What is drawn for a model that was not asked for: it is there to be looked at, not to be taken for the answer.
_DIMMED = """<style>
[data-testid="stMain"] :is(
  [data-testid="stBidiComponentIsolated"], [data-testid="stPlotlyChart"], iframe,
  [data-testid="stMetric"], [data-testid="stDataFrame"]
) { opacity: 0.4; }
</style>"""
Parts = dict[str, str]


def say_problems(session: Session, panel: Panel | None = None, *, shows: str = "") -> None:
    """What was wrong with the link, what failed, and what is shown where the settings have no result.

    shows: what the page draws, on pages that choose that themselves; without it the panel's run.
    """
    session.tell()
    if panel is None:
        return
    if panel.job is not None and panel.job.state == "failed":
        follow.say_failed(panel.job, title="The computation failed")
    if panel.card is not None and not panel.answers:
        _say_apart(panel, panel.card, shows)
    elif problem := model_problem(panel.spec.model):
        st.warning(f"Model {plain(repr(panel.spec.model))}: {plain(problem)}.", icon=":material/error:")


def settings_line(panel: Panel, run: RunInfo | None) -> None:
    """What is shown, in one line that opens the settings; where another thing was asked, `say_problems` holds both
    against each other in its place."""
    if run is None or (panel.card is run and not panel.answers):
        return
    chip.chip(settings_text(run))


def settings_text(run: RunInfo) -> str:
    """What a run is of, as the settings' line says it: model, task, method, pairs, what is unusual, whose it is."""
    parts = shown_parts(run)
    ordered = [parts.pop(name) for name in ("model", "task", "method", "pairs") if name in parts]
    return " · ".join((*ordered, *parts.values(), "bundled example" if run.example else "your library"))


def _say_apart(panel: Panel, run: RunInfo, shows: str) -> None:
    """What was asked for, and what is shown, as two lines that can be held against each other."""
    problem = model_problem(panel.spec.model)
    other_model = run.model != panel.spec.model or run.untrained != panel.spec.random_weights
    asked, shown = asked_parts(panel.spec), shown_parts(run)
    differing = [name for name in asked if asked[name] != shown.get(name)]
    dimmed = ", dimmed because it is of another model" if other_model else ""
    lines = [f"**Asked:** {_listed(asked, differing)} {_state(panel, problem)}"]
    lines.append(f"**Shown:** {plain(shows)}" if shows else f"**Shown{dimmed}:** {_listed(shown, differing)}.")
    say, icon = (st.warning, ":material/error:") if problem else (st.info, ":material/hourglass_empty:")
    with st.container(key="asked-and-shown"):
        say("  \n".join(lines), icon=icon)
    if other_model and not shows:
        st.html(_DIMMED)


def _listed(parts: Parts, differing: Iterable[str]) -> str:
    return " · ".join(f"**{plain(text)}**" if name in differing else plain(text) for name, text in parts.items())


def _state(panel: Panel, problem: str) -> str:
    """Where the answer is."""
    if problem:
        return f"– cannot be computed: {plain(problem)}."
    if availability.is_missing(panel.spec.model) and not panel.spec.random_weights:
        return "– its model is not on this machine yet: the button on the left fetches it."
    fetched = "" if consent.at_hand(panel.spec.model) else " (its model is fetched from Hugging Face first)"
    if panel.job is not None and panel.job.live:
        return f"– is being computed{fetched}; the bar on the left tells how far."
    if panel.job is not None and panel.job.state == "cancelled":
        return "– cancelled. Press **Run** to start again."
    return f"– has no result yet: press **Run** to compute it{fetched}."


def asked_parts(spec: RunSpec) -> Parts:
    """What a spec asks for, in the words of `shown_parts`."""
    own = own_prompts(spec.task or "") if not spec.prompts_file else None
    name = model_title(spec.model)
    seed = (f"seed {spec.seed}",) if spec.seed else ()
    count = _counted(spec.n_pairs if spec.n_pairs is not None else DEFAULT_PAIRS)
    if spec.task == OWN or spec.prompts_file or own is not None:
        count = ""
    return _parts(
        variant(spec.method, spec.options),
        f"{name}, untrained" if spec.random_weights else name,
        prompts_title(spec.task or ""),
        ", ".join((*((count,) if count else ()), *prompt_conditions(spec), *seed)),
        metric_title(spec.metric).lower() if spec.metric else "",
        "" if spec.intervention == PATCHING else f"{spec.intervention} intervention",
        "" if spec.dtype == RunSpec().dtype else spec.dtype,
    )


def shown_parts(run: RunInfo) -> Parts:
    """What a run is of, part by part: method, model, task, pairs, and what is not usual."""
    return _parts(
        variant(run.method, run.options),
        run.model_title,
        prompts_title(run.task),
        run.pairs_title.replace("prompt pair", "pair") if run.n_pairs else "",
        metric_title(run.metric).lower() if run.run.spec is not None and run.run.spec.metric else "",
        *(() if run.imported else run.conditions),
    )


def _counted(n: int) -> str:
    return f"{n:,} pair{'s' if n != 1 else ''}"


def _parts(method: str, model: str, task: str, pairs: str, *rest: str) -> Parts:
    named = {"method": method, "model": model, "task": task, "pairs": pairs}
    return {name: text for name, text in (named | {text: text for text in rest}).items() if text}
