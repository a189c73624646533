"""One mechanism or several: a run's pairs clustered by the edges they use, and what circuits of the clusters keep."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from eapgp import findings
from eapgp.figures.circuit_view import Pane, build_payload
from eapgp.numerals import percent
from eapgp.runs.evaluate import Running
from eapgp.runs.info import RunInfo
from eapgp.runs.mechanisms import DRAWS, Separation, run_mechanisms
from eapgp.types import Progress
from eapgp.ui.base.draw import chart, dark, plain
from eapgp.ui.base.fields import choice
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.parts.circuit_view import circuit_view
from eapgp.ui.parts.measuring import Task, lane_of, settle

AUTO = "auto"
FIELDS = (
    choice(
        "clusters",
        AUTO,
        {AUTO: "Auto", **{str(n): str(n) for n in range(2, 7)}},
        "How many clusters the pairs fall into. Auto: the number, 2 to 6, whose clusters stand furthest apart.",
        label="Clusters",
    ),
    choice(
        "cluster",
        "1",
        {str(n): str(n) for n in range(1, 7)},
        "Whose circuit is drawn beside the circuit for all pairs.",
        label="Cluster",
    ),
)
HEIGHT = 400  # px of each circuit


def show(session: Session, card: RunInfo, name: str, k: int) -> None:
    """The whole section for the run that is looked at closely, at circuits of k edges."""
    if not card.n_pairs:
        st.info("These scores came from a file without prompts, so there are no pairs to tell apart.")
        return
    st.markdown(
        "Do all pairs use the same edges? They are clustered by their own scores; then circuits of the clusters are "
        "run on other pairs, beside one circuit for all of equal size."
    )
    session.widget("clusters", st.segmented_control, width="content")
    answer = settle(_task(session, card, name, k), Separation, ask="Tell the pairs apart")
    if answer is None:
        return
    st.markdown(f"**{plain(findings.of_clusters(**answer.evidence(0)).text)}**")
    if answer.mechanisms.silhouette < WEAK:
        st.caption(f"Mean silhouette below {WEAK}: the clusters hardly stand apart.")
    from eapgp.figures.mechanisms import pair_edges

    chart(pair_edges(answer.mechanisms, [pair.clean for pair in answer.clustered], dark=dark()), "faith-pairs")
    _clusters(answer)
    _circuits(session, answer, k)


WEAK = 0.25
"""Mean silhouette below which clusters are no structure (Kaufman and Rousseeuw 1990)."""


def _task(session: Session, card: RunInfo, name: str, k: int) -> Task:
    clusters = None if session["clusters"] == AUTO else int(session["clusters"])
    shop, lane = server.workshop(), lane_of(card)

    def work(progress: Progress) -> Any:
        how = Running(progress=progress, model_loader=partial(shop.model, lane))
        return run_mechanisms(card.run, [k], clusters=clusters, how=how)

    return Task(f"mechanisms-{card.id}-{k}-{session['clusters']}", f"clusters of {name}", card, work)


def _clusters(answer: Separation) -> None:
    """A row per cluster: how many pairs, its typical prompt, and what every circuit keeps on its pairs."""
    across, sizes = answer.across()[0], np.bincount(answer.mechanisms.labels)
    judged = np.bincount(answer.labels, minlength=len(sizes))
    rows = []
    for place, (size, prompts) in enumerate(zip(sizes, answer.typical(1), strict=True)):
        row: dict[str, Any] = {"cluster": place + 1, "pairs": size, "judged": judged[place]}
        row |= {f"circuit {own + 1}": percent(across[own, place]) for own in range(len(sizes))}
        rows.append(row | {"typical prompt": prompts[0]})
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption(
        "Circuit 1, 2, …: what the circuit of that cluster keeps on the judged pairs of each row. Judged pairs have no "
        "part in choosing circuits; each goes to the cluster whose scores its own are nearest to. The control behind "
        f"the sentence above: circuits of {DRAWS} random divisions into clusters of the same sizes."
    )


def _circuits(session: Session, answer: Separation, k: int) -> None:
    """The circuit of one cluster beside the circuit for all."""
    n_clusters = answer.mechanisms.n_clusters
    session.settle("cluster", str(min(int(session["cluster"]), n_clusters)), f"1 to {n_clusters}")
    options = [str(place) for place in range(1, n_clusters + 1)]
    session.widget("cluster", st.segmented_control, options=options, width="content")
    place = int(session["cluster"]) - 1
    own = answer.mechanisms.scores(answer.mechanisms.pairs(place))
    panes = [
        build_payload(scores, circuit=circuit, pane=Pane(title=title, filename=file, link_group="clusters"))
        for scores, circuit, title, file in (
            (own, answer.circuits[place][0], f"Cluster {place + 1}", f"cluster-{place + 1}-k{k}"),
            (answer.mechanisms.result.scores, answer.one[0], "All pairs", f"all-pairs-k{k}"),
        )
    ]
    circuit_view(panes, key="faith-cluster", height=HEIGHT)
