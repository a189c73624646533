"""Scores and circuits of (edge, span) as files: one JSON object, or a table that spreadsheets read.

JSON: {"format": "eapgp spans 1", "method", "cfg": {…}, "spans": [names], "scores": {edge: [a number for each span]},
"kept": {edge: [names of spans]}}; `kept` only where a circuit is written. CSV: edge, span, score and, with a circuit,
kept (1 or 0); CSV is not read back, since it does not say its graph.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eapgp import strict_json
from eapgp.attribution.result import SpanScores
from eapgp.circuits.spans import SpanCircuit
from eapgp.errors import FormatError
from eapgp.formats.common import MAX_POSITIONS, graph_of_cfg, numbers, positions_of, problem, short
from eapgp.graph import Graph
from eapgp.types import Bools, Floats, Ints

VERSION = "eapgp spans 1"
ENDINGS = (".json", ".csv")


def write_spans(path: Path, scores: SpanScores, circuit: SpanCircuit | None = None) -> Path:
    """Write scores of (edge, span), and which of them a circuit keeps; the ending says the format.

    Errors: FormatError for another ending than .json and .csv, OSError where it cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise FormatError(f"{path.name}: expected a name that ends in {' or '.join(ENDINGS)}.")
    text = _json(scores, circuit) if path.suffix == ".json" else _csv(scores, circuit)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read_spans(path: Path) -> tuple[SpanScores, SpanCircuit | None]:
    """Read what `write_spans` wrote as JSON. Errors: FormatError in one line for whatever is wrong with the file."""
    try:
        values = strict_json.loads(path.read_bytes())
    except (ValueError, UnicodeDecodeError) as error:
        raise problem(path, f"expected JSON of scores by span: {error}.") from None
    if not isinstance(values, dict) or values.get("format") != VERSION:
        raise problem(path, f"expected an object with format {VERSION!r}; write it with `eapgp positions --write`.")
    spans, graph = values.get("spans"), graph_of_cfg(path, values.get("cfg"))
    if not isinstance(spans, list) or not spans or len(set(map(str, spans))) < len(spans):
        raise problem(path, f"spans must be a list of different names; got {short(spans)}.")
    if len(spans) * graph.mask.size > MAX_POSITIONS:
        raise problem(path, f"{len(spans):,} spans of {graph.n_edges:,} edges are more than a file may have.")
    names = tuple(map(str, spans))
    scores = SpanScores(graph, names, _values(path, graph, names, values.get("scores")), str(values.get("method", "")))
    if "kept" not in values:
        return scores, None
    edges = _kept(path, graph, names, values["kept"])
    selected = values.get("selected")
    return scores, SpanCircuit(graph, names, edges, selected if type(selected) is int else int(edges.sum()))


def _values(path: Path, graph: Graph, spans: tuple[str, ...], listed: Any) -> Floats:
    """`[span, src, dst]` scores. Errors: FormatError unless every edge has a number for every span."""
    if not isinstance(listed, dict) or len(listed) != graph.n_edges:
        came = f"{len(listed):,} of them" if isinstance(listed, dict) else short(listed)
        raise problem(path, f"scores must hold all {graph.n_edges:,} edges; got {came}.")
    rows, columns = _places(path, graph, listed)
    found = np.zeros((len(spans), *graph.mask.shape))
    for (name, row), at in zip(listed.items(), zip(rows, columns, strict=True), strict=True):
        if not isinstance(row, list) or len(row) != len(spans):
            raise problem(path, f"scores of {short(name)} must be {len(spans)} numbers; got {short(row)}.")
        found[(slice(None), *at)] = numbers(path, row, partial(_which, name))
    if np.isnan(found).any():
        raise problem(path, "a score is null: expected a number for every edge and span.")
    return found.astype(np.float32)


def _which(edge: str, place: int) -> str:
    return f"score {place + 1} of {short(edge)}"


def _kept(path: Path, graph: Graph, spans: tuple[str, ...], kept: Any) -> Bools:
    """`[span, src, dst]` which (edge, span) a circuit keeps. Errors: FormatError."""
    if not isinstance(kept, dict):
        raise problem(path, f"kept must be spans by edge; got {short(kept)}.")
    rows, columns = _places(path, graph, kept)
    edges = np.zeros((len(spans), *graph.mask.shape), dtype=bool)
    for (name, some), row, column in zip(kept.items(), rows, columns, strict=True):
        if not isinstance(some, list) or not set(map(str, some)) <= set(spans):
            raise problem(path, f"kept, {short(name)}: expected names among {', '.join(spans)}; got {short(some)}.")
        for span in some:
            edges[spans.index(span), row, column] = True
    return edges


def _places(path: Path, graph: Graph, names: Iterable[str]) -> tuple[Ints, Ints]:
    ends = [name.partition("->") for name in names]
    return positions_of(path, graph, [left for left, _, _ in ends], [right for _, _, right in ends])


def _edges(scores: SpanScores) -> list[tuple[str, int, int]]:
    graph = scores.graph
    return [(graph.edge_name(int(r), int(c)), int(r), int(c)) for r, c in np.argwhere(graph.mask)]


def _json(scores: SpanScores, circuit: SpanCircuit | None) -> str:
    values: dict[str, Any] = {
        "format": VERSION,
        "method": scores.method,
        "cfg": scores.graph.to_dict(),
        "spans": list(scores.spans),
        "scores": {name: scores.values[:, row, column].tolist() for name, row, column in _edges(scores)},
    }
    if circuit is not None:
        values["selected"] = circuit.n_selected
        values["kept"] = {
            name: [span for at, span in enumerate(circuit.spans) if circuit.edges[at, row, column]]
            for name, row, column in _edges(scores)
            if circuit.edges[:, row, column].any()
        }
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(scores: SpanScores, circuit: SpanCircuit | None) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["edge", "span", "score", *([] if circuit is None else ["kept"])])
    for name, row, column in _edges(scores):
        for at, span in enumerate(scores.spans):
            kept = [] if circuit is None else [int(circuit.edges[circuit.spans.index(span), row, column])]
            table.writerow([name, span, repr(float(scores.values[at, row, column])), *kept])
    return out.getvalue()
