"""What the browser gets: the graph's dimensions and the strongest candidate edges, packed.

1. rank the scored edges as `select` does (or by the greedy rule), keep the first `max_candidates`;
2. append edges that must be drawable without being candidates: those of a second method, of a
   known circuit, and edges added or removed by hand, with their rank;
3. pack indices and scores as little-endian arrays in base64: the slider then works in the browser
   alone, and the payload is one JSON string that Streamlit only sends again when it changes.

Names, roles and labels are data: the browser never reads them as markup.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import greedy_order
from eapgp.errors import OptionError
from eapgp.graph import Graph
from eapgp.types import Floats, Ints

MAX_CANDIDATES = 40_000
MAX_DRAWN = 5_000
DEFAULT_EDGES = 100

# Okabe & Ito's palette without the two colours that carry the sign of an edge.
ROLE_COLORS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A900", "#8A63D2", "#7A7A7A", "#A0522D")

EdgeNames = Iterable[str]


class ViewPayload(TypedDict, total=False):
    """What `build_payload` returns; arrays are base64 of little-endian numbers."""

    graph: dict[str, int | bool]
    source: str
    destination: str
    index_bytes: int
    score: str
    extra_rank: list[int]
    n_total: int
    scale_max: float
    view: dict[str, Any]
    roles: list[dict[str, Any]]
    said: dict[str, list[str]]
    compare: dict[str, Any]
    truth: dict[str, str]
    prune: bool
    fixed: bool
    edit: bool
    pictures: bool
    legend: bool
    legend_note: str
    depends: str
    link_group: str
    title: str
    note: str
    caption: str
    filename: str
    about: dict[str, str]
    height: int
    above: int
    key: str
    panes: list[Any]


@dataclass(frozen=True)
class Role:
    """A named part of a circuit, with the colour of its chip. title: what the legend calls it, the name if empty."""

    name: str
    nodes: tuple[str, ...]
    color: str
    title: str = ""


def assign_roles(roles: Mapping[str, str]) -> list[Role]:
    """Roles from `{node: role name}`, coloured in order of first appearance."""
    members: dict[str, list[str]] = {}
    for node, name in roles.items():
        members.setdefault(str(name), []).append(node)
    return [
        Role(name, tuple(nodes), ROLE_COLORS[i % len(ROLE_COLORS)]) for i, (name, nodes) in enumerate(members.items())
    ]


@dataclass(frozen=True)
class Ranking:
    """The order in which the slider adds edges, and how many of them the browser gets.

    rule: "top-n" or "greedy". absolute: by |score|, else by the score. prune: what leads nowhere is not drawn.
    """

    rule: Literal["top-n", "greedy"] = "top-n"
    absolute: bool = True
    prune: bool = True
    max_candidates: int = MAX_CANDIDATES

    def __post_init__(self) -> None:
        if self.max_candidates < 1:
            raise OptionError(f"max_candidates must be at least 1; got {self.max_candidates}.")
        if self.rule not in ("top-n", "greedy"):
            raise OptionError(f"the slider knows the rules 'top-n' and 'greedy'; got {self.rule!r}.")

    def key(self, scores: EdgeScores) -> Floats:
        """`[edge]` flat, by which edges are ranked; −inf where nothing can be selected."""
        scored = scores.graph.mask & ~np.isnan(scores.values)
        return np.where(scored, np.abs(scores.values) if self.absolute else scores.values, -np.inf).ravel()

    def first(self, scores: EdgeScores, key: Floats) -> Ints:
        """Flat positions of the candidates in selection order; key: as `key` gives it."""
        if self.rule == "greedy":
            return greedy_order(scores, self.max_candidates, absolute=self.absolute)[: self.max_candidates]
        candidates, count = np.flatnonzero(key > -np.inf), self.max_candidates
        if len(candidates) > 2 * count:
            limit = np.partition(key[candidates], len(candidates) - count)[len(candidates) - count]
            candidates = candidates[key[candidates] >= limit]
        return candidates[np.argsort(-key[candidates], kind="stable")][:count]

    def places(self, scores: EdgeScores, key: Floats, edges: Ints) -> Ints:
        """0-based place of each edge in the selection order; −1 where it has none, or is grown after all candidates."""
        if self.rule != "greedy":
            return _ranks_of(key, edges)
        place = np.full(len(key), -1, dtype=np.int64)
        order = self.first(scores, key)
        place[order] = np.arange(len(order))
        return place[edges]


@dataclass(frozen=True)
class Compared:
    """A second method's scores on the same graph, for the set view: only A, both, only B, sign flipped.

    labels: names of A (the pane's own scores) and B. own_scales: their units differ, so each side is drawn by
    its own largest |score|.
    """

    scores: EdgeScores
    labels: tuple[str, str] = ("A", "B")
    own_scales: bool = False


@dataclass(frozen=True)
class Pane:
    """What surrounds the circuit and how it behaves in its page.

    note: what is said of the circuit beside its title. scale_max: |score| of the widest line; give compared panes one
    number. depends: a CSS selector of what the page says about the circuit, dimmed from the moment the circuit changes
    until Python has answered. Panes with one `link_group` follow each other. edit: edges and nodes can be added and
    taken away by hand. pictures: the Save menu offers pictures; a page that has its own for print
    leaves them out. said: of single nodes, what is said of them when they are pointed at.
    """

    title: str = ""
    note: str = ""
    caption: str = ""
    filename: str = ""
    legend: bool = True
    legend_note: str = ""
    scale_max: float | None = None
    depends: str = ""
    link_group: str = ""
    edit: bool = False
    pictures: bool = True
    said: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def texts(self) -> dict[str, str]:
        """The texts that are not empty."""
        names = ("depends", "link_group", "title", "note", "caption", "filename", "legend_note")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def build_payload(
    scores: EdgeScores,
    *,
    n: int = DEFAULT_EDGES,
    circuit: Circuit | None = None,
    ranking: Ranking | None = None,
    against: Compared | EdgeNames | None = None,
    roles: Mapping[str, str] | Sequence[Role] | None = None,
    view: Mapping[str, Any] | None = None,
    pane: Pane | None = None,
) -> ViewPayload:
    """The payload of one pane.

    n: how many edges the slider starts at. circuit: show exactly its edges, without a slider.
    against: a second method's scores, or the edges of a known circuit, which are then marked found, missed or
    extra as the slider moves. view: further state to start from, as `ViewState.view` gives it (`selection`,
    `pins`, `zoom`, `filters`, `trace`, `groups`, and the edits `added`, `removed`, `excluded`).

    Errors: OptionError for graphs that differ; InputError for a name that is no edge.
    """
    graph, view = scores.graph, view or {}
    ranking, pane = ranking or Ranking(), pane or Pane()
    compared = against if isinstance(against, Compared) else None
    truth = None if against is None or isinstance(against, Compared) else _positions(graph, against)
    _check(graph, compared, circuit)
    key = ranking.key(scores)
    order = ranking.first(scores, key) if circuit is None else _fixed_order(scores, circuit)
    drawable = [_positions(graph, view.get(name, ())) for name in ("added", "removed")]
    drawable += [truth] if truth is not None else []
    drawable += [ranking.first(compared.scores, ranking.key(compared.scores))] if compared else []
    beyond = np.setdiff1d(np.concatenate(drawable), order)
    edges = np.concatenate([order, beyond])
    packed: ViewPayload = {
        "graph": graph.to_dict(),
        **_packed_indices(graph, edges),  # type: ignore[typeddict-item]
        "score": _pack(scores.values.ravel()[edges], "<f4"),
        "extra_rank": ranking.places(scores, key, beyond).tolist(),
        "n_total": graph.n_edges,
        "scale_max": float(pane.scale_max or _scale(scores, compared)),
        "view": {**view, "n": int(n)},
        "roles": _role_list(roles),
        "prune": ranking.prune,
        "fixed": circuit is not None,
        "edit": pane.edit,
        "pictures": pane.pictures,
        "legend": pane.legend,
        **({"said": {node: list(texts) for node, texts in pane.said.items()}} if pane.said else {}),  # type: ignore[typeddict-item]
        **pane.texts(),  # type: ignore[typeddict-item]
    }
    if compared is not None:
        packed["compare"] = _compared(compared, ranking, edges)
    if truth is not None:
        packed["truth"] = {"edges": _pack(_where(edges, truth), "<u4")}
    return packed


def _scale(scores: EdgeScores, compared: Compared | None) -> float:
    """|score| of the widest line where none is given."""
    return largest(scores) if compared is None or compared.own_scales else largest(scores, compared.scores)


def _compared(compared: Compared, ranking: Ranking, edges: Ints) -> dict[str, Any]:
    """The second method's scores and ranks of the edges that are sent."""
    packed: dict[str, Any] = {
        "a": str(compared.labels[0]),
        "b": str(compared.labels[1]),
        "score": _pack(compared.scores.values.ravel()[edges], "<f4"),
        "rank": _pack(ranking.places(compared.scores, ranking.key(compared.scores), edges), "<i4"),
    }
    if compared.own_scales:
        packed["scale"] = largest(compared.scores)
    return packed


def largest(*scores: EdgeScores) -> float:
    """Largest |score| among all, for one width scale across panes; 0 where none is scored."""
    sizes = [np.abs(s.values[s.graph.mask & ~np.isnan(s.values)]).max(initial=0.0) for s in scores]
    return float(max(sizes, default=0.0))


def _check(graph: Graph, compared: Compared | None, circuit: Circuit | None) -> None:
    if compared is not None and compared.scores.graph != graph:
        other = compared.scores.graph
        raise OptionError(
            f"compared scores need one graph; got {graph.n_layers}×{graph.n_heads} and "
            f"{other.n_layers}×{other.n_heads} layers and heads. Compare runs of one model."
        )
    if circuit is not None and circuit.graph != graph:
        raise OptionError("the circuit belongs to another graph than the scores. Use a circuit of the same model.")


def _fixed_order(scores: EdgeScores, circuit: Circuit) -> Ints:
    """The circuit's edges, strongest first; those without a score last."""
    edges = np.flatnonzero(circuit.edges.ravel())
    size = np.abs(np.nan_to_num(scores.values.ravel()[edges], nan=-0.0))
    return edges[np.argsort(-size, kind="stable")]


def _ranks_of(key: Floats, edges: Ints) -> Ints:
    """0-based place of each edge in the ranking by key, ties by position; −1 where it has none."""
    order = np.argsort(-key, kind="stable") if len(edges) > 64 else None
    if order is not None:
        place = np.empty(len(key), dtype=np.int64)
        place[order] = np.arange(len(key))
        ranks = place[edges]
    else:
        ranks = np.array(
            [int((key > key[e]).sum()) + int((key[:e] == key[e]).sum()) for e in edges], dtype=np.int64
        ).reshape(-1)
    return np.where(key[edges] > -np.inf, ranks, -1)


def _positions(graph: Graph, names: EdgeNames) -> Ints:
    """Flat positions of named edges."""
    positions = [source * graph.n_destinations + destination for source, destination in map(graph.edge_index, names)]
    return np.array(sorted(set(positions)), dtype=np.int64)


def _where(edges: Ints, wanted: Ints) -> Ints:
    """Places in `edges` of the wanted positions."""
    return np.flatnonzero(np.isin(edges, wanted))


def _packed_indices(graph: Graph, edges: Ints) -> dict[str, Any]:
    source, destination = np.divmod(edges, graph.n_destinations)
    wide = graph.n_destinations > 0xFFFF
    kind = "<u4" if wide else "<u2"
    return {"source": _pack(source, kind), "destination": _pack(destination, kind), "index_bytes": 4 if wide else 2}


def _pack(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")


def _role_list(roles: Mapping[str, str] | Sequence[Role] | None) -> list[dict[str, Any]]:
    if not roles:
        return []
    named = assign_roles(roles) if isinstance(roles, Mapping) else roles
    return [_role(role) for role in named]


def _role(role: Role) -> dict[str, Any]:
    titled = {"title": role.title} if role.title else {}
    return {"name": role.name, "color": role.color, "nodes": list(role.nodes), **titled}
