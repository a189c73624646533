"""The tabs of the Path page: step by step, vanished gradients, which tokens move, numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from eapgp.graph import Graph
from eapgp.numerals import number
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, dark, downloads, guard, written
from eapgp.ui.base.session import Session
from eapgp.ui.jobs.follow import follow
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import results
from eapgp.ui.library.consent import may_run
from eapgp.ui.path import jobs
from eapgp.ui.path.fields import KINDS
from eapgp.ui.path.picture import Records

CURVES = ("output_distance", "metric", "gradient_norm", "vanished", "to_corrupted", "to_clean")


def step_curves(session: Session, card: RunInfo, records: Records, pair: int | None) -> None:
    """Distances, metric, gradient size and share of edges without a signal at every step."""
    from eapgp.figures.path_curves import path_curves, vanished_curve

    at, near = int(session["at"]), float(session["near"])
    if pair is not None:
        st.caption(f"Strong lines: pair {pair + 1}. Faint lines: the other pairs.")

    def figure(quantity: str) -> Any:
        if quantity == "vanished":
            gradients = _with_gradients(records)
            return vanished_curve(gradients, card.graph, threshold=near, pair=pair, current=at, dark=dark())
        return path_curves(records, quantity, pair=pair, current=at, dark=dark())  # type: ignore[arg-type]

    of = results.path_contents(card), at, near, pair
    some = any(record.has_gradients for record in records.values())
    quantities = [quantity for quantity in CURVES if some or quantity != "vanished"]
    for start in range(0, len(quantities), 2):
        for column, quantity in zip(st.columns(2, gap="large"), quantities[start : start + 2], strict=False):
            with column, guard(quantity):
                chart(partial(figure, quantity), f"path-{quantity}", of=of)


def vanished(session: Session, records: Records, graph: Graph, pair: int | None) -> None:
    """Share of edges without signal, by layer and step."""
    from eapgp.figures.path_maps import vanished_heatmap

    records = _with_gradients(records)
    if not records:
        st.caption("This result does not keep the gradients by layer: compute it above to see where they vanish.")
        return
    session.widget("near", st.segmented_control)
    near = float(session["near"])
    figure = vanished_heatmap(records, graph, threshold=near, pair=pair, current=session["at"], dark=dark())
    chart(_from_one(figure, pair), "vanished")
    share = {
        KINDS.get(kind, kind): float(np.nanmean(record.vanished_share(graph, near))) for kind, record in records.items()
    }
    if max(share.values()) < 0.005:
        st.caption(
            "Next to none here: this metric does not saturate on these prompts. Subject–verb agreement and hypernymy, "
            "whose metrics are probabilities, show it well on the demo model: choose them under Task on the left."
        )


def _with_gradients(records: Records) -> Records:
    return {kind: record for kind, record in records.items() if record.has_gradients}


def _from_one(figure: Any, pair: int | None) -> Any:
    """The library counts pairs from 0, the page from 1."""
    if pair is not None:
        title = figure.layout.title.subtitle
        title.text = title.text.replace(f"pair {pair}", f"pair {pair + 1}")
    return figure


def token_moves(session: Session, card: RunInfo, records: Records, pair: int | None) -> None:
    """How far every token's embedding has moved."""
    from eapgp.figures.path_maps import positions_heatmap

    at = int(session["at"])
    records = {kind: record for kind, record in records.items() if record.points is not None}
    if not records:
        st.caption("This result does not keep the path's points: compute them above to see which tokens move.")
        return
    if pair is None:
        st.caption(
            "Prompts differ in wording and length, so the rows of the average count tokens from the end (the answer "
            "comes after the last). Choose a pair above to see its own tokens."
        )
        chart(positions_heatmap(records, None, current=at, dark=dark()), "tokens")
        return

    def show(job: JobView) -> None:
        figure = positions_heatmap(records, pair, job.result, current=at, dark=dark())
        chart(_from_one(figure, pair), "tokens")

    if may_run(card, "Read the tokens of this pair", key="ask-tokens"):
        follow(jobs.submit_tokens(card, pair), show, waiting="Reading the tokens ·")


def numbers(records: Records, pair: int | None) -> None:
    """The path records as tables."""
    for kind, record in records.items():

        def of(values: Any) -> Any:
            return values.mean(axis=1) if pair is None else values[:, pair]

        table = pd.DataFrame(
            {
                "step": np.arange(record.n_points),
                "distance to the corrupted output": of(record.output_distance),
                "metric": of(record.metric),
                "‖γ − x′‖": of(record.to_corrupted),
                "‖γ − x‖": of(record.to_clean),
                "gradient size": of(record.gradient_norm),
                "used for the scores": record.used,
            }
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            whose = "mean over pairs" if pair is None else f"pair {pair + 1}"
            st.markdown(f"**{KINDS.get(kind, kind)}** · {whose}", width="stretch")
            downloads(_constant(table), f"path-{kind}")
        st.dataframe(
            written(table, dict.fromkeys(table.columns[1:6], partial(number, digits=4))),
            hide_index=True,
        )
    st.caption(
        "‖γ − x′‖ and ‖γ − x‖ are distances in the input space. GradPath heads for the corrupted output, so it "
        "need not come closer to the corrupted input. No gradient is taken at a path's unused end."
    )


def _constant(table: pd.DataFrame) -> Callable[[], pd.DataFrame]:
    return lambda: table
