"""What the pages know about the circuit on screen: its size, what is selected, and its edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import streamlit as st

from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import By, node_attribution, select, select_many, select_nodes
from eapgp.figures.circuit_view.payload import ROLE_COLORS, assign_roles
from eapgp.figures.circuit_view.payload import Role as ViewRole
from eapgp.graph import Graph
from eapgp.ground_truth import GPT2_SMALL, GROUND_TRUTHS, roles
from eapgp.numerals import percent
from eapgp.readings.role_table import ROLES
from eapgp.runs.info import RunInfo
from eapgp.ui.jobs import server
from eapgp.ui.library import results

if TYPE_CHECKING:
    from eapgp.ground_truth import Role
    from eapgp.readings import HeadRoles
    from eapgp.readings.roles import Measure

DEFAULT_EDGES = 50
LARGE = 5_000
"""Edges of a graph above which its 50 strongest mostly lead nowhere."""
USUAL_SIZES = (50, 75, 100, 150, 200, 300, 500)
KEPT_SHARE = 0.75
Rule = Literal["top-n", "greedy"]
RULE_TITLES = {"top-n": "Strongest", "greedy": "Grown"}
USUAL_TEXT = (
    "Strongest: the edges of largest |score|. Grown: from the logits, always the strongest edge into a node that is "
    f"connected already, so that fewer lead nowhere. Graphs of more than {LARGE:,} edges open grown, with the first of "
    f"{', '.join(map(str, USUAL_SIZES[:-1]))} and {USUAL_SIZES[-1]} edges of which three quarters are kept; smaller "
    f"ones with the {DEFAULT_EDGES} strongest."
)


@dataclass(frozen=True)
class Selected:
    """A node or an edge of the graph by name; neither where nothing is selected."""

    node: str = ""
    edge: str = ""

    def __bool__(self) -> bool:
        return bool(self.node or self.edge)

    @property
    def name(self) -> str:
        """The name of what is selected."""
        return self.edge or self.node


def selected(graph: Graph, name: str) -> Selected:
    """What a name means in this graph; nothing where it means nothing."""
    if "->" in name:
        try:
            graph.edge_index(name)
        except ValueError:
            return Selected()
        return Selected(edge=name)
    return Selected(node=name) if name in graph.nodes else Selected()


def usual_rule(graph: Graph) -> Rule:
    """The rule by which a page selects edges where nobody has chosen one (`USUAL_TEXT`)."""
    return "greedy" if graph.n_edges > LARGE else "top-n"


def usual_size(scores: EdgeScores) -> int:
    """The size of the circuit that a page opens with (`USUAL_TEXT`)."""
    if usual_rule(scores.graph) == "top-n" or not np.nan_to_num(scores.values[scores.graph.mask]).any():
        return DEFAULT_EDGES
    circuits = select_many(scores, USUAL_SIZES, rule="greedy")
    fitting = [size for size, one in zip(USUAL_SIZES, circuits, strict=True) if one.n_kept >= KEPT_SHARE * size]
    return fitting[0] if fitting else USUAL_SIZES[-1]


@st.cache_resource(max_entries=64, show_spinner=False)
def _usual_size(content: str, _scores: EdgeScores) -> int:
    return usual_size(_scores)


def usual_size_of(card: RunInfo, scores: EdgeScores) -> int:
    """`usual_size` of a run, remembered."""
    return _usual_size(card.run.content, scores)


@st.cache_resource(max_entries=64, show_spinner=False)
def _circuit(content: str, n: int, rule: Rule, _scores: EdgeScores) -> Circuit:
    return select(_scores, n=n, rule=rule)


def circuit_of(card: RunInfo, scores: EdgeScores, n: int, rule: Rule | None = None) -> Circuit:
    """The n edges of a run that a rule selects (None: the graph's usual one), pruned to input→logits paths."""
    return _circuit(card.run.content, min(n, scores.graph.n_edges), rule or usual_rule(scores.graph), scores)


def circuits_of(card: RunInfo, sizes: Callable[[int], list[int]], by: By) -> list[Circuit]:
    """A run's strongest circuits by edges or nodes; sizes: of how many of each, given how many there are."""
    result = results.attribution(card)
    if by == "edges":
        return [circuit_of(card, result.scores, size, "top-n") for size in sizes(card.graph.n_edges)]
    scored = int(np.isfinite(node_attribution(result.scores, result.node_scores)).sum())
    return select_nodes(result.scores, sizes(scored), result.node_scores)


def known_roles(card: RunInfo) -> dict[str, str]:
    """Roles of nodes from the manual circuits: trained GPT-2 small on a task that people took apart; else none."""
    tasks = {truth.task for truth in GROUND_TRUTHS.values()}
    if card.task not in tasks or card.graph != GPT2_SMALL or card.untrained or not _is_gpt2(card.model):
        return {}
    return {node: role.title for node, role in roles(card.task).items()}


def known_role(card: RunInfo, node: str) -> Role | None:
    """The role of one node, where a manual circuit names it."""
    if node not in known_roles(card):
        return None
    return roles(card.task)[node]


ROLE_COLOURS = {
    **dict(zip(("answer", "subject", "distractor", "duplicate-token"), ROLE_COLORS, strict=False)),
    "previous-token": ROLE_COLORS[4],
    "induction": ROLE_COLORS[5],
    "current-token": ROLE_COLORS[7],
    "copying": "#2E7D5B",
    "suppression": "#AD3A6B",
    "position-only": ROLE_COLORS[6],
    "first-position": "#B0B0B0",
}
"""Of the chips, by the name of a role."""


def roles_key(card: RunInfo) -> str:
    """Key of the job that measures the roles of a run's heads."""
    return f"roles-{card.id}"


def measured_roles(card: RunInfo) -> HeadRoles | None:
    """The roles of a run's heads, where they have been measured since the server started."""
    job = server.job(roles_key(card))
    measured: HeadRoles | None = job.result if job is not None and job.state == "done" else None
    return measured


def drawn_roles(card: RunInfo, *, measured: bool) -> list[ViewRole]:
    """What the boxes of the graph say: the roles measured of the heads, if so asked, else those of a manual circuit."""
    heads = measured_roles(card) if measured else None
    if heads is None:
        return assign_roles(known_roles(card))
    first = {node: role.name for node, role in heads.first().items()}
    members = {name: tuple(node for node, own in first.items() if own == name) for name in ROLES}
    return [
        ViewRole(role.short, members[name], ROLE_COLOURS[name], role.title)
        for name, role in ROLES.items()
        if members[name]
    ]


def said_of_heads(card: RunInfo) -> dict[str, list[str]]:
    """Head → its roles in words, for the graph's tooltips; nothing until they are measured."""
    measured = measured_roles(card)
    return {} if measured is None else {node: [in_short(one) for one in measured.of(node)] for node in measured.heads}


def in_short(one: Measure) -> str:
    """A role and its number; the sign of percent is never broken off."""
    return f"{one.role.title} ({percent(one.value)})".replace(" %", "\u00a0%")


def _is_gpt2(model: str) -> bool:
    """Whether a model goes by GPT-2 small's name: other models have graphs of the same size."""
    return model.rstrip("/").rpartition("/")[2].lower() in ("gpt2", "gpt2-small")


def score_of(scores: EdgeScores, edge: str) -> float:
    """The score of a named edge."""
    row, column = scores.graph.edge_index(edge)
    return float(scores.values[row, column])


def rank_of(scores: EdgeScores, edge: str) -> int:
    """1 for the largest |score|."""
    value = abs(score_of(scores, edge))
    sizes = np.abs(scores.values[scores.graph.mask])
    return int((sizes > value).sum()) + 1


def node_score(result: Attribution, node: str) -> tuple[float, int]:
    """A node's own score and its rank by size among sources; for `logits` Σ of the incoming edges, rank 0.

    Without node scores a node is worth Σ of its outgoing edges. What is not known counts as 0.
    """
    graph = result.graph
    values = np.where(graph.mask, np.nan_to_num(result.scores.values), 0.0)
    if node == "logits":
        return float(values[:, graph.destination_nodes == graph.nodes.index(node)].sum()), 0
    sums = values.sum(axis=1) if result.node_scores is None else np.nan_to_num(result.node_scores)
    own = float(sums[graph.source_index(node)])
    return own, int((np.abs(sums) > abs(own)).sum()) + 1


def four_lists(scores: EdgeScores, node: str, *, n: int = 6) -> Mapping[str, pd.DataFrame]:
    """Strongest edges of a node: into it and out of it, supporting and working against.

    Keys: "in+", "in-", "out+", "out-"; columns edge, score. `input` has no incoming edges and
    `logits` no outgoing ones.
    """
    graph = scores.graph
    lists = {}
    for side in ("in", "out"):
        allowed = graph.mask.copy()
        if side == "in":
            allowed &= (graph.destination_nodes == graph.nodes.index(node))[None, :]
        elif node == "logits":
            allowed[:] = False
        else:
            allowed &= (np.arange(graph.n_sources) == graph.source_index(node))[:, None]
        for sign in ("+", "-"):
            lists[side + sign] = _strongest(scores, allowed, 1.0 if sign == "+" else -1.0, n)
    return lists


def _strongest(scores: EdgeScores, allowed: Any, sign: float, n: int) -> pd.DataFrame:
    rows, columns = np.nonzero(allowed & (np.nan_to_num(scores.values) * sign > 0))
    values = scores.values[rows, columns]
    order = np.argsort(-np.abs(values), kind="stable")[:n]
    names = [scores.graph.edge_name(int(rows[i]), int(columns[i])) for i in order]
    return pd.DataFrame({"edge": names, "score": values[order].astype(float)})
