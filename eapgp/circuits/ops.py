"""Set operations on circuits, editing by hand, and tracing the paths through a node or edge.

Every function returns a new circuit and leaves its arguments alone; none prunes (call `prune`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from eapgp.circuits.circuit import Circuit, backward_reach, forward_reach, prune_edges
from eapgp.errors import InputError, OptionError, UnknownNameError
from eapgp.graph import Graph
from eapgp.types import Bools


def union(*circuits: Circuit) -> Circuit:
    """Edges in at least one of the circuits."""
    graph = _one_graph(circuits)
    return _circuit(graph, np.logical_or.reduce([c.edges for c in circuits]), _joined(circuits, "∪"))


def intersection(*circuits: Circuit) -> Circuit:
    """Edges in all of the circuits."""
    graph = _one_graph(circuits)
    return _circuit(graph, np.logical_and.reduce([c.edges for c in circuits]), _joined(circuits, "∩"))


def difference(a: Circuit, b: Circuit) -> Circuit:
    """Edges of a that are not in b."""
    return _circuit(_one_graph((a, b)), a.edges & ~b.edges, _joined((a, b), "∖"))


def symmetric_difference(a: Circuit, b: Circuit) -> Circuit:
    """Edges in exactly one of the two."""
    return _circuit(_one_graph((a, b)), a.edges ^ b.edges, _joined((a, b), "△"))


def complement(circuit: Circuit) -> Circuit:
    """Every edge of the graph that is not in the circuit."""
    return _circuit(circuit.graph, circuit.graph.mask & ~circuit.edges, f"not {circuit.name}" if circuit.name else "")


def equal(a: Circuit, b: Circuit) -> bool:
    """Same graph and the same edges; names and selected counts may differ."""
    return a.graph == b.graph and bool((a.edges == b.edges).all())


def add_edges(circuit: Circuit, names: Iterable[str]) -> Circuit:
    """With these edges (`a0.h1->m3`) added. Errors: InputError for a name that is no edge."""
    return _set_edges(circuit, names, True)


def remove_edges(circuit: Circuit, names: Iterable[str]) -> Circuit:
    """Without these edges; one that is not in the circuit is no error, one that is no edge is."""
    return _set_edges(circuit, names, False)


def exclude_nodes(circuit: Circuit, nodes: Iterable[str]) -> Circuit:
    """Without every edge into or out of these nodes (`a0.h1`, `m3`).

    Errors: UnknownNameError for another name; OptionError for `input` and `logits`, without which
    no path is left.
    """
    graph = circuit.graph
    gone = np.zeros(len(graph.nodes), dtype=bool)
    for name in nodes:
        if name in ("input", "logits"):
            raise OptionError(f"node {name!r} cannot be excluded: every path starts at input and ends at logits.")
        gone[_node_index(graph, name)] = True
    rest = circuit.edges & ~gone[:-1, None] & ~gone[graph.destination_nodes][None, :]
    return _circuit(graph, rest, circuit.name)


def add_node(circuit: Circuit, node: str) -> Circuit:
    """With every edge that joins this node to `input`, `logits` or a node of the circuit."""
    graph = circuit.graph
    index = _node_index(graph, node)
    present = np.zeros(len(graph.nodes), dtype=bool)
    present[[_node_index(graph, name) for name in (*circuit.node_names(), "input", "logits", node)]] = True
    joins = graph.mask & present[:-1, None] & present[graph.destination_nodes][None, :]
    touches = graph.destination_nodes[None, :] == index
    if index < graph.n_sources:
        touches = touches | (np.arange(graph.n_sources) == index)[:, None]
    return _circuit(graph, circuit.edges | (joins & touches), circuit.name)


def trace(circuit: Circuit, through: str) -> Circuit:
    """All input→logits paths of the circuit that run through one node or edge.

    through: a node (`a0.h1`), one of a head's inputs (`a0.h1<q>`) or an edge (`m0->a1.h0<v>`).
    Empty where the circuit has no such path. Errors: InputError for a name that is none of these.
    """
    graph, edges = circuit.graph, circuit.edges
    crossing = np.zeros_like(edges)
    if "->" in through:
        row, column = graph.edge_index(through)
        crossing[row, column] = True
        first, last = row, int(graph.destination_nodes[column])
    elif "<" in through:
        column = graph.destination_index(through)
        first = last = int(graph.destination_nodes[column])
        others = graph.destination_nodes == last
        others[column] = False
        edges = edges & ~others[None, :]
    else:
        first = last = _node_index(graph, through)
    if (crossing & ~edges).any() or not _complete(graph, edges, first, last):
        return _circuit(graph, np.zeros_like(edges), f"through {through}")
    around = _leads_to(graph, edges, first) | _follows(graph, edges, last)
    return _circuit(graph, edges & around | crossing, f"through {through}")


def _complete(graph: Graph, edges: Bools, first: int, last: int) -> bool:
    """Whether `input` reaches node `first` and node `last` reaches `logits`."""
    reaches = backward_reach(graph, edges, [len(graph.nodes) - 1])
    return bool(forward_reach(graph, edges, [0])[first] and reaches[last])


def _leads_to(graph: Graph, edges: Bools, node: int) -> Bools:
    """`[src, dst]` positions on a path from `input` to the node."""
    forward, backward = forward_reach(graph, edges, [0]), backward_reach(graph, edges, [node])
    return forward[:-1, None] & backward[graph.destination_nodes][None, :]


def _follows(graph: Graph, edges: Bools, node: int) -> Bools:
    """`[src, dst]` positions on a path from the node to `logits`."""
    forward = forward_reach(graph, edges, [node])
    backward = backward_reach(graph, edges, [len(graph.nodes) - 1])
    return forward[:-1, None] & backward[graph.destination_nodes][None, :]


def is_pruned(circuit: Circuit) -> bool:
    """Whether every edge lies on an input→logits path."""
    return bool((prune_edges(circuit.graph, circuit.edges) == circuit.edges).all())


def _set_edges(circuit: Circuit, names: Iterable[str], value: bool) -> Circuit:
    edges = circuit.edges.copy()
    for name in names:
        edges[circuit.graph.edge_index(name)] = value
    return _circuit(circuit.graph, edges, circuit.name)


def _node_index(graph: Graph, name: str) -> int:
    if name == "logits":
        return len(graph.nodes) - 1
    try:
        return graph.source_index(name)
    except UnknownNameError:
        raise UnknownNameError.of("node", name, graph.nodes) from None


def _circuit(graph: Graph, edges: Bools, name: str) -> Circuit:
    return Circuit(graph, edges, int(edges.sum()), name)


def _joined(circuits: Iterable[Circuit], sign: str) -> str:
    names = [c.name for c in circuits]
    return f" {sign} ".join(names) if all(names) else ""


def _one_graph(circuits: tuple[Circuit, ...]) -> Graph:
    if not circuits:
        raise InputError("a set operation needs at least one circuit; got none.")
    first = circuits[0].graph
    for other in circuits[1:]:
        if other.graph != first:
            raise InputError(f"circuits of one graph are needed; got {describe(first)} and {describe(other.graph)}.")
    return first


def describe(graph: Graph) -> str:
    """One phrase that tells graphs apart: layers × heads, and parallel blocks if so."""
    kind = ", parallel blocks" if graph.parallel else ""
    return f"a graph of {graph.n_layers} layers × {graph.n_heads} heads{kind} ({graph.n_edges:,} edges)"
