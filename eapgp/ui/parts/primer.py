"""What the picture on Explore shows, for who meets edge attribution for the first time; read only when it is opened."""

from __future__ import annotations

from typing import Any

import streamlit as st

from eapgp.metrics import metric_title
from eapgp.prompts.pairs import Answer, PromptPair
from eapgp.runs.info import RunInfo
from eapgp.tasks import TASKS
from eapgp.ui.base.draw import plain, visible

KEY = "primer"
_FEW = 3  # answers that are written out
_PICTURE = (
    "**The picture.** Every box is a part of the model that reads from and writes to the residual stream: "
    "`a{last}.h0` is attention head 0 of layer {last}, `m{last}` the MLP of layer {last}, from the embedding "
    "(`input`) at the bottom to the `logits` on top. A line is an **edge**: what the lower box wrote, as the "
    "upper one reads it. A head reads three times: for its queries, keys and values."
)
_CIRCUIT = (
    "**The circuit** is the strongest edges, as many as the slider says, without those on no way from input to logits. "
)
_FAITHFUL = (
    "**Faithfulness** is measured, not estimated: the model runs with every edge outside the circuit carrying the "
    "corrupted activation. 1: the circuit alone behaves as the whole model; 0: no better than on the corrupted prompts."
)
_TRY = (
    "**Try it.** Drag the slider and watch the faithfulness. Click a box or a line for its details, Ctrl-click to pin "
    "it, Trace for all ways through it. Edit takes edges away or adds them. Esc clears."
)


def primer(card: RunInfo, *, short: bool = False) -> None:
    """A button that opens the explanation of what is on screen. short: its name is, where there is little room."""
    how: dict[str, Any] = {"icon": ":material/school:", "type": "tertiary", "key": KEY, "on_change": "rerun"}
    label, about = "Help" if short else "How to read this", "What the boxes, lines and numbers on this page mean."
    with st.popover(label, help=about, **how) as box:
        if box.open:
            st.markdown("\n\n".join(paragraphs(card)))


def paragraphs(card: RunInfo) -> list[str]:
    """What is on screen, in markdown; nothing about prompts where scores came without them."""
    measured = card.n_pairs > 0
    question = [*_task(card.task), _pair(card.run.prompts().pairs[0])] if measured else []
    return [
        *question,
        _PICTURE.format(last=card.graph.n_layers - 1),
        _score(card),
        _CIRCUIT + (_FAITHFUL if measured else ""),
        _TRY,
    ]


def _task(name: str) -> list[str]:
    return [f"**The question.** {plain(TASKS[name].explanation)}"] if name in TASKS else []


def _pair(pair: PromptPair) -> str:
    right, wrong = (plain(_answers(side)) for side in (pair.correct, pair.incorrect))
    return (
        f"**The prompts** come in pairs. The first one here:  \n*clean* {plain(visible(pair.clean))}  \n"
        f"*corrupted* {plain(visible(pair.corrupted))}  \nAfter the clean prompt right: **{right}**"
        + (f", wrong: **{wrong}**." if wrong else ".")
    )


def _answers(answers: tuple[Answer, ...]) -> str:
    more = f" and {len(answers) - _FEW} more" if len(answers) > _FEW else ""
    return visible(", ".join(str(answer).strip() for answer in answers[:_FEW])) + more


def _score(card: RunInfo) -> str:
    """What a score says, by the method it is of."""
    if not card.n_pairs:
        return (
            "**A score** is the file's own. Drawn: positive blue, negative dashed vermillion, the larger its size the "
            "thicker."
        )
    if card.method == "random":
        return "**A score** is a random number here: a baseline that every method should beat."
    says = "is" if card.method == "exact" else "estimates"
    return (
        f"**A score** {says} how much the {metric_title(card.metric).lower()} would fall if this one edge carried "
        "what it carries on the corrupted prompt. Blue (+): the edge supports the behaviour. Dashed vermillion "
        "(−): it works against it. The thicker, the larger its size."
    )
