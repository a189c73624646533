"""Edge tables: CSV, Parquet and the data frame that the dashboard shows.

Columns of the files: source, destination (`a0.h1<q>`), type (q, k, v, mlp, logits), layer (of the
destination; `logits` is the number of layers), score (empty where unscored), in_graph. Source,
destination and score are needed when reading; a destination `a0.h1` with the type q is read too.

A CSV of every edge tells the graph's sizes by its rows. One of fewer edges carries them in the columns n_layers,
n_heads, parallel_attn_mlp and d_model; where those are absent the caller gives the graph. Parquet files
written here carry them, and node scores, as metadata.

Capitals in the header do not count; `edge` (`input->a0.h0<q>`) stands for source and destination, and what graph
programs write for source -> target, weight. Marks between the cells, decimals and truth values: `eapgp.sheet`.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.errors import FormatError, GraphNeededError
from eapgp.formats.common import (
    MAX_POSITIONS,
    Content,
    check_unpacked,
    graph_of_cfg,
    numbers,
    positions_of,
    problem,
    scatter,
    short,
)
from eapgp.graph import QKV, Graph
from eapgp.sheet import TRUTH, decode, delimited, number
from eapgp.strict_json import check_amount
from eapgp.types import Bools, Floats, Ints

if TYPE_CHECKING:
    import pandas
    import pyarrow.parquet

NEEDED = ("source", "destination", "score")
SIZES = ("n_layers", "n_heads", "parallel_attn_mlp", "d_model")
METADATA = b"eapgp"
MAX_COLUMNS = 256
MAX_NAME = 64
"""Characters of the longest name of a node, and bytes per row and column that a table may unpack to."""
OVERHEAD = 2**20
ALIASES = {"src": "source", "from": "source", "dst": "destination", "to": "destination", "target": "destination"}
ALIASES |= {"weight": "score", "value": "score"}
"""Other names of the columns: short ones, and those of edge tables of graph programs."""
_NODE = re.compile(r"a(\d{1,6})\.h(\d{1,6})|m(\d{1,6})")


def edge_table(scores: EdgeScores, circuit: Circuit | None = None, n: int | None = None) -> pandas.DataFrame:
    """One row per scored edge, strongest |score| first (ties by position), at most n rows.

    Columns: rank (from 1), edge, source, destination, type, source_layer (`input` is −1), layer (of
    the destination), score, magnitude, and in_graph where a circuit is given.
    """
    import pandas

    graph = scores.graph
    rows, columns = np.nonzero(graph.mask & ~np.isnan(scores.values))
    magnitude = np.abs(scores.values[rows, columns]).astype(np.float64)
    order = np.argsort(-magnitude, kind="stable")[:n]
    rows, columns, magnitude = rows[order], columns[order], magnitude[order]
    names = _names(graph, rows, columns)
    data: dict[str, Any] = {
        "rank": np.arange(1, len(rows) + 1),
        "edge": names["source"] + "->" + names["destination"],
        **names,
        "source_layer": graph.source_layers[rows],
        "layer": graph.destination_layers[columns],
        "score": scores.values[rows, columns].astype(np.float64),
        "magnitude": magnitude,
    }
    if circuit is not None:
        data["in_graph"] = circuit.edges[rows, columns]
    return pandas.DataFrame(data)


def _names(graph: Graph, rows: Ints, columns: Ints) -> dict[str, NDArray[np.object_]]:
    return {
        "source": np.array(graph.sources, dtype=object)[rows],
        "destination": np.array(graph.destinations, dtype=object)[columns],
        "type": np.array(graph.destination_types, dtype=object)[columns],
    }


def _file_table(scores: EdgeScores, circuit: Circuit, listed: Bools) -> pandas.DataFrame:
    import pandas

    graph = scores.graph
    rows, columns = np.nonzero(listed)
    return pandas.DataFrame(
        {
            **_names(graph, rows, columns),
            "layer": graph.destination_layers[columns],
            "score": scores.values[rows, columns].astype(np.float64),
            "in_graph": circuit.edges[rows, columns],
        }
    )


def write_csv(path: Path, scores: EdgeScores, circuit: Circuit, node_scores: Floats | None, *, listed: Bools) -> None:
    """Write the listed edges, row by row; scores read back to the same float64."""
    assert node_scores is None
    table = _file_table(scores, circuit, listed)
    if not np.array_equal(listed, scores.graph.mask):
        table = table.assign(**scores.graph.to_dict())
    table.to_csv(path, index=False, lineterminator="\n")


def write_parquet(
    path: Path, scores: EdgeScores, circuit: Circuit, node_scores: Floats | None, *, listed: Bools
) -> None:
    """Write the listed edges, with the graph's sizes and node scores as metadata."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pandas(_file_table(scores, circuit, listed), preserve_index=False)
    nodes = None if node_scores is None else [None if np.isnan(v) else float(v) for v in node_scores]
    note = json.dumps({"cfg": scores.graph.to_dict(), "node_scores": nodes}).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), METADATA: note})
    pyarrow.parquet.write_table(table, path)


def read_csv(path: Path, data: bytes, graph: Graph | None = None) -> Content:
    """Scores and, with the column in_graph, the circuit."""
    import pandas

    sheet = delimited(decode(data, path.name))
    width = 1 + max(line.count(sheet.mark) for line in (*islice(io.StringIO(sheet.text), 2), ""))
    if width > MAX_COLUMNS:
        raise problem(path, f"{width:,} columns are more than the {MAX_COLUMNS} that a table may have.")
    try:
        table = pandas.read_csv(io.StringIO(sheet.text), dtype=str, keep_default_na=False, sep=sheet.mark)
    except (ValueError, pandas.errors.ParserError) as error:
        raise problem(path, f"not a readable CSV table ({short(str(error).strip())}).") from None
    if not isinstance(table.index, pandas.RangeIndex):
        raise problem(path, f"its rows have more cells than its header; expected {', '.join(NEEDED)} and no others.")
    table = _named(path, table)
    if {*NEEDED} <= {*table.columns}:
        table = _filled(table)
        table = table.assign(score=_scores(path, table["score"].tolist(), decimal_comma=sheet.decimal_comma))
    return _content(path, table, graph, None)


def _filled(table: pandas.DataFrame) -> pandas.DataFrame:
    """Without the rows that a spreadsheet left empty."""
    return table[~(table[list(NEEDED)].astype(object) == "").all(axis=1)]


def _named(path: Path, table: pandas.DataFrame) -> pandas.DataFrame:
    """The table with its columns by their own names, and an edge that stands in one cell in two."""
    spelled = [str(name).strip().lower() for name in table.columns]
    names = [name if ALIASES.get(name) in spelled else ALIASES.get(name, name) for name in spelled]
    twice = sorted({name for name in names if names.count(name) > 1 and name in (*NEEDED, "type", "in_graph", "edge")})
    if twice:
        raise problem(path, f"column {twice[0]!r} occurs twice in the header; rename or remove one.")
    table = table.set_axis(names, axis=1)
    if "edge" in names and not {"source", "destination"} & set(names):
        ends = [str(edge).partition("->") for edge in table["edge"]]
        table = table.assign(source=[end[0].strip() for end in ends], destination=[end[2].strip() for end in ends])
    return table


def read_parquet(path: Path, data: bytes, graph: Graph | None = None) -> Content:
    """Scores, and the circuit and node scores where the file holds them."""
    import pyarrow
    import pyarrow.parquet

    columns = (*NEEDED, "type", "in_graph")
    try:
        schema = pyarrow.parquet.read_schema(io.BytesIO(data))
        names = [name for name in columns if name in schema.names]
        nested = next((name for name in names if pyarrow.types.is_nested(schema.field(name).type)), None)
        if nested is not None:
            raise problem(path, f"column {nested!r} holds lists; expected one name or number per row.")
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data), read_dictionary=names)
        note = (schema.metadata or {}).get(METADATA)
        own, nodes = _metadata(path, note) if note is not None else (graph, None)
        _check_footer(path, file, columns, own)
        labels = file.read(columns=[name for name in names if name in ("source", "destination", "type")])
        _check_labels(path, labels)
        table = file.read(columns=names).to_pandas()
    except FormatError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise problem(path, f"not a readable Parquet table ({short(str(error).strip())}).") from None
    return _content(path, table, own, nodes)


def _check_footer(path: Path, file: pyarrow.parquet.ParquetFile, columns: Sequence[str], graph: Graph | None) -> None:
    """Errors: FormatError where the footer announces more than the scores of a graph can need."""
    footer = file.metadata
    most = graph.n_edges if graph is not None else MAX_POSITIONS // 2  # about half of the positions are edges
    if footer.num_rows > most:
        raise problem(path, f"{footer.num_rows:,} rows are more than the {most:,} edges that it may list.")
    if footer.num_columns > MAX_COLUMNS:
        raise problem(path, f"{footer.num_columns:,} columns are more than the {MAX_COLUMNS} that a table may have.")
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(footer.num_columns)]
    size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)
    check_unpacked(path, size, footer.num_rows * len(columns) * MAX_NAME + OVERHEAD)


def _check_labels(path: Path, labels: pyarrow.Table) -> None:
    """Errors: FormatError where names are too long, or too few for the rows to be different edges.

    labels: dictionary-encoded, so that a name that stands in every row is held once.
    """
    distinct = []
    for name, column in zip(labels.column_names, labels.columns, strict=True):
        values = {value for chunk in column.chunks for value in getattr(chunk, "dictionary", chunk).to_pylist()}
        longest = max((len(value) for value in values if isinstance(value, str)), default=0)
        if longest > MAX_NAME:
            raise problem(path, f"column {name!r}: a name of {longest:,} characters; nodes have at most {MAX_NAME}.")
        distinct.append(max(1, len(values)))
    if math.prod(distinct) < labels.num_rows:
        raise problem(path, f"{labels.num_rows:,} rows name fewer edges; keep one row per edge.")


def _metadata(path: Path, note: bytes) -> tuple[Graph, Floats | None]:
    try:
        check_amount(note)
        document = json.loads(note)
        cfg, listed = document["cfg"], document.get("node_scores")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise problem(path, "its 'eapgp' metadata is damaged; write the file anew.") from None
    graph = graph_of_cfg(path, cfg)
    if listed is None:
        return graph, None
    if not isinstance(listed, list) or len(listed) != graph.n_sources:
        raise problem(path, f"node_scores must be a list of {graph.n_sources} numbers; got {short(listed)}.")
    return graph, numbers(path, listed, lambda i: f"the score of node {graph.sources[i]!r}")


def _content(path: Path, table: pandas.DataFrame, graph: Graph | None, nodes: Floats | None) -> Content:
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        listed = ", ".join(map(str, list(table.columns)[:10])) or "none"
        raise problem(path, f"column {missing[0]!r} is missing; expected {', '.join(NEEDED)}, got {short(listed)}.")
    table = _filled(table)
    sources, destinations = table["source"].tolist(), _destinations(table)
    graph = _own_graph(path, table) or graph or _graph_of_every_edge(path, sources, destinations)
    rows, columns = positions_of(path, graph, sources, destinations)
    flat = rows * graph.n_destinations + columns
    if len(np.unique(flat)) < len(flat):
        ordered, counts = np.unique(flat, return_counts=True)
        row, column = divmod(int(ordered[counts > 1][0]), graph.n_destinations)
        raise problem(path, f"edge {graph.edge_name(row, column)!r} is listed more than once; keep one row per edge.")
    values = scatter(
        graph, rows, columns, numbers(path, table["score"].tolist(), lambda i: f"row {i + 1}, column score")
    )
    in_graph = None
    if "in_graph" in table.columns:
        in_graph = np.zeros_like(graph.mask)
        in_graph[rows, columns] = _flags(path, table["in_graph"].tolist())
    return Content(graph, values, in_graph, nodes)


def _destinations(table: pandas.DataFrame) -> list[str]:
    destinations = table["destination"].tolist()
    if "type" not in table.columns:
        return destinations
    pairs = zip(destinations, table["type"].tolist(), strict=True)
    return [f"{d}<{t}>" if t in QKV and isinstance(d, str) and "<" not in d else d for d, t in pairs]


def _own_graph(path: Path, table: pandas.DataFrame) -> Graph | None:
    """The graph that the columns of sizes name; None where there are none, or no row."""
    names = [name for name in SIZES if name in table.columns]
    if not names or table.empty:
        return None
    cfg: dict[str, Any] = {}
    for name in names:
        cells = table[name].unique()
        if len(cells) > 1:
            raise problem(path, f"column {name}: expected one value in every row, got {short(list(cells[:3]))}.")
        cell = str(cells[0]).strip().lower()
        cfg[name] = int(cell) if cell.isdecimal() and len(cell) < 10 else {"true": True, "false": False}.get(cell, cell)
    return graph_of_cfg(path, cfg)


def _graph_of_every_edge(path: Path, sources: list[Any], destinations: list[Any]) -> Graph:
    """The graph of a table that lists every edge. Errors: GraphNeededError when it lists fewer."""
    layers, heads = set(), set()
    for name in {*sources, *(str(d).split("<")[0] for d in destinations)}:
        node = _NODE.fullmatch(str(name))
        if node:
            layers.add(int(node.group(1) or node.group(3) or 0))
            heads.add(int(node.group(2) or 0))
    cfg = {"n_layers": max(layers, default=0) + 1, "n_heads": max(heads, default=0) + 1}
    for parallel in (False, True):
        graph = graph_of_cfg(path, {**cfg, "parallel_attn_mlp": parallel})
        if graph.n_edges == len(sources):
            return graph
    raise GraphNeededError(
        f"{path.name}: the table has {len(sources):,} rows, but a graph with its nodes ({cfg['n_layers']} layers × "
        f"{cfg['n_heads']} heads) has {Graph(cfg['n_layers'], cfg['n_heads']).n_edges:,} edges, so the graph cannot "
        "be told from it; list every edge (empty score = unscored), add the columns n_layers and n_heads, or name "
        "the model that it belongs to."
    )


def _scores(path: Path, cells: list[str], *, decimal_comma: bool) -> NDArray[np.float64]:
    """Numbers from cells of text, read as Python reads a float, so decimals come back exactly."""
    values: list[float | None] = []
    for index, cell in enumerate(cells):
        try:
            values.append(number(cell, decimal_comma=decimal_comma))
        except ValueError:
            hint = " Decimal commas need semicolons or tabs between the cells." if "," in cell else ""
            raise problem(path, f"row {index + 1}, column score: expected a number, got {short(cell)}.{hint}") from None
    return numbers(path, values, lambda i: f"row {i + 1}, column score")


def _flags(path: Path, cells: list[Any]) -> list[bool]:
    flags = []
    for index, cell in enumerate(cells):
        flag = TRUTH.get(str(cell).strip().lower())
        if flag is None:
            raise problem(path, f"row {index + 1}, column in_graph: expected true or false, got {short(cell)}.")
        flags.append(flag)
    return flags
