"""The tab of the Path page that follows one edge: its gradient, and what each point adds to its score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from eapgp.attribution.result import PathRecord
from eapgp.graph import Graph
from eapgp.numerals import score
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, dark, plain
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll_all, progress_bars
from eapgp.ui.library import results
from eapgp.ui.library.circuits import score_of, selected
from eapgp.ui.library.consent import may_run
from eapgp.ui.library.landscape import stored_edge
from eapgp.ui.path import jobs
from eapgp.ui.path.fields import KINDS
from eapgp.ui.path.picture import Records

LISTED = 100  # strongest edges in the list; others can be typed


def edge(session: Session, card: RunInfo, records: Records, pair: int | None) -> None:
    """One edge along both paths."""
    from eapgp.figures.path_edge import edge_along_path

    name = _choose(session, card)
    adds = _added(card, records, pair, name)
    if not adds:
        return
    graph = card.graph
    gradients = {kind: gradient_at(records[kind], graph, name, pair) for kind in adds if records[kind].has_gradients}
    note = "" if pair is None else f"pair {pair + 1} alone"
    figure = edge_along_path(adds, name, gradients=gradients, current=session["at"], note=note, dark=dark())
    chart(figure, "edge-path")
    if pair is None:
        _check(card, adds, name)


def _choose(session: Session, card: RunInfo) -> str:
    """The edge: chosen here, else the one selected on Explore or Compare, else the strongest."""
    graph, scores = card.graph, results.attribution(card).scores
    listed = [name for name, _ in scores.top(LISTED)]
    wanted = session["follow"]
    if wanted and not selected(graph, wanted).edge:
        st.warning(
            f"{plain(wanted)} is no edge of this graph: expected a name such as {plain(listed[0])}. "
            "Showing the strongest edge instead.",
            icon=":material/link_off:",
        )
        session["follow"] = wanted = ""
    usual = selected(graph, session.stored("sel", "")).edge or listed[0]
    options = list(dict.fromkeys([*([wanted] if wanted else [usual]), *listed]))
    answer = session.widget("follow", st.selectbox, options=options, accept_new_options=True, width=360)
    edge = selected(graph, str(answer)).edge
    if not edge:
        st.rerun()
    return edge


def gradient_at(record: PathRecord, graph: Graph, name: str, pair: int | None) -> NDArray[Any]:
    """`[point]` ‖∂M/∂x_v‖ at the edge's end, of one pair or the mean; NaN where no gradient was taken."""
    column = graph.destination_index(name.split("->")[1])
    assert record.destination_gradient is not None
    norms = np.asarray(record.destination_gradient[:, :, column], dtype=np.float64)
    return norms.mean(axis=1) if pair is None else norms[:, pair]


def _added(card: RunInfo, records: Records, pair: int | None, name: str) -> Mapping[str, NDArray[Any]]:
    """kind → `[point]` what each point adds: as it came with a bundled run, else computed in the background."""
    from eapgp.attribution.per_point import METHODS_BY_POINT

    sources = results.path_sources(card)
    kept = _kept(sources, records, name) if pair is None else None
    if kept is not None:
        return kept
    row, column = card.graph.edge_index(name)
    adds: dict[str, NDArray[Any]] = {}
    waiting = []
    # one more run of each method for all edges and points, of one pair or of all
    seconds = sum(source.seconds for source in sources.values()) / (1 if pair is None else max(1, card.n_pairs))
    if not may_run(card, "Take the gradients of this edge", key="ask-points", seconds=seconds):
        return adds
    for kind, source in sources.items():
        if kind not in records or source.method not in METHODS_BY_POINT:
            continue
        key = jobs.point_job(source, kind, pair, name)
        jobs.submit_points(source, kind, pair, name)
        job = server.manager().soon(key)
        if job is not None and job.live:
            waiting.append(key)
        elif job is not None and job.state == "done":
            parts = job.result
            adds[kind] = parts[:, row, 0 if parts.shape[2] == 1 else column]
        elif job is not None and job.message:
            st.error(plain(f"{KINDS.get(kind, kind)}: {job.message}"), icon=":material/error:")
    if waiting:
        poll_all(waiting, progress_bars)
    return adds


def _kept(sources: Mapping[str, RunInfo], records: Records, name: str) -> Mapping[str, NDArray[Any]] | None:
    """What came with bundled runs of both paths for this edge, or None."""
    if "gradpath" not in sources or not all(source.example for source in sources.values()):
        return None
    kept = stored_edge(sources["gradpath"].run)
    if kept is None or kept.name != name:
        return None
    adds = {kind: one for kind, one in kept.adds.items() if kind in records}
    return adds if all(len(one) == records[kind].n_points for kind, one in adds.items()) else None


CLOSE = 1e-3  # of a score: what one machine rounds differently from time to time is far less
REMARK = (
    " The points were computed anew: where another machine or another batch size rounds differently, a path on a deep "
    "model enlarges it, on single pairs up to some percent."
)


def _check(card: RunInfo, adds: Mapping[str, NDArray[Any]], name: str) -> None:
    """Say that the sums are the stored scores, and where they are not quite, why."""
    sums, apart = [], False
    for kind, source in results.path_sources(card).items():
        if kind in adds:
            stored, total = score_of(results.attribution(source).scores, name), float(np.nansum(adds[kind]))
            apart = apart or abs(total - stored) > CLOSE * abs(stored)
            sums.append(f"{KINDS.get(kind, kind)} {score(total)} (score of the run {score(stored)})")
    st.caption(f"Sum over the points: {', '.join(sums)}.{REMARK if apart else ''}")
