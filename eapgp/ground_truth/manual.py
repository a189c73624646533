"""Circuits of GPT-2 small that people found by hand, written as rules between classes of nodes.

Sources, by the name used below:

- Wang et al. 2022, "Interpretability in the Wild", arXiv:2211.00593: the 26 heads of indirect object
  identification in seven classes (their Figure 2) and what each class reads and writes;
- Hanna, Liu & Variengien 2023, "How does GPT-2 compute greater-than?", arXiv:2305.00586: the nodes
  of the greater-than circuit and their four groups;
- Conmy et al. 2023, "Towards Automated Circuit Discovery" (ACDC), arXiv:2304.14997: both circuits
  as edges, in the reference sets of its code;
- Hanna, Pezzelle & Belinkov 2024, "Have Faith in Faithfulness", arXiv:2403.17806: both circuits as
  the edges against which its Figure 6 compares.

The sources agree on most nodes and disagree on edges, so each reading is a variant of its own. A
rule joins every source to every destination wherever the graph has such an edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eapgp.circuits.circuit import Circuit
from eapgp.errors import UnknownNameError
from eapgp.graph import Graph
from eapgp.ground_truth import roles as role
from eapgp.ground_truth.roles import Role

GPT2_SMALL = Graph(12, 12, d_model=768)

Nodes = tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """Every source feeds every destination, a head through these of its inputs (q, k, v)."""

    sources: Nodes
    destinations: Nodes
    letters: str = ""


@dataclass(frozen=True)
class GroundTruth:
    """One reading of a manual circuit of GPT-2 small.

    roles: `node → Role` of its heads and MLPs.
    """

    task: str
    variant: str
    title: str
    source: str
    note: str
    rules: tuple[Rule, ...]
    roles: Mapping[str, Role]

    @property
    def name(self) -> str:
        """`task/variant`."""
        return f"{self.task}/{self.variant}"

    @property
    def graph(self) -> Graph:
        """GPT-2 small's graph."""
        return GPT2_SMALL

    @cached_property
    def circuit(self) -> Circuit:
        """The edges that the rules give."""
        edges = np.zeros_like(GPT2_SMALL.mask)
        for rule in self.rules:
            rows = [GPT2_SMALL.source_index(name) for name in rule.sources]
            columns = [
                GPT2_SMALL.destination_index(full) for name in rule.destinations for full in _inputs(name, rule.letters)
            ]
            edges[np.ix_(rows, columns)] = True
        edges &= GPT2_SMALL.mask
        return Circuit(GPT2_SMALL, edges, int(edges.sum()), self.name)


def _inputs(node: str, letters: str) -> list[str]:
    return [f"{node}<{letter}>" for letter in letters] if node.startswith("a") else [node]


def _mlps(first: int, last: int) -> Nodes:
    return tuple(f"m{layer}" for layer in range(first, last + 1))


INPUT, LOGITS = ("input",), ("logits",)

NAME_MOVER = ("a9.h6", "a9.h9", "a10.h0")
BACKUP = ("a9.h0", "a9.h7", "a10.h1", "a10.h2", "a10.h6", "a10.h10", "a11.h2", "a11.h9")
NEGATIVE = ("a10.h7", "a11.h10")
S_INHIBITION = ("a7.h3", "a7.h9", "a8.h6", "a8.h10")
INDUCTION = ("a5.h5", "a5.h8", "a5.h9", "a6.h9")
DUPLICATE = ("a0.h1", "a0.h10", "a3.h0")
PREVIOUS = ("a2.h2", "a4.h11")
ENDING = NAME_MOVER + BACKUP + NEGATIVE
"""The heads that write at the last position, from which the answer is read."""
IOI_HEADS = ENDING + S_INHIBITION + INDUCTION + DUPLICATE + PREVIOUS

_LAYER_9_MOVERS = ("a9.h0", "a9.h6", "a9.h7", "a9.h9")
_LATER_MOVERS = tuple(head for head in NAME_MOVER + BACKUP if head not in _LAYER_9_MOVERS)

_IOI_SHARED = (
    Rule(INPUT, DUPLICATE + PREVIOUS, "qkv"),
    Rule(INPUT, ENDING, "kv"),
    Rule(INDUCTION, S_INHIBITION, "kv"),
    Rule(S_INHIBITION, ENDING, "q"),
    Rule(ENDING, LOGITS),
)
_IOI_HANNA = (
    *_IOI_SHARED,
    Rule(INPUT, S_INHIBITION, "qkv"),
    Rule(DUPLICATE, INDUCTION, "kv"),
    Rule(PREVIOUS, INDUCTION, "q"),
    Rule(INDUCTION, INDUCTION, "q"),
    Rule(_LAYER_9_MOVERS, _LATER_MOVERS, "q"),
    Rule(("a9.h7",), ("m11",)),
    Rule(("m11",), LOGITS),
)
_IOI_ACDC = (
    *_IOI_SHARED,
    Rule(INPUT, S_INHIBITION, "q"),
    Rule(PREVIOUS, INDUCTION, "kv"),
    Rule(DUPLICATE, S_INHIBITION, "kv"),
)
_ALL_MLPS = _mlps(0, 11)
_IOI_ACDC_FULL = (
    *_IOI_ACDC,
    Rule(INPUT, LOGITS),
    Rule(INPUT + IOI_HEADS + _ALL_MLPS, _ALL_MLPS),
    Rule(_ALL_MLPS, IOI_HEADS, "qkv"),
    Rule(_ALL_MLPS, LOGITS),
)

EARLY_HEADS = ("a0.h1", "a0.h3", "a0.h5")
EARLY_MLPS, LATE_MLPS = _mlps(0, 3), _mlps(8, 11)
MID_HEADS_ACDC = ("a5.h5", "a6.h1", "a6.h9", "a7.h10", "a8.h11", "a9.h1")
MID_HEADS_HANNA = (*MID_HEADS_ACDC, "a5.h1", "a8.h8")


def _greater_than(mid_heads: Nodes) -> tuple[Rule, ...]:
    """What both readings of greater-than share, for their own set of mid heads."""
    return (
        Rule(INPUT, EARLY_HEADS, "qkv"),
        Rule((*INPUT, "a0.h1", *EARLY_MLPS), EARLY_MLPS),
        Rule(EARLY_HEADS + EARLY_MLPS, mid_heads, "qkv"),
        Rule(mid_heads + LATE_MLPS, LATE_MLPS + LOGITS),
    )


_GREATER_THAN_ACDC = (
    *_greater_than(MID_HEADS_ACDC),
    Rule(_mlps(0, 7), _mlps(4, 8)),
    Rule(_mlps(4, 8), MID_HEADS_ACDC, "q"),
)

_IOI_ROLES = {
    role.NAME_MOVER: NAME_MOVER,
    role.BACKUP: BACKUP,
    role.NEGATIVE: NEGATIVE,
    role.S_INHIBITION: S_INHIBITION,
    role.INDUCTION: INDUCTION,
    role.DUPLICATE: DUPLICATE,
    role.PREVIOUS: PREVIOUS,
}
_GREATER_THAN_ROLES = {
    role.EARLY_HEAD: EARLY_HEADS,
    role.EARLY_MLP: EARLY_MLPS,
    role.MID_HEAD: MID_HEADS_HANNA,
    role.LATE_MLP: LATE_MLPS,
}


def _by_node(classes: Mapping[Role, Nodes]) -> dict[str, Role]:
    return {node: kind for kind, nodes in classes.items() for node in nodes}


_WANG = "Wang et al. 2022, arXiv:2211.00593"
_HANNA_2023 = "Hanna et al. 2023, arXiv:2305.00586"
_HANNA_2024 = "Hanna et al. 2024, arXiv:2403.17806"
_ACDC = "Conmy et al. 2023, arXiv:2304.14997"

_ALL = (
    GroundTruth(
        "ioi",
        "hanna2024",
        "Indirect object identification, as in Hanna et al. 2024",
        f"{_WANG}; edges as in {_HANNA_2024}",
        "26 heads and m11. Induction heads are fed by duplicate token heads (k, v) and previous token heads (q); "
        "layer-9 name movers feed the queries of later ones. That comparison leaves MLPs out.",
        _IOI_HANNA,
        _by_node({**_IOI_ROLES, role.IOI_MLP: ("m11",)}),
    ),
    GroundTruth(
        "ioi",
        "acdc_core",
        "Indirect object identification, class to class, as in ACDC",
        f"{_WANG}; edges as in {_ACDC}",
        "26 heads, no MLP: the connections between classes that ACDC's code states.",
        _IOI_ACDC,
        _by_node(_IOI_ROLES),
    ),
    GroundTruth(
        "ioi",
        "acdc_full",
        "Indirect object identification with every MLP, as in ACDC",
        f"{_WANG}; edges as in {_ACDC}",
        "The class-to-class connections, input→logits and every edge between an MLP and input, logits, an MLP or one "
        "of the 26 heads: ACDC never removes MLPs from its reference. Derived by reading that code, not by running it.",
        _IOI_ACDC_FULL,
        _by_node({**_IOI_ROLES, role.IOI_MLP: _ALL_MLPS}),
    ),
    GroundTruth(
        "greater-than",
        "hanna2024",
        "Greater-than, as in Hanna et al. 2024",
        f"{_HANNA_2023}; edges as in {_HANNA_2024}",
        "Eight mid heads (with a5.h1 and a8.h8) and eight MLPs.",
        _greater_than(MID_HEADS_HANNA),
        _by_node(_GREATER_THAN_ROLES),
    ),
    GroundTruth(
        "greater-than",
        "acdc",
        "Greater-than, as in ACDC",
        f"{_HANNA_2023}; edges as in {_ACDC}",
        "Six mid heads; the MLPs up to m8 feed each other and, from m4 on, the mid heads' queries.",
        _GREATER_THAN_ACDC,
        _by_node({**_GREATER_THAN_ROLES, role.MID_HEAD: MID_HEADS_ACDC, role.MIDDLE_MLP: _mlps(4, 7)}),
    ),
)

GROUND_TRUTHS: dict[str, GroundTruth] = {truth.name: truth for truth in _ALL}


def ground_truth(name: str) -> GroundTruth:
    """A manual circuit by `task/variant`; a task alone gives its first variant (hanna2024).

    Errors: UnknownNameError for another name.
    """
    if name in GROUND_TRUTHS:
        return GROUND_TRUTHS[name]
    first = next((truth for truth in _ALL if truth.task == name), None)
    if first is None:
        raise UnknownNameError.of("manual circuit", name, GROUND_TRUTHS)
    return first


def roles(name: str) -> dict[str, Role]:
    """`node → Role` of a manual circuit, by task or `task/variant`."""
    return dict(ground_truth(name).roles)
