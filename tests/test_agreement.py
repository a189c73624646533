"""Agreement of two score sets: by hand, against scipy and sklearn-free loops, and as published."""

from __future__ import annotations

import importlib
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from eapgp.attribution.result import EdgeScores
from eapgp.errors import OptionError
from eapgp.evaluation.agreement import agreement, kendall, pearson
from eapgp.formats import read_scores
from eapgp.graph import Graph


def scores_of(graph: Graph, values: np.ndarray) -> EdgeScores:
    matrix = np.zeros(graph.mask.shape)
    matrix[graph.mask] = values
    return EdgeScores(graph, matrix)


module = importlib.import_module("eapgp.evaluation.agreement")  # the package offers the function by that name
SMALL = Graph(3, 2)


def pair(seed: int, graph: Graph = SMALL, unscored: float = 0.1) -> tuple[EdgeScores, EdgeScores]:
    rng = np.random.default_rng(seed)
    x = rng.integers(-6, 7, graph.n_edges).astype(float)
    y = np.round(x + rng.normal(0, 3, graph.n_edges))
    x[rng.random(len(x)) < unscored] = np.nan
    y[rng.random(len(y)) < unscored] = np.nan
    return scores_of(graph, x), scores_of(graph, y)


def test_published_correlation_of_eap_with_exact_patching(shared: Path) -> None:
    folder = shared / "data/edge-scores"
    vanilla = read_scores(folder / "greater-than_prob_diff_vanilla.gpt2.json")
    real = read_scores(folder / "greater-than_prob_diff_real.gpt2.json")
    start = time.perf_counter()
    result = agreement(vanilla, real)
    print(f"agreement over {result.overall.n_edges:,} edges in {time.perf_counter() - start:.2f} s")
    published = json.loads((shared / "data/published/correlations.json").read_text())
    assert result.overall.pearson_abs == pytest.approx(0.708, abs=0.002)
    assert result.overall.pearson_abs == pytest.approx(published["greater-than_vanilla"], abs=1e-9)
    assert result.overall.kendall_abs == pytest.approx(published["greater-than_vanilla_kendall"], abs=1e-9)
    assert result.overall.sign_agreement < 0.05, "the exact file has the other sign"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_correlations_equal_scipy(seed: int) -> None:
    a, b = pair(seed)
    both = a.graph.mask & ~np.isnan(a.values) & ~np.isnan(b.values)
    x, y = a.values[both], b.values[both]
    overall = agreement(a, b).overall
    assert overall.n_edges == len(x) == overall.kendall_n
    assert overall.pearson == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
    assert overall.pearson_abs == pytest.approx(scipy.stats.pearsonr(abs(x), abs(y)).statistic)
    assert overall.spearman == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert overall.spearman_abs == pytest.approx(scipy.stats.spearmanr(abs(x), abs(y)).statistic)
    assert overall.kendall == pytest.approx(scipy.stats.kendalltau(x, y).statistic)
    assert overall.kendall_abs == pytest.approx(scipy.stats.kendalltau(abs(x), abs(y)).statistic)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30))
def test_top_sets_equal_those_of_python(seed: int, k: int, reference: int) -> None:
    a, b = pair(seed)
    both = {e for e, _ in a.top(99)} & {e for e, _ in b.top(99)}
    order_a, order_b = ([(e, s) for e, s in x.top(99) if e in both] for x in (a, b))
    top_a, top_b = dict(order_a[:k]), dict(order_b[:k])
    right = {e for e, _ in order_b[:reference]}
    overall = agreement(a, b, ks=[k], reference_n=reference).overall
    shared_edges = set(top_a) & set(top_b)
    assert overall.jaccard[k] == pytest.approx(len(shared_edges) / len(set(top_a) | set(top_b)))
    assert overall.precision[k] == pytest.approx(len(set(top_a) & right) / k)
    assert overall.recall[k] == pytest.approx(len(set(top_a) & right) / reference)
    if shared_edges:
        assert overall.sign_overlap[k] == pytest.approx(np.mean([top_a[e] * top_b[e] > 0 for e in shared_edges]))
    else:
        assert math.isnan(overall.sign_overlap[k])
    signed = [(s, dict(order_b)[e]) for e, s in order_a if s and dict(order_b)[e]]
    assert overall.sign_agreement == pytest.approx(np.mean([s * t > 0 for s, t in signed]))


def test_groups_are_the_edges_of_their_layer_and_type() -> None:
    a, b = pair(4, unscored=0)
    graph = a.graph
    result = agreement(a, b, ks=[3, 15])
    assert list(result.layers) == ["0", "1", "2", "logits"]
    assert list(result.types) == ["q", "k", "v", "mlp", "logits"]
    assert sum(g.n_edges for g in result.layers.values()) == graph.n_edges
    assert sum(g.n_edges for g in result.types.values()) == graph.n_edges
    names = [e for e in graph.edge_names() if e.endswith("<k>")]
    x, y = ([s.values[graph.edge_index(e)] for e in names] for s in (a, b))
    assert result.types["k"].n_edges == len(names)
    assert result.types["k"].pearson == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
    names = [e for e in graph.edge_names() if "->a1." in e or "->m1" in e]
    x, y = ([s.values[graph.edge_index(e)] for e in names] for s in (a, b))
    assert result.layers["1"].spearman == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert list(result.layers["logits"].jaccard) == [3], "15 is more than the ten edges into logits"


def test_by_hand() -> None:
    graph = Graph(1, 1)
    #                          q    k    v   i>m  i>l  a>m  a>l  m>l
    a = scores_of(graph, np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -6.0, 0.5]))
    b = scores_of(graph, np.array([5.0, -4.0, 0.1, 0.2, 0.3, 0.0, -6.0, 7.0]))
    overall = agreement(a, b, ks=[2, 3, 8], reference_n=2).overall
    # a's ranking: a>l, q, k, v …; b's: m>l, a>l, q, k …
    assert overall.jaccard == {2: 1 / 3, 3: 2 / 4, 8: 1.0}
    assert overall.sign_overlap[3] == 1.0
    assert overall.precision == {2: 1 / 2, 3: 1 / 3, 8: 2 / 8}
    assert overall.recall == {2: 1 / 2, 3: 1 / 2, 8: 1.0}
    assert overall.sign_agreement == 6 / 7  # a>m is 0 in both and does not count; only k differs


def test_agreement_with_itself_and_its_negative() -> None:
    a, _ = pair(1)
    same = agreement(a, a).overall
    other = agreement(a, EdgeScores(a.graph, -a.values)).overall
    for name in ("pearson", "spearman", "kendall"):
        assert getattr(same, name) == pytest.approx(1.0)
        assert getattr(other, name) == pytest.approx(-1.0)
        assert getattr(other, name + "_abs") == pytest.approx(1.0)
    assert same.sign_agreement == 1.0 and other.sign_agreement == 0.0
    assert set(other.jaccard.values()) == {1.0} and set(other.sign_overlap.values()) <= {0.0}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-200, 1e200))
def test_scale_changes_nothing(seed: int, scale: float) -> None:
    a, b = pair(seed)
    scaled = EdgeScores(b.graph, b.values * scale)
    before, after = agreement(a, b).to_dict(), agreement(a, scaled).to_dict()
    for name in ("pearson", "pearson_abs", "spearman", "kendall"):
        assert after[name] == pytest.approx(before[name])
    assert after["jaccard"] == before["jaccard"]


def test_what_is_undefined_is_nan_and_null_in_json() -> None:
    graph = Graph(1, 1)
    constant, other = scores_of(graph, np.zeros(8)), scores_of(graph, np.arange(8.0))
    result = agreement(constant, other, ks=[1])
    assert math.isnan(result.overall.pearson) and math.isnan(result.overall.kendall)
    assert math.isnan(result.overall.sign_agreement)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["pearson"] is None
    assert json.loads(text)["jaccard"] == {"1": 0.0}
    assert math.isnan(pearson(np.array([1.0]), np.array([2.0])))


def test_large_sets_take_kendall_on_a_seeded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KENDALL_LIMIT", 100)
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000)
    y = x + rng.normal(size=1000)
    assert kendall(x, y, seed=3) == kendall(x, y, seed=3)
    assert kendall(x, y, seed=3)[1] == 100
    assert kendall(x, y, seed=3) != kendall(x, y, seed=4)
    assert kendall(x, y)[0] == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=0.15)


def test_sets_that_cannot_be_compared() -> None:
    a, b = pair(0)
    with pytest.raises(OptionError, match=r"got a graph of 3 layers × 2 heads .* and a graph of 2 layers × 2 heads"):
        agreement(a, pair(0, Graph(2, 2))[0])
    nothing = scores_of(a.graph, np.full(a.graph.n_edges, np.nan))
    with pytest.raises(OptionError, match=r"no edge is scored in both sets \(\d+ and 0 are scored\)"):
        agreement(a, nothing)
    for ks, message in [([0], "at least 1; got 0"), ([999], "got 999"), ([-1], "got -1"), ([1.5], "got 1.5")]:
        with pytest.raises(OptionError, match=message):
            agreement(a, b, ks=ks)
    with pytest.raises(OptionError, match="got 1,000"):
        agreement(a, b, reference_n=1000)


def test_gpt2_medium_size_is_handled() -> None:
    graph = Graph(24, 16)
    rng = np.random.default_rng(0)
    a = EdgeScores(graph, np.where(graph.mask, rng.normal(size=graph.mask.shape), 0))
    b = EdgeScores(graph, a.values + np.where(graph.mask, rng.normal(size=graph.mask.shape), 0))
    start = time.perf_counter()
    result = agreement(a, b)
    print(f"agreement over {graph.n_edges:,} edges in {time.perf_counter() - start:.1f} s")
    assert result.overall.pearson == pytest.approx(1 / math.sqrt(2), abs=0.01)
    assert result.overall.kendall == pytest.approx(0.5, abs=0.01), "2/π · arcsin(1/√2)"
    assert result.overall.kendall_n == module.KENDALL_LIMIT
