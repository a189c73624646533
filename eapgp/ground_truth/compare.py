"""Scores and circuits against a circuit that is known: precision, recall, ROC.

Edges are ranked by |score| (or by score). Nodes are the heads and MLPs, ranked by the strongest edge
into or out of them, or by scores of their own; `input` and `logits` are in every circuit and do
not count. What was not scored (NaN) is ranked last.

A manual circuit is somebody's reading, not the truth about the network: heads that it leaves out can
matter, and its edge lists differ between sources. Planted circuits are known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.ops import describe
from eapgp.circuits.select import select_many
from eapgp.errors import OptionError, UnknownNameError
from eapgp.graph import Graph
from eapgp.ground_truth.manual import GroundTruth
from eapgp.types import Bools, Floats

Level = Literal["edges", "nodes"]


@dataclass(frozen=True)
class Overlap:
    """A found circuit against a true one, at one level. Undefined shares are NaN.

    precision = hits / n_found, recall = hits / n_true, f1 = their harmonic mean.
    """

    level: str
    n_found: int
    n_true: int
    hits: int

    @property
    def precision(self) -> float:
        """Share of what was found that is true."""
        return self.hits / self.n_found if self.n_found else float("nan")

    @property
    def recall(self) -> float:
        """Share of what is true that was found."""
        return self.hits / self.n_true if self.n_true else float("nan")

    @property
    def f1(self) -> float:
        """2 · hits / (n_found + n_true)."""
        total = self.n_found + self.n_true
        return 2 * self.hits / total if total else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """For JSON: undefined shares are None."""
        shares = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {**vars(self), **{key: None if np.isnan(value) else value for key, value in shares.items()}}


@dataclass(frozen=True)
class SizeOverlap:
    """The circuit of one size against the true one, for edges and nodes."""

    n_selected: int
    n_kept: int
    edges: Overlap
    nodes: Overlap

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "n_selected": self.n_selected,
            "n_kept": self.n_kept,
            "edges": self.edges.to_dict(),
            "nodes": self.nodes.to_dict(),
        }


@dataclass(frozen=True)
class Roc:
    """How well a ranking tells true from other edges or nodes.

    false_positive_rate, true_positive_rate: `[threshold]` from (0, 0) to (1, 1); a whole group of
    ties enters at once, so auroc = P(true above other) + ½ P(tie). precision: `[threshold]`, NaN at
    the first point. average_precision: Σ precision · step in recall (0.5 is not its chance level:
    that is n_true / n). thresholds: the key at which each point includes everything, first +∞.
    NaN where nothing or everything is true.
    """

    level: str
    false_positive_rate: Floats
    true_positive_rate: Floats
    precision: Floats
    thresholds: Floats
    auroc: float
    average_precision: float
    n_true: int
    n: int

    def to_dict(self) -> dict[str, Any]:
        """The numbers, without the curves, for JSON."""
        numbers = {"auroc": self.auroc, "average_precision": self.average_precision}
        plain = {key: None if np.isnan(value) else value for key, value in numbers.items()}
        return {"level": self.level, **plain, "n_true": self.n_true, "n": self.n}


def precision_recall(
    found: Circuit | EdgeScores, truth: Circuit | GroundTruth, *, level: Level = "edges", mlps: bool = True
) -> Overlap:
    """Precision and recall of a circuit, or of scores' top edges, as many as the truth has.

    mlps: with False, edges and nodes that are MLPs are left out on both sides, as Hanna et al. 2024
    do for IOI.
    Errors: OptionError when the graphs differ.
    """
    reference = _reference(truth, found.graph)
    if isinstance(found, EdgeScores):
        (found,) = select_many(found, [reference.n_kept], prune=False)
    counted = _counted(found.graph, level, mlps)
    members, true = _members(found, level) & counted, _members(reference, level) & counted
    return Overlap(level, int(members.sum()), int(true.sum()), int((members & true).sum()))


def precision_recall_at(
    scores: EdgeScores,
    truth: Circuit | GroundTruth,
    sizes: Sequence[int],
    *,
    absolute: bool = True,
    prune: bool = True,
    mlps: bool = True,
) -> list[SizeOverlap]:
    """Precision and recall of the circuits of several sizes. Errors: as `select_many`."""
    reference = _reference(truth, scores.graph)
    return [
        SizeOverlap(
            circuit.n_selected,
            circuit.n_kept,
            precision_recall(circuit, reference, level="edges", mlps=mlps),
            precision_recall(circuit, reference, level="nodes", mlps=mlps),
        )
        for circuit in select_many(scores, sizes, absolute=absolute, prune=prune)
    ]


def roc(
    scores: EdgeScores,
    truth: Circuit | GroundTruth,
    *,
    level: Level = "edges",
    absolute: bool = True,
    mlps: bool = True,
    node_scores: NDArray[np.floating[Any]] | None = None,
    node_rule: Literal["max", "sum"] = "max",
) -> Roc:
    """ROC of the ranking against the truth.

    absolute: rank by |score|, else by the score. node_scores: `[src]`, used for `level="nodes"`;
    without them a node's key is the largest (or, by `node_rule`, the sum) over its edges.
    Errors: OptionError when the graphs or the node scores do not fit; UnknownNameError.
    """
    reference = _reference(truth, scores.graph)
    counted = _counted(scores.graph, level, mlps)
    if level == "edges":
        key = np.abs(scores.values) if absolute else scores.values
    else:
        key = _node_key(scores, absolute, node_scores, node_rule)
    ranked = np.where(np.isnan(key), -np.inf, key).astype(np.float64)
    return rank_curve(ranked[counted], _members(reference, level)[counted], level)


def rank_curve(key: Floats, true: Bools, level: str) -> Roc:
    """ROC of `[item]` keys, higher = more likely true; ties enter together."""
    order = np.argsort(-key, kind="stable")
    key, true = key[order], true[order]
    last = np.append(np.flatnonzero(key[1:] != key[:-1]), len(key) - 1) if len(key) else np.zeros(0, dtype=np.int64)
    hits, seen = np.cumsum(true)[last], last + 1
    n_true, n = int(true.sum()), len(true)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr = np.append(0.0, hits / n_true if n_true else np.full(len(last), np.nan))
        fpr = np.append(0.0, (seen - hits) / (n - n_true) if n > n_true else np.full(len(last), np.nan))
    precision = np.append(np.nan, hits / seen)
    return Roc(
        level=level,
        false_positive_rate=fpr,
        true_positive_rate=tpr,
        precision=precision,
        thresholds=np.append(np.inf, key[last]),
        auroc=float(np.trapezoid(tpr, fpr)),
        average_precision=float((np.diff(tpr) * precision[1:]).sum()) if n_true else float("nan"),
        n_true=n_true,
        n=n,
    )


def _reference(truth: Circuit | GroundTruth, graph: Graph) -> Circuit:
    reference = truth.circuit if isinstance(truth, GroundTruth) else truth
    if reference.graph != graph:
        owner = f"the manual circuit {truth.name}" if isinstance(truth, GroundTruth) else "the true circuit"
        model = " of GPT-2 small" if isinstance(truth, GroundTruth) else ""
        raise OptionError(f"{owner} belongs to {describe(reference.graph)}{model}; got {describe(graph)}.")
    return reference


def _members(circuit: Circuit, level: Level) -> Bools:
    """`[src, dst]` or `[node]`: what the circuit holds."""
    if level == "edges":
        return circuit.edges
    names = set(circuit.node_names())
    return np.array([name in names for name in circuit.graph.nodes])


def _counted(graph: Graph, level: Level, mlps: bool) -> Bools:
    """`[src, dst]` or `[node]`: what is compared at all."""
    if level not in get_args(Level):
        raise UnknownNameError.of("level", level, get_args(Level))
    is_mlp = np.array([name.startswith("m") for name in graph.nodes])
    if level == "nodes":
        inner = np.array([name not in ("input", "logits") for name in graph.nodes])
        return inner if mlps else inner & ~is_mlp
    if mlps:
        return graph.mask
    return graph.mask & ~is_mlp[:-1, None] & ~is_mlp[graph.destination_nodes][None, :]


def _node_key(
    scores: EdgeScores, absolute: bool, node_scores: NDArray[np.floating[Any]] | None, rule: str
) -> NDArray[np.floating[Any]]:
    """`[node]` ranking key; NaN where nothing at a node is scored."""
    graph = scores.graph
    if node_scores is not None:
        if node_scores.shape != (graph.n_sources,):
            raise OptionError(
                f"node scores must have shape ({graph.n_sources},), one per source; got {node_scores.shape}."
            )
        return np.append(np.abs(node_scores) if absolute else node_scores, np.nan)
    if rule not in ("max", "sum"):
        raise UnknownNameError.of("node rule", rule, ("max", "sum"))
    scored = graph.mask & ~np.isnan(scores.values)
    values = np.abs(scores.values) if absolute else scores.values
    combine, nothing = (np.maximum, -np.inf) if rule == "max" else (np.add, 0.0)
    filled = np.where(scored, values, nothing)
    key = np.append(combine.reduce(filled, axis=1), nothing)
    combine.at(key, graph.destination_nodes, combine.reduce(filled, axis=0))
    touched = np.append(scored.any(axis=1), False)
    np.logical_or.at(touched, graph.destination_nodes, scored.any(axis=0))
    return np.where(touched, key, np.nan)
