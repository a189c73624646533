"""How far from the best: circuits of a run's scores beside learned edge masks of equal size."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from eapgp import findings
from eapgp.evaluation.statistics import three_of
from eapgp.figures.circuit_view import Pane, build_payload
from eapgp.numerals import count, duration, percent_with
from eapgp.reference.pruned import MOST_EDGES
from eapgp.runs.evaluate import Running
from eapgp.runs.info import RunInfo
from eapgp.runs.reference import LEARNED, WAYS, Reference, run_reference
from eapgp.runs.spec import PATCHING
from eapgp.types import Progress
from eapgp.ui.base.draw import chart, dark, plain
from eapgp.ui.base.fields import choice, flag
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.library.consent import cost
from eapgp.ui.parts.circuit_view import circuit_view
from eapgp.ui.parts.measuring import Task, lane_of, settle

FIELDS = (
    choice(
        "learn",
        "200",
        {"60": "60", "200": "200", "600": "600"},
        "Steps of gradient descent for each size of the learned mask. More steps may find a better circuit.",
        label="Learning steps",
    ),
    flag(
        "pruned",
        False,
        "Also prune the whole model edge by edge, each time by what removing every edge really does. Takes minutes.",
        label="Pruning by exact effect",
    ),
)
HEIGHT = 400  # px of each circuit
STEP = 2.0  # of learning, in circuits' worth of time


def show(session: Session, card: RunInfo, name: str, k: int) -> None:
    """The whole section for the run that is looked at closely, at k edges, at half and at twice as many."""
    if not card.n_pairs:
        st.info("These scores came from a file without prompts, so there is nothing to learn a mask on.")
        return
    if card.intervention != PATCHING:
        st.info("Learned masks mix clean and corrupted activations; this run's edges carry another replacement.")
        return
    st.markdown(
        "How good could a circuit of this size be? A mask over the edges begins at the run's scores and is trained on "
        "its pairs by gradient descent; then it is run on other pairs, beside the circuits of the scores."
    )
    small = card.graph.n_edges <= MOST_EDGES
    with st.container(horizontal=True, vertical_alignment="bottom", key="faith-reference"):
        session.widget("learn", st.segmented_control, width="content")
        if small:
            session.widget("pruned", st.toggle, width="content")
    sizes = sorted({max(1, k // 2), k, min(2 * k, card.graph.n_edges)})
    seconds = int(session["learn"]) * len(sizes) * STEP * cost(card)
    answer = settle(_task(session, card, name, sizes), Reference, ask=f"Learn a mask (about {duration(seconds)})")
    if answer is None:
        return
    place = answer.sizes.index(k)
    found = findings.of_reference(**(answer.evidence(place) | {"name": name}))
    st.markdown(f"**{plain(found.text)}**")
    _figure(answer, card, k)
    _table(answer, place)
    _circuits(answer, name, place)


def _task(session: Session, card: RunInfo, name: str, sizes: list[int]) -> Task:
    shop, lane, steps = server.workshop(), lane_of(card), int(session["learn"])
    pruned = bool(session["pruned"]) and card.graph.n_edges <= MOST_EDGES

    def work(progress: Progress) -> Any:
        how = Running(progress=progress, model_loader=partial(shop.model, lane))
        return run_reference(card.run, sizes, steps=steps, pruned=pruned, how=how)

    key = f"reference-{card.id}-{'-'.join(map(str, sizes))}-{steps}-{pruned:d}"
    return Task(key, f"a learned mask beside {name}", card, work, asks=True)


def _figure(answer: Reference, card: RunInfo, k: int) -> None:
    from eapgp.figures.adapt import band_line
    from eapgp.figures.curves import faithfulness_curves

    kept = {way: [one.n_kept for one in circuits] for way, circuits in answer.circuits.items()}
    figure = faithfulness_curves(
        [band_line(WAYS[way].capitalize(), answer.sizes, answer.kept(way), kept[way]) for way in answer.circuits],
        n_edges=card.graph.n_edges,
        current=k,
        y="normalised faithfulness",
        title=f"On {len(answer.judged)} other pairs",
        dark=dark(),
    )
    chart(figure, "faith-reference-curves")


def _table(answer: Reference, place: int) -> None:
    rows = []
    for way, circuits in answer.circuits.items():
        band, cost = answer.kept(way).at(place), answer.cost.get(way)
        rows.append(
            {
                "circuit": WAYS[way].capitalize(),
                "keeps": percent_with(*three_of(band)),
                "edges kept": count(circuits[place].n_kept),
                "shared with the learned": count(answer.shared(way, LEARNED)[place]),
                "forward passes per pair": "–" if cost is None else f"{cost.passes:,.0f}",
                "time": "–" if cost is None else duration(cost.seconds),
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption(
        "A learned mask is the best circuit that is known, not the best there is. Costs are those of all sizes of the "
        "figure together; a step of a mask makes a backward pass beside each forward pass. Circuits are kept as they "
        "are found, less edges on no path from input to logits."
    )


def _circuits(answer: Reference, name: str, place: int) -> None:
    """The circuit of the scores beside the learned one."""
    rule, edges = answer.evidence(place)["rule"], answer.sizes[place]
    panes = [
        build_payload(
            scores, circuit=answer.circuits[way][place], pane=Pane(title=title, filename=file, link_group="best")
        )
        for way, scores, title, file in (
            (rule, answer.scores, name, f"scores-k{edges}"),
            (LEARNED, answer.gates[place], "Learned mask", f"learned-k{edges}"),
        )
    ]
    circuit_view(panes, key="faith-reference-panes", height=HEIGHT)
