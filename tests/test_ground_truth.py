"""Manual circuits against the published edge lists; precision, recall and ROC against literal counts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eapgp.attribution.result import EdgeScores
from eapgp.circuits import Circuit, is_pruned, select
from eapgp.errors import OptionError, UnknownNameError
from eapgp.formats import read_scores
from eapgp.graph import Graph
from eapgp.ground_truth import (
    GPT2_SMALL,
    GROUND_TRUTHS,
    ground_truth,
    precision_recall,
    precision_recall_at,
    roc,
    roles,
)
from eapgp.ground_truth.compare import rank_curve

FILES = {"ioi": "ioi.json", "greater-than": "greater_than.json"}
COUNTS = {
    "ioi/hanna2024": 215,
    "ioi/acdc_core": 182,
    "ioi/acdc_full": 963,
    "greater-than/hanna2024": 240,
    "greater-than/acdc": 235,
}
TITLES = {
    "name mover": "name-mover",
    "backup name mover": "backup-name-mover",
    "negative name mover": "negative-name-mover",
    "s2 inhibition": "s-inhibition",
    "induction": "induction",
    "duplicate token": "duplicate-token",
    "previous token": "previous-token",
}


def test_the_variants_are_those_of_the_literature() -> None:
    assert {name: truth.circuit.n_kept for name, truth in GROUND_TRUTHS.items()} == COUNTS
    for name, truth in GROUND_TRUTHS.items():
        assert truth.name == name == truth.circuit.name
        assert truth.source and truth.note and truth.title
        assert set(truth.roles) == set(truth.circuit.node_names()) - {"input", "logits"}


@pytest.mark.parametrize("name", COUNTS)
def test_rules_give_the_published_lists_edge_for_edge(shared: Path, name: str) -> None:
    task, variant = name.split("/")
    published = json.loads((shared / "data/ground-truth" / FILES[task]).read_text())["variants"]
    assert set(GROUND_TRUTHS[name].circuit.edge_names()) == set(published[variant]["edges"])
    assert GROUND_TRUTHS[name].circuit.node_names() == published[variant]["nodes"]


def test_no_variant_is_missing(shared: Path) -> None:
    for task, file in FILES.items():
        published = json.loads((shared / "data/ground-truth" / file).read_text())["variants"]
        assert {f"{task}/{variant}" for variant in published} == {n for n in GROUND_TRUTHS if n.startswith(task)}


def test_ioi_classes(shared: Path) -> None:
    classes = json.loads((shared / "data/ground-truth/ioi.json").read_text())["classes"]
    known = roles("ioi")
    assert sum(node.startswith("a") for node in known) == 26
    for title, heads in classes.items():
        assert {known[head].name for head in heads} == {TITLES[title]}
        assert len(heads) == sum(role.name == TITLES[title] for role in known.values())
    assert all(role.title and role.explanation.endswith(".") for role in known.values())


def test_every_edge_lies_on_a_path() -> None:
    for truth in GROUND_TRUTHS.values():
        assert is_pruned(truth.circuit)


def test_names_of_manual_circuits() -> None:
    assert ground_truth("ioi").name == "ioi/hanna2024"
    assert ground_truth("greater-than/acdc").variant == "acdc"
    with pytest.raises(UnknownNameError, match="unknown manual circuit 'ioi/hanna'"):
        ground_truth("ioi/hanna")


def scores_of(graph: Graph, values: dict[str, float], default: float = 0.0) -> EdgeScores:
    matrix = np.where(graph.mask, default, 0.0)
    for name, value in values.items():
        matrix[graph.edge_index(name)] = value
    return EdgeScores(graph, matrix)


def test_precision_and_recall_by_hand() -> None:
    graph = Graph(2, 2)
    truth = Circuit.of_names(graph, ["input->a0.h0<q>", "a0.h0->m1", "m1->logits", "input->m0"])
    found = Circuit.of_names(graph, ["input->a0.h0<q>", "a0.h0->m1", "a0.h1->logits"])
    edges = precision_recall(found, truth)
    assert (edges.hits, edges.n_found, edges.n_true) == (2, 3, 4)
    assert (edges.precision, edges.recall, edges.f1) == (2 / 3, 2 / 4, 4 / 7)
    nodes = precision_recall(found, truth, level="nodes")
    # found: a0.h0, a0.h1, m1; true: a0.h0, m0, m1; input and logits do not count
    assert (nodes.hits, nodes.n_found, nodes.n_true) == (2, 3, 3)
    heads = precision_recall(found, truth, mlps=False)
    assert (heads.hits, heads.n_found, heads.n_true) == (1, 2, 1)
    assert precision_recall(found, truth, level="nodes", mlps=False).n_true == 1
    nothing = precision_recall(Circuit.empty(graph), truth)
    assert math.isnan(nothing.precision) and nothing.recall == 0
    assert json.loads(json.dumps(nothing.to_dict(), allow_nan=False))["precision"] is None


def test_scores_are_cut_at_the_size_of_the_truth() -> None:
    graph = Graph(1, 1)
    truth = Circuit.of_names(graph, ["input->m0", "m0->logits"])
    scores = scores_of(graph, {"input->m0": -3, "a0.h0->m0": 2, "m0->logits": 1})
    assert precision_recall(scores, truth).hits == 1
    at = precision_recall_at(scores, truth, [1, 3], prune=False)
    assert [(o.edges.hits, o.edges.n_found) for o in at] == [(1, 1), (2, 3)]
    assert at[1].nodes.n_found == 2 and at[1].nodes.hits == 1
    pruned = precision_recall_at(scores, truth, [1, 3])
    assert [(o.n_selected, o.n_kept) for o in pruned] == [(1, 0), (3, 2)]
    assert json.loads(json.dumps([o.to_dict() for o in pruned], allow_nan=False))[1]["edges"]["recall"] == 1.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_auroc_is_the_share_of_pairs_in_order(seed: int, absolute: bool, mlps: bool, unscored: float) -> None:
    graph = Graph(2, 2)
    rng = np.random.default_rng(seed)
    values = np.where(graph.mask, rng.integers(-3, 4, graph.mask.shape), 0).astype(float)
    values[graph.mask & (rng.random(values.shape) < unscored)] = np.nan
    scores = EdgeScores(graph, values)
    edges = graph.mask & (rng.random(graph.mask.shape) < 0.4)
    truth = Circuit(graph, edges, int(edges.sum()))
    result = roc(scores, truth, absolute=absolute, mlps=mlps)

    def touches_mlp(name: str) -> bool:
        return any(part.startswith("m") for part in name.split("->"))

    names = [e for e in graph.edge_names() if mlps or not touches_mlp(e)]
    key = {e: float(values[graph.edge_index(e)]) for e in names}
    key = {e: -math.inf if math.isnan(v) else abs(v) if absolute else v for e, v in key.items()}
    true = [e for e in names if edges[graph.edge_index(e)]]
    others = [e for e in names if e not in true]
    pairs = [(key[t] > key[o]) + 0.5 * (key[t] == key[o]) for t in true for o in others]
    assert (result.n_true, result.n) == (len(true), len(names))
    assert result.auroc == pytest.approx(np.mean(pairs))
    for threshold, fpr, tpr in zip(
        result.thresholds, result.false_positive_rate, result.true_positive_rate, strict=True
    ):
        assert tpr == pytest.approx(sum(key[t] >= threshold for t in true) / len(true))
        assert fpr == pytest.approx(sum(key[o] >= threshold for o in others) / len(others))
    assert (result.false_positive_rate[-1], result.true_positive_rate[-1]) == (1, 1)


def test_average_precision_by_hand() -> None:
    curve = rank_curve(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False]), "edges")
    assert curve.auroc == 0.75
    assert curve.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    tied = rank_curve(np.zeros(4), np.array([True, False, True, False]), "edges")
    assert tied.auroc == 0.5 and tied.average_precision == 0.5
    assert len(tied.thresholds) == 2


def test_nothing_true_has_no_auroc() -> None:
    graph = Graph(1, 1)
    for circuit in (Circuit.empty(graph), Circuit.full(graph)):
        result = roc(scores_of(graph, {"input->m0": 1.0}), circuit)
        assert math.isnan(result.auroc)
        json.dumps(result.to_dict(), allow_nan=False)


def test_nodes_are_ranked_by_their_strongest_edge() -> None:
    graph = Graph(2, 1)
    truth = Circuit.of_names(graph, ["input->m0", "m0->logits"])
    scores = scores_of(graph, {"m0->a1.h0<v>": -5.0, "a0.h0->logits": 4.0, "a0.h0->m1": 3.0, "input->logits": 99.0})
    strongest = roc(scores, truth, level="nodes")
    # m0 and a1.h0 share 5, a0.h0 has 4, m1 has 3: of three others, one ties, two are below
    assert (strongest.n_true, strongest.n) == (1, 4)
    assert strongest.auroc == pytest.approx((0.5 + 1 + 1) / 3)
    total = roc(scores, truth, level="nodes", node_rule="sum")
    # a0.h0 sums to 7, m0 and a1.h0 to 5, m1 to 3
    assert total.auroc == pytest.approx((0 + 0.5 + 1) / 3)
    signed = roc(scores, truth, level="nodes", absolute=False)
    # m0's best signed edge is 0, as is a1.h0's; a0.h0 has 4, m1 3
    assert signed.auroc == pytest.approx((0 + 0 + 0.5) / 3)
    own = roc(scores, truth, level="nodes", node_scores=np.array([9, 1, -8, 2, 3.0]))
    assert own.auroc == 1.0
    unscored = scores_of(graph, {"m0->logits": 0.0}, default=np.nan)
    assert roc(unscored, truth, level="nodes").auroc == 1.0, "a node without scores is ranked last"


def test_other_graphs_are_refused() -> None:
    scores = scores_of(Graph(4, 4), {})
    message = r"the manual circuit ioi/hanna2024 belongs to a graph of 12 layers × 12 heads \(32,491 edges\) of GPT-2"
    for call in (
        lambda: roc(scores, ground_truth("ioi")),
        lambda: precision_recall(scores, ground_truth("ioi")),
        lambda: precision_recall_at(scores, ground_truth("ioi"), [5]),
    ):
        with pytest.raises(OptionError, match=message):
            call()
    with pytest.raises(OptionError, match="the true circuit belongs to"):
        roc(scores, Circuit.full(Graph(1, 1)))
    with pytest.raises(UnknownNameError, match="unknown level 'heads'"):
        roc(scores, Circuit.full(scores.graph), level="heads")
    with pytest.raises(UnknownNameError, match="unknown node rule 'mean'"):
        roc(scores, Circuit.full(scores.graph), level="nodes", node_rule="mean")
    with pytest.raises(OptionError, match=r"shape \(21,\), one per source; got \(3,\)"):
        roc(scores, Circuit.full(scores.graph), level="nodes", node_scores=np.zeros(3))


def test_published_scores_find_the_manual_circuits(shared: Path) -> None:
    folder = shared / "data/edge-scores"
    ioi = read_scores(folder / "ioi-eap-ig.gpt2.HEAD.json")
    greater_than = read_scores(folder / "greater-than_prob_diff_real.gpt2.json")
    noise = EdgeScores(GPT2_SMALL, np.random.default_rng(0).normal(size=GPT2_SMALL.mask.shape))
    for scores, name in [(ioi, "ioi/hanna2024"), (greater_than, "greater-than/hanna2024")]:
        truth = ground_truth(name)
        edges, nodes = roc(scores, truth), roc(scores, truth, level="nodes")
        print(f"{name}: AUROC edges {edges.auroc:.3f}, nodes {nodes.auroc:.3f}, AP {edges.average_precision:.3f}")
        assert edges.auroc > 0.8 and nodes.auroc > 0.7
        assert roc(noise, truth).auroc == pytest.approx(0.5, abs=0.08)
        hits = precision_recall(scores, truth).hits
        assert hits > 10 * max(1, precision_recall(select(noise, n=truth.circuit.n_kept), truth).hits)
