"""What was measured once is found again: by the command line, by the dashboard, by later commands; bit for bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select, select_many
from eapgp.cli import main
from eapgp.errors import OptionError
from eapgp.evaluation.runner import Measured, exact, read_exact
from eapgp.evaluation.sizes import GRIDS, curve_sizes
from eapgp.runs.bundled import examples_folder
from eapgp.runs.evaluate import Question, Running, evaluate_run
from eapgp.runs.info import RunInfo
from eapgp.runs.measure import Conditions, Measurer, stored_circuits
from eapgp.runs.run import Run, open_run
from eapgp.ui.jobs.workshop import Workshop, circuits_work
from eapgp.ui.library import measure

EXAMPLES = examples_folder()
pytestmark = pytest.mark.skipif(EXAMPLES is None, reason="the bundled examples are not there: make them first")


def quiet(phase: str, fraction: float) -> None:
    """A job that nobody cancels."""


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("the model was asked though the answer was kept")


@cache
def _load(name: str, **options: Any) -> Any:
    from eapgp.models.load import load_model

    return load_model(name, **options)


@pytest.fixture(autouse=True)
def loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eapgp.runs.compute.load_model", _load)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A copy of a bundled run that knows nothing of its circuits."""
    assert EXAMPLES is not None
    shutil.copytree(EXAMPLES / "sva-eap", tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").unlink()
    yield open_run(tmp_path / "run")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_what_the_command_line_measured_answers_the_pages(run: Run, capsys: Any) -> None:
    said = call(capsys, "evaluate", "--run", str(run.path), "--baseline", "2", "--completeness", "--minimality")
    card, circuits = RunInfo(run, False), select_many(run.scores(), curve_sizes(479))
    found = measure.known(card, circuits, whole=True)
    assert found is not None and list(found.selected) == [entry["edges_selected"] for entry in said["curve"]]
    assert list(found.faithfulness) == pytest.approx([entry["faithfulness"] for entry in said["curve"]], abs=1e-12)
    assert found.band("kl").high.tolist() == [entry["kl_high"] for entry in said["curve"]]
    from eapgp.ui.faithfulness import jobs

    assert jobs.has_baseline(run, curve_sizes(479), seeds=2)
    circuit = select(run.scores(), n=curve_sizes(479)[3])
    assert not jobs.has_evidence(run, circuit), "what edges outside add was not asked for"


def test_what_the_pages_measured_answers_the_command_line(run: Run, capsys: Any, monkeypatch: Any) -> None:
    from eapgp.ui.faithfulness import jobs

    shop, circuits = Workshop(), select_many(run.scores(), curve_sizes(479))
    measured = circuits_work(shop, "t", run, circuits, keep=True)(quiet)
    jobs.baseline_work(shop, "t", run, curve_sizes(479), seeds=2)(quiet)
    evidence = jobs.evidence_work(shop, "t", run, circuits[2])(quiet)
    monkeypatch.setattr("eapgp.runs.compute.load_model", forbidden)
    said = call(capsys, "evaluate", "--run", str(run.path), "--baseline", "2")
    assert said["cached"] and [entry["faithfulness"] for entry in said["curve"]] == list(measured.faithfulness)
    close = call(
        capsys, "evaluate", "--run", str(run.path), "-e", str(circuits[2].n_selected), "--completeness", "--minimality"
    )
    assert close["cached"]
    assert close["completeness"][0]["complement_faithfulness"] == evidence.faithfulness.value[1]
    said_of = {edge["name"]: edge["contribution"] for edge in close["minimality"][0]["edges"]}
    assert said_of == dict(zip(evidence.minimality.edges, evidence.minimality.contribution.value, strict=True))


def test_only_what_is_missing_is_run_and_another_level_needs_no_model(run: Run, monkeypatch: Any) -> None:
    how = Running(model_loader=_load)
    first = evaluate_run(run, Question(sizes=(20, 50)), how=how)
    asked: list[int] = []
    from eapgp.evaluation.runner import CircuitRunner

    real = CircuitRunner.run

    def counted(self: CircuitRunner, circuits: Any, **options: Any) -> Any:
        asked.extend(circuit.n_selected for circuit in circuits)
        return real(self, circuits, **options)

    monkeypatch.setattr(CircuitRunner, "run", counted)
    more = evaluate_run(run, Question(sizes=(20, 50, 100)), how=how)
    assert asked == [100] and not more["cached"] and more["curve"][:2] == first["curve"]
    again = evaluate_run(run, Question(sizes=(50,), level=0.5, resamples=30), how=Running(model_loader=forbidden))
    assert again["cached"] and again["level"] == 0.5 and again["curve"][0]["metric"] == first["curve"][1]["metric"]
    assert again["curve"][0]["metric_high"] < first["curve"][1]["metric_high"]


@pytest.mark.parametrize("changed", [{"metric": "prob-diff"}, {"intervention": "zero"}])
def test_another_metric_or_intervention_is_another_measurement(run: Run, changed: dict[str, Any]) -> None:
    how = Running(model_loader=_load)
    own = evaluate_run(run, Question(sizes=(20,), metric="logit-diff"), how=how)
    other = evaluate_run(run, Question(sizes=(20,), **({"metric": "logit-diff"} | changed)), how=how)
    assert not other["cached"] and other["name"] != own["name"] and other["curve"] != own["curve"]
    assert {own["name"], other["name"]} <= set(run.evaluation())


def test_a_stored_measurement_is_the_fresh_one_bit_for_bit(run: Run) -> None:
    shop, circuits = Workshop(), select_many(run.scores(), [3, 30, 30, 300])
    fresh = shop.measurer("t", run, quiet).circuits(circuits)
    stored = stored_circuits(run, Conditions.of(run)).measured(circuits)
    assert fresh.selected == stored.selected == (3, 30, 30, 300) and fresh.kept == stored.kept
    for name in ("metric", "correct", "kl", "metric_clean", "metric_corrupted"):
        assert np.array_equal(getattr(fresh.runs, name), getattr(stored.runs, name))
    assert fresh.runs.metric[1].tolist() == fresh.runs.metric[2].tolist()
    back = Measured.from_dict(json.loads(json.dumps(fresh.to_dict())))
    assert np.array_equal(back.runs.kl, fresh.runs.kl) and back.shares.tolist() == fresh.shares.tolist()


def test_numbers_of_a_model_survive_their_text() -> None:
    values = (np.random.default_rng(0).normal(size=(4, 50)) * 10.0 ** np.arange(-20, 30)).astype(np.float32)
    values[0, 0] = np.nan
    text = json.dumps(exact(values)).replace("NaN", "null")
    assert np.array_equal(read_exact(json.loads(text)).astype(np.float32), values, equal_nan=True)


def test_a_bundled_run_knows_its_own_best_and_no_other_circuits() -> None:
    assert EXAMPLES is not None
    run = open_run(EXAMPLES / "sva-eap")
    card = RunInfo(run, True)
    best = select(run.scores(), n=50)
    assert measure.known(card, [best]) is not None and measure.known(card, [best], whole=True) is None
    worst = Circuit(best.graph, best.graph.mask & ~best.edges, best.n_selected, best.name)
    assert measure.known(card, [worst]) is None
    elsewhere = Conditions(run.request["prompts"]["hash"], "prob-diff2", "patching")
    assert not stored_circuits(run, elsewhere).has(best, whole=False)


def test_a_measurer_asks_for_its_runner_only_where_something_is_missing(run: Run) -> None:
    made: list[int] = []

    def make() -> Any:
        made.append(1)
        return Workshop().runner("t", run, quiet)

    circuits = select_many(run.scores(), [10])
    first = Measurer(Conditions.of(run), make, run=run)
    first.circuits(circuits)
    second = Measurer(Conditions.of(run), make, run=run)
    second.circuits(circuits)
    assert made == [1] and first.ran and not second.ran and not first.lost
    anew = Measurer(Conditions.of(run), make, run=run, use_cache=False, save=False)
    anew.circuits(circuits)
    anew.circuits(circuits)
    assert made == [1, 1] and anew.lost


def test_the_usual_sizes_are_one_definition(run: Run) -> None:
    assert Question().edges(479) == GRIDS["default"](479) == curve_sizes(479)
    with pytest.raises(OptionError, match="grid: expected one of default, mib"):
        Question(grid="quick")
