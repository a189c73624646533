"""Jobs behind the path's pictures: the plane, what each point adds to an edge, a pair's tokens."""

from __future__ import annotations

from collections.abc import Mapping

from eapgp.attribution.result import PathRecord
from eapgp.runs.info import RunInfo
from eapgp.ui.jobs import server
from eapgp.ui.library import results
from eapgp.ui.library.consent import lane_of_card
from eapgp.ui.path.plane import plane_of, plane_work, point_work, tokens_work

POINTS_AT_ONCE = 100_000  # edges up to which the points of a path are told apart for all edges at once


def submit_plane(
    card: RunInfo, records: Mapping[str, PathRecord], pair: int | None, *, focus: str | None = None
) -> str:
    """Start (or join) the evaluation of the plane behind a picture; result: name → `Background`."""
    lane, plane = lane_of_card(card), plane_of(records, pair, focus)
    objective = str(card.options.get("objective", "all"))
    job = plane_work(server.workshop(), lane, card.run, plane, objective=objective)
    label = "plane of the average" if pair is None else f"plane of pair {pair + 1}"
    return server.manager().submit(f"plane-{card.id}-{objective}-{plane.key}", label, job, lane=lane)


def point_job(card: RunInfo, kind: str, pair: int | None, edge: str) -> str:
    """Key of the job that tells apart what each point of a run's path adds to an edge's score."""
    destination = edge.split("->")[1] if card.graph.n_edges > POINTS_AT_ONCE else "all"
    return f"points-{card.id}-{kind}-{'mean' if pair is None else pair}-{destination}"


def submit_points(card: RunInfo, kind: str, pair: int | None, edge: str) -> str:
    """Start (or join) it; result: `[point, src, dst]`, or `[point, src, 1]` of the edge's end on large graphs."""
    column = card.graph.destination_index(edge.split("->")[1]) if card.graph.n_edges > POINTS_AT_ONCE else None
    lane = lane_of_card(card)
    job = point_work(server.workshop(), lane, card.run, results.attribution(card).paths[kind], pair, column)
    name = {"gradpath": "GradPath", "straight": "the straight line"}.get(kind, kind)
    return server.manager().submit(point_job(card, kind, pair, edge), f"points of {name}", job, lane=lane)


def submit_tokens(card: RunInfo, pair: int) -> str:
    """Start (or join) the reading of one pair's clean tokens; result: list of texts."""
    lane = lane_of_card(card)
    return server.manager().submit(
        f"tokens-{card.id}-{pair}", "tokens", tokens_work(server.workshop(), lane, card.run, pair), lane=lane
    )
