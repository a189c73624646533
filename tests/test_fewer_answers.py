"""Metrics that read fewer answers, from the file to scores and circuits; functions of one's own as metrics."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from eapgp.attribution.api import attribute
from eapgp.circuits import Circuit
from eapgp.errors import OptionError, PromptError
from eapgp.evaluation import CircuitRunner
from eapgp.models import load_model
from eapgp.prompts import PromptPair, fit
from eapgp.runs.compute import make_prompt_set
from eapgp.runs.spec import RunSpec, make_request
from eapgp.tasks import make_prompts


@pytest.fixture(scope="module")
def demo():
    return load_model("demo")


PROMPTS = make_prompts("ioi", 4, seed=3)
BARE = replace(PROMPTS, pairs=tuple(PromptPair(p.clean, p.corrupted, (), ()) for p in PROMPTS), metric="kl")
ONE_SIDED = replace(PROMPTS, pairs=tuple(replace(p, incorrect=()) for p in PROMPTS), metric="correct-logit")


def test_scores_do_not_depend_on_answers_that_the_metric_does_not_read(demo) -> None:
    for fewer in (BARE, ONE_SIDED):
        own = attribute(demo, fewer, method="eap-ig", steps=3).scores.values
        whole = attribute(demo, PROMPTS, method="eap-ig", steps=3, metric=fewer.metric)
        np.testing.assert_array_equal(own, whole.scores.values)
        runs = CircuitRunner(demo, fewer)
        np.testing.assert_allclose(
            runs.metric_clean, CircuitRunner(demo, PROMPTS, metric=fewer.metric).metric_clean, atol=1e-6
        )


def test_a_metric_that_needs_more_says_which_answers(demo) -> None:
    with pytest.raises(
        PromptError, match="pairs 1, 2, 3 and 4: no incorrect answer; the metric logit-diff needs at least one"
    ):
        attribute(demo, ONE_SIDED, metric="logit-diff")
    assert len(fit(replace(BARE, metric="log-prob"), demo).problems) == 4
    assert not fit(BARE, demo).problems


def test_where_the_gradient_vanishes_it_is_said(demo) -> None:
    flat = attribute(demo, BARE, method="eap")
    assert np.nanmax(np.abs(flat.scores.values)) < 1e-5
    assert any("the gradient of kl vanishes on the clean prompt" in message for message in flat.messages)
    assert not any("vanishes" in message for message in attribute(demo, BARE, method="eap-ig", steps=2).messages)


def test_a_function_of_ones_own_scores_and_is_not_kept_under_its_name(demo) -> None:
    def difference(logits, targets):
        return (logits.gather(-1, targets.correct) - logits.gather(-1, targets.incorrect)).mean(-1)

    own, usual = attribute(demo, PROMPTS, metric=difference, method="eap"), attribute(demo, PROMPTS, method="eap")
    np.testing.assert_allclose(own.scores.values, usual.scores.values, atol=1e-6)
    name = own.scores.provenance["metric"]
    assert name == f"custom:{difference.__qualname__}"
    with pytest.raises(OptionError, match=r"cannot tell from another of that name.*write_scores"):
        make_request(demo, PROMPTS, method="eap", options={}, metric=name)


def test_kl_of_the_exact_method_is_the_effect_measured_by_hand(demo) -> None:
    encoded_free = replace(PROMPTS.take(1), metric="kl")
    result = attribute(demo, encoded_free, method="exact")
    runner = CircuitRunner(demo, encoded_free)
    edges = Circuit.full(demo.graph).edges.copy()
    row, column = map(int, np.argwhere(demo.graph.mask)[40])
    edges[row, column] = False
    without = runner.run([Circuit(demo.graph, edges, int(edges.sum()))])
    expected = float(runner.metric_clean[0] - without.metric[0, 0])
    assert result.scores.values[row, column] == pytest.approx(expected, abs=1e-5)


def test_columns_named_by_hand_are_part_of_the_spec_and_change_no_other(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Question;Twin;Reply\na;b; x\n", encoding="utf-8")
    columns = {"clean": "Question", "corrupted": "Twin", "correct": "Reply"}
    spec = RunSpec(task=None, prompts_file=str(path), columns=columns)
    assert make_prompt_set(spec).pairs == (PromptPair("a", "b", (" x",), ()),)
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert "columns" not in RunSpec().to_dict() and RunSpec().job_key() == RunSpec(columns=None).job_key()
    assert spec.job_key() != replace(spec, columns=None).job_key()
    with pytest.raises(OptionError, match="columns: expected with a file"):
        RunSpec(columns=columns)
