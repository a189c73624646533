"""Evaluation results reach the figures with every number in its place."""

from __future__ import annotations

import numpy as np
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select_many
from eapgp.errors import OptionError
from eapgp.evaluation.agreement import agreement
from eapgp.evaluation.curves import summarise
from eapgp.evaluation.evidence import Minimality
from eapgp.evaluation.runner import CircuitRuns, Measured
from eapgp.evaluation.statistics import Band, Resampling
from eapgp.figures import adapt
from eapgp.figures.data import figure_data
from eapgp.graph import Graph
from eapgp.ground_truth.compare import precision_recall, roc

GRAPH = Graph(2, 2)


def edge_scores(seed: int) -> EdgeScores:
    noise = np.random.default_rng(seed).standard_normal(GRAPH.mask.shape)
    return EdgeScores(GRAPH, np.where(GRAPH.mask, noise, 0.0))


def evaluated(seed: int):  # type: ignore[no-untyped-def]
    """A curve of three circuits on ten made-up pairs."""
    rng = np.random.default_rng(seed)
    circuits = select_many(edge_scores(seed), [5, 20, GRAPH.n_edges])
    clean = np.linspace(3, 4, 10)
    metric = np.outer([0.3, 0.8, 1.0], clean) + 0.1 * rng.standard_normal((3, 10))
    correct = metric > 1.5
    runs = CircuitRuns(metric, correct, np.abs(metric - clean), clean, np.zeros(10))
    return summarise(Measured.of(circuits, runs), name="eap", how=Resampling(50))


def test_a_curve_keeps_its_sizes_values_and_interval() -> None:
    curve = evaluated(0)
    line = adapt.curve_line(curve)
    assert line.name == "eap" and line.sizes.tolist() == [5, 20, GRAPH.n_edges]
    assert np.allclose(line.values, curve.runs.metric.mean(1) / np.linspace(3, 4, 10).mean())
    assert line.kept is not None and line.kept.tolist() == curve.kept.tolist()
    assert line.low is not None and np.all(line.low <= line.values)
    assert np.allclose(adapt.curve_line(curve, quantity="kl").values, curve.runs.kl.mean(1))
    bare = adapt.band_line("gap", (1, 2, 3), curve.faithfulness)
    assert bare.kept is None and bare.sizes.tolist() == [1, 2, 3] and bare.high is curve.faithfulness.high


def test_ground_truth_lines_and_counts() -> None:
    truth = Circuit.of_names(GRAPH, [name for name, _ in edge_scores(0).top(6)])
    curve = roc(edge_scores(0), truth)
    assert adapt.roc_line("eap", curve).area == curve.auroc == pytest.approx(1.0)
    line = adapt.precision_recall_line("eap", curve)
    assert np.isfinite(line.precision).all() and line.recall[-1] == 1 and len(line.recall) == len(line.precision)
    for recall, precision in zip(line.recall, line.precision, strict=True):
        assert precision == np.nanmax(curve.precision[curve.true_positive_rate == recall])
    found = Circuit.of_names(GRAPH, [name for name, _ in edge_scores(0).top(4)] + [edge_scores(0).top(9)[8][0]])
    row = adapt.confusion_row("eap", precision_recall(found, truth))
    assert (row.found, row.missed, row.extra) == (4, 2, 1)


def test_minimality_of_a_sample_says_so() -> None:
    band = Band(np.array([0.1, 0.3]), np.array([0.0, 0.2]), np.array([0.2, 0.4]), 0.95, 100)
    fig = adapt.minimality_figure(Minimality(("a", "b"), band, 50, True))
    assert figure_data(fig)["edge"].tolist() == ["b", "a"]
    assert "2 of 50 kept edges" in fig.layout.title.subtitle.text
    assert not adapt.minimality_figure(Minimality(("a", "b"), band, 2, False)).layout.title.subtitle.text


def test_agreement_bars_are_the_groups_own_numbers() -> None:
    agreed = agreement(edge_scores(0), edge_scores(1))
    fig = adapt.agreement_bars({"eap and exact": agreed}, by="types")
    table = figure_data(fig).set_index("edges to")
    for key, part in agreed.types.items():
        assert table["Spearman correlation"][key] == pytest.approx(part.spearman, nan_ok=True)
    layers = figure_data(adapt.agreement_bars({"x": agreed}, by="layers", measure="sign_agreement"))
    assert layers["layer of the destination"].tolist() == ["layer 0", "layer 1", "logits"]
    with pytest.raises(OptionError, match="measure 'mood' is unknown"):
        adapt.agreement_bars({"x": agreed}, measure="mood")
