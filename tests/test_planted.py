"""The planted circuit: the construction says which edges are true; exact patching and circuit runs confirm it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracle
import pytest
import torch
from engine_made import one_thread

from eapgp.attribution.api import attribute
from eapgp.circuits import Circuit
from eapgp.errors import OptionError
from eapgp.evaluation import CircuitRunner
from eapgp.ground_truth.planted import (
    PLANTED_GRAPH,
    SATURATED_EDGE,
    TRUE_EDGES,
    PlantedScore,
    build_planted,
    copied,
    planted_circuit,
    planted_prompts,
    planted_scores,
)
from eapgp.models import Model, load_model
from eapgp.prompts.encode import encode

one_thread()

GAP = 8.0  # logit(right) − logit(wrong) is +4 on clean and −4 on corrupted prompts
PROMPTS = planted_prompts(24)

# What corrupting one edge costs, from the construction: a route is half of the gap; the query, key and value
# edges carry one kind of pair each, and with it both routes.
COST = {edge: GAP / 3 if edge.startswith("input") else GAP / 2 for edge in TRUE_EDGES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(str(folder), device="cpu")


@pytest.fixture(scope="module")
def results(model: Model) -> dict[str, PlantedScore]:
    return {result.label: result for result in planted_scores(model, PROMPTS)}


def test_loads_with_its_graph_and_answers_every_prompt(model: Model) -> None:
    assert model.graph == PLANTED_GRAPH
    assert model.graph.n_edges == 262
    runner = CircuitRunner(model, PROMPTS)
    assert np.allclose(runner.metric_clean, GAP / 2, atol=1e-3)
    assert np.allclose(runner.metric_corrupted, -GAP / 2, atol=1e-3)
    assert runner.run([Circuit.full(PLANTED_GRAPH)]).correct.all()


def test_every_edge_s_exact_effect_is_what_the_construction_says(model: Model) -> None:
    found = attribute(model, PROMPTS, method="exact").scores
    for name in PLANTED_GRAPH.edge_names():
        effect = float(found.values[PLANTED_GRAPH.edge_index(name)])
        assert effect == pytest.approx(COST.get(name, 0.0), abs=1e-3), name


def test_exact_effects_by_full_passes(model: Model) -> None:
    """The true edges and as many others, each with a literal pass of its own on one pair of each kind."""
    encoded = encode(PROMPTS, model)
    others = [name for name in PLANTED_GRAPH.edge_names() if name not in TRUE_EDGES][::30]
    edges = [PLANTED_GRAPH.edge_index(name) for name in (*TRUE_EDGES, *others)]
    pairs = oracle.pairs_of(model, encoded.take([0, 1, 2]))
    effects = np.mean([oracle.exact(pair, edges) for pair in pairs], axis=0)
    for name in (*TRUE_EDGES, *others):
        assert effects[PLANTED_GRAPH.edge_index(name)] == pytest.approx(COST.get(name, 0.0), abs=1e-3), name


def test_each_true_edge_is_needed_and_all_together_suffice(model: Model) -> None:
    runner, truth = CircuitRunner(model, PROMPTS), planted_circuit()
    without = [Circuit.of_names(PLANTED_GRAPH, [e for e in TRUE_EDGES if e != edge]) for edge in TRUE_EDGES]
    found = runner.run([truth, *without]).faithfulness
    assert found[0] == pytest.approx(1.0, abs=1e-4)
    for edge, value in zip(TRUE_EDGES, found[1:], strict=True):
        assert value == pytest.approx(1 - COST[edge] / GAP, abs=1e-4), edge


def test_all_other_edges_together_do_nothing(model: Model) -> None:
    """Their complement is the true circuit; alone they leave the corrupted answer."""
    edges = PLANTED_GRAPH.mask & ~planted_circuit().edges
    runner = CircuitRunner(model, PROMPTS)
    assert runner.run([Circuit(PLANTED_GRAPH, edges, int(edges.sum()))]).faithfulness[0] == pytest.approx(0, abs=1e-4)


def test_the_junk_differs_between_the_prompts(model: Model) -> None:
    """Non-edges are not silent: every source but those that carry C, D, Y or Z alone writes a difference."""
    from eapgp.engine.batches import make_batch
    from eapgp.engine.differences import source_differences
    from eapgp.engine.passes import capture

    batch = make_batch(model, encode(PROMPTS, model), np.arange(24))
    with torch.no_grad():
        difference = source_differences(model, capture(model, batch.clean), capture(model, batch.corrupted))
    size = difference.norm(dim=-1).amax(dim=(0, 2))
    assert (size > 0.05).all(), dict(zip(PLANTED_GRAPH.sources, size.tolist(), strict=True))


def test_m1_is_saturated_on_every_prompt(model: Model) -> None:
    """Y stays where it is when C moves by 0.4 either way, and turns over when C changes sign."""
    graph, c = PLANTED_GRAPH, copied()
    assert c == pytest.approx(0.905, abs=1e-3)
    clamp = [min(max(value + 0.5, 0.0), 1.0) for value in (c - 0.4, c, c + 0.4, -c - 0.4, -c, -c + 0.4)]
    assert clamp == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    scores = attribute(model, PROMPTS, method="eap", keep_pairs=True).pair_scores
    assert scores is not None
    row, column = graph.edge_index(SATURATED_EDGE)
    assert np.abs(scores[:, row, column]).max() < 1e-5 * np.abs(scores).max()


def test_what_each_method_finds(results: dict[str, PlantedScore]) -> None:
    """Exact finds all; EAP cannot see the saturated edge, which ties with the 254 others: (7 + ½) / 8."""
    assert results["exact"].edges.auroc == 1.0 and results["exact"].found == 8
    eap = results["eap"]
    assert eap.edges.auroc == pytest.approx(7.5 / 8)
    assert (eap.saturated_share, eap.saturated_rank) == (0.0, (8 + 262) / 2)
    assert eap.edges.n_true == 8 and eap.edges.n == 262
    assert results["random"].edges.auroc < 0.9
    for label in ("eap-ig", "eap-gp (unit)", "eap-gp (relative)", "mask-ig"):
        assert 0.0 <= results[label].edges.auroc <= 1.0


def test_mask_ig_adds_up_across_the_saturation(model: Model) -> None:
    """Σ scores = M(clean) − M(corrupted) = 8 on every pair, though the gradient is zero at both ends."""
    found = attribute(model, PROMPTS, method="mask-ig", steps=50)
    assert np.allclose(found.completeness["sum"], GAP, rtol=0.05)


def test_other_junk_same_truth(tmp_path: Path) -> None:
    other = load_model(str(build_planted(tmp_path, seed=7)), device="cpu")
    runs = CircuitRunner(other, PROMPTS).run([planted_circuit()])
    assert runs.faithfulness[0] == pytest.approx(1.0, abs=1e-4)
    assert np.allclose(runs.metric_clean, GAP / 2, atol=1e-3)


def test_prompts_are_of_three_kinds_and_seeded() -> None:
    assert planted_prompts(24) == PROMPTS
    assert planted_prompts(24, seed=1).pairs != PROMPTS.pairs
    assert [pair.note for pair in PROMPTS.pairs[:4]] == ["pick", "marks", "values", "pick"]
    for pair in PROMPTS:
        clean, corrupted = pair.clean.split(), pair.corrupted.split()
        assert len(clean) == len(corrupted) == 5
        assert {pair.correct, pair.incorrect} == {("plus",), ("minus",)}
        wanted = clean[-1].removeprefix("pick-")[0]
        named = [word for word in clean if word.startswith((f"plus-{wanted}", f"minus-{wanted}"))]
        assert len(named) == 1 and named[0].startswith(pair.correct[0])
    with pytest.raises(OptionError, match="the number of pairs must be at least 1; got 0"):
        planted_prompts(0)


def test_built_the_same_each_time(tmp_path: Path, folder: Path) -> None:
    again = build_planted(tmp_path)
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
