"""A path that leaves the beginning of both prompts alone runs it once, with the scores and the record of whole ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from engine_made import one_thread, relative_error, tiny_model
from test_past import SHARED, pairs
from tiny import CONFIGURATIONS

from eapgp.attribution.api import attribute
from eapgp.attribution.per_point import point_scores
from eapgp.attribution.per_position import span_scores
from eapgp.attribution.result import Attribution
from eapgp.engine import prefix
from eapgp.engine.batches import make_batch
from eapgp.engine.prefix import WORTH, make_prefix
from eapgp.models.model import Model
from eapgp.prompts.spans import Spans

one_thread()
METHODS = ("eap-ig", "ceap")
RECORDED = ("output_distance", "metric", "to_corrupted", "to_clean", "gradient_norm", "step_length", "points")


@pytest.fixture
def worth(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that says from how many tokens on a beginning is run by itself."""
    return lambda tokens: monkeypatch.setattr(prefix, "WORTH", tokens)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long the beginnings are that were run by themselves."""
    lengths: list[int] = []
    run = prefix._run

    def noted(model: Model, ids: torch.Tensor) -> Any:
        lengths.append(ids.shape[1])
        return run(model, ids)

    monkeypatch.setattr(prefix, "_run", noted)
    return lengths


def close_to(found: Any, expected: Any) -> bool:
    """Equal within rounding, NaN where NaN is."""
    same = np.array_equal(np.isnan(found), np.isnan(expected))
    return same and relative_error(np.nan_to_num(found), np.nan_to_num(expected)) < 3e-5


def assert_same(found: Attribution, expected: Attribution) -> None:
    assert relative_error(found.scores.values, expected.scores.values) < 3e-5
    assert close_to(found.metric_clean, expected.metric_clean)
    assert close_to(found.metric_corrupted, expected.metric_corrupted)
    one, other = found.paths["straight"], expected.paths["straight"]
    for name in RECORDED:
        assert close_to(getattr(one, name), getattr(other, name)), name
    assert one.used.tolist() == other.used.tolist() and one.lengths.tolist() == other.lengths.tolist()
    rounding = 3e-5 * np.nanmax(other.destination_gradient)  # the square root of a difference of squares
    np.testing.assert_allclose(one.destination_gradient, other.destination_gradient, rtol=1e-3, atol=rounding)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_every_architecture_has_the_scores_and_the_record_of_whole_prompts(
    name: str, method: str, worth: Any, made: list[int]
) -> None:
    model, encoded = tiny_model(name), pairs()
    asked: dict[str, Any] = {"method": method, "steps": 3, "keep_points": True}
    worth(10**9)
    expected = attribute(model, encoded, **asked)
    assert not made
    worth(1)
    found = attribute(model, encoded, **asked)
    assert made and set(made) <= {2, SHARED} and SHARED in made  # two tokens: the model was tried
    assert_same(found, expected)
    assert (found.forward_passes, found.backward_passes, found.reference_passes) == (
        expected.forward_passes,
        expected.backward_passes,
        expected.reference_passes,
    )


@pytest.mark.parametrize("method", METHODS)
def test_points_and_positions_are_told_apart_as_on_whole_prompts(method: str, worth: Any, made: list[int]) -> None:
    model, encoded = tiny_model("llama"), pairs()
    of = np.tile(np.arange(encoded.clean.shape[1]) % 3, (encoded.n, 1))
    spans = Spans(("a", "b", "c"), of)
    asked: dict[str, Any] = {"method": method, "steps": 2}
    worth(10**9)
    points, places = point_scores(model, encoded, **asked), span_scores(model, encoded, spans, **asked)
    assert not made
    worth(1)
    assert relative_error(point_scores(model, encoded, **asked), points) < 3e-5
    assert relative_error(span_scores(model, encoded, spans, **asked).values, places.values) < 3e-5
    assert made


def test_a_short_beginning_is_run_with_the_rest(made: list[int]) -> None:
    model, encoded = tiny_model("llama"), pairs()
    assert encoded.n * SHARED < WORTH
    attribute(model, encoded, method="eap-ig")
    assert not made


def test_a_cache_that_hands_no_gradient_back_is_found_out(worth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, encoded = tiny_model("llama"), pairs()
    worth(1)
    monkeypatch.delitem(model.cache, "goes on with gradient", raising=False)
    run = prefix._run

    def cut(model: Model, ids: torch.Tensor) -> Any:
        found = run(model, ids)
        first = found.ends[0]  # of which half is a constant now
        found.ends[0] = torch.where(torch.arange(first.shape[-1]) % 2 == 0, first, first.detach())
        return found

    monkeypatch.setattr(prefix, "_run", cut)
    batch = make_batch(model, encoded, np.arange(encoded.n))
    assert make_prefix(model, batch.clean.ids[:, :SHARED]) is None
    monkeypatch.delitem(model.cache, "goes on with gradient")
