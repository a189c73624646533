"""Sentences about results: their numbers against literal loops and hand-worked cases, their words in every case."""

from __future__ import annotations

import re

import numpy as np
import pytest

from eapgp import findings, numerals
from eapgp.attribution.result import PathRecord
from eapgp.circuits import Circuit
from eapgp.errors import OptionError
from eapgp.evaluation import CircuitRuns, Measured, Resampling
from eapgp.graph import Graph
from eapgp.runs.bundled import find_bundled
from eapgp.runs.measure import Conditions, stored_circuits

HOW = Resampling(resamples=400, seed=3)


def measured(*metric: list[float], clean: list[float], corrupted: list[float], kept: tuple[int, ...] = ()) -> Measured:
    runs = np.array(metric, dtype=np.float64)
    sizes = kept or tuple(range(10, 10 * len(runs) + 1, 10))
    empty = np.zeros((len(runs), 0))
    ends = np.array(clean, dtype=np.float64), np.array(corrupted, dtype=np.float64)
    return Measured(479, sizes, sizes, CircuitRuns(runs, empty.astype(bool), empty, *ends))


def drawn_shares(metric: np.ndarray, clean: np.ndarray, corrupted: np.ndarray, how: Resampling) -> list[float]:
    """Faithfulness of every resample, one pair after the other."""
    shares = []
    for row in how.weights(len(clean)):
        m = c = x = 0.0
        for weight, a, b, d in zip(row, metric, clean, corrupted, strict=True):
            m, c, x = m + weight * a, c + weight * b, x + weight * d
        shares.append((m - x) / (c - x))
    return shares


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "≈ 0"),
        (4e-5, "≈ 0"),
        (-0.25, "−0.250"),
        (0.0123, "+0.012"),
        (float("nan"), "undefined"),
    ],
)
def test_changes_have_a_sign_and_a_true_minus(value: float, text: str) -> None:
    assert numerals.signed(value) == text


def test_shares_take_a_decimal_where_the_interval_is_narrow() -> None:
    assert numerals.percent_with(0.943, 0.917, 0.962) == "94 % [92, 96]"
    assert numerals.percent_with(0.9951, 0.9912, 0.9989) == "99.5 % [99.1, 99.9]"
    assert numerals.percent_with(1.0, 1.0, 1.0) == "100 % [100, 100]"
    assert numerals.percent_with(-0.031, -0.12, 0.05) == "−3 % [−12, 5]"
    assert numerals.percent(0.004) == "0.4 %"
    assert numerals.decimal_with(-0.0004, -0.0126, 0.01) == "0.000 [−0.013, 0.010]"
    assert numerals.decimal_with(0.943, np.nan, np.nan) == "0.943"
    assert numerals.score(-1.23456e-7) == "−1.235e−7" and numerals.number(1.5e9) == "1.5e9"
    assert numerals.percent_with(0.5, float("nan"), float("nan")) == "50 %"


def test_a_circuit_in_words_holds_the_numbers_of_a_literal_bootstrap() -> None:
    rng = np.random.default_rng(0)
    clean, corrupted = rng.normal(5, 1, 20), rng.normal(0, 1, 20)
    metric = corrupted + 0.9 * (clean - corrupted) + rng.normal(0, 0.5, 20)
    one = measured(metric.tolist(), clean=clean.tolist(), corrupted=corrupted.tolist(), kept=(47,))
    finding = findings.of_circuit(one, how=HOW)
    value = (metric.mean() - corrupted.mean()) / (clean.mean() - corrupted.mean())
    low, high = np.quantile(drawn_shares(metric, clean, corrupted, HOW), (0.025, 0.975))
    assert [finding.numbers[name] for name in ("faithfulness", "low", "high")] == pytest.approx([value, low, high])
    assert finding.text == f"47 of 479 edges keep {numerals.percent_with(value, low, high)} of the behaviour."
    assert re.search(r"keep \d+ % \[\d+, \d+\] of", finding.text)


def test_a_circuit_of_one_edge_of_none_of_one_pair_and_without_a_gap() -> None:
    whole = {"clean": [2.0, 2.0], "corrupted": [0.0, 0.0]}
    assert findings.of_circuit(measured([1.0, 1.0], **whole, kept=(1,))).text.startswith("1 of 479 edges keeps 50")
    nothing = findings.of_circuit(measured([0.0, 0.0], **whole, kept=(0,)))
    assert nothing.text == "None of the 0 strongest edges lies on a way from input to logits."
    single = findings.of_circuit(measured([1.0], clean=[2.0], corrupted=[0.0]))
    assert single.text == "10 of 479 edges keep 50 % of the behaviour."
    flat = findings.of_circuit(measured([1.0, 1.0], clean=[1.0, 1.0], corrupted=[1.0, 1.0]))
    assert "undefined" in flat.text and flat.remark and flat.to_dict()["numbers"]["faithfulness"] is None


def test_two_methods_a_winner_a_tie_and_their_order() -> None:
    ends = {"clean": [1.0] * 8, "corrupted": [0.0] * 8}
    better = measured([0.9, 0.8] * 4, **ends)
    worse = measured([0.6, 0.7] * 4, **ends)
    finding = findings.of_difference(("EAP-IG", "EAP"), better, worse, how=HOW)
    rows = [
        sum(w * (a - b) for w, a, b in zip(row, [0.9, 0.8] * 4, [0.6, 0.7] * 4, strict=True)) for row in HOW.weights(8)
    ]
    low, high = np.quantile(rows, (0.025, 0.975))
    assert finding.text == f"EAP-IG keeps more than EAP at this size: +0.200 [{low:+.3f}, {high:+.3f}]."
    turned = findings.of_difference(("EAP", "EAP-IG"), worse, better, how=HOW)
    assert turned.text == finding.text, "who is named first does not decide who wins"
    assert turned.numbers["difference"] == pytest.approx(-0.2)
    mixed = measured([0.9, 0.5] * 4, **ends)
    tie = findings.of_difference(("EAP-IG", "EAP"), mixed, worse, how=HOW)
    assert tie.text.startswith("EAP-IG and EAP are a tie at this size: +0.050 [−0.")
    with pytest.raises(OptionError, match="two circuits"):
        findings.of_difference(("a", "b"), measured([1.0], [1.0], clean=[1.0], corrupted=[0.0]), better)


def path(kind: str, distance: list[list[float]], used: list[bool]) -> PathRecord:
    values = np.array(distance)
    none = np.zeros_like(values)
    return PathRecord(
        kind, values, none, none, none, none, none[:, :, None], np.array(used), np.full(values.shape[1], 3)
    )


def test_a_path_that_comes_nearer_one_that_moves_away_and_the_straight_line() -> None:
    nearer = path("gradpath", [[4.0, 2.0, 4.0], [3.0, 1.0, 3.0], [1.0, 1.0, 1.0]], [False, True, True])
    finding = findings.of_path(nearer, how=HOW)
    assert finding.text.startswith("GradPath came nearer to the corrupted output on 3 of 3 pairs: 30 % [")
    assert finding.numbers["left"] == pytest.approx(3 / 10) and finding.numbers["nearer"] == 3
    away = findings.of_path(path("gradpath", [[1.0, 1.0], [3.0, 5.0]], [False, True]), how=HOW)
    assert away.text.startswith("GradPath moved away from the corrupted output on 2 of 2 pairs: 4 times [")
    both = findings.of_path(path("gradpath", [[2.0, 2.0], [1.0, 3.0]], [False, True]), how=HOW)
    assert "neither nearer" in both.text
    one = findings.of_path(nearer, pair=1)
    assert one.text.endswith("on 1 of 1 pair: 50 % of the distance is left.")
    line = findings.of_path(path("straight", [[4.0, 4.0], [1.0, 1.0], [0.0, 0.0]], [True, True, False]), how=HOW)
    assert "last gradient with 25 % [25, 25]" in line.text, "x′ itself, where no gradient is taken, is not told"


def test_a_curve_names_the_fewest_edges_that_are_enough() -> None:
    rng = np.random.default_rng(1)
    clean, corrupted = np.ones(12), np.zeros(12)
    rows = [rng.normal(mean, 0.1, 12) for mean in (0.3, 0.85, 0.92, 1.0)]
    curve = measured(*map(list, rows), clean=list(clean), corrupted=list(corrupted))
    finding = findings.of_curve(curve, how=HOW)
    means = [row.mean() for row in rows]
    assert finding.numbers["edges"] == 10 * (1 + next(i for i, mean in enumerate(means) if mean >= 0.9))
    firsts = []
    for weights in HOW.weights(12):
        shares = [float(weights @ row) for row in rows]
        firsts.append(next((10 * (i + 1) for i, share in enumerate(shares) if share >= 0.9), 40))
    firsts.sort()
    assert finding.numbers["low"] == firsts[9] and finding.numbers["high"] == firsts[389]
    assert finding.text.endswith("are enough to keep 90 % of the behaviour.")
    short = findings.of_curve(curve.take([0]), how=HOW)
    assert short.text.startswith("No measured circuit keeps 90 % of the behaviour: the best, of 10 edges, keeps ")


def test_known_edges_that_were_missed_are_named() -> None:
    graph = Graph(2, 2, d_model=8)
    names = ["input->m0", "m0->m1", "m1->logits", "input->logits"]
    truth = Circuit.of_names(graph, names)
    some = Circuit.of_names(graph, ["input->m0", "m0->logits", "input->logits"])
    finding = findings.of_truth(some, truth, name="EAP", of="planted")
    assert finding.text == ("EAP finds 2 of the 4 planted edges among the 3 it keeps; it misses m0->m1 and m1->logits.")
    assert findings.of_truth(truth, truth, name="EAP").text == "EAP finds all 4 known edges among the 4 it keeps."


def test_right_answers() -> None:
    finding = findings.of_prompts(63, 64, name="demo", how=HOW)
    shares = [row[:63].sum() for row in HOW.weights(64)]
    low, high = np.quantile(shares, (0.025, 0.975))
    assert finding.text == f"demo gets 63 of 64 prompts right, {numerals.percent_with(63 / 64, low, high)}."
    assert findings.of_prompts(0, 1, name="demo").text == "demo gets this prompt wrong."
    with pytest.raises(OptionError, match="right answers"):
        findings.of_prompts(3, 2, name="demo")


def test_a_bundled_run_in_words_is_what_its_measurements_say() -> None:
    (run,) = find_bundled("ioi-eap-gp-relative", 4)
    from eapgp.circuits import select

    rows = stored_circuits(run, Conditions.of(run))
    one = rows.measured([select(run.scores(), n=50)])
    finding = findings.of_circuit(one)
    band = one.band()
    assert str(one.kept[0]) in finding.text and "of 479 edges" in finding.text
    assert numerals.percent_with(float(band.value[0]), float(band.low[0]), float(band.high[0])) in finding.text
