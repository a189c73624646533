"""The Compare page's pictures, and its tabs on two runs at one size, and on costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from eapgp import findings
from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.figures.circuit_view import Compared, Pane, Ranking, build_payload, largest
from eapgp.figures.numbers import edge_values
from eapgp.numerals import duration, percent_with, score
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import (
    chart,
    dark,
    downloads,
    long_form,
    plain,
    points_clicked,
    table_to_pick,
    written,
)
from eapgp.ui.base.session import Session
from eapgp.ui.library import measure, results
from eapgp.ui.library.circuits import circuit_of, usual_rule
from eapgp.ui.library.consent import agree, agreed, cost
from eapgp.ui.parts import run_choice, sentences
from eapgp.ui.parts.bound_view import bound_view, chosen_in, whole_view

Pick = Callable[[str], None]


@dataclass(frozen=True)
class Pair:
    """The two runs that are compared edge by edge."""

    names: tuple[str, str]
    cards: tuple[RunInfo, RunInfo]

    @property
    def scores(self) -> tuple[EdgeScores, EdgeScores]:
        """Their scores."""
        return results.attribution(self.cards[0]).scores, results.attribution(self.cards[1]).scores

    @property
    def same_units(self) -> bool:
        """Whether their scores are in the same units."""
        return self.cards[0].metric == self.cards[1].metric


def _place(session: Session, letter: str, count: int) -> int:
    """Which of the runs is A or B."""
    session.settle(letter, min(session[letter], count), f"a run from 1 to {count}")
    return int(session[letter])


def pair_of(session: Session, cards: Mapping[str, RunInfo]) -> Pair:
    """Which two of the runs are A and B."""
    names = list(cards)
    a, b = (_place(session, letter, len(names)) for letter in ("a", "b"))
    if a == b:
        b = 1 if a != 1 else 2
    session["a"], session["b"] = a, b
    chosen = names[a - 1], names[b - 1]
    return Pair(chosen, (cards[chosen[0]], cards[chosen[1]]))


def choose_pair(session: Session, cards: Mapping[str, RunInfo]) -> None:
    """The choice of A and B, where there is one."""
    if len(cards) < 3:
        return
    names = list(cards)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="compare-pair"):
        for letter in ("a", "b"):
            places = list(range(1, len(names) + 1))
            session.widget(letter, st.selectbox, options=places, format_func=lambda place: names[place - 1], width=260)


def pictures(session: Session, cards: Mapping[str, RunInfo], pair: Pair, k: int) -> None:
    """The circuits side by side and linked, or A and B in one."""
    graph = pair.cards[0].graph
    view = whole_view(session, chosen_in(session, graph), graph.n_layers)
    ranking = Ranking(rule=usual_rule(graph))
    if session["picture"] == "sets":
        first, second = pair.scores
        against = Compared(second, pair.names, own_scales=not pair.same_units)
        look = Pane(filename="compare")
        payload = build_payload(first, n=k, ranking=ranking, against=against, view=view, pane=look)
        bound_view(session, payload, key="compare-sets", height=HEIGHT + _BAR, above=_ABOVE)
        return
    scores = {name: results.attribution(card).scores for name, card in cards.items()}
    one_scale = len({card.metric for card in cards.values()}) == 1
    scale = largest(*scores.values()) if one_scale else None
    notes = {name: _note(card, circuit_of(card, scores[name], k), name) for name, card in cards.items()}
    panes = [
        build_payload(
            scores[name],
            n=k,
            ranking=ranking,
            view=view,
            pane=Pane(
                title=name,
                note=notes[name],
                filename=f"compare-{name}",
                scale_max=scale,
                link_group="compare",
                legend_note="" if one_scale else "each pane by its own largest score: their metrics differ",
            ),
        )
        for name in cards
    ]
    bound_view(session, panes, key="compare-panes", height=HEIGHT, above=_ABOVE + _BAR)
    _offer(cards, k)


HEIGHT = 470
_ABOVE, _BAR = 322, 76
"""px above the figure in the window; and of the toolbar and the legend that panes share."""


def _note(card: RunInfo, circuit: Circuit, name: str) -> str:
    """What a pane says beside its title: the faithfulness of its circuit."""
    measured = sentences.measured_now(card, circuit, name)
    if measured is None:
        return "measuring …" if card.n_pairs and agreed(card) else ""
    numbers = findings.of_circuit(measured).numbers
    return f"keeps {percent_with(numbers['faithfulness'], numbers['low'], numbers['high'])}"


def _offer(cards: Mapping[str, RunInfo], k: int) -> None:
    """A button that measures the panes' circuits, where the model is not run unasked; it says what that costs."""
    waiting = []
    for card in cards.values():
        circuit = circuit_of(card, results.attribution(card).scores, k)
        if card.n_pairs and not agreed(card) and measure.known(card, [circuit]) is None:
            waiting.append(card)
    if waiting:
        seconds = duration(sum(cost(card) for card in waiting))
        st.button(
            f"Measure what {'this circuit keeps' if len(waiting) == 1 else 'these circuits keep'} · about {seconds}",
            key="compare-measure",
            icon=":material/play_arrow:",
            on_click=agree,
            args=(waiting,),
            help="Runs the model on these circuits in the background; the time is taken from that of the runs, without "
            "loading the model. After this click, what this page shows of them is measured as it changes.",
        )


def scatter(session: Session, pair: Pair, k: int, pick: Pick) -> None:
    """One point per edge of either circuit; a click selects the edge in the circuits."""
    from eapgp.figures.compare import rank_scatter

    if pair.same_units:
        session.widget("quantity", st.segmented_control)
    else:
        st.caption("A and B use different metrics, so their scores have different units: drawn by rank.")
    quantity: Any = session["quantity"] if pair.same_units else "ranks"
    correlation, current = results.correlations(*pair.cards), session["sel"]
    of = tuple(card.run.content for card in pair.cards), tuple(pair.names), k, quantity, current

    def figure() -> Any:
        looks = {"quantity": quantity, "dark": dark(), "current": current, "correlation": correlation}
        return rank_scatter(*pair.scores, pair.names, k, **looks)

    state = chart(figure, "rank-scatter", of=of, select=True)
    st.caption("Click a point to select its edge in the circuits above.")
    edges = [name for name in points_clicked(state) if "->" in name]
    if edges and edges[0] != st.session_state.get("scatter-picked"):
        st.session_state["scatter-picked"] = edges[0]
        pick(edges[0])
        st.rerun()


def sets(pair: Pair, k: int, pick: Pick) -> None:
    """The edges of both circuits by whether they are shared."""
    from eapgp.figures.compare import edge_sets

    a, b = pair.scores
    first, second = edge_values(a), edge_values(b)
    graph = pair.cards[0].graph
    parts = edge_sets(first, second, a.ranks, b.ranks, k)
    rows, columns = np.nonzero(graph.mask)
    tables = {}
    for which, members in parts.items():
        order = members[np.argsort(-np.maximum(np.abs(first[members]), np.abs(second[members])))]
        names = [graph.edge_name(int(rows[i]), int(columns[i])) for i in order]
        tables[which] = pd.DataFrame({"edge": names, "A": first[order], "B": second[order]})
    with st.container(horizontal=True, vertical_alignment="top"):
        st.caption(
            f"A is {plain(pair.names[0])}, B is {plain(pair.names[1])}; the {k:,} strongest edges of each, before "
            "pruning. Select a row to see that edge in the circuits.",
            width="stretch",
        )
        downloads(lambda: pd.concat([t.assign(set=w) for w, t in tables.items()]), "edge-sets")
    titles = {
        "both": "In both",
        "only A": f"Only in {pair.names[0]}",
        "only B": f"Only in {pair.names[1]}",
        "sign flipped": "In both, sign flipped",
    }
    for row in (("both", "sign flipped"), ("only A", "only B")):
        for column, which in zip(st.columns(2, gap="medium"), row, strict=True):
            with column:
                st.markdown(f"**{plain(titles[which])}** · {len(tables[which]):,}")
                _edge_list(tables[which], f"set-{which.replace(' ', '-')}", pick)


def _edge_list(table: pd.DataFrame, key: str, pick: Pick) -> None:
    if table.empty:
        st.caption("none")
        return
    table_to_pick(
        written(table, {"A": score, "B": score}),
        key,
        lambda place: pick(str(table["edge"].iloc[place])),
        cell=True,
        height=min(38 + 28 * len(table), 290),
        row_height=28,
        column_config={
            name: st.column_config.NumberColumn(format=long_form(table, "%+.4g"), width="small") for name in "AB"
        },
    )


def costs(cards: Mapping[str, RunInfo]) -> None:
    """What each run took."""
    rows = []
    for name, card in cards.items():
        record = card.record
        passes = float(record["forward_passes"]) + float(record["backward_passes"])
        rows.append(
            {
                "run": name,
                "forward passes": record["forward_passes"],
                "backward passes": record["backward_passes"],
                "passes": passes,
                "seconds": record["seconds"],
                "ms per pair": 1000 * record["seconds"] / max(1, card.n_pairs),
                "pairs": card.n_pairs,
                "device": record.get("device", ""),
                "computed": str(record["created"])[:10],
            }
        )
    table = pd.DataFrame(rows)
    cheapest = table["passes"][table["passes"] > 0].min()
    table.insert(4, "× cheapest", table["passes"] / cheapest if cheapest > 0 else np.nan)
    with st.container(horizontal=True, vertical_alignment="top"):
        st.caption(
            "Passes per prompt pair, forward and backward; they do not depend on the machine. Seconds are "
            "those of the machine and moment of each run, without loading the model.",
            width="stretch",
        )
        downloads(lambda: table, "costs")
    whole = st.column_config.NumberColumn(format="%.4g")
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "seconds": st.column_config.NumberColumn(format="%.2f", help="Time of scoring, model loading excluded."),
            "ms per pair": st.column_config.NumberColumn(format="%.1f"),
            "forward passes": whole,
            "backward passes": whole,
            "passes": st.column_config.NumberColumn(format="%.4g", help="Forward and backward together, per pair."),
            "× cheapest": st.column_config.NumberColumn(format="%.1f", help="Passes over the fewest passes here."),
        },
    )
    if run_choice.differences(list(cards.values())) and len({card.n_pairs for card in cards.values()}) > 1:
        st.caption("The runs saw different numbers of pairs: compare milliseconds per pair.")
