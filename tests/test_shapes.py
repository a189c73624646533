"""The shapes in annotations hold: what does not fit is refused where tests run, and nowhere else."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from engine_made import random_pairs, tiny_model
from jaxtyping import TypeCheckError

from eapgp.attribution.outcome import Outcome
from eapgp.engine.batches import make_batch
from eapgp.engine.differences import head_outputs
from eapgp.engine.gradients import GradientSum, contract
from eapgp.engine.passes import Capture, Keep, Tokens, capture


def test_axes_of_one_name_have_one_size() -> None:
    scores = torch.zeros(3, 5, 7)
    Outcome(scores, torch.zeros(3), torch.zeros(3))
    with pytest.raises(TypeCheckError, match="metric_corrupted"):
        Outcome(scores, torch.zeros(3), torch.zeros(4))
    with pytest.raises(TypeCheckError, match="mask"):
        Tokens(torch.zeros(2, 4, dtype=torch.long), torch.ones(2, 4), torch.zeros(2, dtype=torch.long))


def test_every_tensor_of_a_pass_has_the_shape_that_is_said_of_it() -> None:
    model, pairs = tiny_model("gemma2"), random_pairs(2)
    keep = Keep.SOURCES | Keep.OUTPUTS
    run = capture(model, make_batch(model, pairs, np.arange(2)).clean, grad=True, keep=keep)
    fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run) if field.name != "start"}
    for name, value in fields.items():
        wrong = [layer[..., None] for layer in value] if isinstance(value, list) else value[..., None]
        with pytest.raises(TypeCheckError, match=name):
            Capture(**{**fields, name: wrong})


def test_axes_in_another_order_are_refused() -> None:
    model = tiny_model("gpt2")
    graph, width = model.graph, model.d_model
    with pytest.raises(TypeCheckError, match="difference"):
        contract(model, torch.zeros(2, graph.n_sources, width), GradientSum(model))
    z = torch.zeros(2, 5, graph.n_heads, width // graph.n_heads, dtype=torch.float64)
    assert head_outputs(model.layers[0], z, None).shape == (graph.n_heads, 2, 5, width)
    with pytest.raises(TypeCheckError, match="post_scale"):
        head_outputs(model.layers[0], z, torch.ones(2, 4, 1))


def test_outside_of_tests_nothing_is_checked() -> None:
    code = (
        "import sys\nfrom eapgp.attribution.outcome import Outcome\nOutcome(1, 2, 3)\nprint('beartype' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
