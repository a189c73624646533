"""The top of the Path page: the picture of both paths, and whether GradPath approaches what it heads for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from eapgp.attribution.registry import variant
from eapgp.attribution.result import PathRecord
from eapgp.numerals import number, percent
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import PHONE, chart, dark, phone, plain
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow
from eapgp.ui.library import consent, measure, results
from eapgp.ui.library.landscape import stored_picture
from eapgp.ui.path import jobs
from eapgp.ui.path.fields import KINDS
from eapgp.ui.sidebar import settings
from eapgp.ui.sidebar.settings import NAMES

Records = Mapping[str, PathRecord]
TITLE = "The path through input space"


def approach(session: Session, card: RunInfo, source: RunInfo, record: PathRecord, *, own: bool = True) -> None:
    """Say beside the picture on how many pairs the path approaches what it heads for, and offer other steps.

    source: the run that GradPath comes from, where that is not the run on screen. own: whether the run on screen is
    that of the settings, which the other steps change.
    """
    nearer, rose = record.descended(), record.rose()[0]
    if nearer.all() and not rose.any():
        return
    after = float(record.output_distance[1].mean() / record.output_distance[0].mean())
    rest = "" if nearer.all() else "; for the others this walk moves away"
    first = f" After its first step the mean distance is {percent(after, 1)} of the start's." if rose.any() else ""
    of = f"{int(nearer.sum())} of {nearer.size} pairs{rest}" if nearer.any() else "no pair"
    st.caption(f"The output came nearer to the corrupted run's for {of}.{first}")
    if not own:
        return
    step = source.options.get("step")
    with st.container(horizontal=True, gap="small"):
        if step != "descend":
            what = "D / (2 ‖g‖), as far as the gradient promises"
            _other_step(session, "descend", "Show the descending step", what, **_steps_of(card, "descend"))
        if step != "relative":
            _other_step(session, "relative", "Show the relative step instead", "‖x − x′‖ / k for every pair")
        elif source.id == card.id and session["steps"] <= 50:
            st.button(
                "Take twice as many steps of half the length",
                key="use-more-steps",
                icon=":material/straighten:",
                on_click=lambda: _follow_anew(session, steps=2 * int(card.options["steps"])),
                help="Doubles k on the left, so that the relative step ‖x − x′‖ / k halves, and computes GradPath and "
                "the straight line of as many steps in the background. That takes twice the time.",
            )


def _steps_of(card: RunInfo, step: str) -> dict[str, Any]:
    """The steps k of a run on the same prompts by another step length, where there is one."""
    runs = [one for one in results.comparable(card) if one.method == "eap-gp" and one.options.get("step") == step]
    return {"steps": runs[0].options["steps"]} if runs else {}


def _other_step(session: Session, step: str, label: str, what: str, **changes: Any) -> None:
    st.button(
        label,
        key=f"use-{step}",
        icon=":material/straighten:",
        on_click=lambda: _follow_anew(session, step=step, **changes),
        help=f"Changes the step length on the left to {step}, {what}, and computes what is not there yet.",
    )


def _follow_anew(session: Session, **changes: Any) -> None:
    """Change settings of GradPath and start what is not there yet: its run, and the straight line beside it."""
    session.later(**changes, run="")
    asked = {name: session[name] for name in NAMES} | changes
    for values in (asked, {**asked, "method": "eap-ig", "points": "left"}):
        spec, key = settings.question(values)
        if results.shelf().find(key) is None and consent.at_hand(spec.model):
            measure.submit_run(spec, f"{variant(spec.method, spec.options)} on {spec.task}")


def controls(session: Session, card: RunInfo, records: Records, *, first: Callable[[], None]) -> int | None:
    """The row above the picture; returns the pair that is drawn (from 0), or None for the average.

    first: draws what stands first in the row. Where there is no picture, its own settings are left out.
    """
    n_pairs = min(record.output_distance.shape[1] for record in records.values())
    session.settle("pair", min(session["pair"], n_pairs), f"a pair from 1 to {n_pairs}, or 0 for their mean")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="path-view"):
        first()
        session.widget("pair", st.number_input, max_value=n_pairs, width=112)
        drawn = has_picture(card, records)
        if drawn:
            session.widget("background", st.selectbox, width=160)
        if drawn and "gradpath" in records:
            session.widget("window", st.segmented_control, width="content")
    if session["pair"] == 0:
        return None
    pair = card.run.prompts().pairs[session["pair"] - 1]
    st.markdown(f"**Clean** {plain(pair.clean)}  \n**Corrupted** {plain(pair.corrupted)}")
    return int(session["pair"]) - 1


def _missing(records: Records) -> list[str]:
    """The paths whose points are not here."""
    return [kind for kind in KINDS if kind not in records or records[kind].points is None]


def has_picture(card: RunInfo, records: Records) -> bool:
    """Whether the plane can be drawn: from the straight line's points, or from a picture that came with the run."""
    gradpath = results.path_sources(card).get("gradpath")
    stored = gradpath is not None and stored_picture(gradpath.run) is not None
    return stored or "straight" not in _missing(records)


def picture(session: Session, card: RunInfo, records: Records, pair: int | None) -> None:
    """Both paths in one plane, over what the model does there; without their points the distance that is left."""
    from eapgp.figures.path import path_projection
    from eapgp.figures.path_curves import path_curves

    missing = _missing(records)
    if not has_picture(card, records):
        distance = path_curves(
            records, "output_distance", normalised=True, pair=pair, current=session["at"], dark=dark()
        )
        chart(distance, "distance", height=HEIGHT)
        _offer_points(card, missing, left_out=any(kind in records for kind in missing))
        return
    gradpath = results.path_sources(card).get("gradpath")
    kept = stored_picture(gradpath.run) if gradpath is not None and (missing or pair is None) else None
    if missing and kept is None:
        _offer_points(card, missing, left_out=any(kind in records for kind in missing))
    drawn = records if kept is not None else {kind: one for kind, one in records.items() if kind not in missing}
    focus = None if session["window"] == "all" or "gradpath" not in drawn else str(session["window"])
    if kept is None:
        background = _background(session, card, drawn, pair, focus)
    else:
        background = None if pair is not None else kept.backgrounds[session["window"]].get(session["background"])
    named = None if background is None else session["background"]
    of = results.path_contents(card), tuple(drawn), pair, session["at"], focus, named, kept is None

    def figure() -> Any:
        made = path_projection(
            drawn,
            pair=pair,
            background=background,
            current=session["at"],
            focus=focus,
            averaged=None if kept is None else kept.projection,
            width=PHONE if phone() else None,
            dark=dark(),
        )
        if pair is not None:  # the library counts pairs from 0, the page from 1
            title = made.layout.title.subtitle
            title.text = title.text.replace(f"pair {pair}", f"pair {pair + 1}")
        return made

    chart(figure, "projection", of=of, height=HEIGHT)
    if kept is not None and pair is not None and session["background"] != "none":
        _offer_points(card, missing, left_out=True)


HEIGHT = 332  # px of the picture: it and the step below the row of settings fit a low window


def readings(records: Records, pair: int | None) -> list[str]:
    """What was measured at every step, as a line per path."""
    n_steps = max(record.n_points for record in records.values())
    return [" · ".join(_reading(kind, one, at, pair) for kind, one in records.items()) for at in range(n_steps)]


def _reading(kind: str, record: PathRecord, at: int, pair: int | None) -> str:
    step = min(at, record.n_points - 1)

    def of(values: Any, step: int = step) -> float:
        return float(values[step].mean() if pair is None else values[step, pair])

    share = of(record.output_distance) / max(of(record.output_distance, 0), 1e-12)
    return f"{KINDS.get(kind, kind)}: {percent(share)} of the output distance left, metric {number(of(record.metric))}"


def _offer_points(card: RunInfo, missing: list[str], *, left_out: bool) -> None:
    """Say what the picture lacks, and compute it at a click. left_out: a run is there, without its points."""
    spec = card.run.spec
    own = {"eap-ig": "straight", "eap-gp": "gradpath"}.get(card.method)
    if own in missing and not card.example:
        st.info(
            "The points of this path were too large to keep (over 64 MB), so there is no picture of it; the views "
            "below need no points. Fewer prompt pairs on the left keep them.",
            icon=":material/info:",
        )
        return
    lines = " and ".join(
        {"gradpath": "GradPath (EAP-GP)", "straight": "the straight line (EAP-IG)"}[m] for m in missing
    )
    why = " Bundled results of most tasks leave points out to stay small." if left_out else ""
    st.info(
        f"The picture also needs the points of {lines} on the same prompts, in as many steps.{why} The views "
        "below do not need them.",
        icon=":material/info:",
    )
    if spec is None:
        return
    steps = {"steps": card.options.get("steps", 5)}
    wanted = []
    if "straight" in missing:
        options = {**steps, "points": "left"}
        wanted.append(spec if own == "straight" else settings.with_method(spec, "eap-ig", options))
    if "gradpath" in missing:
        options = {**steps, "step": "relative", "objective": "all"}
        wanted.append(spec if own == "gradpath" else settings.with_method(spec, "eap-gp", options))
    live = [job for job in (server.job(f"run-{asked.job_key()}") for asked in wanted) if job is not None and job.live]
    if live:
        for job in live:
            follow(job.id, lambda _: None, waiting=f"{plain(job.label)} ·", cancel=True)
    elif st.button(
        "Compute them",
        key="add-points",
        type="primary",
        icon=":material/play_arrow:",
        help="Runs in the background on the same prompts; the picture appears when it is done.",
    ):
        for asked in wanted:
            measure.submit_run(asked, f"{variant(asked.method, asked.options)} on {card.task}")
        st.rerun()


def _background(session: Session, card: RunInfo, records: Records, pair: int | None, focus: str | None) -> Any:
    """What the model does behind the picture: at once where it is there, later where it has to run."""
    if session["background"] == "none":
        return None
    if not consent.may_run(card, "Draw what the model does behind the picture", key="ask-plane"):
        return None
    job = server.manager().soon(jobs.submit_plane(card, records, pair, focus=focus))
    if job is None or job.state == "done":
        return None if job is None else job.result[session["background"]]
    follow(job.id, lambda _: None, waiting="The model on a grid of this plane ·", cancel=True)
    return None


def no_path(session: Session, card: RunInfo) -> None:
    """What the page says when the run on screen followed no path."""
    name = variant(card.method, card.options)
    st.info(
        f"{plain(name)} follows no path. EAP-GP follows GradPath, EAP-IG the straight line.", icon=":material/timeline:"
    )
    st.button(
        "Show EAP-GP",
        key="show-gp",
        type="primary",
        on_click=lambda: session.later(method="eap-gp", run=""),
        help="Sets the method on the left to EAP-GP, with the same model, task and prompts.",
    )
