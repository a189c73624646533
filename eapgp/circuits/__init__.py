"""Circuits: selecting edges by score, pruning, set operations, editing by hand."""

from eapgp.circuits.circuit import Circuit, prune
from eapgp.circuits.ops import (
    add_edges,
    add_node,
    complement,
    difference,
    equal,
    exclude_nodes,
    intersection,
    is_pruned,
    remove_edges,
    symmetric_difference,
    trace,
    union,
)
from eapgp.circuits.select import RULES, greedy_order, rank_edges, select, select_many

__all__ = [
    "RULES",
    "Circuit",
    "add_edges",
    "add_node",
    "complement",
    "difference",
    "equal",
    "exclude_nodes",
    "greedy_order",
    "intersection",
    "is_pruned",
    "prune",
    "rank_edges",
    "remove_edges",
    "select",
    "select_many",
    "symmetric_difference",
    "trace",
    "union",
]
