"""Every method's fast scores equal the literal ones, edge by edge and pair by pair.

Models are float64 where not said otherwise, so that only the scores' final float32 rounds; RMS
norms round to float32 inside whatever the dtype.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import oracle_family as family
import pytest
import torch
from engine_made import one_thread, random_pairs, relative_error, tiny_model
from tiny import CONFIGURATIONS

from eapgp.attribution import METHODS
from eapgp.attribution.api import attribute
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs

one_thread()

TOLERANCE = 1e-5
LITERAL: dict[str, Callable[..., np.ndarray]] = {
    "eap": oracle.eap,
    "clean-corrupted": oracle.clean_corrupted,
    "eap-ig": oracle.eap_ig,
    "eap-ig-activations": family.eap_ig_activations,
    "eap-gp-activations": family.eap_gp_activations,
    "ceap": family.ceap,
    "ifr": family.ifr,
    "atp-graddrop": family.graddrop,
    "relp": family.relp,
    "mask-ig": family.mask_ig,
}
WHOLE_SET: dict[str, Callable[..., np.ndarray]] = {  # can look at all pairs: for one norm, or between its rounds
    "eap-gp": oracle.eap_gps,
    "eap-gp-conductance": family.conductances,
    "mask-ig-refined": family.mask_ig_refined,
}
ELSEWHERE = {"exact", "random"}  # held against other things
GPT2_CASES: list[tuple[str, dict[str, Any]]] = [
    ("eap", {}),
    ("clean-corrupted", {}),
    *[("eap-ig", {"steps": k, "points": rule}) for k in (1, 3) for rule in ("left", "right", "midpoint")],
    *[
        ("eap-gp", {"steps": k, "step": step, "objective": objective})
        for k, step, objective in [
            (1, "relative", "all"),
            (3, "relative", "all"),
            (3, "relative", "last"),
            (3, "unit", "all"),
            (2, "unit", "last"),
            (3, 0.3, "all"),
            (2, 2.5, "last"),
        ]
    ],
    ("eap-gp", {"steps": 3, "step": "descend"}),
    ("eap-gp", {"steps": 2, "step": "descend", "objective": "last"}),
    ("eap-gp", {"steps": 3, "step": "unit", "norm": "batch"}),
    ("eap-gp", {"steps": 3, "norm": "batch", "objective": "last"}),
    ("eap-gp", {"steps": 2, "step": "descend", "norm": "batch"}),
    ("eap-gp", {"steps": 3, "step": "unit", "points": "0..k-1"}),
    ("eap-gp", {"steps": 1, "points": "0..k-1"}),
    ("eap-gp", {"steps": 3, "step": "unit", "direction": "reversed"}),
    ("eap-gp", {"steps": 3, "step": "unit", "direction": "random", "seed": 0}),
    ("eap-gp", {"steps": 2, "step": "descend", "direction": "random", "seed": 5}),
    ("eap-gp", {"steps": 2, "step": 0.7, "direction": "random", "seed": 5, "norm": "batch", "points": "0..k-1"}),
    ("eap-ig-activations", {"steps": 1}),
    ("eap-ig-activations", {"steps": 3}),
    ("eap-gp-activations", {"steps": 1, "step": 0.5}),
    ("eap-gp-activations", {"steps": 3, "step": "relative", "objective": "all"}),
    ("eap-gp-activations", {"steps": 2, "step": "unit", "objective": "last"}),
    ("eap-gp-activations", {"steps": 2, "step": "descend"}),
    ("ceap", {"steps": 1}),
    ("ceap", {"steps": 4}),
    ("eap-gp-conductance", {"steps": 1, "step": 0.5}),
    ("eap-gp-conductance", {"steps": 3, "step": "relative", "objective": "all"}),
    ("eap-gp-conductance", {"steps": 2, "step": "unit", "objective": "last"}),
    ("eap-gp-conductance", {"steps": 2, "step": "descend", "direction": "reversed"}),
    ("eap-gp-conductance", {"steps": 2, "step": "unit", "norm": "batch"}),
    ("eap-gp-conductance", {"steps": 2, "step": "unit", "direction": "random", "seed": 3}),
    ("ifr", {}),
    ("atp-graddrop", {}),
    ("relp", {}),
    ("mask-ig", {"steps": 1}),
    ("mask-ig", {"steps": 3}),
    ("mask-ig", {"steps": 2, "nodes": "calibrated"}),
    ("mask-ig-refined", {"steps": 2}),
]


def test_no_method_is_left_out() -> None:
    assert set(LITERAL) | set(WHOLE_SET) | ELSEWHERE == set(METHODS)
    assert {method for method, _ in GPT2_CASES} == set(LITERAL) | set(WHOLE_SET)


def few_steps(method: str, steps: int) -> dict[str, Any]:
    """The number of steps where a method has one."""
    return {"steps": steps} if any(option.name == "steps" for option in METHODS[method].options) else {}


@functools.cache
def uneven_pairs() -> EncodedPairs:
    """Three pairs of 4 to 6 tokens, two answers on each side."""
    return random_pairs(3, seed=1, shortest=4, longest=6, answers=2)


@functools.cache
def literal(name: str, method: str, metric: str, options: tuple[tuple[str, Any], ...]) -> np.ndarray:
    """`[pair, src, dst]` from the oracle."""
    return scored(method, oracle.pairs_of(tiny_model(name), uneven_pairs(), metric), dict(options))


def scored(method: str, pairs: list[oracle.Pair], options: dict[str, Any]) -> np.ndarray:
    """`[pair, src, dst]` of any method."""
    if method in WHOLE_SET:
        return WHOLE_SET[method](pairs, **options)
    return np.stack([LITERAL[method](pair, **options) for pair in pairs])


@pytest.mark.parametrize(("method", "options"), GPT2_CASES, ids=lambda value: str(value))
def test_gpt2_all_options(method: str, options: dict[str, Any]) -> None:
    expected = literal("gpt2", method, "logit-diff", tuple(options.items()))
    for batch_size in (None, 1, 2):
        found = attribute(
            tiny_model("gpt2"), uneven_pairs(), method=method, batch_size=batch_size, keep_pairs=True, **options
        )
        assert found.pair_scores is not None
        assert relative_error(found.pair_scores, expected) < TOLERANCE
        assert relative_error(found.scores.values, expected.mean(0)) < TOLERANCE


@pytest.mark.parametrize("metric", ["prob-diff", "log-prob"])
@pytest.mark.parametrize("method", ["eap", "eap-ig", "eap-gp"])
def test_gpt2_other_metrics(method: str, metric: str) -> None:
    expected = literal("gpt2", method, metric, (("steps", 2),) if method != "eap" else ())
    options: dict[str, Any] = {} if method == "eap" else {"steps": 2}
    found = attribute(tiny_model("gpt2"), uneven_pairs(), method=method, metric=metric, keep_pairs=True, **options)
    assert relative_error(found.pair_scores, expected) < TOLERANCE


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
@pytest.mark.parametrize("method", [*LITERAL, *WHOLE_SET])
def test_every_architecture(name: str, method: str) -> None:
    model, encoded = tiny_model(name), random_pairs(2, seed=2, shortest=4, longest=5)
    options = few_steps(method, 2)
    found = attribute(model, encoded, method=method, keep_pairs=True, **options)
    expected = scored(method, oracle.pairs_of(model, encoded), options)
    assert relative_error(found.pair_scores, expected) < TOLERANCE


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_exact_on_every_architecture(name: str) -> None:
    """Every third edge, and all into the logits, patched alone with a full forward pass each."""
    model, encoded = tiny_model(name), random_pairs(2, seed=6, shortest=4, longest=5)
    graph = model.graph
    edges = [(int(r), int(c)) for r, c in np.argwhere(graph.mask)]
    edges = edges[::3] + [(row, graph.n_destinations - 1) for row in range(graph.n_sources)]
    names = [graph.edge_name(row, column) for row, column in edges]
    found = attribute(model, encoded, method="exact", edges=names, keep_pairs=True).pair_scores
    assert found is not None
    expected = oracle.exact(oracle.pairs_of(model, encoded)[1], edges)
    assert np.array_equal(np.isnan(found[1]), np.isnan(expected))
    assert relative_error(np.nan_to_num(found[1]), np.nan_to_num(expected)) < TOLERANCE


def test_exact_gpt2_all_edges_and_batch_sizes() -> None:
    model, encoded = tiny_model("gpt2"), random_pairs(3, seed=7, shortest=4, longest=6)
    expected = np.stack([oracle.exact(pair) for pair in oracle.pairs_of(model, encoded)])
    for batch_size in (None, 1, 2):
        found = attribute(model, encoded, method="exact", batch_size=batch_size, keep_pairs=True)
        assert relative_error(found.pair_scores, expected) < TOLERANCE


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_exact_nodes_on_every_architecture(name: str) -> None:
    """A node's score is what the metric loses when all of its edges are corrupted at once."""
    model, encoded = tiny_model(name), random_pairs(2, seed=6, shortest=4, longest=5)
    found = attribute(model, encoded, method="exact")
    expected = np.zeros(model.graph.n_sources)
    for pair in oracle.pairs_of(model, encoded):
        base = pair.number(pair.clean().logits)
        expected += [base - oracle.corrupt_node(pair, node) for node in model.graph.sources]
    assert relative_error(found.node_scores, expected / encoded.n) < TOLERANCE
    assert relative_error(found.node_scores, found.scores.values.sum(1)) > 1e-3  # the edges act together


@pytest.mark.parametrize("name", ["gpt2", "pythia", "llama"])
def test_exact_nodes_are_activation_patches(name: str) -> None:
    """A head's z, an MLP's output or the embedding set to the corrupted run's, by plain hooks of the library."""
    model, encoded = tiny_model(name), random_pairs(1, seed=6, shortest=5, longest=5)
    (pair,) = oracle.pairs_of(model, encoded)
    found = attribute(model, encoded, method="exact").node_scores
    assert found is not None
    base = pair.number(pair.clean().logits)
    for row, node in enumerate(model.graph.sources):
        effect = base - pair.number(with_patched(model, pair, *hook_of(node)))
        assert found[row] == pytest.approx(effect, rel=1e-4, abs=1e-6)


@torch.no_grad()
def with_patched(model: Model, pair: oracle.Pair, place: str, head: int | None) -> torch.Tensor:
    """Logits of the clean run with what passes a hook (one head of it) taken from the corrupted run."""
    kept: list[torch.Tensor] = []

    def keep(x: torch.Tensor, hook: Any) -> None:
        kept.append(x.clone())

    def put(x: torch.Tensor, hook: Any) -> torch.Tensor:
        new, which = x.clone(), ... if head is None else (slice(None), slice(None), head)
        new[which] = kept[0].reshape(x.shape)[which]
        return new

    with model.bridge.hooks(fwd_hooks=[(place, keep)]):
        model.bridge(pair.corrupted_ids[None], use_cache=False)
    with model.bridge.hooks(fwd_hooks=[(place, put)]):
        logits: torch.Tensor = model.bridge(pair.clean_ids[None], use_cache=False)[0]
    return logits


def hook_of(node: str) -> tuple[str, int | None]:
    """The library's hook at a node's output, and which head of it."""
    if node == "input":
        return "blocks.0.hook_in", None
    if node.startswith("m"):
        return f"blocks.{node[1:]}.hook_mlp_out", None
    layer, head = node[1:].split(".h")
    return f"blocks.{layer}.attn.hook_z", int(head)


def test_exact_leaves_out_nodes_that_it_was_not_asked_for() -> None:
    model, encoded = tiny_model("gpt2"), random_pairs(1, seed=6, shortest=4, longest=5)
    graph = model.graph
    whole = np.flatnonzero(graph.mask[graph.sources.index("m0")])
    edges = [graph.edge_name(graph.sources.index("m0"), int(column)) for column in whole]
    found = attribute(model, encoded, method="exact", edges=[*edges, "input->m0"]).node_scores
    assert found is not None
    assert [graph.sources[i] for i in np.flatnonzero(~np.isnan(found))] == ["m0"]


@pytest.mark.parametrize("method", ["eap", "clean-corrupted", "eap-ig", "eap-gp"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_float32(name: str, method: str) -> None:
    """Single precision against the double-precision oracle."""
    encoded = random_pairs(3, seed=2, shortest=5, longest=6)
    options = few_steps(method, 3)
    found = attribute(tiny_model(name, "float32"), encoded, method=method, keep_pairs=True, **options)
    expected = scored(method, oracle.pairs_of(tiny_model(name), encoded), options)
    assert relative_error(found.pair_scores, expected) < TOLERANCE
