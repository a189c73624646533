"""The bundled examples: complete, readable without torch, and what the code computes today."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eapgp.circuits.select import select_many
from eapgp.runs import open_run
from eapgp.runs.answers import stored_answers
from eapgp.runs.bundled import MEASURED
from eapgp.runs.measure import Conditions, stored_circuits
from eapgp.runs.run import Run
from eapgp.ui.library.circuits import USUAL_SIZES
from eapgp.ui.library.landscape import stored_edge, stored_picture
from tools.training.examples import FOLDER, N_PAIRS, REAL, WITH_POINTS, example_specs, make_example

SPECS = example_specs()
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no bundled examples: run the command first")


@pytest.mark.parametrize("name", list(SPECS))
def test_every_example_is_there_whole_and_says_how_it_was_made(name: str) -> None:
    run = open_run(FOLDER / name)
    run.verify()
    assert run.spec == SPECS[name]
    result = run.attribution()
    assert result.graph.n_edges == 479
    assert np.isfinite(result.scores.values[result.graph.mask]).all()
    assert len(result.metric_clean) == N_PAIRS
    assert result.metric_clean.mean() > result.metric_corrupted.mean()
    for record in result.paths.values():
        assert (record.points is not None) == (SPECS[name].task in WITH_POINTS)
    measured = run.evaluation()[MEASURED]
    largest = measured["circuits"][-1]
    assert largest["n"] == 479
    assert np.allclose(largest["metric"], measured["metric_clean"], atol=1e-3), "the full circuit is the model"
    answers = stored_answers(run)
    assert answers is not None and any(differs for _, _, differs in answers.tokens)
    best = {kind: max(p for _, p, side in answers.clean if side == kind) for kind in ("right", "wrong")}
    assert best["right"] > best["wrong"], "the first pair of each example is one that the model gets right"
    check_picture(run)


def check_picture(run: Run) -> None:
    """A GradPath has its landscape; on the real model what its points add to the best edge too."""
    picture, edge = stored_picture(run), stored_edge(run)
    if "gradpath" not in run.attribution().paths:
        assert picture is None and edge is None
        return
    assert picture is not None
    for grounds in picture.backgrounds.values():
        assert {"metric", "distance"} <= set(grounds)
    assert edge is not None or run.spec is None or run.spec.model != REAL
    if edge is not None:
        name, score = run.scores().top(1)[0]
        total = edge.adds["gradpath"].sum()
        assert edge.name == name and total == pytest.approx(score, rel=0.02), "computed on another machine"


def test_all_examples_together_are_small() -> None:
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    assert size < 25_000_000


@pytest.mark.parametrize("name", ["hypernymy-eap-gp-relative", "sva-eap-ig"])
def test_an_example_recomputed_is_the_same(name: str, tmp_path: Path) -> None:
    from eapgp.runs.compute import load_for

    stored = open_run(FOLDER / name)
    again = make_example(SPECS[name], tmp_path / name, load_for(SPECS[name]))
    assert again.id == stored.id, "the model, the prompts or the method's options changed: make the examples again"
    old, new = stored.scores().values, again.scores().values
    assert np.abs(old - new).max() <= 1e-4 * np.abs(old).max()
    before, after = stored.evaluation()[MEASURED], again.evaluation()[MEASURED]
    assert [row["n"] for row in before["circuits"]] == [row["n"] for row in after["circuits"]]
    assert np.allclose(before["metric_clean"], after["metric_clean"], atol=1e-4)
    told, again_told = stored_answers(stored), stored_answers(again)
    assert told is not None and again_told is not None and told.tokens == again_told.tokens
    for side in ("clean", "corrupted"):
        rows = zip(getattr(told, side), getattr(again_told, side), strict=True)
        assert all(one[1] == pytest.approx(other[1], abs=1e-4) for one, other in rows)


REAL_SPECS = example_specs(REAL)


@pytest.mark.parametrize("name", list(REAL_SPECS))
def test_every_example_of_the_real_model_is_there(name: str) -> None:
    run = open_run(FOLDER / name)
    run.verify()
    assert run.spec == REAL_SPECS[name]
    result, measured = run.attribution(), run.evaluation()[MEASURED]
    assert result.graph.n_edges == 123_211 and len(result.metric_clean) == N_PAIRS
    assert result.metric_clean.mean() > result.metric_corrupted.mean() and stored_answers(run) is not None
    assert np.allclose(measured["circuits"][-1]["metric"], measured["metric_clean"], atol=1e-2), "the full circuit"
    rows = stored_circuits(run, Conditions.of(run))
    assert all(rows.has(one, whole=True) for one in select_many(result.scores, USUAL_SIZES, rule="greedy"))
    check_picture(run)
