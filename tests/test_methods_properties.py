"""What the formulas promise, method by method: sums, special cases and signs, worked without their code."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from conftest import ROOT
from engine_made import one_thread, random_pairs, relative_error, tiny_model
from tiny import SIZE, build_tokenizer
from torch import Tensor

from eapgp.attribution import METHODS
from eapgp.attribution.api import attribute
from eapgp.attribution.relp import rules
from eapgp.engine.batches import make_batch
from eapgp.engine.passes import capture
from eapgp.graph import Graph
from eapgp.models import Model, load_model

one_thread()

PAIRS = random_pairs(2, seed=11, shortest=4, longest=5)
PIN = 2.0**20


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A GPT-2 that is linear in its embedding, though none of its parts is missing.

    Queries and keys are zero, so patterns are uniform. A bias of 1000 keeps every ReLU on, and another
    takes it away again. Features are (a, −a) pairs of channels and the first pair holds ±2²⁰, so that
    LayerNorm's mean and variance do not move; its weight undoes the variance.
    """
    import transformers

    folder = tmp_path_factory.mktemp("linear")
    config = transformers.GPT2Config(
        n_embd=24, n_layer=3, n_head=4, n_inner=16, n_positions=32, vocab_size=SIZE["vocab"], activation_function="relu"
    )
    model = transformers.GPT2LMHeadModel(config).eval().double()
    rng, width = np.random.default_rng(0), 24

    def features(columns: int) -> Tensor:
        """`[width, columns]`: (a, −a) in every pair of channels but the pinned one."""
        half = np.repeat(rng.normal(size=(width // 2, columns)), 2, axis=0) / 4
        half[1::2] *= -1
        half[:2] = 0
        return torch.from_numpy(half)

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        core = model.transformer
        core.wte.weight.copy_(features(SIZE["vocab"]).T * 4)
        core.wpe.weight[:, 0], core.wpe.weight[:, 1] = PIN, -PIN
        core.ln_f.weight.fill_(PIN * np.sqrt(2 / width))
        for block in core.h:
            for norm in (block.ln_1, block.ln_2):
                norm.weight.fill_(PIN * np.sqrt(2 / width))
            block.attn.c_attn.weight[:, 2 * width :] = features(width)
            block.attn.c_proj.weight.copy_(features(width).T)
            block.mlp.c_fc.weight.copy_(features(16))
            block.mlp.c_fc.bias.fill_(1000.0)
            block.mlp.c_proj.weight.copy_(features(16).T)
            block.mlp.c_proj.bias.copy_(-1000.0 * block.mlp.c_proj.weight.sum(0))
    model.save_pretrained(folder)
    build_tokenizer(folder, SIZE["vocab"])
    return load_model(str(folder), device="cpu", dtype="float64")


def values(model: Model, method: str, **options: Any) -> np.ndarray:
    return np.asarray(attribute(model, PAIRS, method=method, **options).scores.values)


# -- a linear model: every gradient is the same -----------------------------------------------


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("relp", {}),
        ("clean-corrupted", {}),
        ("eap-ig", {"steps": 3}),
        ("ceap", {"steps": 3}),
        ("eap-gp", {"steps": 2}),
        ("eap-ig-activations", {"steps": 2}),
        ("eap-gp-activations", {"steps": 2}),
        ("exact", {}),
    ],
)
def test_on_a_linear_model_every_method_is_eap(linear: Model, method: str, options: dict[str, Any]) -> None:
    assert relative_error(values(linear, method, **options), values(linear, "eap")) < 1e-4


def test_the_linear_model_is_no_trivial_one(linear: Model) -> None:
    """Edges into values, MLPs and logits of every layer carry something; those into queries and keys nothing."""
    scores, graph = np.abs(values(linear, "eap")), linear.graph
    for column, kind in enumerate(graph.destination_types):
        reads = scores[: graph.prefix[column], column]
        assert (reads.max() < 1e-6) if kind in "qk" else (reads.min() > 1e-7), graph.destinations[column]


def test_graddrop_by_hand_on_a_linear_model(linear: Model) -> None:
    """L = 3. The gradient at v is a sum over sets of layers that the way to the logits goes through.

    Dropping layer l removes every way that passes a node of layer l, v's own included. Edges into the
    logits pass none: 3 terms of |EAP| over L − 1 = 2. Edges into layer 2 pass layer 2 alone: 2 terms.
    """
    both = [attribute(linear, PAIRS, method=m, keep_pairs=True).pair_scores for m in ("eap", "atp-graddrop")]
    assert both[0] is not None and both[1] is not None
    eap, found = np.abs(both[0]), both[1]
    for layer, terms in [(3, 3), (2, 2)]:
        columns = linear.graph.destination_layers == layer
        assert relative_error(found[:, :, columns], terms / 2 * eap[:, :, columns]) < 1e-4


# -- sums -------------------------------------------------------------------------------------


def misses(sums: dict[int, np.ndarray], change: np.ndarray, steps: int) -> tuple[float, float]:
    """How far the sum at k misses the change, and how far the sums at k and 4k extrapolated to 1/k = 0 do."""
    limit = (4 * sums[4 * steps] - sums[steps]) / 3
    return tuple(float(np.abs(s - change).max() / np.abs(change).max()) for s in (sums[steps], limit))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_ceap_s_input_edges_add_up_as_k_grows(name: str) -> None:
    """Σ over the input's edges → M(clean) − M(corrupted), with an error of order 1/k: one-sided sums."""
    sums = {}
    for steps in (10, 40, 160):
        found = attribute(tiny_model(name), PAIRS, method="ceap", steps=steps, keep_pairs=True)
        assert found.pair_scores is not None
        sums[steps] = found.pair_scores[:, 0].sum(-1)
    change = found.metric_clean - found.metric_corrupted
    coarse, _ = misses(sums, change, 10)
    fine, limit = misses(sums, change, 40)
    assert fine < coarse / 2
    assert limit < fine / 4 and limit < 0.02


def test_ceap_is_eap_ig_on_edges_from_the_input() -> None:
    """The input moves on a straight line, so its increments add up to one multiplier."""
    model = tiny_model("gpt2")
    ceap, ig = values(model, "ceap", steps=4), values(model, "eap-ig", steps=4, points="left")
    assert relative_error(ceap[0], ig[0]) < 1e-5
    assert relative_error(ceap[1:], ig[1:]) > 1e-2, "elsewhere activations are curved"


def test_conductance_adds_up_along_its_own_path() -> None:
    """Σ over the input's edges → M(γ_0) − M(γ_k) as the steps of a path of one length get small."""
    gaps = {}
    for steps in (4, 16, 64):
        found = attribute(
            tiny_model("gpt2"), PAIRS, method="eap-gp-conductance", steps=steps, step=1.5 / steps, keep_pairs=True
        )
        path = found.paths["gradpath"]
        change = path.metric[0] - path.metric[-1]
        assert found.pair_scores is not None
        assert np.allclose(found.completeness["gap"], change, atol=1e-6)
        gaps[steps] = np.abs(found.pair_scores[:, 0].sum(-1) - change).max() / np.abs(change).max()
        assert np.abs(change - (found.metric_clean - found.metric_corrupted)).max() > 0.1, "the path does not arrive"
    assert gaps[64] < gaps[16] < gaps[4]
    assert gaps[64] < gaps[4] / 4 and gaps[64] < 0.1


# -- node scores ------------------------------------------------------------------------------


def node_effects(model: Model, pair: oracle.Pair) -> np.ndarray:
    """`[src]` Σ (z_u − z′_u) · ∂M/∂z_u at each node's own output, by plain hooks."""
    graph, names = model.graph, ["blocks.0.hook_in"]
    for layer in range(graph.n_layers):
        names += [f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.hook_mlp_out"]

    def run(ids: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        kept: dict[str, Tensor] = {}

        def keep(x: Tensor, hook: Any, name: str) -> Tensor:
            kept[name] = x.detach().clone().requires_grad_(True) if name == names[0] else x
            return kept[name]

        hooks = [(name, lambda x, hook, name=name: keep(x, hook, name)) for name in names]
        with torch.enable_grad(), model.bridge.hooks(fwd_hooks=hooks):
            return kept, model.bridge(ids[None], use_cache=False)[0]

    clean, logits = run(pair.clean_ids)
    corrupted, _ = run(pair.corrupted_ids)
    gradients = torch.autograd.grad(pair.m(logits), [clean[name] for name in names])
    out = np.zeros(graph.n_sources)
    for name, gradient in zip(names, gradients, strict=True):
        effect = (gradient * (clean[name] - corrupted[name])).detach()[0]
        if name == names[0]:
            out[0] = float(effect.sum())
        elif name.endswith("hook_z"):
            layer = int(name.split(".")[1])
            heads = effect.reshape(effect.shape[0], graph.n_heads, -1).sum((0, 2))
            out[graph.head_source(layer, 0) : graph.mlp_source(layer)] = heads.numpy()
        else:
            out[graph.mlp_source(int(name.split(".")[1]))] = float(effect.sum())
    return out


@pytest.mark.parametrize("name", ["gpt2", "pythia", "llama"])
def test_node_scores_are_gradient_times_difference_at_the_node(name: str) -> None:
    model = tiny_model(name)
    found = attribute(model, PAIRS, method="eap", keep_pairs=True)
    assert found.node_scores is not None
    expected = np.mean([node_effects(model, pair) for pair in oracle.pairs_of(model, PAIRS)], axis=0)
    assert relative_error(found.node_scores, expected) < 1e-5
    assert relative_error(found.node_scores, np.asarray(found.scores.values).sum(1)) < 1e-6


def test_graddrop_takes_absolute_values_at_the_node() -> None:
    """With two layers each term keeps one layer's gradient: |Σ| per term, never more than the sum of the edges."""
    model = tiny_model("gpt2")
    found = attribute(model, PAIRS, method="atp-graddrop")
    assert found.node_scores is not None
    edges = found.scores.values.sum(1)
    assert np.all(found.node_scores <= edges * (1 + 1e-6)) and np.all(found.node_scores >= 0)
    assert np.any(found.node_scores < 0.9 * edges)  # signs cancel within a node
    last = model.graph.mlp_source(model.graph.n_layers - 1)  # one outgoing edge: nothing to cancel
    assert found.node_scores[last] == pytest.approx(edges[last], rel=1e-6)


# -- information flow -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_ifr_shares_are_non_negative_and_add_up_to_one(name: str) -> None:
    model = tiny_model(name)
    found = attribute(model, PAIRS, method="ifr", keep_pairs=True).pair_scores
    assert found is not None
    assert (found >= 0).all()
    assert np.allclose(found.sum(1), 1.0, atol=1e-5), "over the sources, for every pair and destination"
    assert (found[:, ~model.graph.mask] == 0).all()


# -- RelP -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "llama", "pythia", "gemma2"])
def test_relp_leaves_every_value_unchanged(name: str) -> None:
    model = tiny_model(name)
    batch = make_batch(model, PAIRS, np.arange(2))
    plain = capture(model, batch.clean, grad=True)
    ruled = capture(model, batch.clean, grad=True, extra=rules(model))
    for ours, theirs in zip(ruled.destinations(), plain.destinations(), strict=True):
        assert relative_error(ours.detach(), theirs.detach()) < 1e-5
    assert relative_error(ruled.logits.detach(), plain.logits.detach()) < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_relp_gives_nothing_to_queries_and_keys(name: str) -> None:
    model = tiny_model(name)
    scores, types = values(model, "relp"), np.array(model.graph.destination_types)
    assert (scores[:, np.isin(types, ("q", "k"))] == 0).all()
    assert (np.abs(scores[: model.graph.prefix[2 * 4], types == "v"]).max(0) > 0).all()
    assert relative_error(scores, values(model, "eap")) > 1e-2


# -- GradDrop ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "gpt2-scaled", "pythia"])
def test_graddrop_equals_passes_with_a_constant_layer(name: str) -> None:
    """One literal pass per layer in which what the layer writes is detached."""
    model = tiny_model(name)
    layers, parts = model.graph.n_layers, ("attn", "mlp")
    found = attribute(model, PAIRS, method="atp-graddrop", keep_pairs=True).pair_scores
    expected = []
    for pair in oracle.pairs_of(model, PAIRS):
        delta, scores = oracle.difference(pair.clean(), pair.corrupted()), np.zeros(model.graph.mask.shape)
        for layer in range(layers):
            cut = [(f"blocks.{layer}.hook_{part}_out", lambda x, hook: x.detach()) for part in parts]
            run = pair.oracle.run(pair.clean_ids, extra=cut)
            scores += np.abs(oracle.edge_scores(pair.oracle, delta, pair.gradients(run)))
        expected.append(scores / (layers - 1))
    assert relative_error(found, np.stack(expected)) < 1e-5
    assert found is not None and (found >= 0).all()


# -- one layer's output at a time -------------------------------------------------------------


def components(graph: Graph) -> list[tuple[str, list[int]]]:
    """(hook of a component's output, the rows that make it up)."""
    found = [("blocks.0.hook_in", [0])]
    for layer in range(graph.n_layers):
        heads = [graph.head_source(layer, head) for head in range(graph.n_heads)]
        found += [(f"blocks.{layer}.hook_attn_out", heads), (f"blocks.{layer}.hook_mlp_out", [graph.mlp_source(layer)])]
    return found


def output(model: Model, ids: Tensor, hook_name: str) -> Tensor:
    """`[pos, d_model]` what passes a hook in a plain run."""
    seen: list[Tensor] = []
    with torch.no_grad(), model.bridge.hooks(fwd_hooks=[(hook_name, lambda x, hook: seen.append(x[0].clone()))]):
        model.bridge(ids[None], use_cache=False)
    return seen[0]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_eap_ig_activations_equals_replacing_one_output(name: str) -> None:
    model, steps = tiny_model(name), 2
    found = attribute(model, PAIRS, method="eap-ig-activations", steps=steps, keep_pairs=True).pair_scores
    expected = np.zeros((2, *model.graph.mask.shape))
    for number, pair in enumerate(oracle.pairs_of(model, PAIRS)):
        delta = oracle.difference(pair.clean(), pair.corrupted())
        for hook_name, rows in components(model.graph):
            ends = [output(model, ids, hook_name) for ids in (pair.corrupted_ids, pair.clean_ids)]
            for step in range(1, steps + 1):
                value = (ends[0] + step / steps * (ends[1] - ends[0])).clone()
                if rows == [0]:
                    run = pair.oracle.run(pair.clean_ids, gamma=value)
                else:
                    run = pair.oracle.run(pair.clean_ids, extra=[(hook_name, lambda x, hook, v=value: v[None])])
                whole = oracle.edge_scores(pair.oracle, delta, pair.gradients(run))
                expected[number, rows] += whole[rows] / steps
    assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("step", ["relative", "unit"])
def test_eap_gp_activations_starts_with_eap_gp_s_own_path(step: str) -> None:
    """The input's component is the input space itself, so its edges have EAP-GP's scores."""
    model = tiny_model("gpt2")
    by_layer = values(model, "eap-gp-activations", steps=3, step=step)
    plain = values(model, "eap-gp", steps=3, step=step)
    assert relative_error(by_layer[0], plain[0]) < 1e-5
    assert relative_error(by_layer[1:], plain[1:]) > 1e-2


@pytest.mark.parametrize("name", list(METHODS))
def test_a_row_runs_its_own_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"eapgp.attribution.{name.replace('-', '_')}")
    monkeypatch.setattr(module, "run", lambda ctx: (name, ctx))
    assert METHODS[name].run("context") == (name, "context")  # type: ignore[arg-type, comparison-overlap]


def test_the_registry_imports_no_torch() -> None:
    code = "import sys, eapgp.attribution.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
