"""What a node does on the prompts, in the drawer beside the picture: where it attends, what it writes.

Everything here is read off the model in background jobs (`node_details_work`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from eapgp.numerals import score
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, dark, plain, points_clicked
from eapgp.ui.base.fields import integer
from eapgp.ui.base.session import Session
from eapgp.ui.jobs.follow import follow
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library.consent import agreed, may_run
from eapgp.ui.parts import looking
from eapgp.ui.parts import node_jobs as work
from eapgp.ui.parts.method_tables import node_across_methods

if TYPE_CHECKING:
    from eapgp.readings import DirectContributions, HeadPattern, PromotedTokens

Pick = Callable[[str], None]
MOST_NODES = 14
FIELD = integer(
    "prompt",
    1,
    1,
    1_000_000,
    "Which prompt pair the selected node is looked at on. Clicking a point of the chart below chooses its pair.",
    label="Prompt pair",
)


def section(session: Session, card: RunInfo, node: str, pick: Pick) -> None:
    """The readings of one node. What needs a large model waits for a click."""
    with st.container(key="readings", gap="small"):
        if node == "logits":
            st.markdown("**What writes the logit difference**")
        if not _wanted(card):
            return
        if node == "logits":
            _all_nodes(card, pick)
            return
        pair = min(session["prompt"], card.n_pairs) - 1
        if node.startswith("a"):
            _attention(session, card, node, pair)
        _choose_pair(session, card)
        _written(session, card, node, pair)


def direct_summary(card: RunInfo, node: str) -> None:
    """One line for the inspector: what the node adds to the logit difference itself."""
    if not card.n_pairs or not agreed(card):
        return

    def show(job: JobView) -> None:
        contributions: DirectContributions = job.result
        clean, corrupted = contributions.of(node)
        total = float(contributions.clean_total.mean())
        st.metric(
            "Direct contribution",
            score(clean.mean()),
            delta=f"{score(corrupted.mean())} on corrupted prompts",
            delta_color="off",
            delta_arrow="off",
            help="Logits that this node's own output adds to the logit difference (correct minus incorrect answer), "
            f"mean over pairs, through the final norm as it was. All nodes and biases together give {score(total)}. "
            "What other nodes make of the output is not in it. Details are below.",
        )

    follow(work.submit_direct(card), show, waiting="Reading what it writes ·")


def _wanted(card: RunInfo) -> bool:
    """Whether the model may be run: at once for small ones, else after a click."""
    if not card.n_pairs:
        st.caption("This run holds no prompts (it was imported), so no model can be run on them.")
        return False
    return may_run(card, "Read it off the model", key="read-model")


def _choose_pair(session: Session, card: RunInfo) -> None:
    """The pair that is looked at, with its two prompts."""
    session.settle("prompt", min(session["prompt"], card.n_pairs), f"a pair from 1 to {card.n_pairs}")
    session.widget("prompt", st.number_input, max_value=card.n_pairs)
    pair = card.run.prompts().pairs[session["prompt"] - 1]
    st.markdown(f"**Clean** {plain(pair.clean)}  \n**Corrupted** {plain(pair.corrupted)}")


def _attention(session: Session, card: RunInfo, node: str, pair: int) -> None:
    def show(job: JobView) -> None:
        from eapgp.figures.attention import attention_map

        pattern: HeadPattern = job.result
        changed = [a != b for a, b in zip(pattern.clean_tokens, pattern.corrupted_tokens, strict=True)]
        both = [
            a if a == b else f"{a}/{b}" for a, b in zip(pattern.clean_tokens, pattern.corrupted_tokens, strict=True)
        ]
        patterns: tuple[tuple[Any, Any, Any], ...] = (
            ("clean", pattern.clean, pattern.clean_tokens),
            ("corrupted", pattern.corrupted, pattern.corrupted_tokens),
            ("difference", pattern.difference, both),
        )
        for side, values, tokens in patterns:
            figure = attention_map(values, tokens, side=side, changed=changed, dark=dark())
            chart(figure, f"attention-{side}")
        looking.section(session, card, node, pair, pattern)

    follow(work.submit_pattern(card, node, pair), show, waiting="Reading the attention ·")


def _written(session: Session, card: RunInfo, node: str, pair: int) -> None:
    follow(
        work.submit_direct(card),
        lambda job: _by_pair(session, job.result, node, pair),
        waiting="Reading direct contributions ·",
    )
    follow(
        work.submit_promoted(card, node, pair),
        lambda job: _tokens(job.result),
        waiting="Reading promoted tokens ·",
    )
    node_across_methods(card, node)


def _by_pair(session: Session, contributions: DirectContributions, node: str, pair: int) -> None:
    from eapgp.figures.direct import contribution_by_pair

    clean, corrupted = contributions.of(node)
    figure = contribution_by_pair(clean, corrupted, node=node, pair=pair, dark=dark())
    clicked = points_clicked(chart(figure, f"direct-{node}", select=True))
    if clicked and clicked[0] != st.session_state.get("pair-clicked"):
        session.later(prompt=int(clicked[0].removeprefix("pair ")))
        st.session_state["pair-clicked"] = clicked[0]
        st.rerun()
    capped = (
        " The model caps its logits afterwards; these are the logits before the cap." if contributions.capped else ""
    )
    st.caption(
        f"On pair {pair + 1}: {score(clean[pair])} of a logit difference of {score(contributions.clean_total[pair])} "
        f"(clean), {score(corrupted[pair])} of {score(contributions.corrupted_total[pair])} (corrupted), by the clean "
        f"prompt's answers.{capped}"
    )


def _tokens(promoted: PromotedTokens) -> None:
    from eapgp.figures.direct import token_bars

    rows = [*promoted.promoted, *reversed(promoted.suppressed)]
    where = "all pairs" if promoted.pair is None else f"pair {promoted.pair + 1}"
    chart(token_bars(rows, title=f"Tokens promoted, {where}", dark=dark()), "promoted")
    if promoted.answers:
        said = ", ".join(
            f"{plain(token)} ({'right' if right else 'wrong'}) {score(value)}"
            for token, value, right in promoted.answers
        )
        st.caption(f"The answers of this pair: {said}.")


def _all_nodes(card: RunInfo, pick: Pick) -> None:
    """For the logits: which nodes write the logit difference directly."""

    def show(job: JobView) -> None:
        from eapgp.figures.direct import contributions_by_node

        contributions: DirectContributions = job.result
        clean, corrupted = contributions.clean.mean(1), contributions.corrupted.mean(1)
        order = np.argsort(-np.abs(clean), kind="stable")
        top, rest = order[:MOST_NODES], order[MOST_NODES:]
        others = (
            float(clean[rest].sum() + contributions.clean_bias.mean()),
            float(corrupted[rest].sum() + contributions.corrupted_bias.mean()),
        )
        names = [contributions.graph.sources[i] for i in top]
        total = float(contributions.clean_total.mean())
        figure = contributions_by_node(names, clean[top], corrupted[top], others=others, total=total, dark=dark())
        clicked = [name for name in points_clicked(chart(figure, "direct-nodes", select=True)) if name]
        if clicked and clicked[0] != st.session_state.get("node-clicked"):
            st.session_state["node-clicked"] = clicked[0]
            pick(clicked[0])
            st.rerun()
        st.caption("“All else” holds the other nodes and the biases. Click a tick to select its node.")

    follow(work.submit_direct(card), show, waiting="Reading direct contributions ·", cancel=True)
