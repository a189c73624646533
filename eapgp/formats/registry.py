"""Reading and writing by format: the suffix decides unless the format is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.ops import describe
from eapgp.errors import GraphNeededError, OptionError, UnknownNameError
from eapgp.formats import dot, mib_json, mib_pt, tables, xml_graphs
from eapgp.formats.common import Content, Imported, Reader, problem
from eapgp.graph import Graph
from eapgp.types import Floats


@dataclass(frozen=True)
class Format:
    """A file format.

    `every_edge`: the file always lists every edge; else it can be limited to a circuit's.
    `drawing`: made for drawing, so that only the circuit's edges are written when one is given.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    node_scores: bool
    every_edge: bool
    drawing: bool


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("mib-json", "MIB circuit track, JSON", (".json",), True, True, False),
        Format("mib-pt", "MIB circuit track, PyTorch tensors", (".pt",), True, True, False),
        Format("graphml", "GraphML (yEd, Cytoscape)", (".graphml",), True, False, True),
        Format("gexf", "GEXF (Gephi)", (".gexf",), True, False, True),
        Format("dot", "DOT (Graphviz)", (".dot", ".gv"), True, False, True),
        Format("csv", "Edge table, CSV", (".csv",), False, False, False),
        Format("parquet", "Edge table, Parquet", (".parquet",), True, False, False),
    )
}
_READERS: dict[str, Reader] = {
    "mib-json": mib_json.read,
    "mib-pt": mib_pt.read,
    "graphml": xml_graphs.read_graphml,
    "gexf": xml_graphs.read_gexf,
    "dot": dot.read,
    "csv": tables.read_csv,
    "parquet": tables.read_parquet,
}
_PICKLED = (".pkl", ".pickle", ".joblib", ".npy", ".npz", ".bin", ".ckpt", ".pth")


def format_of(path: str | Path, format: str | None = None) -> Format:
    """The named format, else that of the suffix. Errors: UnknownNameError, FormatError."""
    if format is not None:
        if format not in FORMATS:
            raise UnknownNameError.of("format", format, FORMATS)
        return FORMATS[format]
    suffix = Path(path).suffix.lower()
    for candidate in FORMATS.values():
        if suffix in candidate.suffixes:
            return candidate
    suffixes = ", ".join(s for f in FORMATS.values() for s in f.suffixes)
    why = " Pickled files could run code when they are read and are refused." if suffix in _PICKLED else ""
    raise problem(Path(path), f"unknown suffix {suffix!r}: expected one of {suffixes}, or name the format.{why}")


def read_file(path: str | Path, *, format: str | None = None, graph: Graph | None = None) -> Imported:
    """Scores, circuit and node scores of a file.

    graph: the graph the file must belong to; a CSV that lists only some edges needs it.
    Errors: FormatError (one line, starting with the file's name) for whatever is wrong with it.
    """
    path = Path(path)
    name = format_of(path, format).name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise problem(path, f"cannot be read: {error.strerror or error}.") from None
    content = _read(name, path, data, graph)
    if graph is not None and content.graph != graph:
        raise problem(path, f"it belongs to {describe(content.graph)}; expected {describe(graph)}.")
    provenance: dict[str, Any] = {
        "file": path.name,
        "format": name,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    circuit = None
    if content.in_graph is not None:
        circuit = Circuit(content.graph, content.in_graph, int(content.in_graph.sum()), path.stem)
    scores = EdgeScores(content.graph, content.values, provenance)
    return Imported(scores, circuit, content.node_scores, name)


def read_with(path: str | Path, graph_of: Callable[[], Graph | None], *, format: str | None = None) -> Imported:
    """As `read_file`; `graph_of` is asked for the graph only where the file does not say which it belongs to."""
    try:
        return read_file(path, format=format)
    except GraphNeededError:
        graph = graph_of()
        if graph is None:
            raise
        return read_file(path, format=format, graph=graph)


def _read(name: str, path: Path, data: bytes, graph: Graph | None) -> Content:
    return _READERS[name](path, data, graph)


def read_scores(path: str | Path, *, format: str | None = None, graph: Graph | None = None) -> EdgeScores:
    """Edge scores of a file: `[src, dst]`, in the file's own units and sign; NaN where it has none.

    format: a name of `FORMATS`, else the suffix decides. graph: what the scores belong to, for formats
    that do not say (CSV, Parquet, GraphML); without it the node names decide.

    Errors: UnknownNameError for an unknown suffix; FormatError for a file that cannot be read, or whose
    reading could run code (pickles are refused).
    """
    return read_file(path, format=format, graph=graph).scores


def read_circuit(path: str | Path, *, format: str | None = None, graph: Graph | None = None) -> Circuit:
    """The circuit of a file: its edges that are marked as in the graph."""
    imported = read_file(path, format=format, graph=graph)
    if imported.circuit is None:
        raise problem(Path(path), "it holds scores but not which edges are in the circuit; expected a column in_graph.")
    return imported.circuit


def write_scores(
    scores: EdgeScores,
    path: str | Path,
    *,
    circuit: Circuit | None = None,
    node_scores: Floats | None = None,
    format: str | None = None,
    only_circuit: bool | None = None,
    title: str = "",
) -> Path:
    """Write scores and which edges the circuit holds (without one: all of them). Gives the path.

    only_circuit: leave the other edges out; by default the drawing formats (GraphML, GEXF, DOT) do
    so when a circuit is given, and the MIB formats always list every edge. node_scores: `[src]`.
    title: shown by DOT.
    Errors: OptionError when the format cannot hold what is asked; FormatError when the file cannot
    be written.
    """
    EdgeScores.check(scores)
    path, graph = Path(path), scores.graph
    target = format_of(path, format)
    _check_write(target, graph, circuit, node_scores, only_circuit)
    if only_circuit is None:
        only_circuit = target.drawing and circuit is not None
    marked = circuit or Circuit.full(graph)
    scored = graph.mask & (~np.isnan(scores.values) | marked.edges) if target.drawing else graph.mask
    listed = marked.edges if only_circuit else scored
    writers = {
        "mib-json": mib_json.write,
        "mib-pt": mib_pt.write,
        "graphml": partial(xml_graphs.write, listed=listed, kind="graphml"),
        "gexf": partial(xml_graphs.write, listed=listed, kind="gexf"),
        "dot": partial(dot.write, listed=listed, title=title),
        "csv": partial(tables.write_csv, listed=listed),
        "parquet": partial(tables.write_parquet, listed=listed),
    }
    try:
        writers[target.name](path, scores, marked, node_scores)  # type: ignore[operator]
    except OSError as error:
        raise problem(path, f"cannot be written: {error.strerror or error}.") from None
    return path


def _check_write(
    target: Format, graph: Graph, circuit: Circuit | None, node_scores: Floats | None, only_circuit: bool | None
) -> None:
    if circuit is not None and circuit.graph != graph:
        raise OptionError(
            f"scores and circuit must share a graph; got {describe(graph)} and {describe(circuit.graph)}."
        )
    if node_scores is not None and not target.node_scores:
        raise OptionError(f"the format {target.name} holds no node scores; choose another format or leave them out.")
    if node_scores is not None and node_scores.shape != (graph.n_sources,):
        raise OptionError(f"node scores must have shape ({graph.n_sources},), one per source; got {node_scores.shape}.")
    if only_circuit and (target.every_edge or circuit is None):
        reason = f"{target.name} lists every edge" if target.every_edge else "no circuit is given"
        raise OptionError(f"only_circuit cannot be used here: {reason}.")


def write_circuit(circuit: Circuit, path: str | Path, *, format: str | None = None) -> Path:
    """Write a circuit that has no scores: each kept edge scores 1, every other 0."""
    scores = EdgeScores(circuit.graph, circuit.edges.astype(np.float64))
    return write_scores(scores, path, circuit=circuit, format=format)
