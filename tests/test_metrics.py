"""Metrics against numbers worked by hand, and the rules they promise."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from eapgp.errors import UnknownNameError
from eapgp.metrics import METRICS, accuracy, get_metric, targets_of
from eapgp.prompts import EncodedPairs
from eapgp.tasks import TASKS


def _targets(correct, incorrect):
    n = len(correct)
    ids = np.zeros((n, 1), dtype=np.int64)
    return targets_of(EncodedPairs(ids, ids, np.ones(n, dtype=np.int64), tuple(correct), tuple(incorrect)))


# Probabilities 1/8, 1/4, 1/8, 1/2 in the first row and 0.1 … 0.4 in the second.
LOGITS = torch.tensor([[1 / 8, 1 / 4, 1 / 8, 1 / 2], [0.1, 0.2, 0.3, 0.4]], dtype=torch.float64).log() + 3.0
TARGETS = _targets([(3,), (1, 2)], [(1, 2), (0,)])


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


def test_accuracy_compares_the_mass_of_the_sets():
    # Second row: 0.2 + 0.3 beats 0.4 although 0.4 is the single most probable token.
    targets = _targets([(3,), (1, 2)], [(1,), (3,)])
    assert accuracy(LOGITS, targets).tolist() == [True, True]
    assert accuracy(LOGITS, _targets([(1,), (3,)], [(3,), (1, 2)])).tolist() == [False, False]


@pytest.mark.parametrize("name", METRICS)
def test_padding_of_answer_sets_changes_nothing(name):
    together = METRICS[name].compute(LOGITS, TARGETS)
    alone = METRICS[name].compute(LOGITS[:1], _targets([(3,)], [(1, 2)]))
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
