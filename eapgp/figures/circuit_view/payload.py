"""What the browser gets: the graph's dimensions and the strongest candidate edges, packed.

1. rank the scored edges as `select` does (or by the greedy rule), keep the first `max_candidates`;
2. append edges that must be drawable without being candidates: those of a second method, of a
   known circuit, of named sets, and edges added by hand, with their rank;
3. pack indices and scores as little-endian arrays in base64: the slider then works in the browser
   alone, and the payload is one JSON string that Streamlit only sends again when it changes.

Names, roles and labels are data: the browser never reads them as markup.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.errors import OptionError
from eapgp.graph import Graph
from eapgp.types import Floats

MAX_CANDIDATES = 40_000
MAX_DRAWN = 5_000
WARN_ABOVE = 1_000
DEFAULT_EDGES = 100

# Okabe & Ito's palette without the two colours that carry the sign of an edge.
ROLE_COLORS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A900", "#8A63D2", "#7A7A7A", "#A0522D")

Ints = NDArray[np.int64]
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
    compare: dict[str, Any]
    truth: dict[str, str]
    sets: list[dict[str, str]]
    rest_label: str
    prune: bool
    fixed: bool
    edit: bool
    legend: bool
    legend_note: str
    depends: str
    link_group: str
    link_count: bool
    title: str
    caption: str
    filename: str
    max_drawn: int
    height: int
    key: str


@dataclass(frozen=True)
class Role:
    """A named part of a known circuit, with the colour of its chip."""

    name: str
    nodes: tuple[str, ...]
    color: str


def assign_roles(roles: Mapping[str, str]) -> list[Role]:
    """Roles from `{node: role name}`, coloured in order of first appearance."""
    members: dict[str, list[str]] = {}
    for node, name in roles.items():
        members.setdefault(str(name), []).append(node)
    return [
        Role(name, tuple(nodes), ROLE_COLORS[i % len(ROLE_COLORS)]) for i, (name, nodes) in enumerate(members.items())
    ]


def build_payload(
    scores: EdgeScores,
    *,
    n: int = DEFAULT_EDGES,
    circuit: Circuit | None = None,
    max_candidates: int = MAX_CANDIDATES,
    absolute: bool = True,
    rule: Literal["top-n", "greedy"] = "top-n",
    prune: bool = True,
    scale_max: float | None = None,
    roles: Mapping[str, str] | Sequence[Role] | None = None,
    groups: Sequence[Mapping[str, Any]] | None = None,
    compare: EdgeScores | None = None,
    labels: tuple[str, str] = ("A", "B"),
    own_scales: bool = False,
    truth: EdgeNames | None = None,
    sets: Mapping[str, EdgeNames] | None = None,
    rest_label: str = "other edges",
    added: EdgeNames = (),
    removed: EdgeNames = (),
    excluded: Iterable[str] = (),
    view: Mapping[str, Any] | None = None,
    edit: bool = False,
    depends: str = "",
    link_group: str = "",
    link_count: bool = True,
    title: str = "",
    caption: str = "",
    filename: str = "",
    legend: bool = True,
    legend_note: str = "",
    max_drawn: int = MAX_DRAWN,
) -> ViewPayload:
    """The payload of one pane.

    n: how many edges the slider starts at. circuit: show exactly its edges, without a slider.
    scale_max: |score| of the widest line; give compared panes one number. compare: the scores of a
    second method on the same graph, for the set view (only A, both, only B, sign flipped), with
    `labels`; own_scales: their units differ, so each side is drawn by its own largest |score|.
    truth: edges of a known circuit, marked found, missed or extra as the slider moves.
    sets: named sets of edges, told apart from the rest. added, removed, excluded: edits on top of
    the selection. view: further state to start from, as `ViewState.view` gives it (`selection`,
    `pins`, `zoom`, `filters`, `trace`). depends: a CSS selector of what the page says about the
    circuit, dimmed from the moment the circuit changes until Python has answered. Panes with one
    `link_group` follow each other.

    Errors: OptionError for graphs that differ or options that exclude each other; InputError for a
    name that is no edge.
    """
    graph = scores.graph
    _check(graph, compare, truth, sets, circuit, max_candidates)
    key = _key(scores, absolute)
    order = (
        _fixed_order(scores, circuit) if circuit is not None else _ranked(scores, key, rule, absolute, max_candidates)
    )
    truth_edges = _positions(graph, truth or ())
    set_edges = {label: _positions(graph, names) for label, names in (sets or {}).items()}
    extra = [truth_edges, *set_edges.values(), _positions(graph, added), _positions(graph, removed)]
    other_key = None if compare is None else _key(compare, absolute)
    if compare is not None and other_key is not None:
        extra.append(_ranked(compare, other_key, rule, absolute, max_candidates))
    beyond = np.setdiff1d(np.concatenate(extra), order)
    edges = np.concatenate([order, beyond])
    values = scores.values.ravel()[edges]
    packed: ViewPayload = {
        "graph": graph.to_dict(),
        **_packed_indices(graph, edges),  # type: ignore[typeddict-item]
        "score": _pack(values, "<f4"),
        "extra_rank": _ranks_of(key, beyond).tolist(),
        "n_total": graph.n_edges,
        "scale_max": float(scale_max)
        if scale_max
        else largest(scores, *([compare] if compare and not own_scales else [])),
        "view": _view(view, n, groups, added, removed, excluded),
        "roles": _role_list(roles),
        "prune": prune,
        "fixed": circuit is not None,
        "edit": edit,
        "legend": legend,
        "max_drawn": max_drawn,
        "link_count": link_count,
    }
    texts = {
        "depends": depends,
        "link_group": link_group,
        "title": title,
        "caption": caption,
        "filename": filename,
        "legend_note": legend_note,
    }
    packed.update({name: text for name, text in texts.items() if text})  # type: ignore[typeddict-item]
    if compare is not None and other_key is not None:
        packed["compare"] = {
            "a": str(labels[0]),
            "b": str(labels[1]),
            "score": _pack(compare.values.ravel()[edges], "<f4"),
            "rank": _pack(_ranks_of(other_key, edges), "<i4"),
        }
        if own_scales:
            packed["compare"]["scale"] = largest(compare)
    if truth is not None:
        packed["truth"] = {"edges": _pack(_where(edges, truth_edges), "<u4")}
    if set_edges:
        packed["sets"] = [{"label": str(k), "edges": _pack(_where(edges, v), "<u4")} for k, v in set_edges.items()]
        packed["rest_label"] = rest_label
    return packed


def largest(*scores: EdgeScores) -> float:
    """Largest |score| among all, for one width scale across panes; 0 where none is scored."""
    sizes = [np.abs(s.values[s.graph.mask & ~np.isnan(s.values)]).max(initial=0.0) for s in scores]
    return float(max(sizes, default=0.0))


def _check(
    graph: Graph,
    compare: EdgeScores | None,
    truth: EdgeNames | None,
    sets: Mapping[str, EdgeNames] | None,
    circuit: Circuit | None,
    max_candidates: int,
) -> None:
    if compare is not None and compare.graph != graph:
        raise OptionError(
            f"compared scores need one graph; got {graph.n_layers}×{graph.n_heads} and "
            f"{compare.graph.n_layers}×{compare.graph.n_heads} layers and heads. Compare runs of one model."
        )
    if circuit is not None and circuit.graph != graph:
        raise OptionError("the circuit belongs to another graph than the scores. Use a circuit of the same model.")
    if sum(option is not None for option in (compare, truth, sets)) > 1:
        raise OptionError("compare, truth and sets each mark the edges: expected one of them, got more. Choose one.")
    if max_candidates < 1:
        raise OptionError(f"max_candidates must be at least 1; got {max_candidates}.")


def _key(scores: EdgeScores, absolute: bool) -> Floats:
    """`[edge]` ranking key, flat; −inf where nothing can be selected."""
    scored = scores.graph.mask & ~np.isnan(scores.values)
    return np.where(scored, np.abs(scores.values) if absolute else scores.values, -np.inf).ravel()


def _ranked(scores: EdgeScores, key: Floats, rule: str, absolute: bool, count: int) -> Ints:
    """Flat positions of the first `count` edges in selection order."""
    if rule == "greedy":
        return _greedy(scores, absolute, count)
    if rule != "top-n":
        raise OptionError(f"the slider knows the rules 'top-n' and 'greedy'; got {rule!r}.")
    candidates = np.flatnonzero(key > -np.inf)
    if len(candidates) > 2 * count:
        limit = np.partition(key[candidates], len(candidates) - count)[len(candidates) - count]
        candidates = candidates[key[candidates] >= limit]
    return candidates[np.argsort(-key[candidates], kind="stable")][:count]


def _greedy(scores: EdgeScores, absolute: bool, count: int) -> Ints:
    from eapgp.circuits.select import greedy_order

    return greedy_order(scores, count, absolute=absolute)[:count]


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
    found = [source * graph.n_destinations + destination for source, destination in map(graph.edge_index, names)]
    return np.array(sorted(set(found)), dtype=np.int64)


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
    made = assign_roles(roles) if isinstance(roles, Mapping) else roles
    return [{"name": role.name, "color": role.color, "nodes": list(role.nodes)} for role in made]


def _view(
    view: Mapping[str, Any] | None,
    n: int,
    groups: Sequence[Mapping[str, Any]] | None,
    added: EdgeNames,
    removed: EdgeNames,
    excluded: Iterable[str],
) -> dict[str, Any]:
    """Starting state; keys that are absent stay as the user left them."""
    made = {**(view or {}), "n": int(n)}
    if groups is not None:
        made["groups"] = [dict(group) for group in groups]
    for name, values in (("added", added), ("removed", removed), ("excluded", excluded)):
        chosen = list(values)
        if chosen:
            made[name] = chosen
    return made
