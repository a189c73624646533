"""Circuit runs equal the edge-by-edge reference, whatever the circuit, the batch and the stack."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from engine_made import hooks_left, one_thread, random_pairs, relative_error, tiny_model
from oracle import circuit_run, corrupt_node, pairs_of
from tiny import CONFIGURATIONS

from eapgp.attribution.api import attribute
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import node_attribution, select_nodes
from eapgp.engine import circuit_pass
from eapgp.engine.batches import make_batch
from eapgp.engine.circuit_pass import make_base
from eapgp.engine.circuit_plan import plan
from eapgp.engine.differences import make_intervention
from eapgp.errors import Cancelled, ComputationError, InputError, OptionError
from eapgp.evaluation.curves import node_curve
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.statistics import MIB_FRACTIONS, cpr_cmd, mib_sizes
from eapgp.graph import Graph
from eapgp.metrics import METRICS
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs

one_thread()

TOLERANCE = 1e-5
DENSITIES = (0.0, 0.02, 0.1, 0.5, 0.9, 1.0)


def random_circuit(graph: Graph, density: float, seed: int) -> Circuit:
    """Every edge kept with the same chance; not pruned."""
    edges = graph.mask & (np.random.default_rng(seed).random(graph.mask.shape) < density)
    return Circuit(graph, edges, int(edges.sum()), f"{density:.0%}")


def without(graph: Graph, *names: str) -> Circuit:
    """The full circuit but for some edges."""
    edges = graph.mask.copy()
    for name in names:
        edges[graph.edge_index(name)] = False
    return Circuit(graph, edges, int(edges.sum()), f"without {names}")


@functools.cache
def two_pairs() -> EncodedPairs:
    return random_pairs(2, seed=11, shortest=4, longest=6)


def circuits_of(graph: Graph) -> list[Circuit]:
    """One of every density, and circuits that lack a single edge of each kind."""
    found = [random_circuit(graph, density, seed) for seed, density in enumerate(DENSITIES)]
    last = graph.n_layers - 1
    singles = [f"input->a{last}.h0<q>", f"m0->a{last}.h1<k>", f"a0.h0->a{last}.h2<v>", f"a0.h1->m{last}", "m0->logits"]
    return [*found, *(without(graph, name) for name in singles), without(graph, "input->m0", "input->logits")]


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_equals_the_literal_run(name: str) -> None:
    """Stacked, on pairs of unequal length, against one pair and one circuit at a time."""
    model, encoded = tiny_model(name), two_pairs()
    circuits = circuits_of(model.graph)
    found = CircuitRunner(model, encoded).run(circuits)
    pairs = pairs_of(model, encoded)
    logits = [[circuit_run(pair, circuit.edges) for pair in pairs] for circuit in circuits]
    expected = [[pair.number(out) for pair, out in zip(pairs, row, strict=True)] for row in logits]
    assert relative_error(found.metric, expected) < TOLERANCE
    clean = [pair.clean().logits[-1].detach().log_softmax(0) for pair in pairs]
    for i, row in enumerate(logits):
        for j, out in enumerate(row):
            log_p = out[-1].log_softmax(0)
            assert found.kl[i, j] == pytest.approx(float((clean[j].exp() * (clean[j] - log_p)).sum()), abs=1e-5)
            right, wrong = log_p[list(pairs[j].correct)].logsumexp(0), log_p[list(pairs[j].incorrect)].logsumexp(0)
            assert bool(found.correct[i, j]) == bool(right > wrong)


@pytest.mark.parametrize("kind", ["patching", "zero"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "pythia"])
def test_what_both_prompts_begin_with_is_left_out_and_changes_nothing(name: str, kind: str) -> None:
    """Prompts whose first three tokens are the same, against the same circuits with every position summed."""
    model, encoded = tiny_model(name), random_pairs(3, seed=5, shortest=6, longest=7)
    corrupted = encoded.corrupted.copy()
    corrupted[:, :3], corrupted[:, 3] = encoded.clean[:, :3], encoded.clean[:, 3] % 20 + 1
    encoded = replace(encoded, corrupted=corrupted)
    circuits = circuits_of(model.graph)
    runner, whole = (CircuitRunner(model, encoded, intervention=kind) for _ in range(2))
    batch = make_batch(model, encoded, np.arange(3))
    means, goes_on = make_intervention(kind, model, encoded, (kind,)), kind == "patching"
    assert [base.batch.start for base in runner._bases] == [3 if goes_on else 0] and batch.shared == 3
    whole._bases = [make_base(model, replace(batch, shared=0), means)]
    assert relative_error(runner.run(circuits).metric, whole.run(circuits).metric) < 1e-6


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_full_is_clean_and_empty_is_corrupted(name: str) -> None:
    model, encoded = tiny_model(name), two_pairs()
    runner = CircuitRunner(model, encoded)
    runs = runner.run([Circuit.full(model.graph), Circuit.empty(model.graph)])
    pairs = pairs_of(model, encoded)
    clean = [pair.number(pair.clean().logits) for pair in pairs]
    corrupted = [pair.number(pair.corrupted().logits) for pair in pairs]
    assert relative_error(runs.metric, [clean, corrupted]) < 1e-6
    assert relative_error(runner.metric_clean, clean) < 1e-6
    assert relative_error(runner.metric_corrupted, corrupted) < 1e-6
    assert runs.faithfulness == pytest.approx([1.0, 0.0], abs=1e-5)
    assert runs.kl[0] == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize("name", ["gpt2", "gpt-j", "gemma2"])
def test_stacks_batches_and_order_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, encoded = tiny_model(name), random_pairs(5, seed=12, shortest=4, longest=7)
    circuits = circuits_of(model.graph)
    together = CircuitRunner(model, encoded).run(circuits)
    for batch_size in (1, 2):
        small = CircuitRunner(model, encoded, batch_size=batch_size)
        alone = np.concatenate([small.run([circuit]).metric for circuit in circuits])
        assert relative_error(alone, together.metric) < TOLERANCE
    backwards = CircuitRunner(model, encoded).run(circuits[::-1])
    assert relative_error(backwards.metric[::-1], together.metric) < TOLERANCE
    shuffled = encoded.take([3, 0, 4, 1, 2])
    moved = CircuitRunner(model, shuffled).run(circuits)
    assert relative_error(moved.metric, together.metric[:, [3, 0, 4, 1, 2]]) < TOLERANCE
    monkeypatch.setattr("eapgp.evaluation.runner.STORE_BUDGET", 1)  # every circuit alone in its stack
    assert relative_error(CircuitRunner(model, encoded).run(circuits).metric, together.metric) < TOLERANCE


def literal_reference(kind: str, model: Any, encoded: EncodedPairs) -> list[dict[str, torch.Tensor]]:
    """z′ `[pos, d_model]` per source and pair: zero, or means over the corrupted prompts."""
    runs = [{u: z.detach() for u, z in pair.corrupted().sources.items()} for pair in pairs_of(model, encoded)]
    out = []
    for run in runs:
        made = {}
        for u, z in run.items():
            rows = [other[u] for other in runs]
            if kind == "zero":
                made[u] = torch.zeros_like(z)
            elif kind == "mean":
                made[u] = torch.cat(rows).mean(0).expand_as(z)
            else:
                here = [torch.stack([r[pos] for r in rows if len(r) > pos]).mean(0) for pos in range(len(z))]
                made[u] = torch.stack(here)
        out.append(made)
    return out


@pytest.mark.parametrize("kind", ["zero", "mean", "mean-positional"])
@pytest.mark.parametrize("name", ["gpt2", "pythia", "phi", "llama", "olmo2", "gemma2"])
def test_other_interventions(name: str, kind: str) -> None:
    model, encoded = tiny_model(name), random_pairs(3, seed=13, shortest=4, longest=6)
    circuits = circuits_of(model.graph)
    runner = CircuitRunner(model, encoded, intervention=kind)
    runs = runner.run(circuits)
    pairs, reference = pairs_of(model, encoded), literal_reference(kind, model, encoded)
    expected = [
        [pair.number(circuit_run(pair, circuit.edges, z)) for pair, z in zip(pairs, reference, strict=True)]
        for circuit in circuits
    ]
    assert relative_error(runs.metric, expected) < TOLERANCE
    assert runner.metric_corrupted == pytest.approx(expected[0], abs=1e-5)  # the empty graph is the ablated model


def test_cutting_a_node() -> None:
    """Removing a node's outgoing edges is corrupting its output."""
    model, encoded = tiny_model("gpt2"), two_pairs()
    for node in ("a0.h2", "m0", "m1", "a1.h3"):
        edges = model.graph.mask.copy()
        edges[model.graph.source_index(node)] = False
        found = CircuitRunner(model, encoded).run([Circuit(model.graph, edges, int(edges.sum()))]).metric[0]
        expected = [corrupt_node(pair, node) for pair in pairs_of(model, encoded)]
        assert relative_error(found, expected) < TOLERANCE


def node_hooks(model: Model, act: Callable[[str, torch.Tensor], torch.Tensor]) -> list[tuple[str, Any]]:
    """Hooks that put act(node, what it writes) in place of what heads (z, before W_O) and MLPs write."""

    def heads(layer: int) -> Any:
        def hook(z: torch.Tensor, hook: Any) -> torch.Tensor:
            return torch.stack([act(f"a{layer}.h{head}", z[:, :, head]) for head in range(z.shape[2])], dim=2)

        return hook

    def mlp(layer: int) -> Any:
        return lambda out, hook: act(f"m{layer}", out)

    at = range(model.graph.n_layers)
    return [
        *((f"blocks.{layer}.attn.hook_z", heads(layer)) for layer in at),
        *((f"blocks.{layer}.mlp.hook_out", mlp(layer)) for layer in at),
    ]


def written(model: Model, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """What every head and MLP writes on a prompt."""
    out: dict[str, torch.Tensor] = {}

    def keep(node: str, value: torch.Tensor) -> torch.Tensor:
        out[node] = value.detach()
        return value

    with torch.no_grad(), model.bridge.hooks(fwd_hooks=node_hooks(model, keep)):
        model.bridge(ids[None], use_cache=False)
    return out


@pytest.mark.parametrize("intervention", ["patching", "zero"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "pythia"])
def test_a_circuit_of_nodes_is_the_clean_run_with_the_other_nodes_outputs_replaced(
    name: str, intervention: str
) -> None:
    model, encoded = tiny_model(name), two_pairs()
    result = attribute(model, encoded, method="eap", intervention=intervention)
    sizes = [3, 6, model.graph.n_sources]
    curve = node_curve(CircuitRunner(model, encoded, intervention=intervention), result.scores, sizes=sizes)
    for place, circuit in enumerate(select_nodes(result.scores, sizes, result.node_scores)):
        inside = set(circuit.node_names())
        assert len(inside) - sizes[place] in (1, 2) and circuit.n_kept == circuit.n_selected
        for i, pair in enumerate(pairs_of(model, encoded)):
            other = written(model, pair.corrupted_ids)

            def patch(node: str, value: torch.Tensor, other: Any = other, inside: Any = inside) -> torch.Tensor:
                return value if node in inside else other[node] if intervention == "patching" else 0 * value

            with torch.no_grad(), model.bridge.hooks(fwd_hooks=node_hooks(model, patch)):
                logits = model.bridge(pair.clean_ids[None], use_cache=False)[0]
            assert curve.runs.metric[place, i] == pytest.approx(pair.number(logits), rel=1e-5, abs=1e-6)
    assert curve.measured.nodes == tuple(sizes) and curve.to_dict()["curve"][0]["nodes_selected"] == 3


@pytest.mark.parametrize("name", ["gpt2", "llama", "pythia"])
def test_a_node_s_score_is_its_difference_times_the_gradient_at_its_output(name: str) -> None:
    model, encoded = tiny_model(name), two_pairs()
    result = attribute(model, encoded, method="eap")
    expected = np.zeros(model.graph.n_sources)
    for pair in pairs_of(model, encoded):
        kept: dict[str, torch.Tensor] = {}

        def leaf(node: str, value: torch.Tensor, kept: Any = kept) -> torch.Tensor:
            kept[node] = value + torch.zeros_like(value, requires_grad=True)
            kept[node].retain_grad()
            return kept[node]

        with torch.enable_grad(), model.bridge.hooks(fwd_hooks=node_hooks(model, leaf)):
            logits = model.bridge(pair.clean_ids[None], use_cache=False)[0]
            pair.m(logits).backward()
        other = written(model, pair.corrupted_ids)
        for node, value in kept.items():
            assert value.grad is not None
            product = ((value.detach() - other[node]) * value.grad).sum()
            expected[model.graph.source_index(node)] += float(product) / encoded.n
    scores = node_attribution(result.scores, result.node_scores)
    assert relative_error(scores[1:], expected[1:]) < TOLERANCE
    assert np.allclose(scores, node_attribution(result.scores), atol=1e-6), "the sum over its outgoing edges"


def test_areas_by_nodes_are_mib_s_where_the_shares_of_nodes_are() -> None:
    model, encoded = tiny_model("gpt2"), two_pairs()
    result, runner = attribute(model, encoded, method="eap"), CircuitRunner(model, encoded)
    n_nodes = model.graph.n_sources
    curve = node_curve(runner, result.scores, result.node_scores, mib_sizes(n_nodes))
    assert curve.cpr is not None and curve.measured.n_nodes == n_nodes
    assert float(curve.cpr.value) == pytest.approx(cpr_cmd(MIB_FRACTIONS, curve.runs.faithfulness)[0])
    usual = node_curve(runner, result.scores, result.node_scores)
    assert usual.cpr is None and usual.measured.shares[-1] == 1 and usual.runs.faithfulness[-1] == pytest.approx(1)


def test_float32() -> None:
    encoded = two_pairs()
    circuits = circuits_of(tiny_model("gpt2").graph)
    found = CircuitRunner(tiny_model("gpt2", "float32"), encoded).run(circuits).metric
    pairs = pairs_of(tiny_model("gpt2"), encoded)
    assert relative_error(found, [[p.number(circuit_run(p, c.edges)) for p in pairs] for c in circuits]) < TOLERANCE


@pytest.mark.parametrize("metric", list(METRICS))
def test_metrics(metric: str) -> None:
    """The runner's end points are the metric of the plain model on the two prompts."""
    model, encoded = tiny_model("gpt2"), two_pairs()
    runner = CircuitRunner(model, encoded, metric=metric)
    pairs = pairs_of(model, encoded, metric)
    if metric == "kl":  # of the clean output to itself
        assert np.abs(runner.metric_clean).max() < 1e-6
    else:
        assert relative_error(runner.metric_clean, [pair.number(pair.clean().logits) for pair in pairs]) < TOLERANCE
    assert relative_error(runner.metric_corrupted, [pair.number(pair.corrupted().logits) for pair in pairs]) < TOLERANCE


def test_undefined_where_prompts_are_equal() -> None:
    model, encoded = tiny_model("gpt2"), two_pairs()
    same = EncodedPairs(encoded.clean, encoded.clean, encoded.lengths, encoded.correct, encoded.incorrect)
    runs = CircuitRunner(model, same).run([Circuit.full(model.graph)])
    assert runs.undefined
    assert np.isnan(runs.faithfulness).all()


def test_errors_and_cancelling_leave_nothing_behind() -> None:
    model, encoded = tiny_model("gpt2"), two_pairs()
    with pytest.raises(OptionError, match="batch size must be at least 1"):
        CircuitRunner(model, encoded, batch_size=0)
    runner = CircuitRunner(model, encoded, batch_size=1)
    other = Graph(3, 3)
    with pytest.raises(InputError, match="belongs to Graph"):
        runner.run([Circuit.full(other)])

    def stop(_phase: str, fraction: float) -> None:
        if fraction > 0:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        runner.run([Circuit.full(model.graph)], progress=stop)
    assert hooks_left(model) == []
    assert runner.faithfulness(Circuit.full(model.graph)) == pytest.approx(1.0, abs=1e-6)


def refuse_above(monkeypatch: pytest.MonkeyPatch, limit: int) -> list[tuple[int, int]]:
    """A device on which circuits × pairs above `limit` do not fit; returns what was tried."""
    real, tried = circuit_pass.run_plans, []

    def run_plans(model: Any, base: Any, plans: Any) -> torch.Tensor:
        tried.append((len(plans), base.batch.size))
        if len(plans) * base.batch.size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(model, base, plans)

    monkeypatch.setattr(circuit_pass, "run_plans", run_plans)
    return tried


def test_out_of_memory_runs_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """First fewer circuits at once, then fewer pairs; the numbers stay, and the messages say so."""
    model, encoded = tiny_model("gpt2"), random_pairs(5, seed=12, shortest=4, longest=7)
    circuits = circuits_of(model.graph)
    expected = CircuitRunner(model, encoded).run(circuits)
    runner = CircuitRunner(model, encoded)
    tried = refuse_above(monkeypatch, 3)
    found = runner.run(circuits)
    assert relative_error(found.metric, expected.metric) < TOLERANCE
    assert relative_error(runner.metric_clean, expected.metric_clean) < TOLERANCE
    assert (len(circuits), 5) in tried
    assert f"out of memory with {len(circuits)} circuits at once; going on with fewer" in runner.messages
    assert "out of memory with 5 pairs; going on with batches of 3" in runner.messages
    again = len(tried)
    runner.run(circuits[:1])
    assert all(pairs <= 3 for _, pairs in tried[again:]), "a later run starts with what fitted"


def test_one_pair_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CircuitRunner(tiny_model("gpt2"), two_pairs())
    refuse_above(monkeypatch, 0)
    with pytest.raises(ComputationError, match=r"one prompt pair does not fit .*2\.00 GiB"):
        runner.run(circuits_of(runner.graph)[1:2])


@pytest.mark.parametrize("add_only", [False, True])
def test_plan_takes_the_shorter_side(add_only: bool) -> None:
    """Whole and empty destinations are not summed; the others from the side with fewer edges."""
    graph = Graph(2, 2)
    edges = graph.mask.copy()
    edges[:, graph.destination_index("m1")] = False
    edges[graph.edge_index("a0.h1->logits")] = False
    edges[:, graph.destination_index("a1.h0<k>")] = False
    edges[graph.edge_index("m0->a1.h0<k>")] = True
    found = plan(graph, edges, add_only=add_only)
    assert len(found.mlp[1].empty) == 1
    assert found.attention[0].full
    assert found.mlp[0].full
    key = found.attention[1]
    assert key.some.tolist() == [2]
    assert key.from_corrupted
    assert key.weights.sum() == 1
    rows = {graph.sources[row] for row in found.rows}
    if add_only:
        assert found.final.from_corrupted
        assert found.final.weights.sum() == graph.n_sources - 1
    else:
        assert not found.final.from_corrupted
        assert found.final.weights.tolist() == [[-1 if name == "a0.h1" else 0 for name in sorted(rows)]]
        assert rows == {"m0", "a0.h1"}


def test_no_circuit_at_all() -> None:
    runs = CircuitRunner(tiny_model("gpt2"), two_pairs()).run([])
    assert runs.metric.shape == (0, 2)


def test_faithfulness_by_a_metric_that_compares_and_by_ones_own() -> None:
    """The whole graph gives 1 and none of it 0; −KL written out by hand is the metric kl."""
    model, encoded = tiny_model("gpt2"), two_pairs()

    def by_hand(logits: torch.Tensor, targets: Any) -> torch.Tensor:
        p, q = targets.clean.exp(), logits.softmax(-1)
        return -(p * (p / q).log()).sum(-1)

    circuits = [Circuit.full(model.graph), Circuit.empty(model.graph)]
    for metric in ("kl", by_hand):
        runner = CircuitRunner(model, encoded, metric=metric)
        runs = runner.run(circuits)
        assert np.allclose(runs.faithfulness, [1, 0], atol=1e-5)
        assert relative_error(-runs.kl[1], runs.metric[1]) < 1e-4
    assert runner.metric.name == f"custom:{by_hand.__qualname__}"
