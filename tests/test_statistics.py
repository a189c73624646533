"""Bootstrap, areas and stability: literal loops, closed forms and known coverage."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eapgp.errors import ComputationError, OptionError
from eapgp.evaluation.statistics import (
    MIB_FRACTIONS,
    Resampling,
    bootstrap_area,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    cpr_cmd,
    mib_sizes,
    resample_weights,
    stability,
)
from eapgp.graph import Graph


def runs(seed: int, n_circuits: int = 4, n_pairs: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corrupted = rng.normal(0, 1, n_pairs)
    clean = corrupted + rng.normal(4, 1, n_pairs)
    share = np.linspace(0.1, 1, n_circuits)[:, None]
    return corrupted + share * (clean - corrupted) + rng.normal(0, 0.5, (n_circuits, n_pairs)), clean, corrupted


def test_mib_sizes() -> None:
    assert mib_sizes(32_491) == [32, 64, 162, 324, 649, 1624, 3249, 6498, 16245, 32491]
    assert mib_sizes(479)[:4] == [0, 0, 2, 4]


def test_areas_by_hand() -> None:
    # f = 0 at 0, 1 at 0.5, 1.5 at 1: trapezoids .25 + .625; |1 − f| = 1, 0, .5: .25 + .125
    assert cpr_cmd([0, 0.5, 1], [0, 1, 1.5]) == (pytest.approx(0.875), pytest.approx(0.375))
    perfect = cpr_cmd(MIB_FRACTIONS, np.ones(10))
    assert perfect == (pytest.approx(0.999), pytest.approx(0.0)), "no area left of 0.1 %"
    many = cpr_cmd([0, 0.5, 1], [[0, 1, 1.5], [1, 1, 1]])
    assert many[0].tolist() == [0.875, 1.0] and many[1].tolist() == [0.375, 0.0]
    assert np.isnan(cpr_cmd([0, 1], [np.nan, 1])[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_areas_equal_the_reference_loop(seed: int) -> None:
    f = np.random.default_rng(seed).normal(1, 1, 10)
    under = away = 0.0
    for i in range(9):
        width = MIB_FRACTIONS[i + 1] - MIB_FRACTIONS[i]
        under += width * (f[i] + f[i + 1]) / 2
        away += width * (abs(1 - f[i]) + abs(1 - f[i + 1])) / 2
    assert cpr_cmd(MIB_FRACTIONS, f) == (pytest.approx(under), pytest.approx(away))


def test_areas_refuse_other_grids() -> None:
    for x, f, message in [
        ([0.5], [1], "at least two sizes"),
        ([0.1, 0.2], [1], "at least two sizes"),
        ([0.2, 0.1], [1, 1], "must increase"),
        ([1, 50], [1, 1], "must increase within 0 … 1"),
    ]:
        with pytest.raises(OptionError, match=message):
            cpr_cmd(x, f)


def test_weights_are_resamples() -> None:
    weights = resample_weights(7, 500, seed=0)
    assert weights.shape == (500, 7)
    assert np.allclose(weights.sum(axis=1), 1)
    assert np.allclose(weights * 7, np.round(weights * 7)), "whole numbers of draws"
    assert np.abs(weights.mean(axis=0) - 1 / 7).max() < 0.02
    assert (weights == resample_weights(7, 500, seed=0)).all()
    assert (weights != resample_weights(7, 500, seed=1)).any()


def test_weights_are_drawn_once_and_cannot_be_written_to() -> None:
    weights = Resampling(seed=3).weights(20)
    assert weights is Resampling(seed=3, level=0.9).weights(20) and not weights.flags.writeable
    np.testing.assert_array_equal(weights, resample_weights(20, Resampling().resamples, 3))
    assert not np.array_equal(weights, Resampling(seed=4).weights(20))


def test_grouped_weights_draw_groups_first() -> None:
    groups = np.repeat(["a", "b", "c", "d"], 5)
    weights = resample_weights(20, 2000, seed=0, groups=groups)
    assert np.allclose(weights.sum(axis=1), 1)
    per_group = weights.reshape(2000, 4, 5).sum(axis=2) * 4
    assert np.allclose(per_group, np.round(per_group)), "a group is drawn a whole number of times"
    assert (per_group == 0).any() and per_group.max() >= 3
    # variance between groups shows in the interval; without groups it is missed
    values = np.repeat([0.0, 10.0, 0.0, 10.0], 5)
    with_groups, without = bootstrap_mean(values, how=Resampling(groups=groups)), bootstrap_mean(values)
    assert with_groups.high - with_groups.low > 1.5 * (without.high - without.low)
    with pytest.raises(OptionError, match="one group for each of the 20 pairs"):
        resample_weights(20, 5, 0, groups=[1, 2])


def test_intervals_have_the_width_of_theory() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    band = bootstrap_mean(values, how=Resampling(resamples=4000))
    half = 1.96 * values.std() / 20
    assert band.value == pytest.approx(values.mean())
    assert band.low == pytest.approx(values.mean() - half, abs=0.02)
    assert band.high == pytest.approx(values.mean() + half, abs=0.02)


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        band = bootstrap_mean(
            rng.normal(5, 1, 60), how=Resampling(resamples=300, level=0.9, seed=int(rng.integers(1e9)))
        )
        covered += band.low <= 5 <= band.high
    assert 0.83 < covered / 300 < 0.96


def test_ratio_equals_a_literal_loop() -> None:
    circuits, clean, corrupted = runs(0)
    band = bootstrap_ratio(circuits, clean, corrupted, how=Resampling(resamples=200, seed=5))
    counts = np.round(resample_weights(30, 200, 5) * 30).astype(int)
    samples = []
    for row in counts:
        drawn = np.repeat(np.arange(30), row)
        gap = clean[drawn].mean() - corrupted[drawn].mean()
        samples.append([(c[drawn].mean() - corrupted[drawn].mean()) / gap for c in circuits])
    assert np.allclose(band.low, np.quantile(samples, 0.025, axis=0))
    assert np.allclose(band.high, np.quantile(samples, 0.975, axis=0))
    assert np.allclose(band.value, (circuits.mean(1) - corrupted.mean()) / (clean.mean() - corrupted.mean()))
    assert band.reason == "" and band.undefined == 0


def test_the_full_circuit_is_1_and_the_empty_one_0_without_any_spread() -> None:
    _, clean, corrupted = runs(1)
    band = bootstrap_ratio([clean, corrupted], clean, corrupted)
    for array in (band.value, band.low, band.high):
        assert np.allclose(array, [1, 0])


def test_pairing_cancels_what_both_methods_share() -> None:
    circuits, clean, corrupted = runs(2, n_circuits=1)
    better = circuits + 0.2
    result = bootstrap_difference(better, circuits, clean, corrupted)
    alone = bootstrap_ratio(circuits, clean, corrupted)
    assert result.value[0] == pytest.approx(0.2 / (clean.mean() - corrupted.mean()))
    assert result.low[0] > 0 and result.flips is not None and result.flips[0] == 0
    assert (result.high - result.low)[0] < 0.5 * (alone.high - alone.low)[0]


def test_order_flips_by_hand() -> None:
    # two pairs: a better by 3 on the first, worse by 2 on the second; of the resamples a quarter
    # holds only the second pair and flips the order
    clean, corrupted = np.ones(2), np.zeros(2)
    result = bootstrap_difference([[3.0, 0.0]], [[0.0, 2.0]], clean, corrupted, how=Resampling(resamples=20_000))
    assert result.value.tolist() == [0.5]
    assert result.flips is not None and result.flips[0] == pytest.approx(0.25, abs=0.02)
    tied = bootstrap_difference(
        [[2.0, 0.0, 1.0]], [[0.0, 2.0, 0.0]], np.ones(3), np.zeros(3), how=Resampling(resamples=20_000)
    )
    draws = np.array(np.meshgrid([2, -2, 1], [2, -2, 1], [2, -2, 1])).reshape(3, -1).sum(axis=0)
    assert tied.flips is not None
    assert tied.flips[0] == pytest.approx((draws < 0).mean() + 0.5 * (draws == 0).mean(), abs=0.02)
    swapped = bootstrap_difference([[0.0, 2.0]], [[3.0, 0.0]], clean, corrupted, how=Resampling(resamples=20_000))
    assert swapped.flips is not None and swapped.flips[0] == result.flips[0]


def test_equal_methods_have_no_order() -> None:
    circuits, clean, corrupted = runs(3)
    result = bootstrap_difference(circuits, circuits, clean, corrupted)
    assert (result.value == 0).all() and result.flips is not None and np.isnan(result.flips).all()


def test_areas_with_intervals_agree_with_the_curve() -> None:
    fractions = [0.1, 0.3, 0.6, 1.0]
    circuits, clean, corrupted = runs(4)
    for index, area in enumerate(("cpr", "cmd")):
        band = bootstrap_area(fractions, circuits, clean, corrupted, area=area)
        assert band.value == pytest.approx(cpr_cmd(fractions, bootstrap_ratio(circuits, clean, corrupted).value)[index])
        assert band.low < band.value < band.high or area == "cmd"
    other = circuits + np.random.default_rng(0).normal(0, 0.2, circuits.shape) + 0.5
    compared = bootstrap_difference(other, circuits, clean, corrupted, area="cpr", fractions=fractions)
    parts = [bootstrap_area(fractions, c, clean, corrupted).value for c in (other, circuits)]
    assert compared.value == pytest.approx(parts[0] - parts[1])
    assert compared.low > 0 and compared.flips == 0


def test_a_tiny_gap_is_undefined_and_says_so() -> None:
    clean = np.full(10, 2.0)
    band = bootstrap_ratio(np.ones((3, 10)), clean, clean + 1e-9)
    assert np.isnan(band.value).all() and np.isnan(band.low).all()
    assert band.reason.startswith("undefined: M(clean) − M(corrupted) = -1e-09 is too small")
    assert band.undefined == 1.0
    assert json.loads(json.dumps(band.to_dict(), allow_nan=False))["value"] == [None, None, None]
    difference = bootstrap_difference(np.ones((3, 10)), np.zeros((3, 10)), clean, clean)
    assert np.isnan(difference.value).all() and difference.reason.startswith("undefined")
    json.dumps(difference.to_dict(), allow_nan=False)


def test_small_metrics_are_not_mistaken_for_a_tiny_gap() -> None:
    band = bootstrap_ratio(np.full((1, 5), 0.5e-9), np.full(5, 1e-9), np.zeros(5))
    assert band.value[0] == pytest.approx(0.5) and band.reason == ""


def test_a_gap_that_may_be_zero_is_flagged() -> None:
    clean = np.array([1.0, -1.0, 1.2, -1.1, 0.3])
    band = bootstrap_ratio(clean[None] * 0.5, clean, np.zeros(5))
    assert "includes 0" in band.reason and np.isfinite(band.value).all()


def test_wrong_metrics_are_refused() -> None:
    circuits, clean, corrupted = runs(5)
    with pytest.raises(OptionError, match=r"over the same pairs; got \(4, 30\), \(29,\) and \(29,\)"):
        bootstrap_ratio(circuits, clean[1:], corrupted[1:])
    circuits[2, 7] = np.nan
    with pytest.raises(ComputationError, match=r"M\(circuit\) is nan for pair 7"):
        bootstrap_ratio(circuits, clean, corrupted)
    with pytest.raises(OptionError, match="at least one pair"):
        bootstrap_mean([])
    with pytest.raises(OptionError, match="level must lie between 0 and 1; got 95"):
        bootstrap_mean([1.0, 2.0], how=Resampling(level=95))
    good = runs(5)
    with pytest.raises(OptionError, match="belong together"):
        bootstrap_difference(good[0], good[0], good[1], good[2], area="cpr")
    with pytest.raises(OptionError, match="'cpr' or 'cmd'; got 'auc'"):
        bootstrap_area([0, 0.3, 0.6, 1], *good, area="auc")
    with pytest.raises(OptionError, match="same circuits × pairs"):
        bootstrap_difference(good[0], good[0][:2], good[1], good[2])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.booleans(), st.integers(0, 13))
def test_stability_equals_a_literal_loop(seed: int, absolute: bool, n: int) -> None:
    graph = Graph(1, 2)
    rng = np.random.default_rng(seed)
    scores = np.where(graph.mask, rng.integers(-3, 4, (8, *graph.mask.shape)), 0).astype(float)
    result = stability(scores, graph, n, resamples=20, seed=seed, absolute=absolute)
    names = graph.edge_names()
    counts = dict.fromkeys(names, 0)
    for row in resample_weights(8, 20, seed):
        total = {e: float(row @ scores[:, *graph.edge_index(e)]) for e in names}
        for e in sorted(names, key=lambda e: -abs(total[e]) if absolute else -total[e])[:n]:
            counts[e] += 1
    literal = np.array([counts[e] / 20 for e in names])
    ours = np.array([result[graph.edge_index(e)] for e in names])
    assert ours == pytest.approx(literal) and ours.sum() == pytest.approx(n)  # eighths of whole numbers are exact
    assert (result[~graph.mask] == 0).all()


def test_stable_edges_are_always_in_and_unscored_ones_never() -> None:
    graph = Graph(2, 2)
    rng = np.random.default_rng(0)
    scores = np.where(graph.mask, rng.normal(0, 0.01, (12, *graph.mask.shape)), 0)
    strong, missing = graph.edge_index("input->m1"), graph.edge_index("m1->logits")
    scores[:, *strong] = 5.0
    scores[:, *missing] = 9.0
    scores[3, *missing] = np.nan
    share = stability(scores, graph, 3, resamples=50)
    assert share[strong] == 1.0 and share[missing] == 0.0
    assert share.sum() == pytest.approx(3.0)
    assert stability(scores, graph, graph.n_edges, resamples=5).sum() == pytest.approx(graph.n_edges - 1)
    for wrong in (scores[0], scores[:, 1:], scores[:0]):
        with pytest.raises(OptionError, match=r"must have shape \(pairs, 7, 15\)"):
            stability(wrong, graph, 3)
    with pytest.raises(OptionError, match="got 99"):
        stability(scores, graph, 99)


def test_speed_at_gpt2_small_shape() -> None:
    graph = Graph(12, 12)
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(16, *graph.mask.shape)).astype(np.float32)
    start = time.perf_counter()
    stability(scores, graph, 800)
    print(f"stability of 32,491 edges, 16 pairs, 200 resamples: {time.perf_counter() - start:.2f} s")
    start = time.perf_counter()
    bootstrap_ratio(rng.normal(size=(50, 500)), rng.normal(4, 1, 500), rng.normal(size=500))
    print(f"bootstrap of 50 circuits × 500 pairs: {time.perf_counter() - start:.3f} s")
