"""What the readers share: the result of reading a file, checks of its parts, one-line errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.errors import FormatError
from eapgp.graph import Graph
from eapgp.types import Bools, Floats

Reader = Callable[[Path, bytes, Graph | None], "Content"]

MAX_POSITIONS = 40_000_000
"""Largest [src, dst] matrix that a file may ask for; a hostile header must not fill the memory."""


@dataclass(frozen=True)
class Content:
    """What one file holds.

    values: `[src, dst]` NaN where the file has no score. in_graph: `[src, dst]`, or None where the
    file does not say which edges are in the circuit. node_scores: `[src]`, NaN where there is none.
    """

    graph: Graph
    values: Floats
    in_graph: Bools | None = None
    node_scores: Floats | None = None


@dataclass(frozen=True)
class Imported:
    """Scores, and the circuit and node scores where the file holds them."""

    scores: EdgeScores
    circuit: Circuit | None
    node_scores: Floats | None
    format: str

    def negated(self) -> Imported:
        """The same with the sign of every edge and node score turned; the circuit stays.

        For files in which a negative score means that the edge helps. 0 stays 0, not −0.
        """
        provenance = {**self.scores.provenance, "negated": True}
        nodes = None if self.node_scores is None else 0.0 - self.node_scores
        scores = EdgeScores(self.scores.graph, 0.0 - self.scores.values, provenance)
        return replace(self, scores=scores, node_scores=nodes)

    def top_nodes(self, n: int) -> list[tuple[str, float]]:
        """The n nodes of largest |score|, strongest first; none where the file scores no node."""
        values = np.full(0, np.nan) if self.node_scores is None else self.node_scores
        order = np.argsort(-np.abs(values), kind="stable")[: max(0, n)]
        return [(self.scores.graph.sources[i], float(values[i])) for i in order.tolist() if not np.isnan(values[i])]

    def check_scored(self, *, edges: bool = False) -> None:
        """Errors: FormatError where nothing is scored; with `edges`, where no edge is."""
        name = self.scores.provenance["file"]
        if self.scores.n_scored:
            return
        if self.node_scores is None or np.isnan(self.node_scores).all():
            raise FormatError(f"{name}: it holds no score of an edge or a node; expected numbers, got NaN throughout.")
        if edges:
            raise FormatError(
                f"{name}: it scores nodes but no edge, and edges are what is needed here. "
                "Its node circuits: eapgp evaluate --scores FILE, eapgp export --scores FILE --nodes N."
            )


def problem(path: Path, text: str) -> FormatError:
    """A FormatError that starts with the file's name."""
    return FormatError(f"{path.name}: {text}")


def check_unpacked(path: Path, size: int, limit: int) -> None:
    """Errors: FormatError where what a compressed file unpacks to is more than its graph can need."""
    if size > limit:
        raise problem(
            path,
            f"refused before unpacking: {size:,} bytes, where scores of its graph take at most {limit:,}. "
            "Write the file anew with nothing but the scores.",
        )


def short(value: object, limit: int = 60) -> str:
    """One line of at most `limit` characters that shows a value from a file."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def graph_of_cfg(path: Path, cfg: object) -> Graph:
    """The graph of a MIB `cfg` object. Errors: FormatError for missing, wrong or huge sizes."""
    if not isinstance(cfg, Mapping):
        raise problem(path, f"cfg must be an object with n_layers and n_heads; got {short(cfg)}.")
    sizes = [_whole(path, cfg, key, needed) for key, needed in (("n_layers", 1), ("n_heads", 1), ("d_model", 0))]
    parallel = cfg.get("parallel_attn_mlp", False)
    if not isinstance(parallel, (bool, np.bool_)):
        raise problem(path, f"cfg.parallel_attn_mlp must be true or false; got {short(parallel)}.")
    graph = Graph(sizes[0], sizes[1], bool(parallel), sizes[2])
    positions = graph.n_sources * graph.n_destinations
    if positions > MAX_POSITIONS:
        raise problem(
            path,
            f"cfg asks for {short(sizes[0])} layers × {short(sizes[1])} heads, more than the {MAX_POSITIONS:,} "
            "source × destination positions that a file may have; check n_layers and n_heads.",
        )
    return graph


def _whole(path: Path, cfg: Mapping[str, Any], key: str, smallest: int) -> int:
    if key not in cfg and smallest > 0:
        raise problem(path, f"cfg has no {key}; expected n_layers, n_heads, parallel_attn_mlp and d_model.")
    value = cfg.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < smallest:
        raise problem(path, f"cfg.{key} must be a whole number of at least {smallest}; got {short(value)}.")
    return int(value)


def positions_of(
    path: Path, graph: Graph, sources: Sequence[str], destinations: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of named edges. Errors: FormatError naming the first that is no edge."""
    row_of = {name: i for i, name in enumerate(graph.sources)}
    column_of = {name: i for i, name in enumerate(graph.destinations)}
    try:
        rows = np.fromiter((row_of[name] for name in sources), dtype=np.int64, count=len(sources))
        columns = np.fromiter((column_of[name] for name in destinations), dtype=np.int64, count=len(destinations))
    except (KeyError, TypeError):
        pairs = zip(sources, destinations, strict=True)
        left, right = next((s, d) for s, d in pairs if s not in row_of or d not in column_of)
        raise problem(
            path,
            f"unknown edge {short(f'{left}->{right}')} for a graph of {graph.n_layers} layers × "
            f"{graph.n_heads} heads; expected names such as 'input->a0.h0<q>' or 'm0->logits'.",
        ) from None
    wrong = np.flatnonzero(~graph.mask[rows, columns])
    if len(wrong):
        first = int(wrong[0])
        raise problem(
            path,
            f"edge {short(f'{sources[first]}->{destinations[first]}')} does not exist: its destination "
            "is read before its source is written. Check cfg (parallel_attn_mlp) and the direction.",
        )
    return rows, columns


def numbers(path: Path, values: Sequence[object], what: Callable[[int], str]) -> NDArray[np.float64]:
    """Float64 array of numbers read from a file; None and NaN become NaN.

    Errors: FormatError naming the first (`what(index)`) that is no finite number.
    """
    if not {type(v) for v in values} <= {float, int, type(None)}:
        first = next(i for i, v in enumerate(values) if type(v) not in (float, int, type(None)))
        raise problem(path, f"{what(first)} must be a number; got {short(values[first])}.")
    try:
        array = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    except OverflowError:
        raise problem(path, "a score is too large for a float64 number.") from None
    infinite = np.flatnonzero(np.isinf(array))
    if len(infinite):
        raise problem(path, f"{what(int(infinite[0]))} must be finite (NaN means unscored); got {array[infinite[0]]}.")
    return array


def scatter(graph: Graph, rows: NDArray[np.int64], columns: NDArray[np.int64], values: Floats) -> Floats:
    """`[src, dst]` with NaN where an edge got no value and 0 where no edge is."""
    matrix = np.where(graph.mask, np.nan, 0.0)
    matrix[rows, columns] = values
    return matrix
