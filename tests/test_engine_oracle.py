"""The oracle itself: against the library's own split inputs, and against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from engine_made import one_thread, random_pairs, relative_error, tiny_folder, tiny_model
from oracle import Oracle, Pair, circuit_run, difference, eap, edge_scores, exact, pairs_of

from eapgp.models import load_model

one_thread()


def split_inputs(model: Any, pair: Pair) -> np.ndarray:
    """EAP the field's way: TransformerLens copies the residual per head, and hands the MLP a copy."""
    bridge, graph = model.bridge, model.graph
    bridge.set_use_split_qkv_input(True)
    bridge.set_use_hook_mlp_in(True)
    kept: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(x: torch.Tensor, hook: Any) -> torch.Tensor:
            kept[name] = x.clone()  # the MLP's is the residual stream itself, skip path included
            kept[name].retain_grad()
            return kept[name]

        return hook

    hooks = [("ln_final.hook_in", keep("logits"))]
    for layer in range(graph.n_layers):
        hooks += [(f"blocks.{layer}.hook_{letter}_input", keep(f"{letter}{layer}")) for letter in "qkv"]
        hooks.append((f"blocks.{layer}.hook_mlp_in", keep(f"m{layer}")))
    for parameter in bridge.parameters():
        parameter.requires_grad_(True)
    with bridge.hooks(fwd_hooks=hooks):
        logits = bridge(pair.clean_ids[None], use_cache=False)[0]
    pair.m(logits).backward()
    gradient = {}
    for v in graph.destinations:
        if v.endswith(">"):
            layer, head = v[1:].split("<")[0].split(".h")
            gradient[v] = kept[f"{v[-2]}{layer}"].grad[0, :, int(head)]  # type: ignore[index]
        else:
            gradient[v] = kept[v].grad[0]  # type: ignore[index]
    bridge.set_use_split_qkv_input(False)
    bridge.set_use_hook_mlp_in(False)
    return edge_scores(pair.oracle, difference(pair.clean(), pair.corrupted()), gradient)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_oracle_equals_split_inputs(name: str) -> None:
    changes = {"num_key_value_heads": 4} if name == "llama" else {}
    model = load_model(str(tiny_folder(name, **changes)), device="cpu", dtype="float64")  # its own: flags are set on it
    pair = pairs_of(model, random_pairs(1, seed=3))[0]
    assert relative_error(split_inputs(model, pair), eap(pair)) < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "neox-sequential", "gemma2"])
def test_scores_are_slopes(name: str) -> None:
    """Corrupting an edge by a small fraction changes M by that fraction of its score."""
    model = tiny_model(name)
    pair = pairs_of(model, random_pairs(1, seed=4))[0]
    scores, corrupted = eap(pair), pair.corrupted()
    clean = pair.clean()
    order = np.argsort(-np.abs(scores), axis=None)[:12]
    part = 1e-2 if name == "gemma2" else 1e-3  # RMS norms round to float32
    for row, column in zip(*np.unravel_index(order, scores.shape), strict=True):
        u, moved = model.graph.sources[row], []
        for sign in (1, -1):
            reference = {s: z.detach() for s, z in corrupted.sources.items()}
            z = clean.sources[u].detach()
            reference[u] = z - sign * part * (z - reference[u])
            moved.append(exact(pair, [(int(row), int(column))], reference)[row, column])
        assert (moved[0] - moved[1]) / (2 * part) == pytest.approx(scores[row, column], rel=1e-2)


def test_oracle_circuit_run_agrees_with_exact() -> None:
    """All edges but one, built from sources, is the clean run with that edge corrupted."""
    model = tiny_model("gpt2")
    pair = pairs_of(model, random_pairs(1, seed=5))[0]
    base = pair.number(pair.clean().logits)
    for row, column in [(0, 3), (2, 17), (6, model.graph.n_destinations - 1)]:
        inside = model.graph.mask.copy()
        inside[row, column] = False
        expected = exact(pair, [(row, column)])[row, column]
        assert base - pair.number(circuit_run(pair, inside)) == pytest.approx(expected, abs=1e-12)


def test_oracle_notices_a_wrong_sum() -> None:
    """The oracle's own check of its sources can fail."""
    model = tiny_model("gpt2")
    oracle = Oracle(model)
    ids = torch.tensor([3, 4, 5])
    run = oracle.run(ids)
    run.sources["a1.h0"] = run.sources["a1.h0"] * 1.01
    with pytest.raises(AssertionError, match="do not add up"):
        oracle._check_sums(run)
