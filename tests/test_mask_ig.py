"""mask-ig and mask-ig-refined: literal mixtures, completeness, batches, and what their passes reduce to."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from engine_made import hooks_left, one_thread, random_pairs, relative_error, tiny_model
from tiny import CONFIGURATIONS

from eapgp.attribution import METHODS
from eapgp.attribution.api import attribute
from eapgp.attribution.mask_ig_refined import FRACTIONS
from eapgp.attribution.outcome import accumulated, shares
from eapgp.attribution.result import EdgeScores
from eapgp.circuits.select import select
from eapgp.engine.batches import make_batch
from eapgp.engine.circuit_pass import make_base, run_circuits
from eapgp.engine.differences import Intervention
from eapgp.engine.passes import Keep, capture
from eapgp.engine.weighted_pass import strongest, weighted_run
from eapgp.errors import OptionError, UnknownNameError
from eapgp.graph import Graph

one_thread()

SOME = ("gpt2", "pythia", "gpt-j", "llama", "qwen3", "olmo2", "gemma2", "phi")  # every kind of block and norm


def mixed_run(pair: oracle.Pair, corrupted: oracle.LiteralRun, alpha: float) -> oracle.LiteralRun:
    """Every destination's copy is α r_v + (1−α) r′_v."""
    other = {v: r.detach() for v, r in corrupted.residuals.items()}
    return pair.oracle.run(pair.clean_ids, edit=lambda name, r, _w: alpha * r + (1 - alpha) * other[name])


def literal_mask_ig(pair: oracle.Pair, alphas: list[float]) -> np.ndarray:
    """Point by point, edge by edge."""
    corrupted, scores = pair.corrupted(), np.zeros(pair.oracle.graph.mask.shape)
    for alpha in alphas:
        run = mixed_run(pair, corrupted, alpha)
        scores += oracle.edge_scores(pair.oracle, oracle.difference(run, corrupted), pair.gradients(run)) / len(alphas)
    return scores


def literal_weighted(pair: oracle.Pair, weights: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """x_v = r′_v + Σ_u m (z_u − z′_u), source by source; b instead of m on the way back."""
    graph, corrupted = pair.oracle.graph, pair.corrupted()
    reference = {u: z.detach() for u, z in corrupted.sources.items()}

    def edit(name: str, residual: Any, written: dict[str, Any]) -> Any:
        column, total = graph.destinations.index(name), corrupted.residuals[name].detach()
        for u in pair.oracle.read_by(name):
            at = graph.sources.index(u), column
            change = written[u] - reference[u]
            total = total + backward[at] * change + ((weights[at] - backward[at]) * change).detach()
        return total

    run = pair.oracle.run(pair.clean_ids, edit=edit)
    return oracle.edge_scores(pair.oracle, oracle.difference(run, corrupted), pair.gradients(run))


def literal_refined(pairs: list[oracle.Pair]) -> np.ndarray:
    """The five rounds over all pairs, with the project's own selection of circuits."""
    graph = pairs[0].oracle.graph
    found = [np.mean([literal_mask_ig(pair, [1 / 6, 1 / 2, 5 / 6]) for pair in pairs], axis=0)]
    total = found[0] / np.abs(found[0]).sum()
    for fraction in (0.5, 0.2, 0.1, 0.05):
        inside = select(EdgeScores(graph, total), n=int(fraction * graph.n_edges)).edges
        weights, backward = np.where(inside, 0.9, 0.0), np.where(inside, 0.9, 0.5)
        a = np.mean([literal_weighted(pair, weights, backward) for pair in pairs], axis=0)
        total = total + a / np.abs(a).sum()
    return total * np.abs(found[0]).sum() / 5


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_mask_ig_equals_the_literal_mixture(name: str) -> None:
    model, encoded = tiny_model(name), random_pairs(2, seed=2, shortest=5, longest=6)
    before = hooks_left(model)  # the bridge keeps some of its own on OPT
    found = attribute(model, encoded, method="mask-ig", keep_pairs=True)
    expected = np.stack([literal_mask_ig(pair, [1 / 6, 1 / 2, 5 / 6]) for pair in oracle.pairs_of(model, encoded)])
    assert relative_error(found.pair_scores, expected) < 1e-5
    assert (found.forward_passes, found.backward_passes) == (3, 3)
    assert hooks_left(model) == before


@pytest.mark.parametrize("name", SOME)
def test_refined_equals_the_literal_rounds(name: str) -> None:
    model, encoded = tiny_model(name), random_pairs(2, seed=5, shortest=4, longest=5)
    found = attribute(model, encoded, method="mask-ig-refined", keep_pairs=True)
    assert relative_error(found.scores.values, literal_refined(oracle.pairs_of(model, encoded))) < 1e-5
    assert found.pair_scores is not None
    assert relative_error(found.pair_scores.mean(0), found.scores.values) < 1e-5
    assert (found.forward_passes, found.backward_passes) == (7, 7)
    assert hooks_left(model) == []


@pytest.mark.parametrize("name", ["gpt2", "gpt-j", "llama", "gemma2"])
def test_complete_as_k_grows(name: str) -> None:
    """Σ scores → M(clean) − M(corrupted); with k = 50 the midpoint rule is all but exact."""
    encoded = random_pairs(3, seed=4, shortest=4, longest=6)
    gaps = {}
    for steps in (1, 3, 50):
        found = attribute(tiny_model(name), encoded, method="mask-ig", steps=steps, keep_pairs=True)
        wanted = found.metric_clean - found.metric_corrupted
        assert found.pair_scores is not None
        assert np.allclose(found.completeness["gap"], wanted, atol=1e-5)
        assert np.allclose(found.completeness["sum"], found.pair_scores.sum((1, 2)), atol=1e-4)
        gaps[steps] = np.abs(found.completeness["sum"] - wanted).max() / np.abs(wanted).max()
    assert gaps[50] < 3e-3 < gaps[1]
    assert gaps[50] < gaps[3]


@pytest.mark.parametrize("method", ["mask-ig", "mask-ig-refined"])
@pytest.mark.parametrize("nodes", ["midpoints", "calibrated"])
def test_batches_and_padding_change_nothing(method: str, nodes: str) -> None:
    model, encoded = tiny_model("gpt2"), random_pairs(5, seed=5, shortest=4, longest=7)
    whole = attribute(model, encoded, method=method, nodes=nodes, keep_pairs=True)
    for batch_size in (1, 2):
        parts = attribute(model, encoded, method=method, nodes=nodes, keep_pairs=True, batch_size=batch_size)
        assert relative_error(parts.pair_scores, whole.pair_scores) < 1e-5
        assert np.allclose(parts.metric_clean, whole.metric_clean)
        assert np.allclose(parts.metric_corrupted, whole.metric_corrupted)
        assert parts.forward_passes == whole.forward_passes
        assert parts.reference_passes == whole.reference_passes


def test_calibrated_nodes_lie_at_the_metric_s_levels() -> None:
    """The literal mixtures at 20, 50 and 80 % of each pair's own change, found by a fine scan."""
    model, encoded = tiny_model("gpt2"), random_pairs(2, seed=8)
    found = attribute(model, encoded, method="mask-ig", nodes="calibrated", keep_pairs=True)
    assert found.completeness == {}, "unevenly spaced nodes of equal weight promise no sum"
    expected = []
    for pair in oracle.pairs_of(model, encoded):
        corrupted, low, high = pair.corrupted(), *(pair.number(r.logits) for r in (pair.corrupted(), pair.clean()))

        def share(alpha: float, pair: Any = pair, c: Any = corrupted, low: float = low, high: float = high) -> float:
            return (pair.number(mixed_run(pair, c, alpha).logits) - low) / (high - low)

        grid = np.linspace(0, 1, 41)
        values = np.array([share(a) for a in grid])
        assert (np.diff(values) > 0).all(), "this pair's metric rises steadily, so that its levels are unique"
        expected.append(literal_mask_ig(pair, [float(np.interp(level, values, grid)) for level in (0.2, 0.5, 0.8)]))
    assert relative_error(found.pair_scores, np.stack(expected)) < 2e-2


def test_a_pair_without_a_gap_has_finite_calibrated_scores() -> None:
    """Equal prompts: nothing differs, so every score is 0."""
    encoded = random_pairs(2, seed=8)
    encoded.corrupted[0] = encoded.clean[0]
    found = attribute(tiny_model("gpt2"), encoded, method="mask-ig", nodes="calibrated", keep_pairs=True)
    assert found.pair_scores is not None and np.isfinite(found.pair_scores).all()
    assert np.abs(found.pair_scores[0]).max() < 1e-6 < np.abs(found.pair_scores[1]).max()


@pytest.mark.parametrize("name", SOME)
def test_weighted_run_of_a_circuit_is_the_circuit_s_run(name: str) -> None:
    model, encoded = tiny_model(name), random_pairs(2, seed=9, shortest=4, longest=5)
    batch = make_batch(model, encoded, np.arange(2))
    with torch.no_grad():
        corrupted = capture(model, batch.corrupted, keep=Keep.SOURCES | Keep.RESIDUALS)
        clean = capture(model, batch.clean)
    mask = model.graph.mask
    inside = mask & (np.random.default_rng(0).random(mask.shape) < 0.5)
    expected = run_circuits(model, make_base(model, batch, Intervention("patching")), [inside])[0]
    found = weighted_run(model, batch.clean, corrupted, inside.astype(float), inside.astype(float)).logits
    assert relative_error(found.detach(), expected) < 1e-5
    full = weighted_run(model, batch.clean, corrupted, mask.astype(float), mask.astype(float)).logits
    assert relative_error(full.detach(), clean.logits) < 1e-5


def test_circuits_of_the_rounds_are_the_project_s_own() -> None:
    """Top n with ties by position, pruned: what `eapgp.circuits` selects."""
    for seed, parallel in [(0, False), (1, True), (2, False)]:
        graph = Graph(3, 4, parallel)
        scores = np.random.default_rng(seed).integers(-4, 5, graph.mask.shape) * graph.mask
        for n in (0, 1, 7, 40, 90, graph.n_edges):
            expected = select(EdgeScores(graph, scores.astype(float)), n=n).edges
            assert np.array_equal(strongest(graph, scores.astype(float), n), expected)


def test_rounds_add_up_to_scaled_and_normalised_scores() -> None:
    """acc · Σ|S| / rounds, worked by hand."""
    found = [np.array([[2.0, -2.0]]), np.array([[0.0, 10.0]]), np.zeros((1, 2))]
    assert np.allclose(accumulated(found), [[0.5, 0.5]])
    assert shares(found) == pytest.approx([1 / 3, 4 / 10 / 3, 0.0])
    assert np.allclose(sum(w * f for w, f in zip(shares(found), found, strict=True)), accumulated(found) * 4 / 3)


def test_registered_with_what_it_costs() -> None:
    for name, rounds in [("mask-ig", 1), ("mask-ig-refined", 1 + len(FRACTIONS))]:
        method = METHODS[name]
        assert (method.evidence, method.interventions, method.rounds) == ("ours", ("patching",), rounds)
        assert method.settings({}) == {"steps": 3, "nodes": "midpoints"}
        assert method.passes(3, 12) == ((3, 3) if rounds == 1 else (7, 7))
        with pytest.raises(UnknownNameError, match="unknown nodes 'ends': expected one of midpoints, calibrated"):
            method.settings({"nodes": "ends"})
    with pytest.raises(OptionError, match="intervention 'zero' does not fit this method: it allows patching"):
        attribute(tiny_model("gpt2"), random_pairs(1), method="mask-ig", intervention="zero")


def test_progress_reaches_one_and_never_falls() -> None:
    seen: list[float] = []
    encoded = random_pairs(4, seed=1, shortest=4, longest=6)
    attribute(
        tiny_model("gpt2"), encoded, method="mask-ig-refined", batch_size=2, progress=lambda _p, f: seen.append(f)
    )
    assert seen[0] == 0.0 and seen[-1] == 1.0 and len(set(seen)) > 5
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(seen))
