"""Edits of a circuit by hand, as a history that fits into a link. No Streamlit here.

An edit is written `add_m0~a3.h1.v`, `cut_a3.h1~logits`, `drop_a2.h1` or `back_a2.h1`; edits are joined
by commas in the order in which they were made, so that the last one can be taken back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from eapgp.attribution.result import EdgeScores
from eapgp.circuits import add_edges, exclude_nodes, prune, remove_edges, select
from eapgp.circuits.circuit import Circuit
from eapgp.graph import Graph
from eapgp.ui.base.fields import Field

Op = Literal["add", "cut", "drop", "back"]
MOST = 400
WORDS: dict[Op, str] = {
    "add": "add an edge",
    "cut": "remove an edge",
    "drop": "exclude a node",
    "back": "put a node back",
}
_NODE = r"(?:input|logits|a\d+\.h\d+|m\d+)"
_SHORT = re.compile(rf"(add|cut)_({_NODE})~({_NODE})(?:\.([qkv]))?|(drop|back)_({_NODE})")


@dataclass(frozen=True)
class Edit:
    """One change: an edge added or cut, a node dropped with all its edges or put back."""

    op: Op
    name: str

    @property
    def short(self) -> str:
        """As in a link."""
        return f"{self.op}_{self.name.replace('->', '~').replace('<', '.').replace('>', '')}"


History = tuple[Edit, ...]


@dataclass(frozen=True)
class Edits:
    """What a history amounts to: names of edges and nodes, each in one list at most."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.excluded)

    def __str__(self) -> str:
        counts = (
            (len(self.added), "edge{s} added"),
            (len(self.removed), "edge{s} removed"),
            (len(self.excluded), "node{s} excluded"),
        )
        return ", ".join(f"{n} {text.format(s='' if n == 1 else 's')}" for n, text in counts if n)


def parse(text: str) -> Edit:
    """An edit from its short form. Errors: ValueError."""
    match = _SHORT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an edit such as cut_a3.h1~logits, got {text[:40]!r}")
    op, source, target, letter, node_op, node = match.groups()
    if node_op:
        return Edit("drop" if node_op == "drop" else "back", node)
    return Edit("add" if op == "add" else "cut", f"{source}->{target}<{letter}>" if letter else f"{source}->{target}")


def _parse_all(text: str) -> History:
    parts = [part for part in text.split(",") if part]
    if len(parts) > MOST:
        raise ValueError(f"expected at most {MOST} edits")
    return tuple(parse(part) for part in parts)


FIELD = Field(
    "edits",
    (),
    _parse_all,
    "Edges added and removed and nodes excluded by hand, in order.",
    lambda history: ",".join(edit.short for edit in history),
)


def known(graph: Graph, history: Sequence[Edit]) -> tuple[History, list[str]]:
    """The edits that this graph can take, and one message for each of the others."""
    edits, problems = [], []
    for edit in history:
        fault = _fault(graph, edit)
        if fault:
            problems.append(f"The edit {edit.short!r} was left out: {fault}.")
        else:
            edits.append(edit)
    return tuple(edits), problems


def _fault(graph: Graph, edit: Edit) -> str:
    if edit.op in ("add", "cut"):
        try:
            graph.edge_index(edit.name)
        except ValueError:
            return f"this graph has no edge {edit.name}"
        return ""
    if edit.name not in graph.nodes:
        return f"this graph has no node {edit.name}"
    return "every path starts at input and ends at logits" if edit.name in ("input", "logits") else ""


def amount(history: Iterable[Edit]) -> Edits:
    """What the edits amount to; of two about one edge or node the later counts."""
    edges: dict[str, Op] = {}
    nodes: dict[str, Op] = {}
    for edit in history:
        place = edges if edit.op in ("add", "cut") else nodes
        place.pop(edit.name, None)
        place[edit.name] = edit.op
    return Edits(
        tuple(name for name, op in edges.items() if op == "add"),
        tuple(name for name, op in edges.items() if op == "cut"),
        tuple(name for name, op in nodes.items() if op == "drop"),
    )


def followed(history: History, now: Edits) -> History:
    """The history with what is new in `now` (as the picture reports it) appended."""
    before = amount(history)
    edits = [Edit("add", name) for name in now.added if name not in before.added]
    edits += [Edit("cut", name) for name in now.removed if name not in before.removed]
    edits += [Edit("drop", name) for name in now.excluded if name not in before.excluded]
    edits += [Edit("back", name) for name in before.excluded if name not in now.excluded]
    return (*history, *edits)[-MOST:]


def edited(scores: EdgeScores, n: int, edits: Edits, rule: Literal["top-n", "greedy"] = "top-n") -> Circuit:
    """The n edges that the rule selects with the edits applied, pruned to input→logits paths."""
    circuit = select(scores, n=min(n, scores.graph.n_edges), rule=rule, prune=False)
    changed = exclude_nodes(remove_edges(add_edges(circuit, edits.added), edits.removed), edits.excluded)
    selected = changed.n_kept
    return Circuit(scores.graph, prune(changed).edges, selected, f"{'top' if rule == 'top-n' else rule} {n}, edited")
