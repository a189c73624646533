"""What an attribution returns: edge scores, the path they were taken along, and how they were made.

Everything here is NumPy, so that reading, drawing and comparing results needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import UnknownNameError, WrongTypeError
from eapgp.graph import Graph
from eapgp.html_table import ROWS, html_table
from eapgp.types import Floats

_NEARER = "GradPath came nearer to the corrupted output on"
PATH_REMARKS = (_NEARER, "the first GradPath step raised the distance")  # how messages begin that are about the path


@dataclass(frozen=True)
class EdgeScores:
    """One number per edge. Positive: the edge supports the behaviour.

    values: `[src, dst]` in the orders of `graph`, in units of the metric, mean over pairs;
    0 where no edge is, NaN where an edge was not scored. `provenance` says how they were made.
    """

    graph: Graph
    values: Floats
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def check(cls, scores: object) -> None:
        """Errors: WrongTypeError where something else came in place of scores."""
        WrongTypeError.check("scores", scores, cls, "an attribution's are its .scores, a run's its .scores()")

    def __post_init__(self) -> None:
        expected = (self.graph.n_sources, self.graph.n_destinations)
        assert self.values.shape == expected, f"scores are {self.values.shape}, the graph is {expected}"

    @property
    def n_scored(self) -> int:
        """How many edges have a score."""
        return int((self.graph.mask & ~np.isnan(self.values)).sum())

    @cached_property
    def ranks(self) -> NDArray[np.float32]:
        """`[edge]` (row by row) rank by |score|: 1 is the strongest, ties by position; NaN where not scored.

        Whole numbers up to 16 million are exact in single precision.
        """
        size = np.abs(self.values[self.graph.mask])
        scored = np.isfinite(size)
        order = np.argsort(-np.where(scored, size, -np.inf), kind="stable")[: int(scored.sum())]
        ranks = np.full(size.shape, np.nan, dtype=np.float32)
        ranks[order] = np.arange(1, len(order) + 1)
        return ranks

    def top(self, n: int, *, absolute: bool = True) -> list[tuple[str, float]]:
        """The n edges of largest |score| (or largest score), strongest first; ties by position."""
        values = np.where(self.graph.mask & ~np.isnan(self.values), self.values, -np.inf)
        key = np.where(np.isinf(values), -np.inf, np.abs(values)) if absolute else values
        order = np.argsort(-key, axis=None, kind="stable")[: max(0, n)]
        rows, columns = np.unravel_index(order, self.values.shape)
        return [
            (self.graph.edge_name(int(r), int(c)), float(self.values[r, c]))
            for r, c in zip(rows, columns, strict=True)
            if np.isfinite(key[r, c])
        ]

    def _repr_html_(self) -> str:
        graph = self.graph
        origin = ", ".join(str(self.provenance[key]) for key in ("method", "task", "model") if key in self.provenance)
        head = f"Edge scores{': ' + origin if origin else ''}; {self.n_scored:,} of {graph.n_edges:,} edges scored"
        return html_table(head, ("edge", "score"), [(name, f"{value:+.4g}") for name, value in self.top(ROWS)])


@dataclass(frozen=True)
class SpanScores:
    """What the spans of the prompts add to the score of every edge. values: `[span, src, dst]`, 0 where no edge is;
    spans: their names. The sum over spans is the edge's score.
    """

    graph: Graph
    spans: tuple[str, ...]
    values: Floats
    method: str

    def of_edge(self, name: str) -> dict[str, float]:
        """What each span adds to one edge's score. Errors: UnknownNameError."""
        source, destination = self.graph.edge_index(name)
        return dict(zip(self.spans, self.values[:, source, destination].tolist(), strict=True))

    def at(self, span: str) -> EdgeScores:
        """What one span adds to every edge's score, as scores of edges. Errors: UnknownNameError."""
        if span not in self.spans:
            raise UnknownNameError.of("span", span, self.spans)
        provenance = {"method": self.method, "span": span}
        return EdgeScores(self.graph, self.values[self.spans.index(span)], provenance)

    def top(self, n: int) -> list[tuple[str, str, float]]:
        """The n (edge, span) of largest |score|, strongest first: edge, span, score."""
        order = np.argsort(-np.abs(self.values), axis=None, kind="stable")[: max(0, n)]
        places = zip(*np.unravel_index(order, self.values.shape), strict=True)
        return [
            (self.graph.edge_name(int(r), int(c)), self.spans[s], float(self.values[s, r, c])) for s, r, c in places
        ]


@dataclass(frozen=True)
class PathRecord:
    """What happened along an integration path. Axis `point` is 0 … k (γ_0 … γ_k).

    kind: "gradpath" or "straight".
    output_distance [point, pair]: ‖G(γ_j) − G(x′)‖² over the positions of the objective
    metric          [point, pair]: M(γ_j)
    to_corrupted    [point, pair]: ‖γ_j − x′‖
    to_clean        [point, pair]: ‖γ_j − x‖
    gradient_norm   [point, pair]: ‖∂M/∂γ_j‖; NaN where no gradient was taken (γ_0 of GradPath)
    destination_gradient [point, pair, dst]: ‖∂M/∂x_v(γ_j)‖ over positions; NaN likewise; None where not kept
    used            [point]: true where the point's gradient entered the scores
    points          [point, pair, pos, d_model] γ_j, or None where they were not kept
    step_length     [point-1, pair]: ‖γ_{j+1} − γ_j‖; None in records that were made without it
    lengths         [pair]: token count of each pair (positions beyond it are padding)
    """

    kind: str
    output_distance: Floats
    metric: Floats
    to_corrupted: Floats
    to_clean: Floats
    gradient_norm: Floats
    destination_gradient: Floats | None
    used: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    points: Floats | None = None
    step_length: Floats | None = None

    @property
    def has_gradients(self) -> bool:
        """Whether the gradients by destination were kept."""
        return self.destination_gradient is not None

    @property
    def n_points(self) -> int:
        """k + 1."""
        return int(self.output_distance.shape[0])

    def rose(self) -> NDArray[np.bool_]:
        """`[point-1, pair]` true where a step raised the distance to the corrupted output."""
        return np.diff(self.output_distance, axis=0) > 0

    def descended(self) -> NDArray[np.bool_]:
        """`[pair]` true where the path's end is nearer to the corrupted output than its start."""
        return np.asarray(self.output_distance[-1] < self.output_distance[0])

    def vanished_share(self, graph: Graph, threshold: float = 0.01) -> NDArray[np.float64]:
        """`[point, layer+1]` share of edges whose gradient is below `threshold` × its largest along the path.

        The gradient of an edge u→v is ∂M/∂x_v, so edges into one destination share it.
        Columns are the destination's layer, the last one `logits`. Mean over pairs; NaN where
        no gradient was taken. Errors: ValueError where the gradients were not kept.
        """
        norms = self.destination_gradient
        if norms is None:
            raise ValueError("the path record keeps no gradients by destination; compute the run anew")
        with np.errstate(invalid="ignore"):
            largest = np.nanmax(norms, axis=0, keepdims=True)
        small = np.where(np.isnan(norms), np.nan, norms < threshold * largest)
        share = np.full((self.n_points, graph.n_layers + 1), np.nan)
        for layer in range(graph.n_layers + 1):
            columns = graph.destination_layers == layer
            weights = graph.prefix[columns] / graph.prefix[columns].sum()
            share[:, layer] = (small[:, :, columns].mean(axis=1) * weights).sum(axis=1)
        return share


@dataclass(frozen=True)
class Attribution:
    """Result of one method on one prompt set and model.

    forward_passes, backward_passes: passes per prompt pair made for gradients (or, for `exact`,
    in forward-pass equivalents); reference_passes: passes per pair without gradient (the clean
    and corrupted runs).
    metric_clean, metric_corrupted: `[pair]`.
    paths: the record of the path that was followed, by its kind: `gradpath`, or `straight` (of `eap-ig`, `ceap`).
    pair_scores: `[pair, src, dst]` where they were asked for, else None.
    node_scores: `[src]` attribution of each node's output: Σ over its outgoing edges, which for gradients
    is the node's own; for `exact` the effect of corrupting all of them at once (see its module).
    completeness: `[pair]` the contributions' sum against the change of the metric they should add
    up to: keys "sum" and "gap"; empty where a method makes no such claim.
    right: `[pair]` whether the right answers win on the clean prompt; None in results that were made without it.
    """

    method: str
    options: dict[str, Any]
    scores: EdgeScores
    metric_clean: Floats
    metric_corrupted: Floats
    forward_passes: float
    backward_passes: float
    seconds: float
    reference_passes: float = 0
    paths: dict[str, PathRecord] = field(default_factory=dict)
    pair_scores: Floats | None = None
    node_scores: Floats | None = None
    completeness: dict[str, Floats] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    right: NDArray[np.bool_] | None = None

    @property
    def graph(self) -> Graph:
        """The graph the scores belong to."""
        return self.scores.graph

    @property
    def provenance(self) -> dict[str, Any]:
        """How the scores were made."""
        return self.scores.provenance

    def _repr_html_(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        clean, corrupted = float(np.mean(self.metric_clean)), float(np.mean(self.metric_corrupted))
        facts = (
            ("method", f"{self.method} ({options})" if options else self.method),
            ("metric, clean and corrupted", f"{clean:.4g}, {corrupted:.4g}"),
            ("pairs", f"{len(self.metric_clean):,}"),
            *(() if self.right is None else (("right answers", f"{int(self.right.sum()):,}"),)),
            ("passes per pair", f"{self.forward_passes:g} forward, {self.backward_passes:g} backward"),
            ("seconds", f"{self.seconds:.2f}"),
            *(("remark", message) for message in self.messages),
        )
        return html_table("Attribution", ("", ""), facts) + self.scores._repr_html_()


def path_remarks(paths: dict[str, PathRecord]) -> list[str]:
    """What a reader of the path should know: where GradPath does not approach the output that it heads for."""
    record = paths.get("gradpath")
    if record is None:
        return []
    first, nearer = record.rose()[0], record.descended()
    if nearer.all() and not first.any():
        return []
    away = "" if nearer.all() else "; on the others this walk moves away from it"
    raised = f" The first step raised the distance to the corrupted output on {int(first.sum())} pairs."
    return [f"{_NEARER} {int(nearer.sum())} of {nearer.size} pairs{away}.{raised if first.any() else ''}"]
