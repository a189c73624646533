"""The size and the rule with which a page opens a circuit, by the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.select import select
from eapgp.graph import Graph
from eapgp.runs.info import info_of
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import open_run
from eapgp.ui.library import results
from eapgp.ui.library.circuits import (
    DEFAULT_EDGES,
    KEPT_SHARE,
    LARGE,
    USUAL_SIZES,
    USUAL_TEXT,
    circuit_of,
    usual_rule,
    usual_size,
)
from tests.large_runs import random_scores
from tests.runs_made import made_attribution, made_prompts, made_request

EXAMPLES = sorted((Path(__file__).parent.parent / "assets" / "examples").glob("*/run.json"))


def joined(seed: int) -> EdgeScores:
    """Scores of 30 × 9 in which few nodes matter, so that strong edges join up, and a few strong ones lead nowhere."""
    graph = Graph(30, 9)
    rng = np.random.default_rng(seed)
    weight = np.exp(rng.normal(0, 1.2, len(graph.nodes)))
    weight[0] = weight[-1] = weight.max()
    values = rng.normal(0, 1e-3, graph.mask.shape) * weight[:-1, None] * weight[graph.destination_nodes][None, :]
    values[5, 300:340] = 1.0  # from one node into many that lead nowhere
    return EdgeScores(graph, np.where(graph.mask, values, 0.0))


@pytest.mark.parametrize("run", EXAMPLES, ids=lambda path: path.parent.name)
def test_small_graphs_open_with_their_50_strongest_edges(run: Path) -> None:
    scores = open_run(run.parent).scores()
    if scores.graph.n_edges <= LARGE:
        assert (usual_rule(scores.graph), usual_size(scores)) == ("top-n", DEFAULT_EDGES)
    else:
        assert usual_rule(scores.graph) == "greedy"
        assert select(scores, n=usual_size(scores), rule="greedy").n_kept >= KEPT_SHARE * usual_size(scores)


@pytest.mark.parametrize("seed", range(4))
def test_deep_graphs_open_with_the_first_size_of_which_three_quarters_are_kept(seed: int) -> None:
    scores = joined(seed)
    size = usual_size(scores)
    shares = {n: select(scores, n=n, rule="greedy").n_kept / n for n in USUAL_SIZES}
    assert usual_rule(scores.graph) == "greedy"
    assert shares[size] >= KEPT_SHARE
    assert all(shares[n] < KEPT_SHARE for n in USUAL_SIZES if n < size)
    assert select(scores, n=size).n_kept < shares[size] * size, "the strongest alone keep less"


def test_where_nothing_joins_up_the_largest_size_is_taken_and_no_more() -> None:
    assert usual_size(random_scores()) == USUAL_SIZES[-1]


def test_without_a_score_the_size_is_the_default() -> None:
    graph = Graph(30, 9)
    assert usual_size(EdgeScores(graph, np.zeros(graph.mask.shape))) == DEFAULT_EDGES


def test_the_rule_is_told_as_it_is() -> None:
    for part in (f"{LARGE:,}", *map(str, USUAL_SIZES), f"{DEFAULT_EDGES} strongest", "three quarters"):
        assert part in USUAL_TEXT
    assert KEPT_SHARE == 0.75


def test_scores_that_somebody_brings_under_the_id_of_another_s_run_are_not_taken_for_them(tmp_path: Path) -> None:
    """Two visitors of one server: what is remembered of one's run is never drawn of the other's."""
    cards = []
    for seed in (0, 1):
        request, prompts = made_request(made_prompts()), made_prompts()
        run = RunLibrary(tmp_path / str(seed)).save(made_attribution(seed), request, prompts)
        cards.append(info_of(run))
    one, other = cards
    assert one.id == other.id
    kept = [circuit_of(card, results.attribution(card).scores, 5).key for card in cards]
    assert kept == [select(card.run.scores(), n=5).key for card in cards] and kept[0] != kept[1]
