"""Circuits that know words: the strongest (edge, span), the graph of one part of the prompts, and what they keep."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from eapgp.attribution.registry import METHODS_BY_POSITION
from eapgp.attribution.result import SpanScores
from eapgp.circuits.spans import SpanCircuit, select_spans
from eapgp.figures.circuit_view import Pane, Ranking, build_payload
from eapgp.numerals import count, percent_with, score, signed_with
from eapgp.prompts.spans import TOKENS, Marks
from eapgp.runs.evaluate import Running
from eapgp.runs.info import RunInfo
from eapgp.runs.positions import AS_MANY, AS_WIDE, BLIND, SpanCurve, run_span_scores, span_curve
from eapgp.types import Progress
from eapgp.ui.base.draw import plain, table_to_pick, written
from eapgp.ui.base.fields import integer, text
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow
from eapgp.ui.library.consent import may_run
from eapgp.ui.parts.circuit_view import circuit_view
from eapgp.ui.parts.measuring import Task, lane_of, settle
from eapgp.ui.parts.words import submit_words

MARKS = rf"{TOKENS}|(?:[^=;,]{{1,40}}=[^=;]{{1,200}}(?:;|$)){{0,8}}"
FIELDS = (
    integer(
        "n_at",
        0,
        1,
        100_000_000,
        "How many (edge, part of the prompt) are kept: an edge that is kept at two parts counts twice.",
        label="(edge, part) kept",
    ),
    text("part", "", "The part of the prompts whose edges are drawn.", label="Draw the graph at"),
    text(
        "marks",
        "",
        "Parts of your own, by the words that stand for them: subject=Mary,John; verb=gave,took. Or tokens: every "
        "position for itself, where all prompts are equally long. Empty: the parts that the task names, or what is "
        "exchanged.",
        pattern=MARKS,
        expected="name=word,word; name=word or tokens",
        label="Parts of your own",
    ),
)
HEIGHT = 420  # px of the graph
TOP = 200  # rows of the table
SIZES = 60  # places of the slider, evenly in the logarithm
TITLES = {
    BLIND: "As many edges, at all words",
    AS_MANY: "These (edge, part)",
    AS_WIDE: "As wide as those edges",
}


def show(session: Session, card: RunInfo, pick: Callable[[str], None]) -> None:
    """The whole tab."""
    if not card.n_pairs or card.method not in METHODS_BY_POSITION:
        st.caption("Only scores of methods that follow positions, on prompts, can be told apart by words.")
        return
    if not may_run(card, "Tell its scores apart by words", key="ask-spans", seconds=card.seconds):
        return
    session.widget("marks", st.text_input, placeholder="subject=Mary,John; verb=gave,took")
    marks = _marks(session["marks"])
    follow(
        submit_words(card, None, marks),
        lambda job: _scores(session, card, job.result, marks, pick),
        waiting="Telling the words apart ·",
    )


def _marks(written_as: str) -> Marks | None:
    if written_as.strip() == TOKENS:
        return TOKENS
    found = {}
    for part in filter(None, (one.strip() for one in written_as.split(";"))):
        name, _, words = part.partition("=")
        found[name.strip()] = tuple(word.strip() for word in words.split(",") if word.strip())
    return found or None


def _scores(
    session: Session, card: RunInfo, scores: SpanScores, marks: Marks | None, pick: Callable[[str], None]
) -> None:
    most = scores.graph.n_edges * len(scores.spans)
    session.usual("n_at", max(1, min(session["k"], most)))
    session.settle("n_at", min(session["n_at"], most), f"at most {most:,}, the edges times the parts")
    options = sorted({*np.geomspace(1, most, SIZES).astype(int).tolist(), session["n_at"]})
    live = [name for name in scores.spans if np.abs(scores.at(name).values).max() > 0]
    session.usual("part", live[0] if live else scores.spans[0])
    with st.container(horizontal=True, vertical_alignment="bottom", key="spans-row"):
        n = session.widget("n_at", st.select_slider, options=options, format_func=lambda size: f"{size:,}")
        session.widget("part", st.selectbox, options=live or list(scores.spans), format_func=str)
    circuit = select_spans(scores, int(n))
    st.markdown(_in_words(circuit))
    left, right = st.columns([1.2, 1], gap="small")
    with left:
        part = session["part"]
        pane = Pane(title=f"At {part}", filename=f"{card.task}-{card.method}-at-{part}", link_group="spans")
        # Paths change parts within heads: what is kept at one part need not lead anywhere there.
        as_it_is = Ranking(prune=False)
        drawn = build_payload(scores.at(part), circuit=circuit.at(part), ranking=as_it_is, pane=pane)
        circuit_view([drawn], key="explore-spans", height=HEIGHT)
    with right:
        _table(scores, circuit, pick)
    _kept(card, scores, int(n), marks)


def _in_words(circuit: SpanCircuit) -> str:
    """How many (edge, part) are kept, and where."""
    by_span = {name: int(circuit.edges[at].sum()) for at, name in enumerate(circuit.spans)}
    places = ", ".join(f"{count(n)} at *{plain(name)}*" for name, n in by_span.items() if n)
    if not circuit.n_kept:
        return f"None of the {count(circuit.n_selected)} strongest (edge, part) lies on a way from input to logits."
    return f"**{count(circuit.n_kept)} (edge, part) of {count(circuit.n_edges)} edges are kept**: {places}."


def _table(scores: SpanScores, circuit: SpanCircuit, pick: Callable[[str], None]) -> None:
    rows = pd.DataFrame(scores.top(min(TOP, max(20, circuit.n_selected))), columns=["edge", "at", "score"])
    table_to_pick(
        written(rows, {"score": score}),
        "span-table",
        lambda place: pick(str(rows["edge"].iloc[place])),
        height=HEIGHT,
        column_config={
            "edge": st.column_config.TextColumn(width=126),
            "at": st.column_config.TextColumn(width=110),
            "score": st.column_config.NumberColumn(width=70),
        },
    )


def _kept(card: RunInfo, scores: SpanScores, n: int, marks: Marks | None) -> None:
    """What such a circuit keeps, beside circuits of edges that are blind to words."""
    if n > card.graph.n_edges:
        st.caption("There are not as many edges, so that there is no circuit blind to words to hold it against.")
        return
    shop, lane = server.workshop(), lane_of(card)

    def work(progress: Progress) -> Any:
        how = Running(progress=progress, model_loader=partial(shop.model, lane))
        told = run_span_scores(card.run, marks=marks, how=how)
        return span_curve(card.run, told, [n], marks=marks, how=how)

    names = "-".join(scores.spans)
    task = Task(f"spans-{card.id}-{n}-{names}", f"{n:,} (edge, part) of {card.task}", card, work)
    curve = settle(task, SpanCurve, ask="Run it beside circuits that are blind to words")
    if curve is None:
        return
    row, rows = curve.to_dict()[0], []
    for name, title in TITLES.items():
        one = row[name]
        kept = percent_with(one["faithfulness"], one["faithfulness_low"], one["faithfulness_high"])
        gap = "" if name == BLIND else signed_with(*(one[f"difference{end}"] for end in ("", "_low", "_high")))
        cells = {"circuit": title, "keeps": kept, "beside blind": gap}
        rows.append(cells | {"(edge, part)": count(one["kept"]), "edges": count(one["edges"])})
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption(
        f"Run on the {card.n_pairs} pairs of this run; intervals are 95 % over pairs, differences are paired. Outside "
        "its parts an edge carries the corrupted activation. As wide: as many (edge, part) as those edges have where "
        "the two prompts differ."
    )
