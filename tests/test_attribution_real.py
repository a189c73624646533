"""Trained models: the bundled one, a story model and a letter sorter (reference material beside the checkout)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import oracle_family as family
import pytest
from engine_made import one_thread, relative_error

from eapgp.attribution import METHODS
from eapgp.attribution.api import attribute
from eapgp.circuits.circuit import Circuit
from eapgp.evaluation.runner import CircuitRunner
from eapgp.models import Model, load_model
from eapgp.prompts import encode, read_prompts
from eapgp.prompts.encode import EncodedPairs
from eapgp.tasks import make_prompts

one_thread()

SHARES = {"a4.h2": 0.82, "m2": 0.53, "m1": 0.51, "m3": 0.27, "m0": 0.26, "m4": 0.24, "a4.h0": 0.14}
SOME_EDGES = ["input->a0.h1<q>", "a0.h0->m1", "m0->a2.h1<v>", "a1.h2->logits", "m2->logits"]


@functools.cache
def loaded(name: str, dtype: str = "float32") -> Model:
    return load_model(name, device="cpu", dtype=dtype)


@pytest.fixture(scope="module")
def stories(shared: Path) -> Model:
    return loaded(str(shared / "data" / "models" / "stories260K"))


@pytest.fixture(scope="module")
def gender(shared: Path, stories: Model) -> EncodedPairs:
    prompts = read_prompts(shared / "data" / "models" / "stories260K-gender.csv")
    return encode(prompts, stories)


@pytest.fixture(scope="module")
def sorter(shared: Path) -> Model:
    return loaded(str(shared / "data" / "models" / "gpt-nano-sort"))


def few_steps(method: str) -> dict[str, Any]:
    return {"steps": 2} if any(option.name == "steps" for option in METHODS[method].options) else {}


def test_stories_model_knows_who_she_is(stories: Model, gender: EncodedPairs) -> None:
    """The published numbers of model and prompts: right on all 64 pairs, mean differences, edges."""
    assert stories.graph.n_edges == 2_461
    assert stories.prepend_bos
    assert gender.n == 64
    runner = CircuitRunner(stories, gender)
    assert (runner.metric_clean > 0).all()
    assert runner.metric_clean.mean() == pytest.approx(3.22, abs=0.005)
    assert runner.metric_corrupted.mean() == pytest.approx(-2.85, abs=0.005)


def test_shares_of_single_nodes(stories: Model, gender: EncodedPairs) -> None:
    """Corrupting one node's output takes the share of the gap that was measured elsewhere."""
    runner, circuits = CircuitRunner(stories, gender), []
    for node in SHARES:
        edges = stories.graph.mask.copy()
        edges[stories.graph.source_index(node)] = False
        circuits.append(Circuit(stories.graph, edges, int(edges.sum()), node))
    taken = 1 - runner.run(circuits).faithfulness
    assert taken == pytest.approx(list(SHARES.values()), abs=0.02)


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_runs_on_the_stories_model(method: str, stories: Model, gender: EncodedPairs) -> None:
    """Finite scores on edges alone; what they rank highest is worth more than chance."""
    encoded = gender.take(range(16))
    options = {"edges": ["a4.h2->logits", "m3->logits"]} if method == "exact" else few_steps(method)
    result = attribute(stories, encoded, method=method, **options)
    values = result.scores.values
    assert not values[~stories.graph.mask].any()
    if method == "exact":
        assert np.isfinite(values[stories.graph.mask]).sum() == 2
        assert values[stories.graph.edge_index("a4.h2->logits")] > 0.5
        return
    assert np.isfinite(values).all()
    if method not in ("random", "ifr"):
        strongest = {name.split("->")[0] for name, _ in result.scores.top(40)}
        assert "a4.h2" in strongest


def test_methods_beat_chance_on_the_stories_model(stories: Model, gender: EncodedPairs) -> None:
    """Circuits of a fifth of the edges: EAP-IG and EAP-GP keep most of the behaviour, noise keeps none."""
    encoded, kept = gender.take(range(16)), {}
    for method in ("eap-ig", "eap-gp", "mask-ig", "random"):
        scores = attribute(stories, encoded, method=method, **few_steps(method)).scores
        edges = np.zeros_like(stories.graph.mask)
        for name, _ in scores.top(stories.graph.n_edges // 5):
            edges[stories.graph.edge_index(name)] = True
        kept[method] = CircuitRunner(stories, encoded).faithfulness(Circuit(stories.graph, edges, int(edges.sum())))
    assert kept["random"] < 0.3
    assert all(kept[method] > 0.6 for method in ("eap-ig", "eap-gp", "mask-ig"))


@pytest.mark.parametrize("method", ["eap", "eap-ig", "eap-gp"])
def test_stories_model_against_the_oracle(method: str, stories: Model, gender: EncodedPairs) -> None:
    """All 2,461 edges of a pair, in single precision, grouped-query attention and all."""
    encoded = gender.take([0])
    literal: Callable[..., np.ndarray] = {"eap": oracle.eap, "eap-ig": oracle.eap_ig, "eap-gp": oracle.eap_gp}[method]
    options = few_steps(method)
    found = attribute(stories, encoded, method=method, keep_pairs=True, **options).pair_scores
    expected = np.stack([literal(pair, **options) for pair in oracle.pairs_of(stories, encoded)])
    assert relative_error(found, expected) < 1e-4  # both sides round to float32 at every norm


def sorting_pairs(n: int) -> EncodedPairs:
    """Six letters and what is sorted so far; the corrupted prompt has one letter changed, and another answer."""
    rng = np.random.default_rng(0)
    rows: list[tuple[Any, Any, Any, Any]] = []
    while len(rows) < n:
        letters = rng.integers(0, 3, 6)
        other = letters.copy()
        other[rng.integers(0, 6)] = rng.integers(0, 3)
        done = int(rng.integers(0, 5))
        first, second = np.sort(letters), np.sort(other)
        if np.array_equal(first[:done], second[:done]) and first[done] != second[done]:
            rows.append((letters, other, first[: done + 1], second[done]))
    longest = max(5 + len(row[2]) for row in rows)
    clean, corrupted = np.zeros((n, longest), dtype=np.int64), np.zeros((n, longest), dtype=np.int64)
    lengths = np.array([5 + len(row[2]) for row in rows])
    for i, (letters, other, sorted_, _) in enumerate(rows):
        clean[i, : lengths[i]] = np.concatenate([letters, sorted_[:-1]])
        corrupted[i, : lengths[i]] = np.concatenate([other, sorted_[:-1]])
    right = tuple((int(row[2][-1]),) for row in rows)
    return EncodedPairs(clean, corrupted, lengths, right, tuple((int(row[3]),) for row in rows))


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_runs_on_the_sorter(method: str, sorter: Model) -> None:
    encoded = sorting_pairs(12)
    options = {"edges": ["m0->logits", "input->a0.h0<q>"]} if method == "exact" else few_steps(method)
    result = attribute(sorter, encoded, method=method, **options)
    assert (result.metric_clean > 0).all()
    assert (result.metric_corrupted < 0).all()
    values = result.scores.values[sorter.graph.mask]
    assert np.isfinite(values).sum() == (2 if method == "exact" else sorter.graph.n_edges)


# -- the bundled model ------------------------------------------------------------------------


@functools.cache
def demo_pairs(task: str, n: int) -> EncodedPairs:
    model = loaded("demo", "float64")
    return encode(make_prompts(task, n, seed=3), model)


@pytest.mark.parametrize("method", ["eap", "clean-corrupted", "eap-ig", "eap-gp", "mask-ig"])
@pytest.mark.parametrize("task", ["ioi", "sva"])
def test_demo_model_against_the_oracle(task: str, method: str) -> None:
    """Every edge of the bundled model."""
    model, encoded = loaded("demo", "float64"), demo_pairs(task, 2)
    assert model.graph.n_edges >= 479
    metric = make_prompts(task, 1, seed=3).metric
    literal = {
        "eap": oracle.eap,
        "clean-corrupted": oracle.clean_corrupted,
        "eap-ig": oracle.eap_ig,
        "eap-gp": oracle.eap_gp,
        "mask-ig": family.mask_ig,
    }[method]
    options = few_steps(method)
    found = attribute(model, encoded, method=method, metric=metric, keep_pairs=True, **options).pair_scores
    expected = np.stack([literal(pair, **options) for pair in oracle.pairs_of(model, encoded, metric)])
    assert relative_error(found, expected) < 1e-5


def test_demo_model_exact_and_circuits() -> None:
    """A sample of single edges, and a circuit of the strongest fifth, literally."""
    model, encoded = loaded("demo", "float64"), demo_pairs("ioi", 2)
    pairs = oracle.pairs_of(model, encoded)
    edges = [model.graph.edge_index(name) for name in SOME_EDGES]
    found = attribute(model, encoded, method="exact", edges=SOME_EDGES, keep_pairs=True).pair_scores
    assert found is not None
    expected = np.stack([oracle.exact(pair, edges) for pair in pairs])
    assert relative_error(np.nan_to_num(found), np.nan_to_num(expected)) < 1e-5
    inside = np.zeros_like(model.graph.mask)
    for name, _ in attribute(model, encoded, method="eap-ig").scores.top(model.graph.n_edges // 5):
        inside[model.graph.edge_index(name)] = True
    metric = CircuitRunner(model, encoded).run([Circuit(model.graph, inside, int(inside.sum()))]).metric[0]
    assert relative_error(metric, [pair.number(oracle.circuit_run(pair, inside)) for pair in pairs]) < 1e-5
