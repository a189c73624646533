"""Selection and pruning against literal, pure-Python oracles on small graphs."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eapgp.attribution.result import EdgeScores
from eapgp.circuits import Circuit, equal, is_pruned, prune, rank_edges, select, select_many
from eapgp.circuits.select import node_attribution, select_nodes
from eapgp.errors import OptionError, UnknownNameError
from eapgp.graph import Graph

TINY = Graph(1, 1)
GRAPHS = st.builds(Graph, st.integers(1, 3), st.integers(1, 2), st.booleans())


def node_of(destination: str) -> str:
    return destination.split("<")[0]


def split(edge: str) -> tuple[str, str]:
    source, destination = edge.split("->")
    return source, destination


def paths(edges: set[str]) -> list[list[str]]:
    """Every input→logits path, as lists of edge names, by enumeration."""
    found, unfinished = [], [([], "input")]
    while unfinished:
        path, node = unfinished.pop()
        if node == "logits":
            found.append(path)
            continue
        for edge in edges:
            source, destination = split(edge)
            if source == node:
                unfinished.append(([*path, edge], node_of(destination)))
    return found


def literal_prune(edges: set[str]) -> set[str]:
    """Remove dangling edges one at a time until none is left (no path enumeration needed)."""
    edges = set(edges)
    while True:
        sources = {split(e)[0] for e in edges}
        targets = {node_of(split(e)[1]) for e in edges}
        dangling = {
            e
            for e in edges
            if (split(e)[0] != "input" and split(e)[0] not in targets)
            or (node_of(split(e)[1]) != "logits" and node_of(split(e)[1]) not in sources)
        }
        if not dangling:
            return edges
        edges -= dangling


def literal_greedy(scores: EdgeScores, n: int, absolute: bool) -> set[str]:
    names = [e for e in scores.graph.edge_names() if not math.isnan(scores.values[scores.graph.edge_index(e)])]
    key = {e: (abs if absolute else float)(scores.values[scores.graph.edge_index(e)]) for e in names}
    connected, chosen = {"logits"}, set()
    for _ in range(n):
        open_edges = [e for e in names if e not in chosen and node_of(split(e)[1]) in connected]
        if not open_edges:
            break
        best = max(open_edges, key=lambda e: key[e])  # max gives the first of equals: ties by position
        chosen.add(best)
        connected.add(split(best)[0])
    return chosen


@st.composite
def scored_graphs(draw: st.DrawFn) -> EdgeScores:
    """Small graphs whose scores have many ties, zeros and unscored edges; at least one edge is scored."""
    graph = draw(GRAPHS)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(-4, 5, size=graph.mask.shape).astype(float)
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))] = np.nan
    if not np.nan_to_num(values[graph.mask]).any():
        values[0, -1] = 1.0  # else no circuit can be selected
    return EdgeScores(graph, np.where(graph.mask, values, 0.0))


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    graph = draw(st.builds(Graph, st.integers(1, 2), st.integers(1, 2), st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    edges = graph.mask & (rng.random(graph.mask.shape) < draw(st.sampled_from([0.05, 0.2, 0.4])))
    return Circuit(graph, edges, int(edges.sum()))


def test_pruning_by_hand() -> None:
    graph = Graph(2, 1)
    circuit = Circuit.of_names(
        graph,
        [
            "input->a0.h0<k>",  # on the only path: a key input feeds the head's output
            "a0.h0->m1",
            "m1->logits",
            "input->m0",  # m0 leads nowhere
            "a1.h0->logits",  # a1.h0 hangs from nothing
            "m0->a1.h0<q>",  # joins the two: completes a second path
            "a0.h0->m0",
        ],
    )
    assert equal(prune(circuit), circuit)
    without = Circuit.of_names(graph, [e for e in circuit.edge_names() if e != "m0->a1.h0<q>"])
    assert set(prune(without).edge_names()) == {"input->a0.h0<k>", "a0.h0->m1", "m1->logits"}
    assert prune(without).n_selected == 6
    assert without.n_kept == 6, "pruning must leave its argument alone"


@settings(max_examples=150, deadline=None)
@given(circuits())
def test_pruning_keeps_exactly_the_edges_on_a_path(circuit: Circuit) -> None:
    names = set(circuit.edge_names())
    expected = {edge for path in paths(names) for edge in path}
    assert literal_prune(names) == expected
    pruned = prune(circuit)
    assert set(pruned.edge_names()) == expected
    assert is_pruned(pruned)
    assert is_pruned(circuit) == (expected == names)


@settings(max_examples=100, deadline=None)
@given(GRAPHS, st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_pruning_larger_graphs(graph: Graph, seed: int, density: float) -> None:
    edges = graph.mask & (np.random.default_rng(seed).random(graph.mask.shape) < density)
    circuit = Circuit(graph, edges, int(edges.sum()))
    assert set(prune(circuit).edge_names()) == literal_prune(set(circuit.edge_names()))


@settings(max_examples=150, deadline=None)
@given(scored_graphs(), st.booleans(), st.floats(0, 1))
def test_top_n_is_a_stable_sort(scores: EdgeScores, absolute: bool, share: float) -> None:
    n = int(share * scores.graph.n_edges)
    names = [e for e in scores.graph.edge_names() if not math.isnan(scores.values[scores.graph.edge_index(e)])]
    value = {e: float(scores.values[scores.graph.edge_index(e)]) for e in names}
    best = sorted(names, key=lambda e: -abs(value[e]) if absolute else -value[e])[:n]
    circuit = select(scores, n=n, absolute=absolute, prune=False)
    assert set(circuit.edge_names()) == set(best)
    assert circuit.n_selected == len(best)
    pruned = select(scores, n=n, absolute=absolute)
    assert set(pruned.edge_names()) == literal_prune(set(best))
    assert pruned.n_selected == len(best)
    assert [e for e, _ in scores.top(n, absolute=absolute)] == best


@settings(max_examples=150, deadline=None)
@given(scored_graphs(), st.booleans(), st.floats(0, 1))
def test_greedy_is_the_literal_growth(scores: EdgeScores, absolute: bool, share: float) -> None:
    n = int(share * scores.graph.n_edges)
    expected = literal_greedy(scores, n, absolute)
    circuit = select(scores, n=n, rule="greedy", absolute=absolute, prune=False)
    assert set(circuit.edge_names()) == expected
    pruned = select(scores, n=n, rule="greedy", absolute=absolute)
    assert set(pruned.edge_names()) == literal_prune(expected)


@settings(max_examples=80, deadline=None)
@given(scored_graphs(), st.booleans(), st.integers(-5, 5))
def test_threshold_keeps_everything_at_or_above(scores: EdgeScores, absolute: bool, threshold: int) -> None:
    circuit = select(scores, threshold=threshold, rule="threshold", absolute=absolute, prune=False)
    kept = set(circuit.edge_names())
    for edge in scores.graph.edge_names():
        value = scores.values[scores.graph.edge_index(edge)]
        assert (edge in kept) == ((abs(value) if absolute else value) >= threshold)


@settings(max_examples=60, deadline=None)
@given(scored_graphs(), st.sampled_from(["top-n", "greedy"]), st.booleans(), st.booleans())
def test_many_sizes_equal_one_by_one(scores: EdgeScores, rule: str, absolute: bool, pruned: bool) -> None:
    sizes = [0, 3, 1, scores.graph.n_edges, scores.graph.n_edges // 2]
    options = {"rule": rule, "absolute": absolute, "prune": pruned}
    many = select_many(scores, sizes, **options)
    single = [select(scores, n=n, **options) for n in sizes]
    assert all(equal(a, b) for a, b in zip(many, single, strict=True))
    assert [c.n_selected for c in many] == [c.n_selected for c in single]
    assert [c.name for c in many] == [c.name for c in single]
    assert select_many(scores, [], **options) == []


def test_signed_selection_drops_negative_edges_first() -> None:
    scores = named_scores(TINY, {"input->logits": -5.0, "input->m0": 2.0, "m0->logits": 1.0})
    assert select(scores, n=1).edge_names() == ["input->logits"]
    assert set(select(scores, n=2, absolute=False).edge_names()) == {"input->m0", "m0->logits"}


def named_scores(graph: Graph, values: dict[str, float], default: float = 0.0) -> EdgeScores:
    matrix = np.where(graph.mask, default, 0.0)
    for name, value in values.items():
        matrix[graph.edge_index(name)] = value
    return EdgeScores(graph, matrix)


def test_greedy_and_top_n_differ_by_hand() -> None:
    scores = named_scores(
        TINY, {"input->a0.h0<v>": 9.0, "a0.h0->m0": 8.0, "m0->logits": 1.0, "input->logits": 3.0, "input->m0": 2.0}
    )
    # top 2 hangs in the air; greedy starts at logits
    assert select(scores, n=2).edge_names() == []
    assert select(scores, n=2).n_selected == 2
    grown = select(scores, n=2, rule="greedy", prune=False)
    assert set(grown.edge_names()) == {"input->logits", "m0->logits"}
    grown = select(scores, n=4, rule="greedy")
    assert set(grown.edge_names()) == {"input->logits", "m0->logits", "a0.h0->m0", "input->a0.h0<v>"}


def test_nodes_are_ranked_by_their_outgoing_edges() -> None:
    graph = Graph(2, 1)
    scores = named_scores(graph, {"a0.h0->m0": -3.0, "m0->logits": 2.0, "a1.h0->logits": 1.0, "m1->logits": 1.5})
    assert node_attribution(scores).tolist() == [0.0, -3.0, 2.0, 1.0, 1.5]
    circuit = select(scores, n=1, by="nodes")
    assert circuit.nodes == (1, 5)
    letters = {"input->a0.h0<q>", "input->a0.h0<k>", "input->a0.h0<v>"}
    assert set(circuit.edge_names()) == letters | {"a0.h0->logits", "input->logits"}
    assert select(scores, n=1, by="nodes", absolute=False).node_names() == ["input", "m0", "logits"]
    assert select(scores, n=0, by="nodes").edge_names() == []
    strong_input = named_scores(graph, {"input->m0": 50.0, "m0->logits": 2.0})
    assert select(strong_input, n=1, by="nodes").edge_names() == ["input->logits"], "input is one of the n"
    assert equal(select(scores, n=5, by="nodes"), Circuit.full(graph))
    assert [one.nodes for one in select_nodes(scores, [0, 3])] == [(0, 5), (3, 5)]
    both = named_scores(graph, {"m0->m1": 2.0, "m0->logits": -2.0, "m1->logits": 1.0})
    assert select(both, n=1, by="nodes").node_names() == ["input", "m1", "logits"], (
        "edges that cancel are worth nothing"
    )
    assert select(scores, threshold=1.5, rule="threshold", by="nodes").node_names() == [
        "input",
        "a0.h0",
        "m0",
        "m1",
        "logits",
    ]


def test_given_node_scores_win_and_nan_nodes_stay_out() -> None:
    graph = Graph(2, 1)
    scores = named_scores(graph, {"a0.h0->m0": 9.0})
    given_scores = np.array([np.nan, 0.1, np.nan, 5.0, -6.0])
    assert select(scores, n=1, by="nodes", node_scores=given_scores).node_names() == ["input", "m1", "logits"]
    all_asked = select(scores, n=4, by="nodes", node_scores=given_scores)
    assert "m0" not in all_asked.node_names()
    with pytest.raises(OptionError, match=r"must have shape \(5,\), one per source; got \(4,\)"):
        select(scores, n=1, by="nodes", node_scores=np.zeros(4))


def test_unscored_edges_are_never_selected() -> None:
    scores = named_scores(TINY, {"input->logits": 1.0}, default=np.nan)
    for rule in ("top-n", "greedy"):
        circuit = select(scores, n=TINY.n_edges, rule=rule, prune=False)
        assert circuit.edge_names() == ["input->logits"]
        assert circuit.n_selected == 1
    assert select(scores, n=2, by="nodes").edge_names() == ["input->logits"]


NO_SCORES = named_scores(Graph(2, 2), {}, default=np.nan)
ALL_ZERO = named_scores(Graph(2, 2), {"m0->logits": math.nan, "input->m1": -0.0})


@pytest.mark.parametrize(
    ("scores", "message"),
    [(NO_SCORES, r"none of the 46 edges is scored .* select by them: --nodes N"), (ALL_ZERO, r"every edge scores 0")],
)
def test_nothing_is_selected_from_nothing(scores: EdgeScores, message: str) -> None:
    for rule in ("top-n", "greedy"):
        with pytest.raises(OptionError, match=message):
            select(scores, n=3, rule=rule)
        with pytest.raises(OptionError, match=message):
            select_many(scores, [0, 3], rule=rule)
        assert select(scores, n=0, rule=rule).n_kept == 0, "an empty circuit may be asked for"
    with pytest.raises(OptionError, match=r"is scored|no node ranks above another"):
        select(scores, n=3, by="nodes")
    with pytest.raises(OptionError, match=r"no node ranks above another"):
        select(scores, n=3, by="nodes", node_scores=np.zeros(7))
    with pytest.raises(OptionError, match=r"none of the 46 edges is scored"):
        select(NO_SCORES, threshold=0.5, rule="threshold")
    assert select(ALL_ZERO, threshold=0.0, rule="threshold", prune=False).n_kept == 45


def test_scores_of_nodes_alone_select_every_edge_between_the_best() -> None:
    """As the MIB track's reference does: `input` counts where it has a score."""
    nodes = np.array([5.0, 1.0, -9.0, 0.5, 8.0, np.nan, 2.0])  # input, a0.h0, a0.h1, m0, a1.h0, a1.h1, m1
    circuit = select(NO_SCORES, n=3, by="nodes", node_scores=nodes, prune=False)
    best = ("input", "a0.h1", "a1.h0", "logits")
    expected = {e for e in NO_SCORES.graph.edge_names() if {split(e)[0], node_of(split(e)[1])} <= set(best)}
    assert set(circuit.edge_names()) == expected
    unscored_input = np.where(np.arange(7) == 0, np.nan, nodes)
    wider = select(NO_SCORES, n=3, by="nodes", node_scores=unscored_input, prune=False)
    assert set(wider.node_names()) == {*best, "m1"}
    assert "a1.h1" not in select(NO_SCORES, n=7, by="nodes", node_scores=nodes).node_names()
    signed = select(NO_SCORES, n=3, by="nodes", node_scores=nodes, absolute=False, prune=False)
    assert set(signed.node_names()) == {"input", "a1.h0", "m1", "logits"}
    by_threshold = select(NO_SCORES, threshold=6, rule="threshold", by="nodes", node_scores=nodes, prune=False)
    assert set(by_threshold.node_names()) == set(best)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": -1}, r"between 0 and 8, the number of edges in this graph; got -1"),
        ({"n": 9}, r"between 0 and 8, the number of edges in this graph; got 9"),
        ({"n": 9, "rule": "greedy"}, r"got 9"),
        ({"n": 4, "by": "nodes"}, r"between 0 and 3, the number of heads and MLPs, and input in this graph; got 4"),
        ({"n": 1.5}, r"whole number from 0 to 8 \(edges\); got 1\.5"),
        ({}, r"rule 'top-n' needs n; got none"),
        ({"rule": "threshold"}, r"rule 'threshold' needs threshold; got none"),
        ({"rule": "threshold", "threshold": math.nan}, r"got NaN"),
        ({"n": 1, "threshold": 0.5}, r"takes n, not threshold; got threshold=0\.5"),
        ({"n": 1, "rule": "greedy", "by": "nodes"}, r"grows by edges"),
    ],
)
def test_wrong_options_say_what_was_expected(options: dict[str, object], message: str) -> None:
    assert TINY.n_edges == 8
    with pytest.raises(OptionError, match=message):
        select(named_scores(TINY, {}), **options)


def test_unknown_rules_and_units() -> None:
    scores = named_scores(TINY, {})
    with pytest.raises(UnknownNameError, match="unknown selection rule 'best'"):
        select(scores, n=1, rule="best")
    with pytest.raises(UnknownNameError, match="unknown selection unit 'heads'"):
        select(scores, n=1, by="heads")
    with pytest.raises(OptionError, match="select_many takes sizes"):
        select_many(scores, [1], rule="threshold")
    with pytest.raises(OptionError, match="got -2"):
        select_many(scores, [1, -2])


def test_extremes_give_the_full_and_the_empty_circuit() -> None:
    scores = EdgeScores(Graph(2, 2), np.random.default_rng(0).normal(size=Graph(2, 2).mask.shape))
    for rule in ("top-n", "greedy"):
        assert equal(select(scores, n=scores.graph.n_edges, rule=rule), Circuit.full(scores.graph))
        assert equal(select(scores, n=0, rule=rule), Circuit.empty(scores.graph))


def test_scores_are_left_alone() -> None:
    graph = Graph(2, 2)
    values = np.random.default_rng(1).normal(size=graph.mask.shape).astype(np.float32)
    before = values.copy()
    scores = EdgeScores(graph, values)
    for rule in ("top-n", "greedy"):
        select(scores, n=10, rule=rule)
    select(scores, n=2, by="nodes")
    assert (values == before).all()
    assert len(rank_edges(scores)) == graph.n_edges


def test_ranking_is_a_stable_sort() -> None:
    graph = Graph(3, 4)
    for seed, spread in ((0, 3), (1, 50), (2, 10**6)):
        values = np.random.default_rng(seed).integers(-spread, spread, size=graph.mask.shape).astype(np.float32)
        positions = np.flatnonzero(graph.mask)
        expected = positions[np.argsort(-np.abs(values.ravel()[positions]), kind="stable")]
        assert (rank_edges(EdgeScores(graph, values)) == expected).all()


def test_gpt2_xl_size_is_handled() -> None:
    graph = Graph(48, 25)
    assert graph.n_edges == 2_235_025
    scores = EdgeScores(graph, np.random.default_rng(0).normal(size=graph.mask.shape).astype(np.float32))
    _ = graph.mask, graph.destination_nodes
    for label, options in {
        "top-n": {"n": 20_000},
        "top-n, half": {"n": 1_100_000},
        "threshold": {"threshold": 2.0, "rule": "threshold"},
        "nodes": {"n": 200, "by": "nodes"},
        "greedy": {"n": 20_000, "rule": "greedy"},
        "greedy, half": {"n": 1_100_000, "rule": "greedy"},
    }.items():
        took = []
        for _ in range(3):
            start = time.thread_time()
            circuit = select(scores, **options)
            took.append(time.thread_time() - start)
        print(f"GPT-2 XL {label}: {min(took):.2f} s, {circuit.n_selected:,} → {circuit.n_kept:,}")
        assert circuit.n_kept <= circuit.n_selected
        assert min(took) < 1.0, label
    start = time.perf_counter()
    many = select_many(scores, [1000 * 2**i for i in range(10)])
    print(f"GPT-2 XL, ten sizes: {time.perf_counter() - start:.2f} s")
    assert equal(many[3], select(scores, n=8000))
