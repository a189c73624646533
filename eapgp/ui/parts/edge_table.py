"""The edge table as the browser gets it: all edges of a small graph, the strongest ones of a large one.

A search narrows it on the server, so that every edge can be found although not all are sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import rank_edges
from eapgp.graph import Graph
from eapgp.runs.info import RunInfo

MOST_ROWS = 40_000  # up to this many the browser gets all of them
CUT_TO = 5_000  # of more it gets the strongest: as many as the picture draws at most


@dataclass(frozen=True)
class EdgePage:
    """Rows of the edge table, strongest first.

    n_found: edges that fit the search; more than the rows where the table was cut.
    """

    table: pd.DataFrame
    n_found: int

    @property
    def cut(self) -> bool:
        """Whether edges were left out."""
        return self.n_found > len(self.table)


def edge_page(card: RunInfo, scores: EdgeScores, circuit: Circuit, find: str = "") -> EdgePage:
    """The edges that fit a search (`matching`), strongest first, and which are in the circuit.

    Of more than 40,000 only the 5,000 strongest.
    """
    page, rows, columns = _page(card.run.content, " ".join(find.split()), scores)
    return EdgePage(page.table.assign(in_graph=circuit.edges[rows, columns]), page.n_found)


def matching(graph: Graph, find: str) -> NDArray[np.bool_]:
    """`[src, dst]` edges that fit every word of a search.

    A word is a name of a node or destination, else a part of one, in either end of the edge;
    `a->b` asks the source for a and the destination for b, and either may be empty.
    """
    fits = graph.mask.copy()
    for word in find.split():
        left, arrow, right = word.partition("->")
        if arrow:
            fits &= _sources(graph, left)[:, None] & _destinations(graph, right)[None, :]
        else:
            fits &= _sources(graph, word)[:, None] | _destinations(graph, word)[None, :]
    return fits


def _sources(graph: Graph, word: str) -> NDArray[np.bool_]:
    exact = word in graph.nodes or word in graph.destinations
    return np.array([name == word if exact else word in name for name in graph.sources])


def _destinations(graph: Graph, word: str) -> NDArray[np.bool_]:
    exact = word in graph.nodes or word in graph.destinations
    return np.array([word in (name, name.split("<")[0]) if exact else word in name for name in graph.destinations])


@st.cache_resource(max_entries=6, show_spinner=False)
def _order(content: str, _scores: EdgeScores) -> NDArray[np.int32]:
    """Flat positions of the scored edges, best first."""
    return rank_edges(_scores).astype(np.int32)


@st.cache_resource(max_entries=12, show_spinner=False)
def _page(content: str, find: str, _scores: EdgeScores) -> tuple[EdgePage, NDArray[Any], NDArray[Any]]:
    """The page without a circuit, and the row and column of each edge in it."""
    graph, order = _scores.graph, _order(content, _scores)
    places = np.flatnonzero(matching(graph, find).ravel()[order]) if find else np.arange(len(order))
    sent = places if len(places) <= MOST_ROWS else places[:CUT_TO]
    rows, columns = np.divmod(order[sent].astype(np.int64), graph.n_destinations)
    return EdgePage(_table(_scores, rows, columns, sent + 1), len(places)), rows, columns


def _table(scores: EdgeScores, rows: Any, columns: Any, ranks: Any) -> pd.DataFrame:
    graph = scores.graph
    sources, destinations = (np.array(names, dtype=object) for names in (graph.sources, graph.destinations))
    types = tuple(dict.fromkeys(graph.destination_types))
    code = np.array([types.index(kind) for kind in graph.destination_types], dtype=np.int8)
    values = np.asarray(scores.values, dtype=np.float32)[rows, columns]
    return pd.DataFrame(
        {
            "rank": ranks.astype(np.int32),
            "edge": sources[rows] + "->" + destinations[columns],
            "score": values,
            "magnitude": np.abs(values),
            "type": pd.Categorical.from_codes(code[columns], pd.Index(list(types))),
            "source": pd.Categorical.from_codes(rows, pd.Index(list(graph.sources))),
            "destination": pd.Categorical.from_codes(columns, pd.Index(list(graph.destinations))),
            "source_layer": graph.source_layers[rows].astype(np.int16),
            "layer": graph.destination_layers[columns].astype(np.int16),
        }
    )
