"""What `evaluate`, `exact` and `import` can be asked beside the curve: bundled runs, edges, stability, turned signs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.cli import main
from eapgp.cli.output import number
from eapgp.evaluation.sizes import curve_sizes
from eapgp.evaluation.statistics import mib_sizes
from eapgp.formats import read_file, write_scores
from eapgp.graph import Graph
from eapgp.models.catalogue import demo_folder
from eapgp.runs import RunLibrary, RunSpec, compute_run, open_run
from eapgp.runs.bundled import examples_folder
from eapgp.runs.evaluate import Question, Running, evaluate_run

EXAMPLE = "ioi-eap"


@cache
def _load(name: str, **options: Any) -> Any:
    from eapgp.models.load import load_model

    return load_model(name, **options)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eapgp.runs.compute.load_model", _load)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def per_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that kept the scores of every pair."""
    library = RunLibrary(tmp_path_factory.mktemp("pairs"))
    return compute_run(RunSpec(n_pairs=12, method="eap", keep_pairs=True), library=library, model_loader=_load).path


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments, "--json"]) == 2
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "\n" not in message
    return str(message)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_bundled_run_is_found_by_name_or_id_and_never_written(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    folder = examples_folder()
    assert folder is not None
    example = open_run(folder / EXAMPLE)
    before = contents(example.path)
    for text in (EXAMPLE, example.id[:8], str(example.path)):
        said = call(capsys, "evaluate", "--run", text, "--edges", "20", "--bootstrap", "20")
        assert said["id"] == example.id and said["curve"][0]["edges_selected"] == 20
        assert not said["kept"] and not said["cached"]
    assert "bundled" in refuse(capsys, "runs", "note", EXAMPLE, "mine")
    assert "bundled" in refuse(capsys, "runs", "rename", EXAMPLE, "mine")
    assert "library" in refuse(capsys, "runs", "rm", EXAMPLE)
    assert contents(example.path) == before
    own = call(capsys, "attribute", "--pairs", "2", "--method", "eap")
    call(capsys, "runs", "rename", own["id"], EXAMPLE)
    assert call(capsys, "runs", "show", EXAMPLE)["id"] == own["id"], "the user's own run comes first"


def test_a_run_that_cannot_be_written_is_evaluated_all_the_same(
    per_pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, question = open_run(per_pair), Question(sizes=(30,), resamples=20)
    before = contents(run.path)

    def refused(*_: Any, **__: Any) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr("eapgp.runs.files.os.open", refused)
        answer = evaluate_run(run, question, how=Running(model_loader=_load))
    assert not answer["kept"] and contents(run.path) == before
    again = evaluate_run(run, question, how=Running(model_loader=_load))
    assert again["kept"] and again["curve"] == answer["curve"]
    assert evaluate_run(run, question, how=Running(model_loader=_load))["cached"]


def test_edges_to_patch_are_a_list_or_names_with_commas(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a0.h1->a1.h0<q>", "input->m0", "m3->logits"]
    exact = ("attribute", "--pairs", "2", "--method", "exact", "--option")
    said = call(capsys, *exact, "edges=m3->logits, input->m0,a0.h1->a1.h0<q>")
    assert sorted(edge["name"] for edge in said["top_edges"]) == names
    assert call(capsys, *exact, f"edges={json.dumps(names)}")["cached"]
    assert call(capsys, "exact", "--pairs", "2", "--edges", ",".join(names[:2]), "--edges", names[2])["cached"]
    for wrong in ("edges=5", "edges=,", 'edges={"a": 1}', "edges=[1]"):
        assert "commas between them" in refuse(capsys, *exact, wrong)


def test_stability_is_the_share_of_resamples_in_which_an_edge_is_chosen_again(
    capsys: pytest.CaptureFixture[str], per_pair: Path
) -> None:
    line = ("evaluate", "--run", str(per_pair), "--edges", "5", "--edges", "479", "--bootstrap", "40")
    said = call(capsys, *line, "--stability")
    few, full = said["stability"]
    assert (few["edges_selected"], full["edges_selected"]) == (5, 479)
    assert full["mean_share"] == 1 and full["always"] == full["edges_kept"]
    result = open_run(per_pair).attribution()
    assert result.pair_scores is not None
    drawn = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=40)
    ranked = np.abs(np.tensordot(drawn / 12, result.pair_scores.astype(np.float64), axes=1)).reshape(40, -1)
    chosen = np.argsort(-ranked, axis=1)[:, :5]
    for edge in few["edges"]:
        source, destination = result.graph.edge_index(edge["name"])
        flat = source * result.graph.n_destinations + destination
        assert edge["share"] == pytest.approx((chosen == flat).any(axis=1).mean())
    shares = [edge["share"] for edge in few["edges"]]
    assert shares == sorted(shares) and shares[0] < 1, "the least stable comes first, and these pairs differ"
    assert "stability" not in call(capsys, *line), "another question, answered apart"
    assert main([*line, "--stability"]) == 0
    assert few["edges"][0]["name"] in capsys.readouterr().out


def test_stability_says_what_it_needs(capsys: pytest.CaptureFixture[str], per_pair: Path, tmp_path: Path) -> None:
    assert "--keep-pairs" in refuse(capsys, "evaluate", "--run", EXAMPLE, "--edges", "5", "--stability")
    assert "top n" in refuse(capsys, "evaluate", "--run", str(per_pair), "--nodes", "3", "--stability")
    write_scores(open_run(per_pair).scores(), tmp_path / "scores.json")
    assert "--keep-pairs" in refuse(capsys, "evaluate", "--scores", "scores.json", "--edges", "5", "--stability")


def test_import_turns_the_sign_of_all_scores(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    graph = Graph(1, 2, False, 8)
    values = np.where(graph.mask, np.random.default_rng(0).standard_normal(graph.mask.shape), 0.0)
    values[graph.edge_index("m0->logits")] = 0.0
    nodes = np.arange(graph.n_sources, dtype=np.float64)
    write_scores(EdgeScores(graph, values), tmp_path / "a.json", node_scores=nodes)
    plain = call(capsys, "import", "a.json", "--keep")
    turned = call(capsys, "import", "a.json", "--keep", "--negate", "--to", "b.json")
    written = read_file(tmp_path / "b.json")
    assert np.array_equal(written.scores.values, -values) and written.node_scores is not None
    assert np.array_equal(written.node_scores, -nodes)
    assert "-0.0" not in (tmp_path / "b.json").read_text()
    assert turned["negated"] and not plain["negated"] and turned["run"] != plain["run"]
    kept = RunLibrary().open(turned["run"])
    assert np.array_equal(kept.scores().values, -values) and kept.request["options"]["negated"] is True
    assert np.array_equal(RunLibrary().open(plain["run"]).scores().values, values)
    assert "negated" not in RunLibrary().open(plain["run"]).request["options"]
    assert call(capsys, "import", "a.json", "--keep", "--negate")["run"] == turned["run"]
    call(capsys, "import", "b.json", "--negate", "--to", "c.json")
    assert np.array_equal(read_file(tmp_path / "c.json").scores.values, values)


ON_DEMO = ("--model", "demo", "--task", "ioi", "--pairs", "8", "--bootstrap", "20")


def node_level(path: Path, graph: Graph, nodes: Any) -> None:
    """A file that scores nodes alone, as node-level circuits of the MIB track."""
    write_scores(EdgeScores(graph, np.where(graph.mask, np.nan, 0.0)), path, node_scores=nodes)


def test_circuits_of_nodes_are_run_and_edges_that_no_file_scores_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    graph = _load("demo").graph
    nodes = np.random.default_rng(3).random(graph.n_sources)
    node_level(tmp_path / "nodes.json", graph, nodes)
    said = call(capsys, "evaluate", "--scores", "nodes.json", "--nodes", "6", "--nodes", "21", "--no-prune", *ON_DEMO)
    best = {graph.nodes[i] for i in np.argsort(-nodes)[:6]} | {"input", "logits"}
    ends = [(edge.split("->")[0], edge.split("->")[1].split("<")[0]) for edge in graph.edge_names()]
    assert said["curve"][0]["edges_kept"] == sum(set(pair) <= best for pair in ends)
    assert said["curve"][1]["edges_kept"] == graph.n_edges
    assert said["curve"][1]["faithfulness"] == pytest.approx(1, abs=1e-5)
    assert "none of the 479 edges is scored" in refuse(
        capsys, "evaluate", "--scores", "nodes.json", "--edges", "5", *ON_DEMO
    )
    usual = call(capsys, "evaluate", "--scores", "nodes.json", *ON_DEMO)
    assert [entry["nodes_selected"] for entry in usual["curve"]] == curve_sizes(21) and usual["n_nodes"] == 21
    mib = call(capsys, "evaluate", "--scores", "nodes.json", "--by", "nodes", "--grid", "mib", *ON_DEMO)
    assert [entry["nodes_selected"] for entry in mib["curve"]] == mib_sizes(21) and mib["cpr"] and not usual["cpr"]
    assert mib["curve"][-1]["faithfulness"] == pytest.approx(1, abs=1e-5)
    assert "got sizes in edges" in refuse(capsys, "evaluate", "--run", EXAMPLE, "--by", "nodes", "--edges", "5")
    assert "is scored" in refuse(capsys, "export", "--scores", "nodes.json", "--edges", "5", "out.json")
    exported = call(capsys, "export", "--scores", "nodes.json", "--nodes", "6", "circuit.json")
    assert exported["edges_kept"] == call(capsys, "import", "circuit.json")["n_in_circuit"]
    assert "give one" in refuse(capsys, "export", "--scores", "nodes.json", "--nodes", "6", "--edges", "5", "out.json")
    read = call(capsys, "import", "nodes.json", "--top", "1")
    assert read["n_nodes_scored"] == 21 and read["top_nodes"] == [
        {"name": graph.sources[int(nodes.argmax())], "score": pytest.approx(nodes.max())}
    ]
    assert "scores nodes but no edge" in refuse(capsys, "import", "nodes.json", "--keep")
    assert "0 and 0 are scored" in refuse(capsys, "compare", "--scores", "nodes.json", "--scores", "nodes.json")


@pytest.mark.parametrize(("value", "message"), [(np.nan, "is scored"), (0.0, "every edge scores 0")])
def test_no_circuit_is_run_from_scores_that_say_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, value: float, message: str
) -> None:
    graph = _load("demo").graph
    write_scores(EdgeScores(graph, np.where(graph.mask, value, 0.0)), tmp_path / "a.csv")
    for sizes in (("--edges", "20"), (), ("--grid", "mib"), ("--edges", "20", "--rule", "greedy")):
        assert message in refuse(capsys, "evaluate", "--scores", "a.csv", *sizes, *ON_DEMO)
    refuse(capsys, "evaluate", "--scores", "a.csv", "--nodes", "5", *ON_DEMO)
    if np.isnan(value):
        assert "holds no score" in refuse(capsys, "import", "a.csv", "--keep")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "graphml", "gexf"])
def test_a_circuit_that_was_exported_alone_is_evaluated_as_it_was(
    capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    file = f"circuit.{suffix}"
    exported = call(capsys, "export", "--run", EXAMPLE, "--edges", "20", "--only-circuit", file)
    before = call(capsys, "evaluate", "--run", EXAMPLE, "--edges", "20", "--pairs", "8", "--bootstrap", "20")
    after = call(capsys, "evaluate", "--scores", file, "--edges", "20", *ON_DEMO)
    assert after["curve"][0]["edges_kept"] == exported["edges_kept"] == call(capsys, "import", file)["n_in_circuit"]
    assert after["curve"][0]["faithfulness"] == pytest.approx(before["curve"][0]["faithfulness"], abs=1e-5)


def test_a_table_of_some_edges_belongs_to_the_model_or_to_what_it_is_compared_with(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = ["source,destination,score", "input,a1.h3<v>,2.5", "a1.h3,logits,1.5", "input,m0,-3"]
    (tmp_path / "some.csv").write_text("\n".join(lines))
    for model in ("demo", str(demo_folder())):
        said = call(capsys, "evaluate", "--scores", "some.csv", "--edges", "3", *ON_DEMO[2:], "--model", model)
        assert said["curve"][0]["edges_selected"] == 3 and said["curve"][0]["edges_kept"] == 2
    assert "name the model" in refuse(capsys, "import", "some.csv")
    imported = call(capsys, "import", "some.csv", "--model", "demo", "--keep")
    assert imported["n_scored"] == 3 and RunLibrary().open(imported["run"]).scores().graph == Graph(4, 4)
    call(capsys, "export", "--run", EXAMPLE, "whole.json")
    for other in (("--run", EXAMPLE), ("--scores", "whole.json")):
        assert call(capsys, "compare", *other, "--scores", "some.csv", "-k", "2")["n_edges"] == 3
    assert "name the model" in refuse(capsys, "compare", "--scores", "some.csv", "--scores", "some.csv")


def test_the_published_cases_of_scores(capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    folder = shared / "cases" / "scores"
    if not folder.is_dir():
        pytest.skip("the reference material holds no cases")
    nodes = ("--nodes", "5", "--nodes", "10", "--no-prune")
    curve = call(capsys, "evaluate", "--scores", str(folder / "mib_node_level.json"), *nodes, *ON_DEMO)["curve"]
    assert [(at["edges_kept"], round(at["faithfulness"], 4)) for at in curve] == [(24, 0.0289), (118, 0.0545)]
    (at,) = call(capsys, "evaluate", "--scores", str(folder / "only_circuit_export.csv"), "--edges", "20", *ON_DEMO)[
        "curve"
    ]
    assert (at["edges_kept"], round(at["faithfulness"], 4)) == (19, 0.6974)
    for name in ("bomb_parquet.parquet", "bomb_pt.pt"):
        assert "refused before unpacking" in refuse(capsys, "import", str(folder / name))


def test_everything_that_was_asked_is_said_in_words_too(capsys: pytest.CaptureFixture[str], per_pair: Path) -> None:
    line = ("evaluate", "--run", str(per_pair), "--edges", "5", "--baseline", "2", "--completeness", "--minimality")
    said = call(capsys, *line)
    assert main([*line, "--quiet"]) == 0
    text = capsys.readouterr().out
    assert number(said["baseline"]["mean"][0]) in text and "random circuits" in text
    assert number(said["completeness"][0]["complement_faithfulness"]) in text and "complement" in text
    for edge in said["minimality"][0]["edges"]:
        assert edge["name"] in text and number(edge["contribution"]) in text
    assert number(said["curve"][0]["kl"]) in text
    assert main([*line[:5], "--quiet"]) == 0
    plain = capsys.readouterr().out
    assert not any(word in plain for word in ("random circuits", "complement", "contribution"))


@pytest.mark.parametrize("task", ["ioi", "greater-than"])
def test_a_catalogue_shape_with_random_weights_runs_the_tasks_without_network(
    capsys: pytest.CaptureFixture[str], task: str
) -> None:
    said = call(capsys, "attribute", "-m", "pythia-70m", "--random-weights", "-t", task, "-n", "2", "--method", "eap")
    assert said["n_pairs"] == 2 and said["n_edges"] == 3580 and said["top_edges"][0]["score"] != 0
