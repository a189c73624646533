"""Set operations, editing and tracing, against Python sets of edge names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eapgp.circuits import (
    Circuit,
    add_edges,
    add_node,
    complement,
    difference,
    equal,
    exclude_nodes,
    intersection,
    remove_edges,
    symmetric_difference,
    trace,
    union,
)
from eapgp.errors import InputError, OptionError, UnknownNameError
from eapgp.graph import Graph


def some(graph: Graph, seed: int, density: float) -> Circuit:
    edges = graph.mask & (np.random.default_rng(seed).random(graph.mask.shape) < density)
    return Circuit(graph, edges, int(edges.sum()), f"c{seed}")


GRAPHS = st.builds(Graph, st.integers(1, 2), st.integers(1, 2), st.booleans())


def paths(edges: list[str]) -> list[list[str]]:
    found, unfinished = [], [([], "input")]
    while unfinished:
        path, node = unfinished.pop()
        if node == "logits":
            found.append(path)
            continue
        for edge in edges:
            source, destination = edge.split("->")
            if source == node:
                unfinished.append(([*path, edge], destination.split("<")[0]))
    return found


def nodes_on(path: list[str]) -> set[str]:
    return {part.split("<")[0] for edge in path for part in edge.split("->")}


@settings(max_examples=60, deadline=None)
@given(GRAPHS, st.integers(0, 999), st.integers(0, 999))
def test_set_operations_are_those_of_sets(graph: Graph, first: int, second: int) -> None:
    a, b = some(graph, first, 0.5), some(graph, second, 0.5)
    x, y, everything = set(a.edge_names()), set(b.edge_names()), set(graph.edge_names())
    assert set(union(a, b).edge_names()) == x | y
    assert set(intersection(a, b).edge_names()) == x & y
    assert set(difference(a, b).edge_names()) == x - y
    assert set(symmetric_difference(a, b).edge_names()) == x ^ y
    assert set(complement(a).edge_names()) == everything - x
    assert union(a, b).n_selected == len(x | y)
    assert equal(a, b) == (x == y)
    assert equal(complement(complement(a)), a)
    three = some(graph, first + second + 1, 0.5)
    assert set(union(a, b, three).edge_names()) == x | y | set(three.edge_names())
    assert set(intersection(a, b, three).edge_names()) == x & y & set(three.edge_names())


def test_names_of_combined_circuits() -> None:
    graph = Graph(1, 1)
    a, b = Circuit.full(graph), Circuit.empty(graph)
    assert union(a, b).name == "full ∪ empty"
    assert difference(a, b).name == "full ∖ empty"
    assert complement(a).name == "not full"
    assert union(a, Circuit.of_names(graph, [])).name == ""


def test_circuits_of_different_graphs_do_not_mix() -> None:
    a, b = Circuit.full(Graph(1, 2)), Circuit.full(Graph(1, 2, parallel=True))
    with pytest.raises(InputError, match=r"1 layers × 2 heads \(13 edges\) and .* parallel blocks \(11 edges\)"):
        union(a, b)
    assert not equal(a, b)
    with pytest.raises(InputError, match="at least one circuit"):
        union()


def test_editing_edges() -> None:
    graph = Graph(2, 2)
    circuit = Circuit.of_names(graph, ["input->a0.h0<q>", "m0->a1.h1<v>"], "mine")
    more = add_edges(circuit, ["m1->logits", "input->a0.h0<q>"])
    assert set(more.edge_names()) == {"input->a0.h0<q>", "m0->a1.h1<v>", "m1->logits"}
    assert (more.name, more.n_selected, more.n_kept) == ("mine", 3, 3)
    less = remove_edges(more, ["m0->a1.h1<v>", "input->m0"])
    assert set(less.edge_names()) == {"input->a0.h0<q>", "m1->logits"}
    assert circuit.n_kept == 2, "editing must leave its argument alone"
    with pytest.raises(InputError, match="does not exist"):
        add_edges(circuit, ["m1->a0.h0<q>"])
    with pytest.raises(UnknownNameError, match=r"unknown source node 'a9\.h9'"):
        remove_edges(circuit, ["a9.h9->logits"])


@settings(max_examples=40, deadline=None)
@given(GRAPHS, st.integers(0, 999))
def test_excluded_nodes_have_no_edges(graph: Graph, seed: int) -> None:
    circuit = some(graph, seed, 0.7)
    gone = ["a0.h0", "m0"]
    kept = exclude_nodes(circuit, gone)
    assert set(kept.edge_names()) == {e for e in circuit.edge_names() if not nodes_on([e]) & set(gone)}


def test_input_and_logits_cannot_be_excluded() -> None:
    for node in ("input", "logits"):
        with pytest.raises(OptionError, match=f"{node!r} cannot be excluded"):
            exclude_nodes(Circuit.full(Graph(1, 1)), [node])
    with pytest.raises(UnknownNameError, match="unknown node 'm7'"):
        exclude_nodes(Circuit.full(Graph(1, 1)), ["m7"])


def test_adding_a_node_joins_it_to_the_circuit() -> None:
    graph = Graph(2, 2)
    circuit = Circuit.of_names(graph, ["input->m0", "m0->logits"])
    grown = add_node(circuit, "a1.h1")
    assert set(grown.edge_names()) == {
        "input->m0",
        "m0->logits",
        *(f"{source}->a1.h1<{letter}>" for source in ("input", "m0") for letter in "qkv"),
        "a1.h1->logits",
    }
    alone = add_node(Circuit.empty(graph), "a0.h1")
    assert set(alone.edge_names()) == {*(f"input->a0.h1<{x}>" for x in "qkv"), "a0.h1->logits"}
    assert set(add_node(circuit, "logits").edge_names()) == {"input->m0", "m0->logits", "input->logits"}
    with pytest.raises(UnknownNameError, match="unknown node 'a1'"):
        add_node(circuit, "a1")


@settings(max_examples=120, deadline=None)
@given(GRAPHS, st.integers(0, 9999), st.sampled_from([0.15, 0.3, 0.5]), st.data())
def test_trace_is_the_union_of_the_paths_through(graph: Graph, seed: int, density: float, data: st.DataObject) -> None:
    circuit = some(graph, seed, density)
    every = paths(circuit.edge_names())
    node = data.draw(st.sampled_from(graph.nodes))
    expected = {e for path in every if node in nodes_on(path) for e in path}
    assert set(trace(circuit, node).edge_names()) == expected
    edge = data.draw(st.sampled_from(graph.edge_names()))
    assert set(trace(circuit, edge).edge_names()) == {e for path in every if edge in path for e in path}
    destination = data.draw(st.sampled_from([d for d in graph.destinations if "<" in d]))
    through = [path for path in every if any(e.endswith("->" + destination) for e in path)]
    assert set(trace(circuit, destination).edge_names()) == {e for path in through for e in path}


def test_trace_refuses_what_is_no_node() -> None:
    with pytest.raises(UnknownNameError, match="unknown node 'head3'"):
        trace(Circuit.full(Graph(1, 1)), "head3")
    with pytest.raises(UnknownNameError, match="unknown destination"):
        trace(Circuit.full(Graph(1, 1)), "a0.h3<q>")
