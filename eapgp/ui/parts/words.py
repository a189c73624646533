"""At which words the selected edge or node matters, in the drawer beside the picture."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from eapgp.attribution.registry import METHODS_BY_POSITION
from eapgp.attribution.result import SpanScores
from eapgp.graph import Graph
from eapgp.prompts.spans import Marks
from eapgp.runs.evaluate import Running
from eapgp.runs.files import content_key
from eapgp.runs.info import RunInfo
from eapgp.runs.positions import run_span_scores
from eapgp.types import Floats
from eapgp.ui.base.draw import chart, dark
from eapgp.ui.base.fields import choice
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow
from eapgp.ui.jobs.manager import JobView, Progress
from eapgp.ui.jobs.workshop import with_gradients
from eapgp.ui.library.consent import lane_of_card, may_run

ALL, ONE = "all", "one"
FIELD = choice(
    "words",
    ALL,
    {ALL: "Parts of all prompts", ONE: "Tokens of one pair"},
    "All prompts: the parts that they share, such as the repeated name. One pair: the pair that is chosen in the "
    "details of a node, token by token.",
    label="At which words",
)


def section(session: Session, card: RunInfo, name: str) -> None:
    """The score of a node or edge, told apart by words; a node's is the sum over the edges out of it."""
    if not card.n_pairs or card.method not in METHODS_BY_POSITION or name == "logits":
        return
    pair = min(session["prompt"], card.n_pairs) - 1 if session["words"] == ONE else None
    seconds = card.seconds / (1 if pair is None else card.n_pairs)  # it is one more run
    if not may_run(card, "Tell its score apart by words", key="ask-words", seconds=seconds):
        return
    where = f"mean over {card.n_pairs} pairs" if pair is None else f"pair {pair + 1}"

    def show(job: JobView) -> None:
        from eapgp.figures.words import score_by_span

        scores: SpanScores = job.result
        figure = score_by_span(scores.spans, _of(scores, name), where=where, dark=dark())
        chart(figure, "words")

    session.widget("words", st.segmented_control)
    follow(submit_words(card, pair), show, waiting="Telling the words apart ·")


def _of(scores: SpanScores, name: str) -> Floats:
    graph: Graph = scores.graph
    if "->" in name:
        source, destination = graph.edge_index(name)
        return np.asarray(scores.values[:, source, destination])
    return np.asarray(scores.values[:, graph.source_index(name)].sum(axis=1))


def submit_words(card: RunInfo, pair: int | None, marks: Marks | None = None) -> str:
    """Start (or join) the telling apart of a run's scores; marks: parts of one's own. Result: `SpanScores`."""
    shop, lane = server.workshop(), lane_of_card(card)

    def work(progress: Progress) -> Any:
        how = Running(progress=progress, model_loader=partial(shop.model, lane))
        return run_span_scores(card.run, pair=pair, marks=marks, how=how)

    key = f"words-{card.id}-{'all' if pair is None else pair}"
    if marks:
        asked = marks if isinstance(marks, str) else {name: list(words) for name, words in marks.items()}
        key += f"-{content_key({'marks': asked})[:12]}"
    return server.manager().submit(key, f"words of {card.task}", with_gradients(work), lane=lane)
