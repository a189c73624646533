"""The view of every architecture is the model: its logits, its parts, its weights."""

from __future__ import annotations

import pytest
import torch
import transformers
from engine_made import one_thread, relative_error, tiny_folder, tiny_model
from oracle import Oracle
from tiny import CONFIGURATIONS

from eapgp.engine.passes import Tokens, capture
from eapgp.models.grouped import RepeatedHeads

one_thread()

IDS = torch.tensor([[0, 5, 9, 2, 30, 7], [0, 44, 3, 17, 8, 21]])
PARALLEL = {"pythia", "gpt-j", "phi", "falcon"}
GROUPED = {"llama", "mistral", "qwen2", "qwen3", "olmo", "olmo2", "gemma", "gemma2", "gemma3", "falcon"}
NAMES = list(CONFIGURATIONS)


def whole(ids: torch.Tensor, lengths: list[int]) -> Tokens:
    mask = torch.tensor([[i < length for i in range(ids.shape[1])] for length in lengths])
    return Tokens(ids, mask, torch.tensor(lengths) - 1)


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_hugging_face_s(name: str) -> None:
    """Also where each query head was given keys and values of its own."""
    plain = transformers.AutoModelForCausalLM.from_pretrained(
        tiny_folder(name), dtype=torch.float64, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        expected = plain(IDS).logits
        found = tiny_model(name).bridge(IDS, use_cache=False)
    assert relative_error(found, expected) < 1e-5
    run = capture(tiny_model(name), whole(IDS, [6, 6]))
    assert relative_error(run.logits, expected[:, -1]) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_right_padding_changes_nothing(name: str) -> None:
    model = tiny_model(name)
    padded = capture(model, whole(IDS, [4, 6])).logits[0]
    alone = capture(model, whole(IDS[:1, :4], [4])).logits[0]
    assert relative_error(padded, alone) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_graph_and_weights(name: str) -> None:
    model = tiny_model(name)
    config = CONFIGURATIONS[name][1]
    layers = next(config[key] for key in ("n_layer", "n_layers", "num_layers", "num_hidden_layers") if key in config)
    heads = next(config[key] for key in ("n_head", "n_heads", "num_heads", "num_attention_heads") if key in config)
    assert (model.graph.n_layers, model.graph.n_heads) == (layers, heads)
    assert model.graph.parallel == (name in PARALLEL)
    view = model.layers[0]
    for letter in "qkv":
        assert view.weight(letter).shape[:2] == (heads, model.d_model)
    assert view.w_o.shape == (heads, view.weight("q").shape[2], model.d_model)
    repeated = isinstance(model.bridge.blocks[0].attn.k.original_component, RepeatedHeads)
    assert repeated == (name in GROUPED)
    assert (view.attn_norm is None) == (name == "olmo2")
    assert (view.attn_post is not None) == (name in {"olmo2", "gemma2", "gemma3"})


@pytest.mark.parametrize("name", NAMES)
def test_every_norm_is_the_formula(name: str) -> None:
    """y = x̂ ⊙ γ + β with the view's x̂, σ, γ and β, against the model's own module."""
    model = tiny_model(name)
    x = torch.randn(2, 3, model.d_model, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = model.layers[1]
    for norm in (layer.attn_norm, layer.mlp_norm, layer.attn_post, model.final_norm):
        if norm is None:
            continue
        normed, sigma = norm.statistics(x)
        made = normed if norm.gamma is None else normed * norm.gamma
        made = made if norm.beta is None else made + norm.beta
        assert relative_error(made.detach(), norm.apply(x).detach()) < 1e-6
        assert sigma.shape == (2, 3, 1)


@pytest.mark.parametrize("name", NAMES)
def test_sources_and_biases_add_up(name: str) -> None:
    """Every destination's residual is the sum of what it reads: the oracle's own check, on both prompts."""
    oracle = Oracle(tiny_model(name))
    for ids in IDS:
        run = oracle.run(ids)
        assert set(run.copies) == set(oracle.graph.destinations)
        assert set(run.sources) == set(oracle.graph.sources)
