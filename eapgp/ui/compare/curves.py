"""The tab of the Compare page on faithfulness: curves with bands, and the paired difference of A and B."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import streamlit as st

from eapgp.evaluation.areas import is_mib
from eapgp.evaluation.runner import Measured
from eapgp.numerals import percent, signed_with
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, dark, plain
from eapgp.ui.base.session import Session
from eapgp.ui.compare.views import Pair
from eapgp.ui.parts import run_choice
from eapgp.ui.parts.measuring import measured_curve


def curves(session: Session, cards: Mapping[str, RunInfo], pair: Pair, k: int) -> None:
    """Faithfulness of every run's circuits, and A minus B on the same resamples of the prompts."""
    from eapgp.figures.adapt import band_line
    from eapgp.figures.curves import faithfulness_curves

    session.widget("grid", st.segmented_control)
    measured = _measured(cards, session["grid"])
    if not measured:
        return
    n_edges = pair.cards[0].graph.n_edges
    lines = []
    for name, one in measured.items():
        band = one.band()
        if band.reason:
            st.caption(f"{plain(name)}: {plain(band.reason)}")
        lines.append(band_line(name, one.selected, band, one.kept))
    chart(faithfulness_curves(lines, n_edges=n_edges, current=k, dark=dark()), "curves")
    _difference(measured, pair, n_edges, k)


def _measured(cards: Mapping[str, RunInfo], grid: str) -> dict[str, Measured]:
    """What is known of every run's circuits; the same results as on Faithfulness, measured where they are missing."""
    measured = {}
    for name, card in cards.items():
        one = measured_curve(card, name, grid)
        if one is not None:
            measured[name] = one
    return measured


def _difference(measured: Mapping[str, Measured], pair: Pair, n_edges: int, k: int) -> None:
    from eapgp.figures.adapt import band_line
    from eapgp.figures.curves import faithfulness_difference

    reason = run_choice.unpaired(*pair.cards)
    a, b = pair.names
    if reason:
        st.caption(f"No paired difference of {plain(a)} and {plain(b)}: {reason}, so there are no pairs to resample.")
        return
    if a not in measured or b not in measured:
        return
    first, second = measured[a], measured[b]
    if first.selected != second.selected:
        return
    sizes = np.array(first.selected)
    difference = first.minus(second)
    line = band_line("difference", sizes, difference)
    figure = faithfulness_difference(
        line, n_edges=n_edges, names=pair.names, flips=difference.flips, current=k, dark=dark()
    )
    chart(figure, "difference")
    _say_area(first, second, pair.names)


def _say_area(first: Measured, second: Measured, names: tuple[str, str]) -> None:
    """The areas under the two curves, their difference, and how often the order flips."""
    area = first.minus(second, area="cpr")
    value, low, high = float(area.value), float(area.low), float(area.high)
    if math.isnan(value):
        return
    flips = float(area.flips) if area.flips is not None else math.nan
    order = "" if math.isnan(flips) else f"; the order flips in {percent(flips)} of the resamples"
    verdict = (
        "these prompts do not tell the two apart"
        if low <= 0 <= high
        else f"**{plain(names[0 if value > 0 else 1])}** is ahead"
    )
    what = "Area under the curve (CPR)" if is_mib(first.shares) else "Area under the curve"
    st.markdown(
        f"{what}, {plain(names[0])} minus {plain(names[1])}: **{signed_with(value, low, high)}**{order}: {verdict}."
    )
    st.caption(
        "Both curves are resampled with the same prompt pairs, so what is common to both cancels. Another prompt seed "
        "or model can still turn the order round: compare seeds above."
    )
