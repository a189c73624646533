"""The edge table that the browser gets: complete where it is small, cut and searchable where it is large."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.select import select
from eapgp.formats.tables import edge_table
from eapgp.graph import Graph
from eapgp.ui.parts import edge_table as edges
from tests.large_runs import random_scores

SMALL = Graph(3, 4)


def page_of(scores: EdgeScores, find: str = "", run_id: str = "") -> edges.EdgePage:
    card: Any = SimpleNamespace(run=SimpleNamespace(content=run_id or f"run-{id(scores)}"))
    return edges.edge_page(card, scores, select(scores, n=30), find)


def test_a_small_graph_is_shown_whole_as_the_library_tables_it() -> None:
    scores = random_scores(SMALL)
    scores.values[0, 2] = np.nan
    page = page_of(scores)
    expected = edge_table(scores, select(scores, n=30))
    assert not page.cut and page.n_found == SMALL.n_edges - 1
    for column in ("rank", "edge", "source", "destination", "type", "source_layer", "layer", "in_graph"):
        assert list(page.table[column]) == list(expected[column]), column
    np.testing.assert_allclose(page.table["score"], expected["score"])


@pytest.mark.parametrize("find", ["a1.h1", "a1.h1->", "->a1.h1<q>", "<v> m0", "logits", "a2.h->logits", "nowhere"])
def test_a_search_keeps_the_edges_whose_names_fit_with_their_ranks(find: str) -> None:
    scores = random_scores(SMALL)
    whole, found = page_of(scores), page_of(scores, find)

    def end_fits(name: str, word: str) -> bool:
        if word in (*SMALL.nodes, *SMALL.destinations):
            return word == name or word == name.split("<")[0]
        return word in name

    def fits(edge: str) -> bool:
        left, right = edge.split("->")
        for word in find.split():
            if "->" in word:
                a, b = word.split("->")
                if not (end_fits(left, a) and end_fits(right, b)):
                    return False
            elif not (end_fits(left, word) or end_fits(right, word)):
                return False
        return True

    wanted = [(edge, rank) for edge, rank in zip(whole.table["edge"], whole.table["rank"], strict=True) if fits(edge)]
    assert list(zip(found.table["edge"], found.table["rank"], strict=True)) == wanted
    assert found.n_found == len(wanted)


def test_two_million_edges_are_cut_but_each_can_be_found() -> None:
    scores = random_scores()
    page = page_of(scores, run_id="xl")
    assert page.cut and page.n_found == scores.graph.n_edges == 2_235_025
    assert len(page.table) == edges.CUT_TO
    assert list(page.table["edge"][:20]) == [name for name, _ in scores.top(20)]
    weakest = np.unravel_index(np.abs(np.where(scores.graph.mask, scores.values, np.inf)).argmin(), scores.values.shape)
    name = scores.graph.edge_name(*map(int, weakest))
    found = page_of(scores, name.replace("->", "-> ->"), run_id="xl")
    assert name in list(found.table["edge"])
    row = found.table[found.table["edge"] == name].iloc[0]
    assert row["rank"] == scores.graph.n_edges
