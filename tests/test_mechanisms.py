"""Pairs clustered by the edges they use: against literal sums, tasks that are known to differ, and single runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_made import one_thread

from eapgp.attribution.api import attribute
from eapgp.attribution.result import Attribution
from eapgp.circuits.mechanisms import Mechanisms, cluster_pairs, silhouette
from eapgp.cli import main
from eapgp.errors import OptionError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.statistics import Band
from eapgp.figures.mechanisms import pair_edges
from eapgp.findings import of_clusters
from eapgp.models import load_model
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.bundled import find_bundled
from eapgp.runs.evaluate import Running
from eapgp.runs.mechanisms import ONE, OWN, RANDOM, Separation, run_mechanisms
from eapgp.runs.other_pairs import divide
from eapgp.tasks import make_prompts

one_thread()


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model("demo")


def mixed(model: Any, seed: int) -> Attribution:
    """Ten pairs of each of two tasks, in turn."""
    two = [make_prompts(task, 10, seed=seed, tokenizer=model.tokenizer).pairs for task in ("ioi", "country-capital")]
    pairs = tuple(pair for both in zip(*two, strict=True) for pair in both)
    return attribute(model, PromptSet("mixed", pairs, "logit-diff"), method="eap", keep_pairs=True)


@pytest.fixture(scope="module")
def two_tasks(model: Any) -> Mechanisms:
    return cluster_pairs(mixed(model, 1))


def test_two_tasks_are_two_clusters_and_other_pairs_find_theirs(model: Any, two_tasks: Mechanisms) -> None:
    assert two_tasks.n_clusters == 2 and two_tasks.silhouette == max(two_tasks.silhouettes.values()) > 0.5
    assert (two_tasks.labels == np.arange(20) % 2).all()
    assert (two_tasks.labels[two_tasks.order] == np.repeat([0, 1], 10)).all()
    assert (two_tasks.assign(mixed(model, 2)) == np.arange(20) % 2).all()


def test_scores_of_a_cluster_are_the_mean_of_its_pairs(two_tasks: Mechanisms) -> None:
    values = two_tasks.result.pair_scores
    assert values is not None
    assert np.allclose(two_tasks.scores(two_tasks.pairs(1)).values, sum(values[1::2].astype(float)) / 10, atol=1e-7)
    assert np.allclose(two_tasks.scores(np.arange(20)).values, two_tasks.result.scores.values, atol=1e-6)
    near = [float(two_tasks.directions[pair] @ two_tasks.centres[1]) for pair in two_tasks.pairs(1)]
    assert near == sorted(near, reverse=True) and set(two_tasks.pairs(1)) == set(range(1, 20, 2))


def test_the_silhouette_is_the_literal_one() -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(9, 3)), np.array([4, 4, 4, 1, 1, 1, 1, 7, 4])
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    values = []
    for i in range(9):
        to = {c: [distances[i, j] for j in range(9) if j != i and labels[j] == c] for c in (1, 4, 7)}
        own = to.pop(labels[i])
        a, b = (np.mean(own) if own else 0.0), min(np.mean(other) for other in to.values() if other)
        values.append((b - a) / max(a, b) if own else 0.0)
    assert silhouette(distances, labels) == pytest.approx(np.mean(values))
    two = np.array([[0, 1, 9, 9], [1, 0, 9, 9], [9, 9, 0, 3], [9, 9, 3, 0]])
    assert silhouette(two.astype(float), np.array([1, 1, 2, 2])) == pytest.approx((8 / 9 + 6 / 9) / 2)


def test_what_cannot_be_clustered_is_refused(two_tasks: Mechanisms) -> None:
    result = two_tasks.result
    assert result.pair_scores is not None
    blank = result.pair_scores.copy()
    blank[6] = 0
    for wrong, clusters, words in (
        (replace(result, pair_scores=None), None, "keep_pairs=True"),
        (replace(result, pair_scores=result.pair_scores[:7]), None, "at least 8 pairs"),
        (replace(result, pair_scores=blank), None, "pair 7"),
        (replace(result, pair_scores=np.repeat(result.pair_scores[:1], 8, axis=0)), None, "the same scores"),
        (result, 1, "expected 2 to 20"),
        (result, 21, "expected 2 to 20"),
    ):
        with pytest.raises(OptionError, match=words):
            cluster_pairs(wrong, clusters=clusters)
    assert cluster_pairs(result, clusters=9).n_clusters == 9


@pytest.fixture(scope="module")
def separation(model: Any) -> Separation:
    run = find_bundled("greater-than-eap", 99)[0]
    return run_mechanisms(run, (8, 30), clusters=3, how=Running(model_loader=lambda *_, **__: model))


def test_every_judged_pair_runs_in_the_circuit_of_its_cluster(model: Any, separation: Separation) -> None:
    assert not set(separation.judged.pairs) & set(separation.clustered.pairs) and len(separation.judged) == 32
    assert set(separation.labels) == {0, 1, 2}
    for pair in (0, 5, 31):
        runner = CircuitRunner(model, separation.judged.pick([pair]))
        own = separation.circuits[separation.labels[pair]]
        assert runner.run(own).metric[:, 0] == pytest.approx(separation.metric[OWN][:, pair], abs=1e-5)
        assert runner.run(separation.one).metric[:, 0] == pytest.approx(separation.metric[ONE][:, pair], abs=1e-5)
    assert [one.n_selected for one in separation.one] == [8, 30]
    assert not np.allclose(separation.metric[RANDOM], separation.metric[OWN])


def test_faithfulness_across_clusters_is_of_each_ones_pairs(separation: Separation) -> None:
    table = separation.across()
    own = separation.labels == 2
    low, gap = separation.corrupted[own].mean(), separation.clean[own].mean() - separation.corrupted[own].mean()
    assert table[1, 0, 2] == pytest.approx((separation.crossed[0, 1, own].mean() - low) / gap)
    gaps = separation.minus(OWN, ONE).value
    assert gaps == pytest.approx(separation.kept(OWN).value - separation.kept(ONE).value)
    answer = separation.to_dict()
    assert answer["sizes"][0]["own_minus_one"]["value"] == gaps[0] and sum(answer["judged"]) == 32
    json.dumps(answer, allow_nan=False)


def test_own_pairs_are_divided_in_halves(tmp_path: Path, model: Any) -> None:
    class Own:
        id, request = "0" * 16, {"prompts": {"n_pairs": 18}}
        pairs = replace(make_prompts("ioi", 18), origin={"kind": "file"})

        def prompts(self) -> PromptSet:
            return self.pairs

    run: Any = Own()
    scored, judged, again = divide(run, None)
    assert scored.pairs == run.pairs.pairs[::2] and judged.pairs == run.pairs.pairs[1::2] and again
    run.pairs = run.pairs.take(15)
    with pytest.raises(OptionError, match="at least 16 pairs"):
        divide(run, None)


def band(value: float, low: float, high: float) -> Band:
    return Band(np.array([value]), np.array([low]), np.array([high]), 0.95, 1000, "", 0.0)


def test_the_sentence_needs_both_intervals() -> None:
    one, own, above, around = band(0.3, 0.2, 0.4), band(0.5, 0.4, 0.6), band(0.2, 0.1, 0.3), band(0.0, -0.1, 0.1)
    better = of_clusters(3, 20, one, own, (above, above))
    assert better.text == (
        "3 circuits serve these pairs better than one: with 20 edges each they keep 50 % [40, 60], "
        "one for all 30 % [20, 40] (+0.200 [+0.100, +0.300])."
    )
    assert better.numbers["gap_low"] == 0.1 and better.numbers["control_high"] == 0.3
    assert "as well as one" in of_clusters(3, 20, one, own, (above, around)).text
    assert "One circuit serves these pairs better" in of_clusters(3, 20, one, own, (band(-1, -2, -0.5), above)).text


def test_the_picture_shows_every_pair_beside_its_like(two_tasks: Mechanisms) -> None:
    prompts = [f"<b>{place}" for place in range(20)]
    figure = pair_edges(two_tasks, prompts, edges=5)
    heat = figure.data[0]
    names = [name.replace("&gt;", ">").replace("&lt;", "<") for name in heat.x]
    at = [two_tasks.result.graph.edge_index(name) for name in names]
    values = np.asarray(two_tasks.result.pair_scores)[two_tasks.order]
    lengths = np.linalg.norm(values.reshape(20, -1), axis=1)
    shown = np.stack([values[:, source, destination] for source, destination in at], axis=1) / lengths[:, None]
    assert np.allclose(heat.z, shown, atol=1e-6) and heat.customdata[3][0][1] == f"&lt;b&gt;{two_tasks.order[3]}"


def test_the_command_line_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = str(find_bundled("ioi-eap", 99)[0].path)
    assert main(["mechanisms", "--run", run, "--clusters", "2", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "2 clusters of 64 pairs" in said and "24 edges each" in said and "circuit of cluster 2" in said
    assert main(["mechanisms", "--run", run, "--clusters", "1", "--json"]) == 2
    assert "clusters" in json.loads(capsys.readouterr().out)["error"]["message"]
