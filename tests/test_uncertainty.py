"""A sweep's bands and comparisons: paired, over seeds and pairs, and equal to what is computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from eapgp.evaluation.statistics import bootstrap_difference
from eapgp.runs import RunLibrary
from eapgp.study.plan import make_study
from eapgp.study.report import mean_line, report_html
from eapgp.study.sweep import sweep
from eapgp.study.sweep_result import SweepResult
from eapgp.study.uncertainty import DIFFERENCES_FILE, curve_bands, draw, method_differences, over_seeds
from eapgp.study.worker import Worker

STUDY: dict[str, Any] = {
    "name": "compared",
    "models": ["demo"],
    "tasks": ["ioi"],
    "methods": ["eap", "eap-ig", "random"],
    "seeds": [0, 1, 2],
    "pairs": 4,
    "evaluations": [{"grid": "mib", "resamples": 20}],
    "execution": {"executor": "in-process"},
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    from eapgp.models.load import load_model

    model = load_model("demo")
    library = RunLibrary(tmp_path_factory.mktemp("home"))
    return sweep(make_study(STUDY), library, worker=Worker(library, model_loader=lambda name, **how: model))


def record_of(prompts: str, seed: int, label: str, metric: np.ndarray) -> dict[str, Any]:
    """A finished cell whose circuits have these metrics `[size, pair]`; clean 1, corrupted 0."""
    sizes, count = metric.shape
    curve = [{"edges_selected": 10 * (i + 1), "faithfulness": float(metric[i].mean())} for i in range(sizes)]
    pairs = {
        "fractions": [(i + 1) / sizes for i in range(sizes)],
        "metric": metric.tolist(),
        "metric_clean": [1.0] * count,
        "metric_corrupted": [0.0] * count,
    }
    spec = {"model": "made", "dtype": "float32", "task": "ioi", "options": {}, "seed": seed}
    answer = {"pairs": pairs, "prompts": prompts, "curve": curve}
    return {"status": "done", "asked": {"spec": spec, "label": label}, "evaluations": {"faithfulness": answer}}


def test_every_two_methods_are_compared_over_all_seeds(result: SweepResult) -> None:
    found = result.differences
    areas = found[found["quantity"] == "cpr"]
    assert list(zip(areas["a"], areas["b"], strict=True)) == [
        ("eap", "eap-ig"),
        ("eap", "random"),
        ("eap-ig", "random"),
    ]
    assert (found["seeds"] == 3).all()
    assert set(found["quantity"]) == {"cpr", "cmd", "faithfulness"}
    table = result.table.drop_duplicates("cell").groupby("label")["cpr"].mean()
    for _, row in areas.iterrows():
        assert row["difference"] == pytest.approx(table[row["a"]] - table[row["b"]], abs=1e-6)
        assert row["low"] <= row["difference"] <= row["high"]
        expected = "higher" if row["low"] > 0 else "lower" if row["high"] < 0 else "tie"
        assert row["verdict"] == expected
    better = areas[areas["b"] == "random"]
    assert (better["verdict"] == "higher").all() and (better["flips"] < 0.01).all()
    kept = pd.read_parquet(result.folder / DIFFERENCES_FILE)
    assert kept.equals(found)


def test_one_seed_is_the_paired_bootstrap_of_its_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.6, 0.2, (3, 40)), rng.normal(0.5, 0.2, (3, 40))
    found = method_differences(draw([record_of("p", 0, "a", a), record_of("p", 0, "b", b)]))
    band = bootstrap_difference(a, b, np.ones(40), np.zeros(40), fractions=[1 / 3, 2 / 3, 1], area="cpr")
    assert set(found["quantity"]) == {"area", "area_to_one", "faithfulness"}, "three sizes are not MIB's grid"
    (row,) = found[found["quantity"] == "area"].to_dict("records")
    assert row["difference"] == pytest.approx(float(band.value))
    assert (row["low"], row["high"]) == pytest.approx((float(band.low), float(band.high)), abs=0.01)
    assert band.flips is not None and row["flips"] == pytest.approx(float(band.flips), abs=0.03)


def test_pairing_takes_what_both_share_out_of_the_difference() -> None:
    """Two methods that differ by a constant: the difference has no spread, though each curve has one."""
    noise = np.random.default_rng(1).normal(0.5, 0.3, (2, 30))
    records = [record_of("p", 0, "a", noise + 0.1), record_of("p", 0, "b", noise)]
    groups = draw(records)
    for _, row in method_differences(groups).iterrows():
        if row["quantity"] == "faithfulness":
            assert (row["low"], row["high"]) == pytest.approx((0.1, 0.1)) and row["flips"] == 0
    bands = curve_bands(groups)
    assert (bands["high"] - bands["low"] > 0.1).all()


def test_other_prompts_are_not_compared_and_equal_methods_tie() -> None:
    metric = np.random.default_rng(2).normal(0.5, 0.3, (2, 10))
    assert method_differences(draw([record_of("p", 0, "a", metric), record_of("q", 0, "b", metric)])).empty
    same = method_differences(draw([record_of("p", 0, "a", metric), record_of("p", 0, "b", metric)]))
    assert (same["verdict"] == "tie").all() and same["flips"].isna().all()


def test_seeds_are_drawn_too_and_shared_prompts_share_their_resamples() -> None:
    """Each seed's draws have variance 1: two seeds with own prompts halve it, apart from the draw of seeds."""
    own = np.random.default_rng(3).normal(size=(2, 4000))
    assert over_seeds(own, ["p", "q"]).var() == pytest.approx(0.5, abs=0.1)
    shared = np.stack([own[0], own[0]])
    assert over_seeds(shared, ["p", "p"]) == pytest.approx(own[0])
    apart = np.stack([np.zeros(4000), np.ones(4000)])
    assert set(np.unique(over_seeds(apart, ["p", "q"]))) == {0.0, 0.5, 1.0}


def test_what_is_undefined_is_called_so() -> None:
    record, other = (record_of("p", 0, label, np.full((2, 5), 0.5)) for label in ("a", "b"))
    for entry in (record, other):
        entry["evaluations"]["faithfulness"]["pairs"]["metric_corrupted"] = [1.0] * 5
        for size in entry["evaluations"]["faithfulness"]["curve"]:
            size["faithfulness"] = None
    found = method_differences(draw([record, other]))
    assert (found["verdict"] == "undefined").all() and found["flips"].isna().all()


def test_the_report_shows_bands_and_differences(result: SweepResult) -> None:
    page = report_html(result)
    assert "Differences between methods" in page and "order flips" in page
    rows = result.table[result.table["label"] == "eap-ig"]
    line = mean_line("eap-ig", rows, result.bands)
    bands = result.bands[result.bands["label"] == "eap-ig"].drop_duplicates("edges_selected")
    shown = dict(zip(line.sizes.tolist(), zip(line.low.tolist(), line.high.tolist(), strict=True), strict=True))
    for _, band in bands.iterrows():
        assert shown[band["edges_selected"]] == (band["low"], band["high"])
    assert (line.low <= line.values + 1e-9).all() and (line.values <= line.high + 1e-9).all()


def test_the_answer_of_evaluate_keeps_pairs_to_itself(result: SweepResult) -> None:
    from eapgp.runs import Question, evaluate_run

    library = RunLibrary(result.folder.parents[1])
    run = library.open(result.records[0]["run"])
    known = evaluate_run(run, Question(grid="mib", resamples=20))
    assert known["cached"] and "pairs" not in known
    with_pairs = evaluate_run(run, Question(grid="mib", resamples=20), pairs=True)
    assert len(with_pairs["pairs"]["metric"]) == 10 and len(with_pairs["pairs"]["metric_clean"]) == 4
