"""Selection: from edge scores to a circuit.

- `top-n`: the n edges of largest key;
- `threshold`: every edge whose key is at least the threshold;
- `greedy`: grow from `logits`: n times, add the edge of largest key whose destination's node is
  already connected (Hanna et al. 2024, arXiv:2403.17806, section 3).

The key is |score|, or the score itself with `absolute=False`. Ties go to the edge that comes first
in the graph's order (row by row). An edge whose score is NaN was not scored and is never selected.
Where nothing is scored, or everything scores 0, nothing ranks above anything else: that is an error.

`by="nodes"` ranks the nodes that write instead and keeps every edge between those selected, as MIB's node track
does (Mueller et al. 2025, arXiv:2504.13151): what a node outside writes is corrupted for all its readers. A node's
score is the attribution of its output, (z_u − z′_u) · ∂M/∂z_u, which for a gradient at that output is the sum of the
scores of its outgoing edges. `input` counts where it is among the n best and is in wherever any node is, since no
path begins elsewhere (in the track's reference a circuit without it is empty). `logits` is always in. Other nodes
without a score stay out (the reference keeps them).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit, prune_edges
from eapgp.errors import OptionError, UnknownNameError
from eapgp.graph import Graph
from eapgp.types import Bools, Floats, Ints

Rule = Literal["top-n", "threshold", "greedy"]
By = Literal["edges", "nodes"]
RULES: tuple[Rule, ...] = get_args(Rule)


def select(
    scores: EdgeScores,
    *,
    n: int | None = None,
    threshold: float | None = None,
    rule: Rule = "top-n",
    absolute: bool = True,
    prune: bool = True,
    by: By = "edges",
    node_scores: Floats | None = None,
) -> Circuit:
    """The circuit of the best edges (or nodes), pruned to input→logits paths.

    n: how many edges (`by="nodes"`: `input`, heads and MLPs) for the rules `top-n` and `greedy`;
    threshold: the smallest key for the rule `threshold`. node_scores: `[src]`, used with
    `by="nodes"`; without them a node's score is Σ score of its outgoing edges.
    Where fewer than n edges are scored, all of those are selected.

    Errors: OptionError when n is negative or above the number of edges, when what the rule needs
    is missing, when nothing is scored or everything scores 0, or when node scores do not fit;
    UnknownNameError for another rule.
    """
    EdgeScores.check(scores)
    graph = scores.graph
    _check_rule(rule, by, n=n, threshold=threshold)
    if by == "nodes":
        return _by_nodes(scores, n, threshold, absolute=absolute, prune=prune, node_scores=node_scores)
    if rule == "threshold":
        limit = _check_threshold(threshold)
        _check_scored(scores)
        key, scored = _key(scores, absolute)
        edges, name = scored & (key >= limit), f"threshold {limit:g}"
    else:
        n = check_size(n, graph.n_edges, "edges")
        _check_ranked(scores, n)
        if rule == "greedy":
            edges, name = _first(graph, greedy_order(scores, n, absolute=absolute), n), f"greedy {n}"
        else:
            edges, name = _top(*_key(scores, absolute), n), f"top {n}"
    return _circuit(graph, edges, name, prune)


def select_many(
    scores: EdgeScores,
    sizes: Sequence[int],
    *,
    rule: Literal["top-n", "greedy"] = "top-n",
    absolute: bool = True,
    prune: bool = True,
) -> list[Circuit]:
    """One circuit per size, as `select` gives them, from one sort."""
    EdgeScores.check(scores)
    graph = scores.graph
    if rule == "threshold":
        raise OptionError("select_many takes sizes: expected rule 'top-n' or 'greedy', got 'threshold'. Use select().")
    _check_rule(rule, "edges", n=0, threshold=None)
    checked = [check_size(n, graph.n_edges, "edges") for n in sizes]
    if not checked:
        return []
    _check_ranked(scores, max(checked))
    order = (
        greedy_order(scores, max(checked), absolute=absolute)
        if rule == "greedy"
        else rank_edges(scores, absolute=absolute)
    )
    label = "greedy" if rule == "greedy" else "top"
    return [_circuit(graph, _first(graph, order, n), f"{label} {n}", prune) for n in checked]


def rank_edges(scores: EdgeScores, *, absolute: bool = True) -> Ints:
    """`[edge]` flat positions (`src · R + dst`) of the scored edges, best first, ties by position."""
    key, scored = _key(scores, absolute)
    positions = np.flatnonzero(scored)
    return positions[_stable_order(-key.ravel()[positions])]


def _stable_order(values: Floats) -> Ints:
    """Ascending order, ties by position. A stable sort of millions takes several times the unstable one."""
    order = np.argsort(values)
    ordered = values[order]
    equal = ordered[1:] == ordered[:-1]
    if equal.any():
        group = np.append(0, np.cumsum(~equal))
        tied = np.append(equal, False) | np.append(False, equal)
        order[tied] = order[tied][np.lexsort((order[tied], group[tied]))]
    return order


def check_size(n: int | None, largest: int, what: str) -> int:
    """n as an int between 0 and `largest`, else OptionError."""
    try:
        size = operator.index(n)  # type: ignore[arg-type]
    except TypeError:
        raise OptionError(f"n must be a whole number from 0 to {largest:,} ({what}); got {n!r}.") from None
    if not 0 <= size <= largest:
        raise OptionError(f"n must lie between 0 and {largest:,}, the number of {what} in this graph; got {size:,}.")
    return size


def _check_rule(rule: str, by: str, *, n: int | None, threshold: float | None) -> None:
    if rule not in RULES:
        raise UnknownNameError.of("selection rule", rule, RULES)
    if by not in get_args(By):
        raise UnknownNameError.of("selection unit", by, get_args(By))
    if by == "nodes" and rule == "greedy":
        raise OptionError("the greedy rule grows by edges: expected by='edges', got by='nodes'. Use rule='top-n'.")
    needed, other = ("threshold", "n") if rule == "threshold" else ("n", "threshold")
    options = {"n": n, "threshold": threshold}
    if options[needed] is None:
        raise OptionError(f"rule {rule!r} needs {needed}; got none. Give {needed}=….")
    if options[other] is not None:
        raise OptionError(
            f"rule {rule!r} takes {needed}, not {other}; got {other}={options[other]}. Leave {other} out."
        )


def _check_scored(scores: EdgeScores) -> None:
    """Errors: OptionError where no edge is scored."""
    if np.isnan(scores.values[scores.graph.mask]).all():
        raise OptionError(
            f"none of the {scores.graph.n_edges:,} edges is scored (NaN throughout), so no circuit can be selected by "
            "edges. Where the nodes are scored, select by them: --nodes N, or by='nodes' with node_scores."
        )


def _check_ranked(scores: EdgeScores, n: int) -> None:
    """Errors: OptionError where n > 0 edges are asked for and none ranks above another."""
    if n == 0:
        return
    _check_scored(scores)
    if not np.nan_to_num(scores.values[scores.graph.mask]).any():
        raise OptionError(
            "every edge scores 0, so none ranks above another and no circuit can be selected. "
            "Check that the prompts differ and that the scores are of this model and metric."
        )


def _check_threshold(threshold: float | None) -> float:
    assert threshold is not None
    if math.isnan(threshold):
        raise OptionError("threshold must be a number; got NaN.")
    return float(threshold)


def _key(scores: EdgeScores, absolute: bool) -> tuple[Floats, Bools]:
    """`[src, dst]` ranking key (−inf where nothing can be selected) and where it can be."""
    scored = scores.graph.mask & ~np.isnan(scores.values)
    return np.where(scored, np.abs(scores.values) if absolute else scores.values, -np.inf), scored


def _top(key: Floats, candidates: Bools, n: int) -> Bools:
    """The n candidates of largest key, ties by position: one partition, no sort."""
    n = min(n, int(candidates.sum()))
    if n == 0:
        return np.zeros_like(candidates)
    limit = -np.partition(-key[candidates], n - 1)[n - 1]
    best = candidates & (key > limit)
    ties = np.flatnonzero(candidates & (key == limit))[: n - int(best.sum())]
    best.ravel()[ties] = True
    return best


def _first(graph: Graph, order: Ints, n: int) -> Bools:
    edges = np.zeros(graph.mask.shape, dtype=bool)
    edges.ravel()[order[:n]] = True
    return edges


def _circuit(graph: Graph, edges: Bools, name: str, prune: bool) -> Circuit:
    selected = int(edges.sum())
    return Circuit(graph, prune_edges(graph, edges) if prune else edges, selected, name)


def greedy_order(scores: EdgeScores, n: int | None = None, *, absolute: bool = True) -> Ints:
    """Flat positions in the order in which the greedy rule adds them: the first n, by default all.

    An edge whose source is connected already changes nothing, so only the edges that connect a source
    steer the growth: node i is connected by an edge of rank limits[i]. An edge waits for its own node to be
    connected, and is then taken before the first later edge of `limits` that ranks below it.
    """
    graph = scores.graph
    ranked = rank_edges(scores, absolute=absolute)
    owner = graph.destination_nodes[ranked % graph.n_destinations]
    nodes, limits = _connections(graph, ranked)
    turn = np.full(len(ranked), len(nodes), dtype=np.int64)  # number of connections made before an edge is taken
    by_owner = np.argsort(owner.astype(np.uint16 if len(graph.nodes) < 2**16 else np.int64), kind="stable")
    bounds = np.searchsorted(owner[by_owner], np.arange(len(graph.nodes) + 1))
    for place, node in enumerate(nodes):
        incoming = by_owner[bounds[node] : bounds[node + 1]]  # ranks, best first
        ceiling = np.maximum.accumulate(limits[place + 1 :])
        turn[incoming] = place + np.searchsorted(ceiling, incoming)
    taken = np.isin(owner, nodes)
    order = np.argsort(turn[taken].astype(np.uint16 if len(nodes) < 2**16 else np.int64), kind="stable")
    return ranked[np.flatnonzero(taken)[order]][:n]


def _connections(graph: Graph, ranked: Ints) -> tuple[Ints, Ints]:
    """`[i]` nodes in the order in which greedy growth connects them, and the rank of the edge that does it.

    The first is `logits`, which needs none (−1). Prim's algorithm: always the best edge from a source
    that is not connected into a node that is.
    """
    never = len(ranked)
    rank = np.full(graph.mask.shape, never, dtype=np.int64)
    rank.ravel()[ranked] = np.arange(never)
    columns = [np.flatnonzero(graph.destination_nodes == node) for node in range(len(graph.nodes))]
    best = np.full(graph.n_sources, never)
    connected = np.zeros(graph.n_sources, dtype=bool)
    nodes, limits = [len(graph.nodes) - 1], [-1]
    while True:
        incoming = columns[nodes[-1]]
        if len(incoming):  # `input` reads from nothing
            best = np.minimum(best, rank[:, incoming].min(axis=1))
        offers = np.where(connected, never, best)
        source = int(offers.argmin())
        if offers[source] == never:
            return np.array(nodes), np.array(limits)
        connected[source] = True
        nodes.append(source)
        limits.append(int(offers[source]))


def select_nodes(
    scores: EdgeScores,
    sizes: Sequence[int],
    node_scores: Floats | None = None,
    *,
    absolute: bool = True,
    prune: bool = True,
) -> list[Circuit]:
    """One circuit of the best nodes per size, as `select` with `by="nodes"` gives them."""
    how: dict[str, Any] = {"absolute": absolute, "prune": prune, "node_scores": node_scores}
    return [select(scores, n=n, by="nodes", **how) for n in sizes]


def node_attribution(scores: EdgeScores, node_scores: Floats | None = None) -> Floats:
    """`[src]` each node's score: the one given, else Σ over its outgoing scored edges; NaN where there is none.

    Errors: OptionError where given ones do not fit the graph.
    """
    graph = scores.graph
    if node_scores is None:
        scored = graph.mask & ~np.isnan(scores.values)
        return np.where(scored.any(axis=1), np.where(scored, scores.values, 0.0).sum(axis=1), np.nan)
    if node_scores.shape != (graph.n_sources,):
        raise OptionError(f"node scores must have shape ({graph.n_sources},), one per source; got {node_scores.shape}.")
    return node_scores


def _by_nodes(
    scores: EdgeScores,
    n: int | None,
    threshold: float | None,
    *,
    absolute: bool,
    prune: bool,
    node_scores: Floats | None,
) -> Circuit:
    graph = scores.graph
    if node_scores is None:
        _check_scored(scores)
    values = node_attribution(scores, node_scores)
    candidates = ~np.isnan(values)
    key = np.where(candidates, np.abs(values) if absolute else values, -np.inf)
    if threshold is not None:
        chosen, name = candidates & (key >= _check_threshold(threshold)), f"nodes, threshold {threshold:g}"
    else:
        what = "heads and MLPs, and input" if candidates[0] else "heads and MLPs"
        size = check_size(n, graph.n_sources - 1 + int(candidates[0]), what)
        if size and not np.nan_to_num(values).any():
            raise OptionError(
                "no node ranks above another (unscored, or 0 throughout), so no circuit can be selected by nodes."
            )
        chosen, name = _top(key, candidates, size), f"top {size} nodes"
    inside = np.append(chosen, True)
    inside[0] |= chosen.any() or not candidates[0]
    edges = graph.mask & inside[:-1, None] & inside[graph.destination_nodes][None, :]
    return replace(_circuit(graph, edges, name, prune), nodes=(int(chosen.sum()), int(candidates.sum())))


def strongest_head(scores: EdgeScores) -> str:
    """The head whose own edge to the logits has the largest score in absolute value, such as `a3.h1`."""
    graph = scores.graph
    at_logits = np.abs(scores.values[:, graph.destinations.index("logits")])
    heads = [place for place, name in enumerate(graph.sources) if name.startswith("a")]
    return graph.sources[max(heads, key=lambda place: at_logits[place])]
