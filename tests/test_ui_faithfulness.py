"""What the Faithfulness page measures and keeps, on a bundled run; without a browser."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.circuits.ops import add_edges, complement, remove_edges
from eapgp.circuits.select import select, select_many
from eapgp.errors import Cancelled, ModelError
from eapgp.evaluation.evidence import OUTSIDE, SEEDS, RandomBaseline, outside_edges, random_circuits
from eapgp.evaluation.runner import CircuitRuns, Measured
from eapgp.runs.info import RunInfo
from eapgp.runs.run import Run, open_run
from eapgp.ui.faithfulness import jobs as work
from eapgp.ui.faithfulness import views
from eapgp.ui.jobs.workshop import Workshop, circuits_work
from eapgp.ui.library import measure, results
from eapgp.ui.parts.measuring import sizes_of

EXAMPLES = results.examples_folder()
pytestmark = pytest.mark.skipif(EXAMPLES is None, reason="the bundled examples are not there: make them first")
SIZES = (5, 40, 200)


def quiet(phase: str, fraction: float) -> None:
    """A job that nobody cancels."""


class Forbidden(Workshop):
    """A workshop whose models must not be asked for."""

    def model(self, lane: str, name: str, **options: Any) -> Any:
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
def curve(run: Run, shop: Workshop) -> Measured:
    return circuits_work(shop, "t", run, select_many(run.scores(), SIZES), keep=True)(quiet)


def test_a_curve_that_is_measured_equals_what_the_example_kept(run: Run, shop: Workshop) -> None:
    circuits = select_many(run.scores(), sizes_of("quick")(479))
    stored = measure.known(RunInfo(run, True), circuits)
    assert stored is not None
    fresh = shop.measurer("t", run, quiet, keep=False).circuits(circuits)
    assert not stored.whole and stored.has("metric") and not stored.has("kl")
    assert fresh.whole and fresh.has("kl") and fresh.kept == stored.kept
    assert np.allclose(fresh.runs.metric, stored.runs.metric, atol=1e-4)
    assert np.allclose(fresh.band().low, stored.band().low, atol=1e-3)
    assert fresh.runs.kl[-1] == pytest.approx(0.0, abs=1e-4), "the whole graph is the whole model"


def test_an_example_is_left_as_it_is(run: Run, shop: Workshop) -> None:
    before = run.evaluation()
    circuits_work(shop, "t", run, select_many(run.scores(), [7]), keep=False)(quiet)
    assert run.evaluation() == before


def test_random_circuits_are_kept_and_their_means_are_the_runner_s(run: Run, shop: Workshop) -> None:
    draws = work.baseline_work(shop, "t", run, SIZES, seeds=2)(quiet)
    runner = shop.runner("t", run, quiet)
    for seed in range(2):
        expected = runner.run(random_circuits(runner.graph, SIZES, seed))
        assert np.allclose(draws.values()[seed], expected.faithfulness, atol=1e-6)
        assert np.allclose(draws.values("accuracy")[seed], expected.correct.mean(1))
    mean, low, high = draws.spread()
    assert np.allclose(mean, draws.values().mean(0)) and (low <= mean).all() and (mean <= high).all()
    assert draws.values("kl").shape == (2, len(SIZES)) and draws.sizes == SIZES
    assert work.has_baseline(run, SIZES, seeds=2) and not work.has_baseline(run, SIZES, seeds=3)
    again = work.baseline_work(Forbidden(), "t", run, SIZES, seeds=2)(quiet)
    assert np.array_equal(again.values("kl"), draws.values("kl"))


def test_evidence_is_the_library_s_and_each_edge_is_really_taken_away(run: Run, shop: Workshop) -> None:
    circuit = select(run.scores(), n=12)
    assert not work.has_evidence(run, circuit)
    found = work.evidence_work(shop, "t", run, circuit)(quiet)
    runner = shop.runner("t", run, quiet)
    expected = runner.run([circuit, complement(circuit)]).faithfulness
    assert np.allclose(found.faithfulness.value, expected, atol=1e-5)
    whole, name = runner.faithfulness(circuit), found.minimality.edges[3]
    without = runner.faithfulness(remove_edges(circuit, [name]))
    assert found.minimality.contribution.value[3] == pytest.approx(whole - without, abs=1e-5)
    outside = outside_edges(circuit)
    assert len(outside) == OUTSIDE == len(set(outside)) and not set(outside) & set(circuit.edge_names())
    added = runner.faithfulness(add_edges(circuit, [outside[7]]))
    assert found.outside.added[7] == pytest.approx(added - whole, abs=1e-5)
    low, high = found.outside.spread or (0.0, 0.0)
    assert found.outside.added.min() <= low <= high <= found.outside.added.max()
    assert work.has_evidence(run, circuit)
    back = work.evidence_work(Forbidden(), "t", run, circuit)(quiet)
    assert back.minimality.edges == found.minimality.edges and back.rest == found.rest
    assert np.array_equal(back.faithfulness.low, found.faithfulness.low)
    assert np.array_equal(back.outside.added, found.outside.added)


def test_a_full_circuit_has_no_edge_outside(run: Run) -> None:
    assert outside_edges(select(run.scores(), n=run.scores().graph.n_edges, prune=False)) == []


def test_areas_over_mib_s_shares_by_hand() -> None:
    sizes = sizes_of("mib")(479)
    assert sizes[:4] == [0, 0, 2, 4] and sizes[-1] == 479
    metric = np.ones((10, 3))
    metric[0] = 0.0  # f = 0 at 0.1 %, 1 from 0.2 % on: the areas differ by one trapezoid of 0.1 % / 2
    runs = CircuitRuns(metric, metric > 0, metric, np.ones(3), np.zeros(3))
    measured = Measured(479, tuple(sizes), tuple(sizes), runs)
    assert measured.shares[0] == 0.001
    cpr, cmd = measured.areas() or pytest.fail("two sizes have an area")
    assert float(cpr.value) == pytest.approx(0.999 - 0.0005) and float(cmd.value) == pytest.approx(0.0005)
    assert measured.take([3]).areas() is None


def test_a_difference_is_paired_and_a_tie_is_zero(curve: Measured) -> None:
    same = curve.minus(curve)
    assert np.array_equal(same.value, np.zeros(3)) and np.array_equal(same.low, same.high)
    assert float(curve.minus(curve, area="cpr").value) == 0.0


def test_another_model_of_the_same_name_is_refused(run: Run) -> None:
    record = json.loads(json.dumps(run.provenance))
    record["request"]["model"]["weights_hash"] = "0" * 16
    changed = Run(run.path, record)
    with pytest.raises(ModelError, match=r"expected weights_hash 0{16} as in run .*, got .*compute the run again"):
        circuits_work(Workshop(), "t", changed, select_many(run.scores(), [125]), keep=True)(quiet)


def test_a_cancelled_measurement_keeps_nothing(run: Run, shop: Workshop) -> None:
    def stop(phase: str, fraction: float) -> None:
        if phase == "running circuits":
            raise Cancelled("Cancelled.")

    before = run.evaluation()
    with pytest.raises(Cancelled):
        circuits_work(shop, "t", run, select_many(run.scores(), [126]), keep=True)(stop)
    assert run.evaluation() == before


def test_keys_of_jobs_tell_circuits_and_runs_apart(run: Run) -> None:
    few, more = select_many(run.scores(), [3, 4])
    cards = [RunInfo(Run(run.path, {**run.record, "id": name}), False) for name in "ab"]
    keys = {measure.job_key("curve", card, circuits) for card in cards for circuits in ([few], [more], [few, more])}
    assert (few.edges == more.edges).all(), "both are pruned to the same edges; the sizes still differ"
    assert len(keys) == 6
    same = select(run.scores(), n=3)
    assert measure.job_key("curve", cards[0], [few]) == measure.job_key("curve", cards[0], [same])


def test_the_snippets_can_be_run_as_they_stand(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from eapgp.ui.faithfulness.views import python_snippet, shell_snippet

    card = RunInfo(run, True)
    asked: list[Any] = []

    def answer(one: Run, question: Any, **options: Any) -> dict[str, Any]:
        asked.append((one.id, question, options))
        return {"curve": [], "cpr": {"value": 1.0}, "cmd": {"value": 0.0}, "completeness": []}

    monkeypatch.setattr("eapgp.runs.evaluate.evaluate_run", answer)
    exec(python_snippet(card, 50, "mib"), {})
    assert [entry[0] for entry in asked] == [run.id, run.id]
    assert '"CPR", answer["cpr"]["value"]' in python_snippet(card, 50, "mib")
    assert "CPR" not in python_snippet(card, 50, "quick")
    assert asked[0][1].grid == "mib" and asked[0][1].baseline == SEEDS
    assert asked[1][1].sizes == (50,) and asked[1][1].minimality and asked[1][1].completeness
    lines = shell_snippet(card, 50, "quick").splitlines()
    assert lines[0].startswith("eapgp evaluate --run ") and "--edges 479" in lines[0] and "--minimality" in lines[1]
    assert Path(run.path).name in lines[0]


def test_nothing_is_drawn_before_anything_is_measured() -> None:
    from eapgp.ui.faithfulness import views

    session: Any = {"measure": "faithfulness"}
    views.curves_figure(session, {}, {}, None, 5)
    views.remarks({}, {})
    views.areas({}, {}, None)
    views.numbers({}, {}, None)


def test_the_figure_that_is_kept_is_of_these_runs_these_random_circuits_and_this_size(
    run: Run, curve: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random circuits are of the run that is looked at closely: of the same sizes they may be of other prompts."""
    kept: list[Any] = []
    monkeypatch.setattr(views, "chart", lambda figure, key, *, of, **_: kept.append(of))
    other = replace(curve, runs=replace(curve.runs, metric=curve.runs.metric + 0.125))
    cards = {"one": RunInfo(run)}
    for base, k in ((curve, 5), (curve, 5), (other, 5), (curve, 40), (None, 5)):
        random = None if base is None else RandomBaseline((base, base))
        views.curves_figure({"measure": "faithfulness"}, cards, {"one": curve}, random, k)  # type: ignore[arg-type]
    first, again, *others = kept
    assert first == again and len({first, *others}) == 4
