"""What the Faithfulness page measures and keeps, on a bundled run; without a browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.circuits.select import select, select_many
from eapgp.errors import Cancelled, ModelError
from eapgp.evaluation.curves import completeness, random_baseline
from eapgp.evaluation.runner import CircuitRuns
from eapgp.runs.run import Run, open_run
from eapgp.ui.faithfulness import jobs as work
from eapgp.ui.jobs.workshop import Workshop
from eapgp.ui.library import measure, results
from eapgp.ui.library.shelf import RunInfo

EXAMPLES = results.examples_folder()
pytestmark = pytest.mark.skipif(EXAMPLES is None, reason="the bundled examples are not there: make them first")
SIZES = (5, 40, 200)


def quiet(phase: str, fraction: float) -> None:
    """A job that nobody cancels."""


def forbidden(progress: Any) -> Any:
    raise AssertionError("the model was asked though the answer was kept")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of a bundled run, which may be written to."""
    assert EXAMPLES is not None
    folder = tmp_path_factory.mktemp("library") / "run"
    shutil.copytree(EXAMPLES / "sva-eap-ig", folder)
    return open_run(folder)


@pytest.fixture(scope="module")
def shop() -> Workshop:
    return Workshop()


@pytest.fixture(scope="module")
def curve(run: Run, shop: Workshop) -> work.Measured:
    circuits = select_many(run.scores(), SIZES)
    return work.keeping(run, "curve-test", work.Measured, work.curve_work(shop, "t", run, circuits), keep=True)(quiet)


def test_a_curve_that_is_measured_equals_what_the_example_kept(run: Run, shop: Workshop) -> None:
    card = RunInfo(run, True, "")
    sizes = work.grid_of(card.graph.n_edges, "quick")[0]
    circuits = select_many(run.scores(), sizes)
    known = measure.stored_measure(card, circuits)
    assert known is not None
    stored = work.Measured(known.selected, known.kept, known.runs)
    fresh = work.curve_work(shop, "t", run, circuits)(quiet)
    assert not stored.whole and stored.has("metric") and not stored.has("kl")
    assert fresh.whole and fresh.has("kl") and fresh.kept == stored.kept
    assert np.allclose(fresh.runs.metric, stored.runs.metric, atol=1e-4)
    assert np.allclose(work.band_of(fresh, "faithfulness").low, work.band_of(stored, "faithfulness").low, atol=1e-3)
    assert fresh.runs.kl[-1] == pytest.approx(0.0, abs=1e-4), "the whole graph is the whole model"


def test_what_was_measured_is_kept_and_found_again_without_the_model(run: Run, curve: work.Measured) -> None:
    again = work.keeping(run, "curve-test", work.Measured, forbidden, keep=True)(quiet)
    assert again.selected == curve.selected == SIZES and again.kept == curve.kept
    assert np.allclose(again.runs.metric, curve.runs.metric, atol=1e-6)
    assert (again.runs.correct == curve.runs.correct).all() and again.runs.correct.dtype == bool
    assert np.allclose(again.runs.kl, curve.runs.kl, atol=1e-6)


def test_an_example_is_left_as_it_is(run: Run) -> None:
    result = work.Measured((1,), (1,), CircuitRuns(*(np.ones((1, 2)) for _ in range(3)), np.ones(2), np.zeros(2)))
    before = run.evaluation()
    work.keeping(run, "not-kept", work.Measured, lambda progress: result, keep=False)(quiet)
    assert run.evaluation() == before


def test_random_circuits_are_those_of_the_command_line(run: Run, shop: Workshop) -> None:
    found = work.baseline_work(shop, "t", run, SIZES, seeds=2)(quiet)
    expected = random_baseline(shop.runner("t", run, quiet), SIZES, seeds=2)
    assert np.allclose(found.values["faithfulness"], expected.values, atol=1e-6)
    mean, low, high = found.spread("faithfulness")
    assert np.allclose([mean, low, high], [expected.mean, expected.low, expected.high], atol=1e-6)
    assert set(found.values) == set(work.QUANTITIES) and found.values["kl"].shape == (2, len(SIZES))
    back = work.Baseline.from_dict(json.loads(json.dumps(found.to_dict())))
    assert back.sizes == found.sizes and np.array_equal(back.values["accuracy"], found.values["accuracy"])


def test_evidence_is_the_library_s_and_each_edge_is_really_taken_away(run: Run, shop: Workshop) -> None:
    circuit = select(run.scores(), n=12)
    found = work.evidence_work(shop, "t", run, circuit)(quiet)
    runner = shop.runner("t", run, quiet)
    expected = completeness(runner, circuit).faithfulness
    assert np.allclose(found.faithfulness.value, expected.value, atol=1e-5)
    whole, name = runner.faithfulness(circuit), found.minimality.edges[3]
    from eapgp.circuits.ops import add_edges, remove_edges

    without = runner.faithfulness(remove_edges(circuit, [name]))
    assert found.minimality.contribution.value[3] == pytest.approx(whole - without, abs=1e-5)
    outside = work.outside_edges(circuit)
    assert len(outside) == work.OUTSIDE == len(set(outside)) and not set(outside) & set(circuit.edge_names())
    added = runner.faithfulness(add_edges(circuit, [outside[7]]))
    assert found.outside[7] == pytest.approx(added - whole, abs=1e-5)
    low, high = found.outside_range or (0.0, 0.0)
    assert found.outside.min() <= low <= high <= found.outside.max()
    back = work.Evidence.from_dict(json.loads(json.dumps(found.to_dict())))
    assert back.minimality.edges == found.minimality.edges and back.rest == found.rest
    assert np.array_equal(back.faithfulness.low, found.faithfulness.low)


def test_a_full_circuit_has_no_edge_outside(run: Run) -> None:
    assert work.outside_edges(select(run.scores(), n=run.scores().graph.n_edges, prune=False)) == []


def test_areas_over_mib_s_shares_by_hand() -> None:
    sizes, fractions = work.grid_of(479, "mib")
    assert sizes[:4] == [0, 0, 2, 4] and sizes[-1] == 479 and fractions[0] == 0.001
    metric = np.ones((10, 3))
    metric[0] = 0.0  # f = 0 at 0.1 %, 1 from 0.2 % on: the areas differ by one trapezoid of 0.1 % / 2
    runs = CircuitRuns(metric, metric > 0, metric, np.ones(3), np.zeros(3))
    cpr, cmd = work.areas_of(work.Measured(tuple(sizes), tuple(sizes), runs), fractions)
    assert float(cpr.value) == pytest.approx(0.999 - 0.0005) and float(cmd.value) == pytest.approx(0.0005)


def test_a_difference_is_paired_and_a_tie_is_zero(curve: work.Measured) -> None:
    same = work.difference_of(curve, curve)
    assert np.array_equal(same.value, np.zeros(3)) and np.array_equal(same.low, same.high)
    shares = np.array(SIZES) / 479
    assert float(work.difference_of(curve, curve, shares).value) == 0.0


def test_another_model_of_the_same_name_is_refused(run: Run) -> None:
    record = json.loads(json.dumps(run.provenance))
    record["request"]["model"]["weights_hash"] = "0" * 16
    changed = Run(run.path, record)
    with pytest.raises(ModelError, match=r"expected weights_hash 0{16} as in run .*, got .*compute the run again"):
        work.curve_work(Workshop(), "t", changed, select_many(run.scores(), [3]))(quiet)


def test_a_cancelled_measurement_keeps_nothing(run: Run, shop: Workshop) -> None:
    def stop(phase: str, fraction: float) -> None:
        if phase == "running circuits":
            raise Cancelled("Cancelled.")

    job = work.curve_work(shop, "t", run, select_many(run.scores(), [3]))
    with pytest.raises(Cancelled):
        work.keeping(run, "stopped", work.Measured, job, keep=True)(stop)
    assert "stopped" not in run.evaluation()


def test_keys_tell_circuits_and_runs_apart(run: Run) -> None:
    few, more = select_many(run.scores(), [3, 4])
    keys = {
        work.circuits_key("curve", run_id, circuits) for run_id in "ab" for circuits in ([few], [more], [few, more])
    }
    assert (few.edges == more.edges).all(), "both are pruned to the same edges; the sizes still differ"
    assert len(keys) == 6
    assert work.circuits_key("curve", "a", [few]) == work.circuits_key("curve", "a", [select(run.scores(), n=3)])


def test_the_snippets_can_be_run_as_they_stand(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from eapgp.ui.faithfulness.views import python_snippet, shell_snippet

    card = RunInfo(run, True, "")
    asked: list[Any] = []

    def answer(one: Run, question: Any, **options: Any) -> dict[str, Any]:
        asked.append((one.id, question, options))
        return {"curve": [], "cpr": {"value": 1.0}, "cmd": {"value": 0.0}, "completeness": []}

    monkeypatch.setattr("eapgp.runs.evaluate.evaluate_run", answer)
    exec(python_snippet(card, 50, "mib"), {})
    assert [entry[0] for entry in asked] == [run.id, run.id]
    assert '"CPR", answer["cpr"]["value"]' in python_snippet(card, 50, "mib")
    assert "CPR" not in python_snippet(card, 50, "quick")
    assert asked[0][1].grid == "mib" and asked[0][1].baseline == work.SEEDS
    assert asked[1][1].sizes == (50,) and asked[1][1].minimality and asked[1][1].completeness
    lines = shell_snippet(card, 50, "quick").splitlines()
    assert lines[0].startswith("eapgp evaluate --run ") and "--edges 479" in lines[0] and "--minimality" in lines[1]
    assert Path(run.path).name in lines[0]
