"""Learned edge masks and pruning by exact effect: finite differences, gates by hand, and a circuit that is known."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from engine_made import one_thread, random_pairs, tiny_model

from eapgp.attribution.api import attribute
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select
from eapgp.cli import main
from eapgp.errors import OptionError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.statistics import Band
from eapgp.findings import of_reference
from eapgp.ground_truth.planted import PLANTED_GRAPH, build_planted, planted_circuit, planted_prompts
from eapgp.metrics import get_metric
from eapgp.models import Model, load_model
from eapgp.reference import learned_mask
from eapgp.reference.learned_mask import Training, learn_masks, loss_of, ranked
from eapgp.reference.pruned import prune_by_effect
from eapgp.runs.bundled import find_bundled
from eapgp.runs.evaluate import Running
from eapgp.runs.reference import GREEDY, LEARNED, PRUNED, TOP, Reference, run_reference
from eapgp.tasks import make_prompts

one_thread()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(str(build_planted(tmp_path_factory.mktemp("planted"))), device="cpu")


@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_the_slope_is_that_of_the_loss_for_edges_in_and_out_of_the_circuit(name: str) -> None:
    """∂L/∂m of single edges by central differences; prompts of unequal length."""
    model, pairs = tiny_model(name), random_pairs(3, shortest=4, longest=6)
    runner = CircuitRunner(model, pairs)
    task = learned_mask._Task.of(runner, pairs, get_metric("logit-diff"), 3)
    rng = np.random.default_rng(0)
    inside = (rng.random(model.graph.mask.shape) < 0.6) * model.graph.mask.astype(float)
    _, slopes = task.step(task.parts[0], inside)
    for member in (0.0, 1.0):
        sizes = slopes.abs().numpy() * (inside == member) * model.graph.mask
        for place in np.argsort(-sizes, axis=None)[:3]:
            at = np.unravel_index(place, sizes.shape)
            ends = []
            for step in (1e-2, -1e-2):
                moved = inside.copy()
                moved[at] += step
                ends.append(task.step(task.parts[0], moved)[0])
            assert float(slopes[at]) == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=5e-3)


def test_the_loss_by_hand() -> None:
    gaps = torch.tensor([0.5, -0.5, 1.0])
    assert float(loss_of(gaps)) == pytest.approx((1 / 3) ** 2 + 0.1 * 1.5 / 3)


def test_the_planted_circuit_is_learned_from_scores_that_miss_it(planted: Model) -> None:
    """EAP's scores miss the edge whose gradient is flat; the mask finds it, and forgets nothing it had."""
    truth, prompts = planted_circuit(), planted_prompts(24)
    scores = attribute(planted, prompts, method="eap").scores
    assert (truth.edges & ~select(scores, n=truth.n_kept).edges).any(), "else this shows nothing"
    (learned,) = learn_masks(planted, prompts, [truth.n_kept], scores, how=Training(150))
    assert learned.circuit.n_selected == truth.n_kept and learned.circuit.key == truth.key
    assert learned.best < 0.01 < learned.before and len(learned.losses) == 150
    outside = learned.scores.values[PLANTED_GRAPH.mask & ~truth.edges]
    assert learned.scores.values[truth.edges].min() > outside.max()


def test_it_never_does_worse_than_its_scores_on_its_own_pairs() -> None:
    model = load_model("demo")
    prompts = make_prompts("hypernymy", 16, tokenizer=model.tokenizer)
    scores = attribute(model, prompts, method="eap").scores
    for learned in learn_masks(model, prompts, [30, 12], scores, how=Training(20, 8)):
        n = learned.circuit.n_selected
        runner = CircuitRunner(model, prompts)
        runs = runner.run([learned.circuit, select(scores, n=n), select(scores, n=n, rule="greedy")])
        scale = np.sqrt(np.mean((runs.metric_clean - runs.metric_corrupted) ** 2))
        losses = [float(loss_of(torch.from_numpy(runs.metric_clean - one) / scale)) for one in runs.metric]
        assert losses[0] <= min(losses[1:]) + 1e-6
        assert learned.best == pytest.approx(losses[0], abs=1e-5)
        assert learned.before == pytest.approx(min(losses[1:]), abs=1e-5)
        assert learned.circuit.n_kept <= n and learned.passes > 10


def test_weights_begin_at_the_order_of_growing_then_of_size() -> None:
    model = load_model("demo")
    scores = attribute(model, make_prompts("ioi", 6, tokenizer=model.tokenizer), method="eap").scores
    weights, n = ranked(scores, 5), 5
    assert weights.shape == (model.graph.n_edges,) and len(set(weights.tolist())) == model.graph.n_edges
    grown = select(scores, n=n, rule="greedy", prune=False).edges[model.graph.mask]
    assert set(np.argsort(-weights)[:n]) == set(np.flatnonzero(grown))
    rest = np.argsort(-weights)[8 * n :]
    sizes = np.abs(scores.values[model.graph.mask])[rest]
    assert (np.diff(sizes) <= 0).all()


def test_pruning_takes_the_least_harmful_edges_first(planted: Model) -> None:
    """One round by hand, and the known circuit at the end."""
    runner = CircuitRunner(planted, planted_prompts(12))
    n = PLANTED_GRAPH.n_edges
    circuits, n_runs = prune_by_effect(runner, [n - 1, 8])
    gap = np.mean((runner.metric_clean - runner.metric_corrupted) ** 2)
    harms = []
    for source, destination in np.argwhere(PLANTED_GRAPH.mask):
        edges = PLANTED_GRAPH.mask.copy()
        edges[source, destination] = False
        metric = runner.run([Circuit(PLANTED_GRAPH, edges, n - 1)]).metric[0]
        harms.append(np.mean((runner.metric_clean - metric) ** 2) / gap)
    gone = np.argwhere(PLANTED_GRAPH.mask & ~circuits[0].edges)
    assert circuits[0].n_selected == n - 1
    assert [int(np.argmin(harms))] == [int(np.flatnonzero((np.argwhere(PLANTED_GRAPH.mask) == gone[0]).all(1))[0])] or (
        len(gone) > 1  # what was removed took edges with it that lay on no path any more
    )
    assert circuits[1].key == planted_circuit().key and n_runs > n


def test_what_cannot_be_learned_is_refused(planted: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = planted_prompts(6)
    scores = attribute(planted, prompts, method="eap").scores
    for sizes, words in (([], "at least 1"), ([0], "at least 1"), ([263], "between 0 and 262")):
        with pytest.raises(OptionError, match=words):
            learn_masks(planted, prompts, sizes, scores)
    for steps, pairs in ((0, 8), (8, 0)):
        with pytest.raises(OptionError, match="at least 1"):
            Training(steps, pairs)
    with pytest.raises(OptionError, match="this model's"):
        learn_masks(planted, prompts, [8], attribute(tiny_model("gpt2"), random_pairs(2), method="eap").scores)
    runner = CircuitRunner(planted, prompts)
    with pytest.raises(OptionError, match="between 0 and 1"):
        prune_by_effect(runner, [8], share=1.0)
    monkeypatch.setattr("eapgp.reference.pruned.MOST_EDGES", 100)
    with pytest.raises(OptionError, match="learned mask"):
        prune_by_effect(runner, [8])


@pytest.fixture(scope="module")
def reference() -> Reference:
    model = load_model("demo")
    run = find_bundled("greater-than-eap-ig", 99)[0]
    return run_reference(run, (8, 20), steps=60, how=Running(model_loader=lambda *_, **__: model))


def test_all_ways_are_run_on_pairs_that_nothing_was_found_on(reference: Reference) -> None:
    assert not set(reference.judged.pairs) & set(reference.found_on.pairs) and len(reference.judged) == 32
    runner = CircuitRunner(load_model("demo"), reference.judged)
    for way in (TOP, GREEDY, LEARNED):
        assert [circuit.n_selected for circuit in reference.circuits[way]] == [8, 20]
        found = runner.run(reference.circuits[way])
        assert np.allclose(found.metric, reference.metric[way], atol=1e-5)
        assert np.allclose(found.faithfulness, reference.kept(way).value, atol=1e-5)
    assert reference.kept(LEARNED).value[1] > reference.kept(TOP).value[1] - 0.1
    evidence = reference.evidence(1)
    assert evidence["edges"] == 20 and evidence["gap"].value[1] == pytest.approx(
        reference.kept(LEARNED).value[1] - reference.kept(evidence["rule"]).value[1]
    )
    assert reference.cost[LEARNED].passes >= 120 * 32 / 64 and PRUNED not in reference.circuits
    assert reference.shared(LEARNED, LEARNED) == [circuit.n_kept for circuit in reference.circuits[LEARNED]]


def test_a_run_that_replaces_activations_otherwise_is_refused() -> None:
    zero: Any = SimpleNamespace(request={"intervention": "zero", "method": "eap"})
    with pytest.raises(OptionError, match="patching"):
        run_reference(zero, [8])
    with pytest.raises(OptionError, match="no size"):
        run_reference(find_bundled("ioi-eap", 99)[0], [])


def test_the_sentence_says_who_keeps_more() -> None:
    def band(value: float, low: float, high: float) -> Band:
        return Band(np.array([value]), np.array([low]), np.array([high]), 0.95, 1000)

    own, best = band(0.5, 0.4, 0.6), band(0.9, 0.8, 1.0)
    more = of_reference("eap-ig", "greedy", 20, own, best, band(0.4, 0.3, 0.5))
    assert more.text == (
        "The best known circuit keeps more than eap-ig's: with 20 edges eap-ig's keeps 50 % [40, 60], a learned mask "
        "90 % [80, 100] (+0.400 [+0.300, +0.500])."
    )
    assert more.numbers["rule"] == "greedy" and more.numbers["gap_high"] == 0.5
    assert of_reference("eap", "top-n", 20, own, own, band(0.0, -0.1, 0.1)).text.startswith(
        "No better circuit than eap's"
    )
    assert "keeps more than the learned one" in of_reference("eap", "top-n", 20, best, own, band(-0.4, -0.5, -0.3)).text


def test_the_command_line_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = str(find_bundled("ioi-eap", 99)[0].path)
    assert main(["reference", "--run", run, "--edges", "12", "--steps", "3", "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["judged"] == 32 and told["sizes"][0]["edges"] == 12 and told["cost"]["learned"]["passes"] > 0
    assert main(["reference", "--run", run, "--edges", "12", "--steps", "3", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert told["findings"][0]["text"] in said and "learned mask" in said
    assert main(["reference", "--run", run, "--edges", "0", "--json"]) == 2
