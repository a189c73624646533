"""The really pretrained model: scores equal a literal implementation and another library's tool; skipped without it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from engine_made import one_thread, relative_error

from eapgp.attribution.api import attribute
from eapgp.models import Model, load_model, packaged
from eapgp.prompts import PromptPair, PromptSet, encode
from eapgp.prompts.encode import EncodedPairs

one_thread()

NAME = "smollm2-135m"
pytestmark = pytest.mark.skipif(not packaged.is_here(NAME), reason=f"{NAME} was not fetched: eapgp models get {NAME}")
PAIRS = PromptSet(
    "custom",
    (
        PromptPair("The old nurse said that", "The old king said that", (" she",), (" he",)),
        PromptPair("My sister told me that", "My brother told me that", (" she",), (" he",)),
    ),
    "logit-diff",
)


@functools.cache
def real() -> Model:
    return load_model(NAME, device="cpu")


@functools.cache
def encoded() -> EncodedPairs:
    return encode(PAIRS, real())


@functools.cache
def literal() -> list[oracle.Pair]:
    return oracle.pairs_of(real(), encoded())


def test_it_is_the_model_that_was_promised() -> None:
    model = real()
    assert model.graph.n_edges == 123_211 and (model.graph.n_layers, model.graph.n_heads) == (30, 9)
    assert model.architecture == "LlamaForCausalLM"
    assert any("dequantised from Q4_1" in note for note in model.notes)


@pytest.mark.parametrize(
    ("method", "options", "slow"),
    [
        ("eap", {}, oracle.eap),
        ("eap-ig", {"steps": 3}, functools.partial(oracle.eap_ig, steps=3)),
        ("eap-gp", {"steps": 2}, functools.partial(oracle.eap_gp, steps=2)),
    ],
    ids=["eap", "eap-ig", "eap-gp"],
)
def test_all_edges_equal_the_literal_implementation(method: str, options: dict[str, Any], slow: Any) -> None:
    scores = attribute(real(), encoded(), method=method, **options).scores.values
    expected = np.mean([slow(pair) for pair in literal()], axis=0)
    assert relative_error(scores, expected) < 2e-3, "of the largest score, in float32 through 30 layers"


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 2, "step": "descend"},
        {"steps": 2, "points": "0..k-1"},
        {"steps": 1, "norm": "batch"},
        {"steps": 1, "objective": "last"},
        {"steps": 1, "step": "unit", "direction": "random", "seed": 1},
        {"steps": 1, "step": "unit", "direction": "reversed"},
    ],
    ids=str,
)
def test_readings_of_gradpath_equal_the_literal_ones(options: dict[str, Any]) -> None:
    scores = attribute(real(), encoded(), method="eap-gp", batch_size=1, **options).scores.values
    expected = oracle.eap_gps(literal(), **options).mean(0)
    assert relative_error(scores, expected) < 2e-3, "of the largest score, in float32 through 30 layers"


def test_exact_equals_patching_by_hand() -> None:
    graph = real().graph
    rows, columns = np.nonzero(graph.mask)
    drawn = np.random.default_rng(0).choice(len(rows), 30, replace=False)
    edges = [(int(rows[i]), int(columns[i])) for i in drawn]
    names = [graph.edge_name(*edge) for edge in edges]
    scores = attribute(real(), encoded(), method="exact", edges=names).scores.values
    expected = np.mean([oracle.exact(pair, edges) for pair in literal()], axis=0)
    for row, column in edges:
        assert scores[row, column] == pytest.approx(expected[row, column], abs=2e-4), graph.edge_name(row, column)


def test_eap_equals_transformerlens_own_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Node scores of its attribution patching: it differentiates at the second run, towards the first."""
    from transformer_lens.tools.analysis.attribution_patching import attribution_patch

    model, pairs = real(), encoded()
    embedding = model.bridge.embed.original_component.weight
    monkeypatch.setattr(embedding, "requires_grad", True)  # the tool wants a graph; ours makes the input its leaf
    index = {name: place for place, name in enumerate(model.graph.sources)}
    expected = np.zeros(len(index))
    for pair in range(pairs.n):
        length = int(pairs.lengths[pair])
        clean, corrupted = (torch.from_numpy(ids[pair : pair + 1, :length]) for ids in (pairs.clean, pairs.corrupted))
        right, wrong = pairs.correct[pair][0], pairs.incorrect[pair][0]
        found = attribution_patch(
            model.bridge, corrupted, clean, lambda logits, r=right, w=wrong: logits[0, -1, r] - logits[0, -1, w]
        )
        for node, score in found.node_scores.items():
            kind = {"embed": "input", "attn_head_out": f"a{node.layer}.h{node.head}", "mlp_out": f"m{node.layer}"}
            expected[index[kind[node.kind]]] -= score / pairs.n  # towards the corrupted run there, away from it here
    scores = attribute(model, pairs, method="eap").node_scores
    assert scores is not None and relative_error(scores, expected) < 2e-3
