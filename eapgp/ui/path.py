"""The parts of the Path page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from eapgp.attribution.result import PathRecord
from eapgp.graph import Graph
from eapgp.ui import services
from eapgp.ui.draw import chart, dark, guard, plain
from eapgp.ui.jobs import JobView
from eapgp.ui.live import follow
from eapgp.ui.methods import variant
from eapgp.ui.panel import FIELDS_OF_RUN, Panel
from eapgp.ui.session import Session
from eapgp.ui.shelf import Card
from eapgp.ui.state import choice, integer

Records = Mapping[str, PathRecord]
KINDS = {"gradpath": "GradPath", "straight": "Straight line"}
TABS = {
    "curves": "Step by step",
    "vanished": "Vanished gradients",
    "tokens": "Which tokens move",
    "numbers": "Numbers",
}
FIELDS = (
    *FIELDS_OF_RUN,
    integer("pair", 0, 0, 1_000_000, "Which prompt pair is drawn; 0 averages over all of them."),
    choice(
        "background",
        "none",
        ("none", "metric", "distance"),
        "Colour the plane by what the model does there: its metric, or how far its output is from the corrupted one. "
        "Computed by running the model on a grid of the plane (one pair only).",
    ),
    choice("tab", "curves", tuple(TABS), "Which view is open below the path."),
)


def heading(card: Card, records: Records) -> None:
    """What the page shows."""
    st.title("The path through input space", anchor=False)
    drawn = " and ".join(KINDS.get(kind, kind) for kind in records)
    st.caption(
        f"{variant(card.method, card.options)} · {plain(card.task)} · {plain(card.model)} · "
        f"{card.n_pairs} prompt pairs · showing {drawn}"
    )


def overshoot(session: Session, card: Card, record: PathRecord) -> None:
    """Warn where the first step moved away from the corrupted output; the relative step is one click away."""
    rose = record.rose()[0]
    before, after = record.output_distance[0].mean(), record.output_distance[1].mean()
    step = card.options.get("step")
    told = (
        f"The first GradPath step raised the distance to the corrupted output on {int(rose.sum())} of {rose.size} "
        f"pairs (mean over all pairs: {after / before:.2g} times the start)."
    )
    if after <= before:
        if rose.any():
            st.caption(told)
        return
    st.warning(
        f"{told} Its points lie beyond what the gradient can vouch for.",
        icon=":material/warning:",
        title="The step overshoots",
    )
    if step != "relative":
        st.button(
            "Show the relative step instead",
            key="use-relative",
            icon=":material/straighten:",
            on_click=lambda: session.later(step="relative", run=""),
            help="Changes the step length on the left to relative: ‖x − x′‖ / k for every pair.",
        )
    elif session["steps"] <= 50:
        st.button(
            "Take twice as many steps of half the length",
            key="use-more-steps",
            icon=":material/straighten:",
            on_click=lambda: session.later(steps=2 * int(card.options["steps"]), run=""),
            help="Doubles k on the left; the relative step ‖x − x′‖ / k halves. Takes twice the time.",
        )


def choose_pair(session: Session, card: Card, n_pairs: int) -> int | None:
    """The pair that is drawn (from 0), or None for the average."""
    session["pair"] = min(session["pair"], n_pairs)
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    with left:
        session.widget("pair", st.number_input, "Prompt pair", min_value=0, max_value=n_pairs, step=1)
    with right:
        if session["pair"] == 0:
            st.caption(f"Averaged over all {n_pairs} pairs. Type 1 to {n_pairs} to see a single pair and its prompts.")
            return None
        pair = card.run.prompts().pairs[session["pair"] - 1]
        st.markdown(f"**Clean** {plain(pair.clean)}  \n**Corrupted** {plain(pair.corrupted)}")
    return int(session["pair"]) - 1


def picture(session: Session, card: Card, records: Records, pair: int | None) -> None:
    """Both paths in one plane, with a step slider and a play button that work in the browser."""
    from eapgp.figures.path import path_projection

    missing = [kind for kind in KINDS if kind not in records or records[kind].points is None]
    if "straight" in missing or len(missing) == 2:
        _offer_points(card, missing)
        return
    records = {kind: record for kind, record in records.items() if kind not in missing}
    if missing:
        _offer_points(card, missing)
    background = _background(session, card, records, pair)
    figure = path_projection(records, pair=pair, background=background, play=True, dark=dark())
    if pair is not None:  # the library counts pairs from 0, the page from 1
        figure.layout.title.subtitle.text = figure.layout.title.subtitle.text.replace(
            f"pair {pair}:", f"pair {pair + 1}:"
        )
    chart(figure, "projection")


def _offer_points(card: Card, missing: list[str]) -> None:
    """Say what the picture lacks, and compute it at a click."""
    spec = card.run.spec
    lines = " and ".join(
        {"gradpath": "GradPath (EAP-GP)", "straight": "the straight line (EAP-IG)"}[m] for m in missing
    )
    st.info(
        f"The picture also needs the points of {lines} on the same prompts. Bundled results of most tasks leave points "
        "out to stay small; the views below do not need them.",
        icon=":material/info:",
    )
    if spec is None:
        return
    steps = {"steps": card.options.get("steps", 5)}
    wanted = []
    if "straight" in missing:
        own = card.method == "eap-ig"
        wanted.append(spec if own else services.with_method(spec, "eap-ig", {**steps, "points": "left"}))
    if "gradpath" in missing:
        given = {"step": "relative", "objective": "all"}
        wanted.append(spec if card.method == "eap-gp" else services.with_method(spec, "eap-gp", {**steps, **given}))
    live = [job for job in (services.job(f"run-{asked.key()}") for asked in wanted) if job is not None and job.live]
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
            services.submit_run(asked, f"{variant(asked.method, asked.options)} on {card.task}")
        st.rerun()


def _background(session: Session, card: Card, records: Records, pair: int | None) -> Any:
    session.widget(
        "background",
        st.segmented_control,
        "Background",
        options=["none", "metric", "distance"],
        format_func={"none": "None", "metric": "Metric", "distance": "Distance to the corrupted output"}.__getitem__,
        required=True,
        disabled=pair is None,
    )
    if pair is None or session["background"] == "none":
        return None
    job_id = services.submit_plane(card, records, pair)
    found: list[Any] = []

    def show(job: JobView) -> None:
        found.append(job.result[session["background"]])

    follow(job_id, show, waiting="Running the model on a grid of the plane ·", cancel=True)
    return found[0] if found else None


def step_curves(records: Records) -> None:
    """Distance, metric and gradient size at every step."""
    from eapgp.figures.path_curves import path_curves

    for row in (("output_distance", "metric"), ("gradient_norm", "to_corrupted")):
        for column, quantity in zip(st.columns(2, gap="large"), row, strict=True):
            with column, guard(quantity):
                chart(path_curves(records, quantity, dark=dark()), f"path-{quantity}")  # type: ignore[arg-type]


def vanished(records: Records, graph: Graph) -> None:
    """Share of edges without signal, by layer and step."""
    from eapgp.figures.path_maps import vanished_heatmap

    chart(vanished_heatmap(records, graph, dark=dark()), "vanished")


def token_moves(card: Card, records: Records, pair: int | None) -> None:
    """How far every token's embedding has moved."""
    from eapgp.figures.path_maps import positions_heatmap

    records = {kind: record for kind, record in records.items() if record.points is not None}
    if not records:
        st.caption("This bundled result does not keep the path's points: compute them above to see which tokens move.")
        return
    shown = pair or 0
    if pair is None:
        st.caption("Prompts differ, so this view shows one pair: the first. Choose another above.")

    def show(job: JobView) -> None:
        chart(positions_heatmap(records, shown, job.result, dark=dark()), "tokens")

    follow(services.submit_tokens(card, shown), show, waiting="Reading the tokens ·")


def numbers(records: Records) -> None:
    """The path records as tables."""
    for kind, record in records.items():
        st.markdown(f"**{KINDS.get(kind, kind)}** · mean over pairs")
        table = pd.DataFrame(
            {
                "step": np.arange(record.n_points),
                "distance to the corrupted output": record.output_distance.mean(axis=1),
                "metric": record.metric.mean(axis=1),
                "‖γ − x′‖": record.to_corrupted.mean(axis=1),
                "‖γ − x‖": record.to_clean.mean(axis=1),
                "gradient size": record.gradient_norm.mean(axis=1),
                "used for the scores": record.used,
            }
        )
        st.dataframe(
            table,
            hide_index=True,
            column_config={name: st.column_config.NumberColumn(format="%.4g") for name in table.columns[1:6]},
        )
    st.caption(
        "‖γ − x′‖ and ‖γ − x‖ are distances in the input space. GradPath looks for inputs with a similar output, so it "
        "need not come closer to the corrupted input."
    )


def no_path(session: Session, shown: Panel) -> None:
    """What the page says when the run on screen followed no path."""
    st.title("The path through input space", anchor=False)
    name = variant(shown.card.method, shown.card.options) if shown.card else "This method"
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
