"""Runs that go on from the positions that both prompts share are the runs of whole prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from engine_made import one_thread, random_pairs, relative_error, tiny_model
from tiny import CONFIGURATIONS

from eapgp.attribution.api import attribute
from eapgp.attribution.registry import METHODS
from eapgp.engine import batches, past
from eapgp.engine.batches import make_batch
from eapgp.engine.passes import call
from eapgp.engine.past import Past, goes_on, make_past
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs

one_thread()
SHARED = 3
CUT = sorted(name for name, method in METHODS.items() if method.after_shared)


def pairs() -> EncodedPairs:
    """Pairs of unequal length that begin alike."""
    made = random_pairs(4, seed=3, shortest=SHARED + 3, longest=SHARED + 5)
    clean, corrupted = made.clean.copy(), made.corrupted.copy()
    corrupted[:, :SHARED] = clean[:, :SHARED]
    corrupted[:, SHARED] = 1 + clean[:, SHARED] % 58
    return EncodedPairs(clean, corrupted, made.lengths, made.correct, made.incorrect)


@pytest.fixture
def whole_prompts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that makes all models run whole prompts from now on."""
    yield lambda: monkeypatch.setattr(batches, "goes_on", lambda model: False)


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_every_architecture_goes_on_and_gives_the_logits_of_whole_prompts(name: str) -> None:
    model, encoded = tiny_model(name), pairs()
    assert goes_on(model)
    batch = make_batch(model, encoded, np.arange(encoded.n))
    later = batch.after_shared(model)
    assert (batch.shared, batch.start, later.shared, later.start) == (SHARED, 0, 0, SHARED)
    assert later.clean.ids.shape[1] == batch.clean.ids.shape[1] - SHARED
    for one, other in ((batch.clean, later.clean), (batch.corrupted, later.corrupted)):
        for times in (1, 2):
            with torch.no_grad():
                full, rest = call(model, one.repeat(times), []), call(model, other.repeat(times), [])
            real = one.repeat(times).mask[:, SHARED:]
            assert relative_error(rest[real], full[:, SHARED:][real]) < 1e-5


@pytest.mark.parametrize("method", CUT)
def test_scores_are_those_of_whole_prompts(method: str, whole_prompts: Any) -> None:
    model, encoded = tiny_model("llama"), pairs()
    found = attribute(model, encoded, method=method)
    whole_prompts()
    expected = attribute(model, encoded, method=method)
    assert relative_error(found.scores.values, expected.scores.values) < 2e-5
    assert np.allclose(found.metric_clean, expected.metric_clean, atol=1e-5)


def test_methods_that_move_or_ablate_what_both_prompts_share_run_whole_prompts(whole_prompts: Any) -> None:
    """GradPath moves the tokens that both prompts share too, and a mean replaces what they wrote."""
    model, encoded = tiny_model("llama"), pairs()
    asked: list[dict[str, Any]] = [{"method": "eap-gp"}, {"method": "ifr"}, {"method": "eap", "intervention": "mean"}]
    found = [attribute(model, encoded, **one).scores.values for one in asked]
    whole_prompts()
    expected = [attribute(model, encoded, **one).scores.values for one in asked]
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_pass_leaves_what_is_held_as_it_was() -> None:
    model, encoded = tiny_model("llama"), pairs()
    later = make_batch(model, encoded, np.arange(encoded.n)).after_shared(model)
    held = later.clean.past
    assert (
        held is not None and held.nbytes == 2 * 2 * 4 * encoded.n * SHARED * 6 * 8
    )  # K, V · layers · heads · d_head · bytes
    before = [layer.keys.clone() for layer in held.held.layers]
    with torch.no_grad():
        first, second = call(model, later.clean, []), call(model, later.clean.repeat(3), [])
    assert torch.equal(first, second[: encoded.n]) or relative_error(second[: encoded.n], first) < 1e-5
    assert all(torch.equal(layer.keys, one) for layer, one in zip(held.held.layers, before, strict=True))


@pytest.mark.parametrize("fault", ["wrong keys", "raises"])
def test_a_model_that_cannot_go_on_is_found_out(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    monkeypatch.setitem(model.cache, "goes on", None)
    del model.cache["goes on"]

    def bad(model: Model, ids: torch.Tensor) -> Past:
        if fault == "raises":
            raise TypeError("forward() got an unexpected keyword argument 'past_key_values'")
        made = make_past(model, ids)
        for layer in made.held.layers:
            layer.keys = torch.zeros_like(layer.keys)
        return made

    monkeypatch.setattr(past, "make_past", bad)
    assert not goes_on(model)
    encoded = pairs()
    batch = make_batch(model, encoded, np.arange(encoded.n))
    assert batch.after_shared(model) is batch
    del model.cache["goes on"]


def test_a_prompt_that_differs_from_its_first_token_on_has_no_past() -> None:
    model, encoded = tiny_model("llama"), pairs()
    encoded.corrupted[0, 0] = 1 + encoded.clean[0, 0] % 58
    batch = make_batch(model, encoded, np.arange(encoded.n))
    assert batch.shared == 0 and batch.after_shared(model) is batch


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_rounding_is_no_reason_to_run_whole_prompts(name: str, dtype: str) -> None:
    assert goes_on(tiny_model(name, dtype))
