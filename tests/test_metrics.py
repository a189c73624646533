"""Metrics against numbers worked by hand, and the rules they promise."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from eapgp.errors import OptionError, UnknownNameError, WrongTypeError
from eapgp.metrics import METRICS, accuracy, get_metric, targets_of
from eapgp.prompts import EncodedPairs
from eapgp.prompts.prompting import needed_sides
from eapgp.tasks import TASKS


def _targets(correct, incorrect):
    n = len(correct)
    ids = np.zeros((n, 1), dtype=np.int64)
    return targets_of(EncodedPairs(ids, ids, np.ones(n, dtype=np.int64), tuple(correct), tuple(incorrect)))


# Probabilities 1/8, 1/4, 1/8, 1/2 in the first row and 0.1 … 0.4 in the second.
LOGITS = torch.tensor([[1 / 8, 1 / 4, 1 / 8, 1 / 2], [0.1, 0.2, 0.3, 0.4]], dtype=torch.float64).log() + 3.0
CLEAN = torch.tensor([[1 / 4, 1 / 4, 1 / 4, 1 / 4], [0.4, 0.3, 0.2, 0.1]], dtype=torch.float64).log()
TARGETS = _targets([(3,), (1, 2)], [(1, 2), (0,)]).with_clean(CLEAN - 2.0)


def test_logit_difference_by_hand():
    values = METRICS["logit-diff"].compute(LOGITS, TARGETS)
    expected = [
        math.log(1 / 2) - (math.log(1 / 4) + math.log(1 / 8)) / 2,
        (math.log(0.2) + math.log(0.3)) / 2 - math.log(0.1),
    ]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_probability_difference_by_hand():
    np.testing.assert_allclose(METRICS["prob-diff"].compute(LOGITS, TARGETS), [0.125, 0.4], atol=1e-12)


def test_log_probability_by_hand():
    np.testing.assert_allclose(METRICS["log-prob"].compute(LOGITS, TARGETS), [math.log(0.5), math.log(0.5)], atol=1e-12)


def test_right_answers_alone_by_hand():
    values = METRICS["correct-logit"].compute(LOGITS, TARGETS)
    np.testing.assert_allclose(values, [3 + math.log(0.5), 3 + (math.log(0.2) + math.log(0.3)) / 2], atol=1e-12)
    np.testing.assert_allclose(METRICS["correct-prob"].compute(LOGITS, TARGETS), [0.5, 0.5], atol=1e-12)


def test_divergence_from_the_clean_output_by_hand():
    values = METRICS["kl"].compute(LOGITS, TARGETS)
    first = (math.log(2) + math.log(1) + math.log(2) + math.log(1 / 2)) / 4
    second = sum(p * math.log(p / q) for p, q in zip((0.4, 0.3, 0.2, 0.1), (0.1, 0.2, 0.3, 0.4), strict=True))
    np.testing.assert_allclose(values, [-first, -second], atol=1e-12)
    assert first > 0 and second > 0
    np.testing.assert_allclose(METRICS["kl"].compute(CLEAN + 5.0, TARGETS), [0, 0], atol=1e-12)


def test_accuracy_without_incorrect_answers_asks_for_the_most_probable_token():
    targets = _targets([(3,), (1, 2)], [(), ()])
    assert accuracy(LOGITS, targets).tolist() == [True, False]  # the most probable token is 3 in both rows
    bare = _targets([(), ()], [(), ()]).with_clean(LOGITS.flip(0))
    assert accuracy(LOGITS, bare).tolist() == [True, True]
    assert accuracy(LOGITS.flip(-1), bare).tolist() == [False, False]


def test_metrics_that_read_fewer_answers_need_no_more():
    for name, metric in METRICS.items():
        sides = needed_sides(name)
        given = [
            [(3,), (1, 2)] if "correct" in sides else [()] * 2,
            [(1, 2), (0,)] if "incorrect" in sides else [()] * 2,
        ]
        values = metric.compute(LOGITS, _targets(*given).with_clean(CLEAN))
        torch.testing.assert_close(values, metric.compute(LOGITS, TARGETS))


def test_a_function_of_ones_own_is_a_metric_and_is_checked():
    def own(logits, targets):
        return logits.gather(-1, targets.correct[:, :1])[:, 0]

    metric = get_metric(own)
    assert metric.name == f"custom:{own.__qualname__}" and metric.is_own and not METRICS["kl"].is_own
    torch.testing.assert_close(metric.compute(LOGITS, TARGETS), LOGITS[[0, 1], [3, 1]])
    with pytest.raises(OptionError, match=r"expected a tensor of shape \[pair\] = \(2,\), got shape \(2, 4\)"):
        get_metric(lambda logits, targets: logits).compute(LOGITS, TARGETS)
    with pytest.raises(OptionError, match="got float"):
        get_metric(lambda logits, targets: 1.0).compute(LOGITS, TARGETS)
    with pytest.raises(OptionError, match="cut off"):
        get_metric(lambda logits, targets: logits.detach().sum(-1)).compute(LOGITS.clone().requires_grad_(), TARGETS)
    with pytest.raises(WrongTypeError, match="name one, or give a function"):
        get_metric(3)


def test_accuracy_compares_the_mass_of_the_sets():
    # Second row: 0.2 + 0.3 beats 0.4 although 0.4 is the single most probable token.
    targets = _targets([(3,), (1, 2)], [(1,), (3,)])
    assert accuracy(LOGITS, targets).tolist() == [True, True]
    assert accuracy(LOGITS, _targets([(1,), (3,)], [(3,), (1, 2)])).tolist() == [False, False]


@pytest.mark.parametrize("name", METRICS)
def test_padding_of_answer_sets_changes_nothing(name):
    together = METRICS[name].compute(LOGITS, TARGETS)
    alone = METRICS[name].compute(LOGITS[:1], _targets([(3,)], [(1, 2)]).with_clean(CLEAN[:1]))
    torch.testing.assert_close(together[:1], alone)
    torch.testing.assert_close(METRICS[name].compute(LOGITS[1:], TARGETS.take([1])), together[1:])


@pytest.mark.parametrize("name", METRICS)
def test_gradient_equals_finite_differences(name):
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: METRICS[name].compute(x, TARGETS), (logits,))


@pytest.mark.parametrize("name", METRICS)
def test_half_precision_logits_are_computed_in_float32(name):
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    values = METRICS[name].compute(logits, TARGETS)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, METRICS[name].compute(logits.float(), TARGETS))


def test_repeat_stacks_whole_blocks_of_pairs():
    repeated = TARGETS.repeat(3)
    assert len(repeated) == 6
    values = METRICS["prob-diff"].compute(LOGITS.repeat(3, 1), repeated).reshape(3, 2)
    for row in values:
        np.testing.assert_allclose(row, [0.125, 0.4], atol=1e-12)


def test_unknown_metric_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'logit-diff'"):
        get_metric("logit-dif")


def test_every_task_has_a_known_metric_and_names_need_no_torch():
    assert all(task.metric in METRICS for task in TASKS.values())
    code = (
        "import sys, eapgp.metrics, eapgp.tasks; "
        "assert eapgp.metrics.METRICS['prob-diff'].explanation and eapgp.tasks.TASKS['ioi'].explanation; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
