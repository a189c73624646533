"""What is said about a path is true: points, distances, norms, passes, and what the scores add up to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from engine_made import one_thread, random_pairs, relative_error, tiny_model

from eapgp.attribution import METHODS
from eapgp.attribution.api import attribute
from eapgp.attribution.result import Attribution, PathRecord
from eapgp.engine.past import goes_on
from eapgp.errors import OptionError, UnknownNameError
from eapgp.runs.compute import resolve_options
from eapgp.runs.spec import RunSpec

one_thread()

NAMES = ["gpt2", "gemma2"]  # with the Gram matrix, and with the soft-capped logits themselves
ENCODED = random_pairs(3, seed=21, shortest=4, longest=6)


def followed(name: str, method: str = "eap-gp", **options: Any) -> tuple[Attribution, PathRecord]:
    result = attribute(tiny_model(name), ENCODED, method=method, **options)
    (record,) = result.paths.values()
    return result, record


@pytest.mark.parametrize(
    ("method", "options", "passes"),
    [
        ("eap", {}, (1, 1, 1)),
        ("clean-corrupted", {}, (2, 2, 0)),
        ("eap-ig", {"steps": 4}, (4, 4, 2)),
        ("eap-gp", {"steps": 4}, (5, 8, 1)),
        ("ceap", {"steps": 4}, (4, 4, 1)),
        ("eap-gp-conductance", {"steps": 4}, (5, 8, 1)),
        ("eap-ig-activations", {"steps": 2}, (10, 10, 2)),
        ("eap-gp-activations", {"steps": 2}, (15, 20, 2)),
        ("atp-graddrop", {}, (1, 2, 1)),
        ("relp", {}, (1, 1, 1)),
        ("ifr", {}, (0, 0, 2)),
        ("random", {}, (0, 0, 2)),
        ("mask-ig", {"steps": 3}, (3, 3, 2)),
        ("mask-ig-refined", {"steps": 3}, (7, 7, 6)),
    ],
)
def test_passes_are_counted_and_true(
    method: str, options: dict[str, Any], passes: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers reported are the passes that were made through the model."""
    assert made_passes(method, options, monkeypatch) == passes
    declared = METHODS[method].passes(options.get("steps", 1), tiny_model("gpt2").graph.n_layers)
    assert declared == pytest.approx(passes[:2])


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"step": "descend"}, (5, 8, 1)),
        ({"points": "0..k-1"}, (5, 8, 1)),
        ({"direction": "random"}, (5, 8, 1)),
        ({"direction": "reversed"}, (5, 8, 1)),
        ({"norm": "batch"}, (9, 12, 2)),  # all pairs walk once before they are scored
    ],
)
def test_readings_of_gradpath_take_the_same_passes(
    options: dict[str, Any], passes: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made_passes("eap-gp", {"steps": 4, **options}, monkeypatch) == passes


def made_passes(method: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[float, float, float]:
    """Forward, backward and reference passes as they are reported, counted at the model too."""
    model, calls, backwards = tiny_model("gpt2"), [], []
    forward, grad = type(model.bridge).forward, torch.autograd.grad

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("return_type") != "logits_and_cache":  # what both prompts begin with, which the passes go on from
            calls.extend([torch.is_grad_enabled()] * (args[0].shape[0] // ENCODED.n))  # both prompts may go at once
        return forward(self, *args, **kwargs)

    def counted_grad(outputs: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(outputs, list):  # a list: what arrived at the beginning of both prompts, sent on
            backwards.append(len(outputs) if isinstance(outputs, tuple) else 1)
        return grad(outputs, *args, **kwargs)

    model.cache.setdefault("tuples", False)  # found once per model, by a pass of its own
    assert goes_on(model)  # so is this
    monkeypatch.setattr(type(model.bridge), "forward", counted)
    monkeypatch.setattr(torch.autograd, "grad", counted_grad)
    result = attribute(model, ENCODED, method=method, **options)
    assert sum(calls) == result.forward_passes
    assert len(calls) - sum(calls) == result.reference_passes
    assert sum(backwards) == result.backward_passes
    return result.forward_passes, result.backward_passes, result.reference_passes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objective", ["all", "last"])
@pytest.mark.parametrize("step", ["relative", "unit", 0.4])
def test_gradpath_record(name: str, step: str | float, objective: str) -> None:
    """Points, distances from full-vocabulary logits and metrics, recomputed by hand."""
    steps, model = 3, tiny_model(name)
    _, record = followed(name, steps=steps, step=step, objective=objective)
    assert record.kind == "gradpath"
    assert record.n_points == steps + 1
    assert record.used.tolist() == [False, True, True, True]
    assert record.points is not None
    assert np.array_equal(record.lengths, ENCODED.lengths)
    for i, pair in enumerate(oracle.pairs_of(model, ENCODED)):
        length = ENCODED.lengths[i]
        path, distances = oracle.gradpath(pair, steps=steps, step=step, objective=objective)
        points = np.stack([gamma.numpy() for gamma in path])
        assert relative_error(record.points[:, i, :length], points) < 1e-5
        assert relative_error(record.output_distance[:, i], distances) < 1e-4
        metrics = [pair.number(pair.oracle.run(pair.clean_ids, gamma=gamma).logits) for gamma in path]
        assert relative_error(record.metric[:, i], metrics) < 1e-5
        x, x_prime = pair.clean().gamma.detach().numpy(), pair.corrupted().gamma.detach().numpy()
        assert record.to_clean[0, i] == 0
        assert record.to_corrupted[:, i] == pytest.approx([np.linalg.norm(p - x_prime) for p in points], rel=1e-5)
        assert record.to_clean[:, i] == pytest.approx([np.linalg.norm(p - x) for p in points], rel=1e-5, abs=1e-7)
        expected = np.linalg.norm(x - x_prime) / steps if step == "relative" else 1.0 if step == "unit" else step
        taken = np.linalg.norm(np.diff(record.points[:, i], axis=0).reshape(steps, -1), axis=1)
        assert taken == pytest.approx([expected] * steps, rel=1e-5)


READINGS: list[dict[str, Any]] = [
    {"step": "descend"},
    {"step": "unit", "norm": "batch"},
    {"step": "unit", "points": "0..k-1"},
    {"step": "unit", "direction": "random", "seed": 3},
    {"step": "descend", "direction": "reversed"},
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", READINGS, ids=str)
def test_gradpath_record_of_every_reading(name: str, options: dict[str, Any]) -> None:
    """Points, lengths of the steps and distances, recomputed by hand; which points entered the scores."""
    result, record = followed(name, steps=3, **options)
    assert record.points is not None and record.step_length is not None
    early = options.get("points") == "0..k-1"
    assert record.used.tolist() == [early, True, True, not early]
    assert np.isnan(record.gradient_norm).any(axis=1).tolist() == (~record.used).tolist()
    walk = {key: value for key, value in options.items() if key != "points"}
    paths, distances = oracle.gradpaths(oracle.pairs_of(tiny_model(name), ENCODED), steps=3, **walk)
    for i, length in enumerate(ENCODED.lengths):
        points = np.stack([gamma.numpy() for gamma in paths[i]])
        assert relative_error(record.points[:, i, :length], points) < 1e-5
        assert relative_error(record.output_distance[:, i], distances[i]) < 1e-4
        taken = np.linalg.norm(np.diff(points, axis=0).reshape(3, -1), axis=1)
        assert record.step_length[:, i] == pytest.approx(taken, rel=1e-5)
    assert {key: result.options[key] for key in options} == options


def test_controls_take_steps_of_the_same_lengths() -> None:
    """A random direction is one per pair, the same whatever the batch, another with another seed."""
    plain, there, back, other = (
        followed("gpt2", steps=3, step="unit", batch_size=2, **options)[1]
        for options in ({}, {"direction": "random"}, {"direction": "reversed"}, {"direction": "random", "seed": 1})
    )
    assert plain.step_length is not None
    for record in (there, back, other):
        assert record.step_length == pytest.approx(plain.step_length, rel=1e-6)
    assert there.points is not None and other.points is not None and back.points is not None
    moves = np.diff(there.points, axis=0)
    assert moves[1:] == pytest.approx(moves[:-1], abs=1e-6)
    assert np.array_equal(there.points, followed("gpt2", steps=3, step="unit", direction="random")[1].points)
    assert np.abs(there.points[1] - other.points[1]).max() > 0.05
    assert plain.points is not None
    assert back.points[1] - back.points[0] == pytest.approx(plain.points[0] - plain.points[1], abs=1e-6)
    padding = ENCODED.lengths.argmin()
    assert not moves[:, padding, ENCODED.lengths[padding] :].any()


def test_one_norm_is_of_all_pairs_of_the_run() -> None:
    """With a pair left out the others' steps grow; however they are batched, all squares add up to the step's."""
    for size in (1, 2, None):
        _, record = followed("gpt2", steps=3, step="unit", norm="batch", batch_size=size)
        assert record.step_length is not None
        assert (record.step_length**2).sum(1) == pytest.approx([1.0] * 3, rel=1e-5)
    fewer = attribute(tiny_model("gpt2"), ENCODED.take(np.array([0, 1])), steps=3, step="unit", norm="batch")
    lengths = fewer.paths["gradpath"].step_length
    assert lengths is not None and (lengths[0] > record.step_length[0, :2]).all()


def test_options_that_came_later_leave_runs_as_they_were() -> None:
    """Runs are named by their options: what is as it always was is not among them, nor a seed without a draw."""
    row = METHODS["eap-gp"]
    usual = {"steps": 5, "step": "relative", "objective": "all"}
    assert row.settings({}) == usual
    assert row.settings({"norm": "pair", "points": "1..k", "direction": "gradient", "seed": 4}) == usual
    assert row.settings({"direction": "random", "seed": 4}) == {**usual, "direction": "random", "seed": 4}
    assert row.settings({"direction": "random"})["seed"] == 0
    spec = RunSpec(seed=7, options={"direction": "random"})
    assert resolve_options(spec) == {**usual, "direction": "random", "seed": 7}
    assert resolve_options(RunSpec(seed=7)) == usual
    assert not row.draws_noise({}) and row.draws_noise({"direction": "random"})
    assert attribute(tiny_model("gpt2"), ENCODED, steps=2).options == {**usual, "steps": 2}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["eap-gp", "eap-ig", "ceap"])
def test_recorded_gradients(name: str, method: str) -> None:
    """‖∂M/∂γ‖ and ‖∂M/∂x_v‖ of every destination, by autograd at the recorded point."""
    model = tiny_model(name)
    _, record = followed(name, method, steps=2)
    assert record.points is not None
    for i, pair in enumerate(oracle.pairs_of(model, ENCODED)):
        for j in np.flatnonzero(record.used):
            gamma = torch.from_numpy(record.points[j, i, : ENCODED.lengths[i]]).double()
            run = pair.oracle.run(pair.clean_ids, gamma=gamma)
            norms = [float(g.norm()) for g in (pair.gradients(run)[v] for v in model.graph.destinations)]
            assert relative_error(record.destination_gradient[j, i], norms) < 1e-4
            whole = torch.autograd.grad(pair.m(run.logits), run.gamma)[0]
            assert record.gradient_norm[j, i] == pytest.approx(float(whole.norm()), rel=1e-4)
    unused = ~record.used
    assert np.isnan(record.gradient_norm[unused]).all()
    assert np.isnan(record.destination_gradient[unused]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", ["left", "right", "midpoint"])
def test_straight_record(name: str, points: str) -> None:
    """From x to x′ on a line; the output distance is 0 at x′ and that of the clean run at x."""
    result, record = followed(name, "eap-ig", steps=3, points=points)
    assert record.kind == "straight"
    assert record.used.sum() == 3
    assert record.to_clean[0] == pytest.approx(0, abs=1e-5)
    assert record.to_corrupted[-1] == pytest.approx(0, abs=1e-5)
    assert record.output_distance[-1] == pytest.approx(0, abs=1e-8)
    assert record.metric[0] == pytest.approx(result.metric_clean, rel=1e-5)
    assert record.metric[-1] == pytest.approx(result.metric_corrupted, rel=1e-5)
    assert record.to_clean + record.to_corrupted == pytest.approx(
        np.tile(record.to_corrupted[0], (len(record.used), 1))
    )
    for i, pair in enumerate(oracle.pairs_of(tiny_model(name), ENCODED)):
        apart = float((pair.clean().logits - pair.corrupted().logits).detach().pow(2).sum())
        assert record.output_distance[0, i] == pytest.approx(apart, rel=1e-5)


def test_rose_and_its_message() -> None:
    """A step far too long raises the distance, and the result says so."""
    result, record = followed("gpt2", steps=2, step=500.0)
    assert record.rose()[0].any()
    assert any("raised the distance to the corrupted output" in message for message in result.messages)
    nearer = [i for i in range(3) if record.output_distance[-1, i] < record.output_distance[0, i]]
    assert any(f"nearer to the corrupted output on {len(nearer)} of 3 pairs" in message for message in result.messages)
    assert np.flatnonzero(record.descended()).tolist() == nearer
    short, record = followed("gpt2", steps=2, step=0.01)
    assert not record.rose().any()
    assert short.messages == ()


def test_equal_prompts_stop_the_path() -> None:
    """With x = x′ the path gradient is zero: the path stays, and every score is 0, not NaN."""
    model = tiny_model("gpt2")
    same = type(ENCODED)(ENCODED.clean, ENCODED.clean, ENCODED.lengths, ENCODED.correct, ENCODED.incorrect)
    result = attribute(model, same, method="eap-gp", steps=2, step="unit")
    assert np.array_equal(result.scores.values, np.zeros_like(result.scores.values))
    assert result.paths["gradpath"].to_clean.max() == 0


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_eap_ig_is_complete(name: str) -> None:
    """The input's edges add up to M(clean) − M(corrupted) as k grows."""
    result = attribute(tiny_model(name), ENCODED, method="eap-ig", steps=200, points="midpoint")
    gap = result.metric_clean - result.metric_corrupted
    assert result.completeness["gap"] == pytest.approx(gap, rel=1e-6)
    assert result.completeness["sum"] == pytest.approx(gap, rel=1e-3)
    assert result.scores.values[0].sum() == pytest.approx(gap.mean(), rel=1e-3)


def test_other_methods_are_complete() -> None:
    """mask-ig over all edges; ceap over the input's; conductance along its own path."""
    model = tiny_model("gpt2")
    mask = attribute(model, ENCODED, method="mask-ig", steps=60)
    gap = mask.metric_clean - mask.metric_corrupted
    assert mask.scores.values.sum() == pytest.approx(gap.mean(), rel=2e-3)
    assert mask.completeness["sum"] == pytest.approx(gap, rel=5e-3)
    found = [attribute(model, ENCODED, method="ceap", steps=k).completeness["sum"] for k in (40, 160)]
    assert np.abs(found[1] - gap).max() < 0.35 * np.abs(found[0] - gap).max()  # first order in 1/k
    assert found[1] == pytest.approx(gap, rel=0.05)
    path = attribute(model, ENCODED, method="eap-gp-conductance", steps=200)
    along = path.paths["gradpath"].metric
    assert path.completeness["gap"] == pytest.approx(along[0] - along[-1], rel=1e-5)
    assert path.completeness["sum"] == pytest.approx(along[0] - along[-1], abs=0.05 * float(np.abs(gap).max()))


def test_points_can_be_left_out() -> None:
    _, record = followed("gpt2", steps=2, keep_points=False)
    assert record.points is None
    assert record.output_distance.shape == (3, 3)


def test_vanished_share_is_about_gradients() -> None:
    """At a threshold of 1 every edge but those at their largest has vanished; at 0 none."""
    _, record = followed("gpt2", steps=3)
    graph = tiny_model("gpt2").graph
    none, all_but_largest = (record.vanished_share(graph, threshold) for threshold in (0.0, 1.0))
    assert np.isnan(none[0]).all()
    assert np.array_equal(none[1:], np.zeros_like(none[1:]))
    assert all_but_largest[1:].sum(0) == pytest.approx([2.0] * (graph.n_layers + 1))  # 3 points, one is the largest


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"method": "eapgp"}, UnknownNameError, "unknown method 'eapgp'"),
        ({"method": "eap", "steps": 3}, OptionError, "method 'eap' has no option 'steps'"),
        ({"method": "eap-gp", "steps": 0}, OptionError, "whole number of at least 1; got 0"),
        ({"method": "eap-gp", "steps": True}, OptionError, "whole number of at least 1"),
        ({"method": "eap-gp", "step": "tiny"}, OptionError, "step must be 'relative', 'unit', 'descend' or a positive"),
        ({"method": "eap-gp", "step": -1.0}, OptionError, "positive number; got -1.0"),
        ({"method": "eap-gp", "step": float("nan")}, OptionError, "positive number"),
        ({"method": "eap-gp", "objective": "first"}, UnknownNameError, "objective"),
        ({"method": "eap-ig", "points": "centre"}, UnknownNameError, "points"),
        ({"method": "eap-gp", "intervention": "zero"}, OptionError, "'zero' does not fit this method"),
        ({"method": "eap", "intervention": "blur"}, UnknownNameError, "intervention"),
        ({"method": "eap", "metric": "loss"}, UnknownNameError, "metric"),
        ({"method": "eap", "batch_size": 0}, OptionError, "batch size must be at least 1"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        attribute(tiny_model("gpt2"), ENCODED, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("able", "kept"), [(True, [True, False]), (False, [True])])
def test_two_backward_passes_are_one_where_that_can_be(
    able: bool, kept: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Autograd is asked for both at once, once in vain; the graph is kept only until it is known whether it can."""
    model, grad = tiny_model("gpt2"), torch.autograd.grad
    expected = attribute(model, ENCODED, steps=3)
    asked: list[bool] = []

    def watched(*args: Any, is_grads_batched: bool = False, **named: Any) -> Any:
        if is_grads_batched:
            asked.append(named["retain_graph"])
            if not able:
                raise RuntimeError("no batching rule")
        return grad(*args, **named, is_grads_batched=is_grads_batched)

    monkeypatch.setattr(torch.autograd, "grad", watched)
    found = attribute(replace(model, cache={}), ENCODED, steps=3)
    assert asked == kept
    assert relative_error(found.scores.values, expected.scores.values) < 1e-5
