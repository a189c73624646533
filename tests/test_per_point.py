"""What every point of a path adds to an edge's score, against the scores and a literal product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_made import one_thread, random_pairs, tiny_model

from eapgp.attribution.api import attribute
from eapgp.attribution.per_point import point_scores
from eapgp.errors import OptionError

one_thread()
ENCODED = random_pairs(5, seed=4, shortest=4, longest=7)
CASES: list[tuple[str, dict[str, Any]]] = [
    ("eap-gp", {"steps": 3}),
    ("eap-gp", {"steps": 4, "step": "unit", "objective": "last"}),
    ("eap-gp", {"steps": 3, "step": "unit", "norm": "batch", "points": "0..k-1"}),
    ("eap-gp", {"steps": 3, "step": "descend", "direction": "random", "seed": 2}),
    ("eap-ig", {"steps": 4}),
    ("eap-ig", {"steps": 3, "points": "midpoint"}),
    ("ceap", {"steps": 3}),
    ("eap-gp-conductance", {"steps": 3}),
]


@pytest.mark.parametrize(("method", "options"), CASES)
@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_the_points_add_up_to_the_score_of_every_edge(name: str, method: str, options: dict[str, Any]) -> None:
    model = tiny_model(name)
    result = attribute(model, ENCODED, method=method, **options)
    parts = point_scores(model, ENCODED, method=method, batch_size=2, **options)
    (record,) = result.paths.values()
    assert len(parts) == int(record.used.sum())
    assert not np.allclose(parts[0], parts[-1])  # the points differ, so the sum is no accident
    assert np.abs(parts.sum(0) - result.scores.values).max() < 1e-5 * np.abs(result.scores.values).max()


@pytest.mark.parametrize("options", [{}, {"norm": "batch"}, {"direction": "random"}], ids=str)
def test_one_pair_is_that_pair_s_own_score(options: dict[str, Any]) -> None:
    model = tiny_model("gpt2")
    kept = attribute(model, ENCODED, method="eap-gp", steps=3, keep_pairs=True, **options).pair_scores
    assert kept is not None
    parts = point_scores(model, ENCODED, method="eap-gp", steps=3, pair=2, **options)
    assert np.abs(parts.sum(0) - kept[2]).max() < 1e-5 * np.abs(kept[2]).max()


def test_a_single_point_of_the_line_is_the_gradient_at_that_input() -> None:
    """EAP-IG with one right-hand point takes its gradient at the clean input: that is EAP."""
    model = tiny_model("gpt2")
    parts = point_scores(model, ENCODED, method="eap-ig", steps=1, points="right")
    clean = attribute(model, ENCODED, method="eap").scores.values
    assert np.abs(parts[0] - clean).max() < 1e-5 * np.abs(clean).max()


def test_what_has_no_points_is_refused() -> None:
    model = tiny_model("gpt2")
    with pytest.raises(OptionError, match="'eap' has no points"):
        point_scores(model, ENCODED, method="eap")
    with pytest.raises(OptionError, match=r"pair 9 does not exist: expected 0 … 4"):
        point_scores(model, ENCODED, method="eap-ig", pair=9)
