"""What must not matter does not: batches, padding, order, earlier failures. And what fails, fails clearly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from engine_made import hooks_left, one_thread, random_pairs, relative_error, tiny_model
from test_circuit_runs import literal_reference

from eapgp.attribution import METHODS, api
from eapgp.attribution.api import attribute
from eapgp.engine import batches, patching
from eapgp.errors import Cancelled, ComputationError, OptionError, PromptError
from eapgp.models import Model, load_model
from eapgp.tasks import make_prompts

one_thread()

ENCODED = random_pairs(5, seed=31, shortest=4, longest=7, answers=2)
ALL = list(METHODS)


def options_of(method: str) -> dict[str, Any]:
    """Few steps, and few edges where each costs a pass."""
    if method == "exact":
        graph = tiny_model("gpt2").graph
        return {"edges": [graph.edge_name(0, 0), graph.edge_name(5, 14), graph.edge_name(3, graph.n_destinations - 1)]}
    return {"steps": 2} if any(option.name == "steps" for option in METHODS[method].options) else {}


def scores_of(model: Model, encoded: Any = ENCODED, method: str = "eap", **options: Any) -> np.ndarray:
    found = attribute(model, encoded, method=method, keep_pairs=True, **{**options_of(method), **options}).pair_scores
    assert found is not None
    return np.nan_to_num(found)


@pytest.mark.parametrize("method", ALL)
def test_batch_size_padding_and_order(method: str) -> None:
    """One pair alone, unpadded, gets the scores it gets in any company; the order carries over."""
    model = tiny_model("gpt2")
    together = scores_of(model, method=method)
    for size in (1, 2, 3):
        assert relative_error(scores_of(model, method=method, batch_size=size), together) < 1e-5
    order = [4, 2, 0, 3, 1]
    assert relative_error(scores_of(model, ENCODED.take(order), method=method), together[order]) < 1e-5
    if METHODS[method].rounds == 1:  # a method with rounds looks at the whole prompt set
        for i in (0, 3):
            assert relative_error(scores_of(model, ENCODED.take([i]), method=method)[0], together[i]) < 1e-5


def test_mean_over_pairs_is_taken_once() -> None:
    """A short last batch weighs no more than its pairs."""
    result = attribute(tiny_model("gpt2"), ENCODED, method="eap", batch_size=2, keep_pairs=True)
    assert result.pair_scores is not None
    assert relative_error(result.scores.values, result.pair_scores.astype(np.float64).mean(0)) < 1e-6
    assert relative_error(result.node_scores, result.scores.values.sum(1)) < 1e-5


@pytest.mark.parametrize("method", ALL)
def test_deterministic_and_nothing_changed(method: str) -> None:
    """Two calls give the same bits; weights, prompts and hooks are as before."""
    model = tiny_model("gpt2")
    before = {name: tensor.clone() for name, tensor in model.bridge.original_model.state_dict().items()}
    ids = ENCODED.clean.copy(), ENCODED.corrupted.copy()
    assert np.array_equal(scores_of(model, method=method), scores_of(model, method=method))
    after = model.bridge.original_model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in model.bridge.parameters())
    assert np.array_equal(ids[0], ENCODED.clean)
    assert np.array_equal(ids[1], ENCODED.corrupted)
    assert hooks_left(model) == []


@pytest.mark.parametrize("method", ALL)
def test_cancelling_at_any_time_leaves_no_hook(method: str) -> None:
    model = tiny_model("gpt2")
    heard: list[float] = []
    attribute(model, ENCODED, method=method, progress=lambda _p, f: heard.append(f), **options_of(method))
    assert heard == sorted(heard)
    assert heard[0] == 0.0
    assert heard[-1] == 1.0
    for stop_at in range(0, len(heard), max(1, len(heard) // 4)):
        told: list[float] = []

        def progress(_phase: str, fraction: float, told: list[float] = told, stop_at: int = stop_at) -> None:
            told.append(fraction)
            if len(told) > stop_at:
                raise Cancelled("stopped by the user")

        with pytest.raises(Cancelled, match="stopped by the user"):
            attribute(model, ENCODED, method=method, progress=progress, **options_of(method))
        assert hooks_left(model) == []


def test_exact_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay costs the layers it runs: what is told grows with them, and is not at the end from the start."""
    model, layers, heard = tiny_model("gpt2"), [0], []
    monkeypatch.setattr("eapgp.engine.patching.STACK_BUDGET", 1)  # every edge a replay of its own
    replay = patching.call

    def counted(model: Model, *given: Any, start: int = 0) -> torch.Tensor:
        layers[0] += model.graph.n_layers - start
        return replay(model, *given, start=start)

    monkeypatch.setattr("eapgp.engine.patching.call", counted)

    def progress(_phase: str, fraction: float) -> None:
        heard.append((layers[0], fraction))

    attribute(model, ENCODED, method="exact", batch_size=5, progress=progress)
    inside = [(run, fraction) for run, fraction in heard if run and fraction < 0.99]
    assert len(inside) > 50
    assert all(fraction == pytest.approx(run / layers[0]) for run, fraction in inside)


@pytest.mark.parametrize("method", ["eap-gp", "exact", "eap-ig-activations", "mask-ig-refined", "relp"])
def test_an_error_inside_a_pass_leaves_no_hook(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = tiny_model("gpt2"), []
    forward = type(model.bridge.unembed).forward

    def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("inside the pass")
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model.bridge.unembed), "forward", failing)
    with pytest.raises(RuntimeError, match="inside the pass"):
        attribute(model, ENCODED, method=method, **options_of(method))
    monkeypatch.undo()
    assert hooks_left(model) == []
    assert relative_error(scores_of(model), np.stack([oracle.eap(p) for p in oracle.pairs_of(model, ENCODED)])) < 1e-5


@pytest.mark.parametrize("method", [name for name in ALL if name not in ("random", "ifr")])
def test_a_metric_that_is_no_number(method: str) -> None:
    """A weight that is NaN shows as an error that names the pair."""
    model = tiny_model("gpt2", seed=7)
    bias = model.bridge.original_model.transformer.ln_f.bias
    kept = bias.detach().clone()
    try:
        with torch.no_grad():
            bias[0] = float("nan")
        with pytest.raises(ComputationError, match=r"metric 'logit-diff' of pair \d is not a finite number") as caught:
            attribute(model, ENCODED, method=method, **options_of(method))
        assert "\n" not in str(caught.value)
    finally:
        with torch.no_grad():
            bias.copy_(kept)
    assert hooks_left(model) == []


@pytest.mark.parametrize("kind", ["zero", "mean", "mean-positional"])
@pytest.mark.parametrize("name", ["gpt2", "gpt-j", "gemma2"])
def test_other_interventions(name: str, kind: str) -> None:
    """z′ literally zero, or a mean over the corrupted prompts; for gradients and for patching."""
    model, encoded = tiny_model(name), ENCODED.take([0, 1, 2])
    pairs, reference = oracle.pairs_of(model, encoded), literal_reference(kind, model, encoded)
    expected = np.stack([oracle.eap(pair, z) for pair, z in zip(pairs, reference, strict=True)])
    assert relative_error(scores_of(model, encoded, intervention=kind), expected) < 1e-5
    graph = model.graph
    edges = [(0, 3), (2, graph.mlp_destination(1)), (4, graph.n_destinations - 1), (5, graph.n_destinations - 2)]
    found = scores_of(
        model, encoded, "exact", intervention=kind, edges=[graph.edge_name(row, column) for row, column in edges]
    )
    patched = oracle.exact(pairs[1], edges, reference[1])
    assert relative_error(found[1], np.nan_to_num(patched)) < 1e-5


@pytest.mark.parametrize("method", [name for name in ALL if METHODS[name].interventions == ("patching",)])
def test_path_methods_need_patching(method: str) -> None:
    with pytest.raises(OptionError, match="does not fit this method: it allows patching"):
        attribute(tiny_model("gpt2"), ENCODED, method=method, intervention="mean")


def test_random_is_a_seeded_baseline() -> None:
    model = tiny_model("gpt2")
    first, again, other = (scores_of(model, method="random", seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(first != 0, model.graph.mask)


@pytest.mark.parametrize("method", ALL)
def test_scores_lie_on_edges_only(method: str) -> None:
    mask = tiny_model("gpt2").graph.mask
    assert not scores_of(tiny_model("gpt2"), method=method)[:, ~mask].any()


def test_halving_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches above two pairs 'do not fit': the result is the same, and a message says what was done."""
    model, real, sizes = tiny_model("gpt2"), METHODS["eap-gp"].run, []

    def tight(ctx: Any) -> Any:
        sizes.append(ctx.batch.size)
        if ctx.batch.size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(ctx)

    expected = attribute(model, ENCODED, method="eap-gp", steps=2)
    monkeypatch.setattr(api, "get_method", lambda name: replace(METHODS[name], run=tight))
    found = attribute(model, ENCODED, method="eap-gp", steps=2)
    assert relative_error(found.scores.values, expected.scores.values) < 1e-5
    assert found.metric_clean == pytest.approx(expected.metric_clean)
    assert "out of memory with 5 pairs; going on with batches of 2" in found.messages
    assert sizes[0] == 5
    assert max(sizes[1:]) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_halving_on_a_device_that_is_really_full() -> None:
    """The driver refuses what is beyond a share of its memory, as where another process holds the rest."""
    model, prompts = load_model("demo", device="cuda"), make_prompts("ioi", 512)

    def scores() -> Any:
        return attribute(model, prompts, method="eap-gp", steps=2, batch_size=512)

    scores()  # what the libraries take once
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    expected = scores()
    needed = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    share = (torch.cuda.memory_reserved() + needed / 2) / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        found = scores()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any("out of memory with 512 pairs" in message for message in found.messages)
    assert relative_error(found.scores.values, expected.scores.values) < 1e-4


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_one_pair_that_does_not_fit(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(ctx: Any) -> Any:
        raise error

    monkeypatch.setattr(api, "get_method", lambda name: replace(METHODS[name], run=full))
    with pytest.raises(ComputationError, match=r"one prompt pair does not fit in memory \(pair \d\)") as caught:
        attribute(tiny_model("gpt2"), ENCODED, method="eap")
    assert "\n" not in str(caught.value)


def test_other_runtime_errors_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(ctx: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(api, "get_method", lambda name: replace(METHODS[name], run=broken))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        attribute(tiny_model("gpt2"), ENCODED, method="eap")


def test_default_batches_respect_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("gpt2")
    per_pair = model.graph.n_sources * 7 * model.d_model * 4
    monkeypatch.setattr("eapgp.models.catalogue.DIFFERENCE_BUDGET", 2 * per_pair)
    parts = batches.split_batches(model, ENCODED, None)
    assert [len(part) for part in parts] == [2, 2, 1]
    lengths = np.concatenate([ENCODED.lengths[part] for part in parts])
    assert np.array_equal(lengths, np.sort(ENCODED.lengths))


def test_a_prompt_beyond_the_context() -> None:
    model = tiny_model("gpt2")
    with pytest.raises(PromptError, match=r"pair 1: the prompts have 33 tokens, but the model reads at most 32"):
        attribute(model, random_pairs(1, shortest=33, longest=33), method="eap")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", ["eap", "eap-ig", "eap-gp", "exact", "mask-ig"])
def test_half_precision(method: str, dtype: str) -> None:
    """Half-width weights run, and scores are summed in float32: close to the wide model's, not equal."""
    wide, narrow = scores_of(tiny_model("llama"), method=method), scores_of(tiny_model("llama", dtype), method=method)
    assert narrow.dtype == np.float32
    if method != "eap-gp":  # a path taken step by step drifts
        assert np.corrcoef(narrow.ravel(), wide.ravel())[0, 1] > 0.95
    assert np.isfinite(narrow).all()
    assert relative_error(narrow, wide) > 1e-5
    as_the_model = torch.from_numpy(narrow).to(getattr(torch, dtype)).float().numpy()
    assert not np.array_equal(as_the_model, narrow)  # wider than the model's own numbers


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma3"])
def test_positions_that_both_prompts_share_add_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are those that the whole prompt gives; what is left out ends where a pair of the batch first differs."""
    model = tiny_model(name)
    clean = np.array(ENCODED.clean)
    corrupted = clean.copy()
    corrupted[:, 3] = (clean[:, 3] + 1) % 20
    corrupted[1, 2] = (clean[1, 2] + 1) % 20
    encoded = replace(ENCODED, corrupted=corrupted)
    assert batches.make_batch(model, encoded, np.array([0, 2, 3, 4])).shared == 3
    assert batches.make_batch(model, encoded, np.arange(5)).shared == 2
    same = replace(ENCODED, corrupted=clean)
    assert batches.make_batch(model, same, np.arange(5)).shared == ENCODED.lengths.min() - 1
    for method in ("eap", "ceap", "eap-gp", "mask-ig", "eap-gp-conductance", "eap-ig-activations"):
        short = scores_of(model, encoded, method)
        with monkeypatch.context() as patch:
            patch.setattr(batches, "_shared", lambda encoded, index: 0)
            assert relative_error(short, scores_of(model, encoded, method)) < 1e-5
