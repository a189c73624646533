"""Known circuits, imported score files and the planted model as the Ground truth page uses them; no browser."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.attribution.usual import COMPARED
from eapgp.circuits.select import select
from eapgp.errors import FormatError
from eapgp.figures.adapt import roc_line
from eapgp.formats import write_scores
from eapgp.graph import Graph
from eapgp.ground_truth import GPT2_SMALL, GROUND_TRUTHS
from eapgp.ground_truth.planted import NOISE, PLANTED_GRAPH, SATURATED_EDGE, TRUE_EDGES
from eapgp.ui.ground_truth import candidates, exports, planted, views
from eapgp.ui.ground_truth.fields import PLANTED
from eapgp.ui.library.score_files import ScoreFiles

SMALL = Graph(2, 2, d_model=8)


def scores_of(graph: Graph, seed: int = 0) -> EdgeScores:
    values = np.random.default_rng(seed).normal(size=graph.mask.shape)
    return EdgeScores(graph, np.where(graph.mask, values, 0.0))


def file_of(tmp_path: Path, graph: Graph = SMALL, suffix: str = ".json") -> bytes:
    return write_scores(scores_of(graph), tmp_path / f"made{suffix}").read_bytes()


def scored_as(
    known: candidates.KnownCircuit, scores: EdgeScores, label: str = "mine", **more: Any
) -> candidates.Scored:
    return candidates.Scored(f"id-{label}", label, known.task, scores, None, **more)


def test_a_file_is_kept_once_and_found_again(tmp_path: Path) -> None:
    store, data = ScoreFiles(tmp_path / "home"), file_of(tmp_path)
    assert store.all() == [] and store.get("file-none") is None
    first = store.add("../Greater than/ioi scores?.json", data)
    assert first.name == "ioi-scores-.json" and first.path.parent == store.folder and first.task == "ioi"
    assert store.add("another name.json", data) == first, "the same content is one file"
    assert [file.id for file in ScoreFiles(tmp_path / "home").all()] == [first.id]
    found = store.get(first.id)
    assert found is not None
    assert np.allclose(found.read().scores.values, scores_of(SMALL).values)
    named = store.rename(found, "EAP-GP of Ann v1.5")
    assert named.title == "EAP-GP of Ann v1.5" and (named.id, named.path.suffix) == (first.id, ".json")
    assert store.all() == [named] and named.path.read_bytes() == data
    store.remove(first.id)
    assert store.all() == []


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("scores.pkl", b"\x80\x04.", "Pickled files could run code"),
        ("scores.json", b"{}", "'cfg' is missing"),
        ("scores.json", b"not json", "not a readable JSON file"),
        ("scores.dot", b"digraph {}", "its graph line carries no n_layers"),
        ("scores", b"", "unknown suffix"),
        ("scores.json", b'{"cfg": {"n_layers": 1, "n_heads": 1}, "edges": {}}', "holds no score of an edge or a node"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_and_not_kept(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    store = ScoreFiles(tmp_path)
    with pytest.raises(FormatError, match=words) as caught:
        store.add(name, data)
    assert str(caught.value).startswith(name) and "\n" not in str(caught.value)
    assert store.all() == []


@pytest.mark.parametrize("name", [*GROUND_TRUTHS, PLANTED])
def test_a_known_circuit_found_exactly_scores_one_everywhere(name: str) -> None:
    known = candidates.known_circuit(name)
    scored = scored_as(known, EdgeScores(known.graph, known.circuit.edges.astype(float)), name)
    for level in ("edges", "nodes"):
        assert candidates.roc_of(scored, known, level, signed=False, mlps=True).auroc == 1.0
    circuit = select(scored.scores, n=known.circuit.n_kept, prune=False)
    table = views.edge_table(known, scored, circuit, signed=False)
    assert set(table["part"]) == {"found"} and len(table) == known.circuit.n_kept and set(table["rank"]) == {1}
    assert set(known.roles) <= set(known.graph.nodes), "roles are of nodes that the graph has"


def test_found_missed_and_extra_by_hand() -> None:
    known = candidates.known_circuit(PLANTED)
    wanted = {"input->a0.h0<q>": 5.0, "a2.h1->logits": -4.0, "input->logits": 3.0}
    values = np.zeros(known.graph.mask.shape)
    for edge, value in wanted.items():
        values[known.graph.edge_index(edge)] = value
    scored = scored_as(known, EdgeScores(known.graph, values), "hand")
    circuit = select(scored.scores, n=3, prune=False)
    table = views.edge_table(known, scored, circuit, signed=False).set_index("edge")
    assert table.loc["input->a0.h0<q>", ["part", "rank", "to"]].tolist() == ["found", 1, "Looks up"]
    assert table.loc["a2.h1->logits", ["part", "rank", "from"]].tolist() == ["found", 2, "Copies on"]
    assert table.loc["input->logits", ["part", "rank", "from"]].tolist() == ["extra", 3, ""]
    assert (table["part"] == "missed").sum() == len(TRUE_EDGES) - 2
    signed = views.edge_table(known, scored, circuit, signed=True).set_index("edge")
    assert signed.loc["a2.h1->logits", "rank"] == known.graph.n_edges, "ranked by sign, what works against is last"


def test_noise_of_the_planted_model_decides_nothing_and_the_saturated_edge_is_ranked() -> None:
    values = np.where(PLANTED_GRAPH.mask, NOISE / 10, 0.0)
    for edge in TRUE_EDGES:
        values[PLANTED_GRAPH.edge_index(edge)] = 1.0
    values[PLANTED_GRAPH.edge_index(SATURATED_EDGE)] = 0.0
    found = planted.finding(EdgeScores(PLANTED_GRAPH, values))
    assert found.found == len(TRUE_EDGES) - 1 and found.share == 0.0
    assert found.rank == pytest.approx(7 + (1 + (262 - 7)) / 2), "ties take their mean place"
    values[PLANTED_GRAPH.edge_index(SATURATED_EDGE)] = -2.0
    again = planted.finding(EdgeScores(PLANTED_GRAPH, values))
    assert (again.found, again.rank, again.share) == (8, 1.0, 1.0)


def test_planted_specs_are_the_listed_methods_and_can_be_asked_for() -> None:
    from eapgp.runs.compute import resolve

    specs = planted.planted_specs(Path("folder"))
    assert [label for label, _ in specs] == [one.label for one in COMPARED]
    resolved = resolve(specs[0][1])
    assert len(resolved.prompts) == planted.PAIRS and resolved.prompts.task == "planted"
    assert len({spec.job_key() for _, spec in specs}) == len(specs)


def test_a_drawn_roc_keeps_the_area_with_few_points() -> None:
    known = candidates.known_circuit("ioi/hanna2024")
    found = candidates.roc_of(
        scored_as(known, scores_of(GPT2_SMALL, 3), "random"), known, "edges", signed=False, mlps=True
    )
    line = roc_line("random", found)
    assert len(line.true_positive) < 2 * known.circuit.n_kept + 3 < len(found.true_positive_rate)
    assert np.trapezoid(line.true_positive, line.false_positive) == pytest.approx(found.auroc, abs=1e-9)
    ends = [(rate[0], rate[-1]) for rate in (line.false_positive, line.true_positive)]
    assert ends == [(0, 1), (0, 1)]


def test_scores_of_another_task_are_told() -> None:
    known = candidates.known_circuit("ioi/hanna2024")
    mine = scored_as(known, scores_of(GPT2_SMALL))
    other = candidates.Scored("x", "other", "greater-than", mine.scores, None)
    unknown = candidates.Scored("y", "unknown", "", mine.scores, None)
    assert candidates.unlike(known, [mine, other, unknown]) == [other]
    assert candidates.fitting(known, [other, unknown, mine]) == [mine]
    found = {one.id: one for one in (unknown, other, mine)}
    assert candidates.default_ids(known, found) == (mine.id,)
    assert set(candidates.default_ids(known, {"x": other, "y": unknown})) == {"x", "y"}, "none fits: all are offered"


def test_an_untrained_model_is_named_and_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its shape is GPT-2 small's, so its scores can be held against the manual circuit: as a control."""
    known = candidates.known_circuit("ioi/hanna2024")
    monkeypatch.setattr(candidates.results, "attribution", lambda card: SimpleNamespace(scores=scores_of(GPT2_SMALL)))

    def scored(name: str, title: str, *conditions: str) -> candidates.Scored:
        made = {"id": name, "task": "ioi", "method": "eap", "title": " · ".join(("EAP", *conditions))}
        named = {"run": SimpleNamespace(name=""), "untrained": "untrained" in title}
        return candidates.of_card(SimpleNamespace(**made, **named, model_title=title))  # type: ignore[arg-type]

    twin, trained = scored("t", "gpt2, untrained"), scored("g", "gpt2")
    assert (twin.label, trained.label) == ("EAP · gpt2, untrained", "EAP")
    assert scored("z", "gpt2", "zero intervention").label == "EAP · zero intervention"
    file = scored_as(known, scores_of(GPT2_SMALL))
    assert candidates.default_ids(known, {"t": twin, file.id: file, "g": trained}) == ("g", file.id, "t")


def test_published_scores_and_their_snippets(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The published EAP-IG scores of IOI against the manual circuit, and the page's own lines of Python for it."""
    source = shared / "data" / "edge-scores" / "ioi-eap-ig.gpt2.HEAD.json"
    kept = ScoreFiles(tmp_path).add(source.name, source.read_bytes())
    read, known = kept.read(), candidates.known_circuit("ioi/hanna2024")
    assert read.scores.graph == GPT2_SMALL and kept.task == "ioi"
    scored = candidates.Scored(kept.id, kept.name, kept.task, read.scores, read.node_scores, file=kept)
    auroc = candidates.roc_of(scored, known, "edges", signed=False, mlps=True).auroc
    assert 0.8 < auroc < 0.95
    exec(exports.python_snippet(known, scored, 200, signed=False, mlps=True), {})
    assert repr(auroc) in capsys.readouterr().out
    shell = exports.shell_snippet(known, scored, 200, signed=True, mlps=False)
    assert "--variant ioi/hanna2024 --edges 200 --signed --no-mlps" in shell and kept.path.name in shell
    report = json.loads(exports._report(known, [scored], 200, signed=False, mlps=True))
    assert report["scores"][0]["AUROC edges"] == auroc and report["scores"][0]["file"] == kept.id


def test_every_known_circuit_can_be_downloaded(tmp_path: Path) -> None:
    from eapgp.formats import read_circuit

    known = candidates.known_circuit(PLANTED)
    for format, suffix in (("mib-json", ".json"), ("csv", ".csv"), ("graphml", ".graphml")):
        path = tmp_path / f"known{suffix}"
        path.write_bytes(exports._circuit_file(known, format, suffix))
        assert set(read_circuit(path, graph=PLANTED_GRAPH).edge_names()) == set(TRUE_EDGES), format
