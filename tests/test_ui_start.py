"""Start: every number in its sentences is the library's, recomputed here from the bundled runs and the demo model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eapgp import findings, numerals
from eapgp.circuits import select
from eapgp.evaluation import CircuitRunner
from eapgp.ground_truth.planted import SATURATED_EDGE, TRUE_EDGES
from eapgp.models import load_model, packaged
from eapgp.runs.bundled import examples_folder
from eapgp.ui.library import measure
from eapgp.ui.library.circuits import score_of
from eapgp.ui.library.landscape import stored_edge
from eapgp.ui.start import planted, scenes

pytestmark = pytest.mark.skipif(examples_folder() is None, reason="the bundled examples are not there")
ABSENT = pytest.mark.skipif(not packaged.is_here(scenes.REAL.model), reason="smollm2-135m was not fetched")
STORIES = pytest.mark.parametrize(
    "story", [scenes.DEMO, pytest.param(scenes.REAL, marks=ABSENT)], ids=lambda story: story.model
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit as st

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    st.cache_resource.clear()


@STORIES
def test_the_circuit_s_sentence_is_what_running_it_gives(story: scenes.Story) -> None:
    card = scenes.run_of(story.model, story.task, "eap-gp")
    circuits = [scenes.circuit_on_screen(card, story.size, without=without)[0] for without in (False, True)]
    runs = CircuitRunner(load_model(story.model), card.run.prompts(), metric=card.metric).run(circuits)
    kept = measure.known(card, circuits)
    assert kept is not None, "both are bundled, so that the dial drops at once"
    assert np.allclose(kept.faithfulness, runs.faithfulness, atol=1e-3)
    share = numerals.percent(float(runs.faithfulness[0]))
    assert share in findings.of_circuit(kept).text
    assert runs.faithfulness[1] < runs.faithfulness[0] - 0.1, "without its head the dial drops"


@STORIES
def test_the_winner_is_the_one_that_the_measured_metrics_name(story: scenes.Story) -> None:
    cards = {method: scenes.run_of(story.model, story.task, method) for method in scenes.METHODS}
    shares = {}
    for method, card in cards.items():
        rows = card.run.evaluation()["circuits"]
        (metric,) = [row["metric"] for row in rows["circuits"] if row["n"] == story.judged]
        low = np.mean(rows["metric_corrupted"])
        shares[method] = (np.mean(metric) - low) / (np.mean(rows["metric_clean"]) - low)
    first, second = sorted(shares, key=lambda method: -shares[method])[:2]
    said = scenes.verdict(cards, story.judged)
    assert abs(said.numbers["difference"]) == pytest.approx(shares[first] - shares[second], abs=1e-6)
    assert said.text.startswith(first)


@pytest.mark.parametrize("story", [scenes.DEMO, scenes.REAL], ids=lambda story: story.model)
def test_the_path_of_the_scene_descends(story: scenes.Story) -> None:
    task, step = story.path
    record = scenes.results.paths(scenes.run_of(story.model, task, "eap-gp", step=step))["gradpath"]
    left = record.output_distance[-1].sum() / record.output_distance[0].sum()
    assert left < 0.9 and numerals.percent(float(left)) in findings.of_path(record).text


@pytest.mark.parametrize("story", [scenes.DEMO, scenes.REAL], ids=lambda story: story.model)
def test_the_bars_of_the_path_end_at_the_run_s_score(story: scenes.Story) -> None:
    task, step = story.path
    card = scenes.run_of(story.model, task, "eap-gp", step=step)
    edge, scores = stored_edge(card.run), scenes.results.attribution(card).scores
    assert edge is not None and edge.name == scores.top(1)[0][0]
    assert edge.so_far("gradpath")[-1] == pytest.approx(score_of(scores, edge.name), rel=1e-3)
    gauges = scenes._gauges(edge)
    assert [gauge.label for gauge in gauges] == ["Straight line", "GradPath"]
    assert max(share for gauge in gauges for share in gauge.shares) == pytest.approx(1)
    points = scenes.results.paths(card)["gradpath"].n_points
    assert all(len(gauge.texts) == points for gauge in gauges), "both walk in as many steps"


def test_eap_misses_the_planted_edge_that_exact_patching_finds() -> None:
    blind, seeing = (planted.planted_scores(method) for method in ("eap", "exact"))
    assert SATURATED_EDGE in planted.finding(blind, "EAP").text
    assert set(select(seeing, n=len(TRUE_EDGES), prune=False).edge_names()) == set(TRUE_EDGES)
    assert planted.finding(seeing, "Exact").text.startswith("Exact finds all 8 planted edges")


def test_each_question_has_one_right_answer_among_its_choices() -> None:
    for _, offers, answer in scenes.QUESTIONS:
        assert answer in offers and len(offers) == 3
