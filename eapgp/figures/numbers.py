"""The few sums that figures need: ranks, overlap, block totals. NumPy only."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.errors import OptionError
from eapgp.evaluation.agreement import pearson, spearman
from eapgp.graph import Graph
from eapgp.types import Floats

BlockRule = Literal["largest", "sum", "sum_abs"]
BlockBy = Literal["layer", "type"]
RULES: dict[str, str] = {
    "largest": "each cell is the score of largest size among its edges",
    "sum": "each cell is the sum of its edges' scores, so opposite signs cancel",
    "sum_abs": "each cell is the sum of its edges' |score|",
}


def edge_values(scores: EdgeScores) -> Floats:
    """`[edge]` scores of all edges, row by row; NaN where not scored."""
    values: Floats = np.asarray(scores.values)[scores.graph.mask]
    return values


def same_graph(first: EdgeScores, second: EdgeScores) -> None:
    """Refuse scores of two different graphs. Errors: OptionError."""
    if first.graph != second.graph:
        raise OptionError(
            f"the scores belong to different graphs ({first.graph.n_edges:,} and {second.graph.n_edges:,} edges); "
            "compare runs of models with equal layers and heads."
        )


def order_by_size(values: Floats) -> NDArray[np.int64]:
    """Indices from the largest |value| down, unscored left out; ties by position."""
    size = np.where(np.isnan(values), -np.inf, np.abs(values))
    order = np.argsort(-size, kind="stable")
    return order[: int(np.isfinite(size).sum())]


def correlations(first: Floats, second: Floats) -> tuple[float, float, int]:
    """Pearson's and Spearman's correlation over the entries both have, and how many those are."""
    both = np.isfinite(first) & np.isfinite(second)
    a, b = first[both].astype(np.float64), second[both].astype(np.float64)
    return pearson(a, b), spearman(a, b), int(both.sum())


def size_grid(n_edges: int, points: int = 60) -> NDArray[np.int64]:
    """Whole numbers from 1 to n_edges, evenly spread on a logarithmic axis."""
    return np.unique(np.round(np.geomspace(1, max(1, n_edges), points)).astype(np.int64))


def jaccard_at(first: Floats, second: Floats, ks: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """`[k]` |A ∩ B| / |A ∪ B| of the k strongest entries of each, from their ranks (NaN: not scored)."""
    worst = np.maximum(first, second)  # an entry is in both top-k sets once k reaches its worse rank
    largest = int(np.max(ks, initial=0))
    shared = np.searchsorted(np.sort(worst[worst <= largest]), ks, side="right")
    sizes = np.minimum(ks, np.isfinite(first).sum()) + np.minimum(ks, np.isfinite(second).sum())
    return np.asarray(shared / np.maximum(sizes - shared, 1), dtype=np.float64)


def row_blocks(graph: Graph, by: BlockBy) -> tuple[list[str], NDArray[np.int64]]:
    """Names and first rows of the source blocks (they are contiguous)."""
    names, starts = ["input"], [0]
    for layer in range(graph.n_layers):
        names.append(f"layer {layer}" if by == "layer" else f"a{layer}")
        starts.append(graph.head_source(layer, 0))
        if by == "type":
            names.append(f"m{layer}")
            starts.append(graph.mlp_source(layer))
    return names, np.array(starts)


def column_blocks(graph: Graph, by: BlockBy) -> tuple[list[str], NDArray[np.int64]]:
    """Names and first columns of the destination blocks (they are contiguous)."""
    names, starts = [], []
    for layer in range(graph.n_layers):
        if by == "layer":
            names.append(f"layer {layer}")
            starts.append(graph.qkv_slice(layer, "q").start)
            continue
        for letter in "qkv":
            names.append(f"a{layer} {letter}")
            starts.append(graph.qkv_slice(layer, letter).start)
        names.append(f"m{layer}")
        starts.append(graph.mlp_destination(layer))
    return [*names, "logits"], np.array([*starts, graph.n_destinations - 1])


def block_matrix(
    scores: EdgeScores, *, rule: BlockRule, by: BlockBy
) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Row names, column names and `[row block, column block]` values; NaN where no edge is.

    Errors: OptionError for an unknown rule.
    """
    if rule not in RULES:
        raise OptionError(f"rule {rule!r} is unknown: expected one of {', '.join(RULES)}.")
    graph = scores.graph
    rows, row_starts = row_blocks(graph, by)
    columns, column_starts = column_blocks(graph, by)

    def reduce(ufunc: np.ufunc, array: NDArray[Any]) -> NDArray[Any]:
        result: NDArray[Any] = ufunc.reduceat(ufunc.reduceat(array, row_starts, axis=0), column_starts, axis=1)
        return result

    values = np.where(graph.mask, np.nan_to_num(scores.values), 0.0)
    if rule == "sum":
        blocks = reduce(np.add, values)
    elif rule == "sum_abs":
        blocks = reduce(np.add, np.abs(values))
    else:
        high, low = reduce(np.maximum, values), reduce(np.minimum, values)
        blocks = np.where(-low > high, low, high)
    has_edge = reduce(np.logical_or, graph.mask & ~np.isnan(scores.values))
    return rows, columns, np.where(has_edge, blocks, np.nan)
