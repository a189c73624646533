"""The command line with the bundled model: one flow from prompts to faithfulness, and bad input on the way."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.circuits import select
from eapgp.cli import main
from eapgp.errors import Cancelled, ModelError
from eapgp.formats import read_file, read_scores
from eapgp.runs import RunLibrary, RunSpec, compute_run, open_run
from eapgp.runs.evaluate import Question, Running, evaluate_run
from eapgp.runs.files import content_key
from eapgp.tasks import make_prompts

ROOT = Path(__file__).resolve().parent.parent
N_EDGES = 479


@cache
def _load(name: str, **options: Any) -> Any:
    from eapgp.models.load import load_model

    return load_model(name, **options)


@pytest.fixture(scope="session")
def loader() -> Callable[..., Any]:
    """Loads every model once for all tests."""
    return _load


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: Callable[..., Any]) -> Path:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eapgp.runs.compute.load_model", loader)
    return tmp_path / "home"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert main([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    message = json.loads(out)["error"]["message"]
    assert "\n" not in message and "Traceback" not in err
    return str(message)


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory, loader: Callable[..., Any]) -> Path:
    """A run of eap-gp on the bundled model, made once."""
    library = RunLibrary(tmp_path_factory.mktemp("stored"))
    return compute_run(RunSpec(n_pairs=6, options={"steps": 3}), library=library, model_loader=loader).path


def test_attribute_says_what_was_computed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = "attribute --model demo --task ioi --method eap-gp --pairs 6 --steps 3 --seed 2 --top 7 --out out"
    said = call(capsys, *line.split(), "--export", "scores.json")
    assert {key: said[key] for key in ("model", "task", "method", "steps", "n_pairs", "n_edges", "seed", "cached")} == {
        "model": "demo",
        "task": "ioi",
        "method": "eap-gp",
        "steps": 3,
        "n_pairs": 6,
        "n_edges": N_EDGES,
        "seed": 2,
        "cached": False,
    }
    assert (said["forward_passes"], said["backward_passes"]) == (4, 6) and said["seconds"] > 0
    assert said["metric_clean"] > 3 > 1 > said["metric_corrupted"]
    run = open_run(tmp_path / "out")
    assert said["run"] == str(run.path) and said["id"] == run.id
    scores = run.scores()
    assert said["top_edges"] == [{"name": name, "score": score} for name, score in scores.top(7)]
    assert np.array_equal(read_scores(tmp_path / "scores.json").values, scores.values)
    assert [entry["step"] for entry in said["path"]] == [0, 1, 2, 3]
    assert said["path"][0]["metric"] == pytest.approx(said["metric_clean"], rel=1e-4)
    assert said["path"][0]["gradient_norm"] is None and said["path"][1]["gradient_norm"] > 0
    assert all(entry["distance"] > 0 for entry in said["path"])
    descent = said["descent"]["gradpath"]
    assert np.mean(descent["start"]) == pytest.approx(said["path"][0]["distance"])
    assert np.mean(descent["end"]) == pytest.approx(said["path"][-1]["distance"])
    assert descent["nearer"] == np.mean(
        [end < start for start, end in zip(descent["start"], descent["end"], strict=True)]
    )
    run.verify()


def test_an_identical_request_is_answered_without_loading_the_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("attribute", "--pairs", "4", "--method", "eap")
    first = call(capsys, *line)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the model was loaded")

    with monkeypatch.context() as patch:
        patch.setattr("eapgp.runs.compute.load_model", never)
        again = call(capsys, *line, "--batch-size", "3")
        assert again.pop("cached") and not first.pop("cached")
        assert again == first
        assert main([*line, "--seed", "1"]) == 1
        assert "the model was loaded" in capsys.readouterr().err
    anew = call(capsys, *line, "--no-cache")
    assert not anew["cached"] and anew["id"] == first["id"] and anew["seconds"] != first["seconds"]


def test_the_seed_of_the_run_is_the_seed_of_the_noise(capsys: pytest.CaptureFixture[str]) -> None:
    tops = [call(capsys, "attribute", "--method", "random", "--pairs", "2", "--seed", str(seed)) for seed in (0, 1)]
    assert tops[0]["top_edges"] != tops[1]["top_edges"]
    assert [top["options"]["seed"] for top in tops] == [0, 1]


def test_prompts_from_a_file_take_the_first_and_the_logit_difference(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    call(capsys, "prompts", "generate", "country-capital", "--pairs", "9", "--out", "pairs.csv")
    checked = call(capsys, "prompts", "check", "pairs.csv", "--model", "demo")
    assert checked["fitting"] == checked["n_pairs"] == 9
    said = call(capsys, "attribute", "--prompts", "pairs.csv", "--pairs", "5", "--method", "eap")
    assert said["n_pairs"] == 5 and said["metric"] == "logit-diff"
    assert call(capsys, "attribute", "--prompts", "pairs.csv", "--method", "eap")["n_pairs"] == 9


def test_kept_pairs_average_to_the_scores(capsys: pytest.CaptureFixture[str]) -> None:
    said = call(capsys, "attribute", "--pairs", "3", "--method", "eap", "--keep-pairs")
    result = open_run(said["run"]).attribution()
    assert result.pair_scores is not None and len(result.pair_scores) == 3
    np.testing.assert_allclose(result.pair_scores.mean(0), result.scores.values, atol=1e-5)


def test_exact_of_some_edges_leaves_the_others_unscored(capsys: pytest.CaptureFixture[str]) -> None:
    edges = ("m3->logits", "input->m0")
    said = call(capsys, "exact", "--pairs", "2", "--edges", edges[0], "--edges", edges[1])
    assert {edge["name"] for edge in said["top_edges"]} == set(edges)
    values = open_run(said["run"]).scores()
    assert int((values.graph.mask & ~np.isnan(values.values)).sum()) == 2
    swapped = call(capsys, "exact", "--pairs", "2", "--edges", edges[1], "--edges", edges[0])
    assert swapped["cached"]
    assert "m9" in refuse(capsys, "exact", "--pairs", "2", "--edges", "m9->logits")


def test_evaluate_lists_the_curve_and_keeps_it(capsys: pytest.CaptureFixture[str], stored: Path) -> None:
    line = ("evaluate", "--run", str(stored), "--edges", "20", "--edges", str(N_EDGES), "--edges", "0")
    said = call(capsys, *line)
    twenty, full, empty = said["curve"]
    assert [entry["edges_selected"] for entry in said["curve"]] == [20, N_EDGES, 0]
    assert full["faithfulness"] == pytest.approx(1, abs=1e-5) and full["edges_kept"] == N_EDGES
    assert empty["faithfulness"] == pytest.approx(0, abs=1e-5) and empty["edges_kept"] == 0
    assert full["metric"] == pytest.approx(said["metric_clean"], rel=1e-4)
    expected = (twenty["metric"] - said["metric_corrupted"]) / (said["metric_clean"] - said["metric_corrupted"])
    assert twenty["faithfulness"] == pytest.approx(expected, rel=1e-5)
    assert twenty["faithfulness_low"] <= twenty["faithfulness"] <= twenty["faithfulness_high"]
    again = call(capsys, *line)
    assert again["cached"] and not said["cached"] and again["curve"] == said["curve"]
    assert said["name"] in open_run(stored).evaluation()
    assert main([*line]) == 0
    assert "faithfulness" in capsys.readouterr().out


def test_evaluate_on_the_grid_of_mib_with_baseline_and_complements(
    capsys: pytest.CaptureFixture[str], stored: Path
) -> None:
    line = ("evaluate", "--run", str(stored), "--grid", "mib", "--bootstrap", "20")
    said = call(capsys, *line, "--baseline", "1", "--completeness", "--signed")
    assert [entry["edges_selected"] for entry in said["curve"]] == [0, 0, 2, 4, 9, 23, 47, 95, 239, 479]
    assert said["cpr"]["value"] is not None and said["cmd"]["value"] is not None
    assert said["area"] == said["cpr"] and said["area_to_one"] == said["cmd"]
    assert main([*line]) == 0
    assert "CPR 0." in capsys.readouterr().out
    assert len(said["baseline"]["mean"]) == len(said["completeness"]) == 10
    assert said["completeness"][-1]["complement_faithfulness"] == pytest.approx(0, abs=1e-5)


def test_areas_over_other_sizes_than_mib_s_are_not_called_cpr_and_cmd(
    capsys: pytest.CaptureFixture[str], stored: Path
) -> None:
    line = ("evaluate", "--run", str(stored), "--edges", "20", "--edges", "50", "--bootstrap", "20")
    said = call(capsys, *line)
    assert said["cpr"] is None and said["cmd"] is None
    shares, curve = (20 / N_EDGES, 50 / N_EDGES), said["curve"]
    heights = [entry["faithfulness"] for entry in curve]
    assert said["area"]["value"] == pytest.approx(sum(heights) / 2 * (shares[1] - shares[0]), rel=1e-6)
    assert said["area_shares"] == pytest.approx(shares)
    assert main([*line]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "over 4.18 … 10.4 % of the edges: area under faithfulness" in text
    assert not re.search(r"C(PR|MD) -?[0-9]", text)


def test_an_answer_that_an_earlier_version_kept_whole_is_found_and_its_areas_named_anew(
    capsys: pytest.CaptureFixture[str], stored: Path
) -> None:
    line = ("evaluate", "--run", str(stored), "--edges", "21", "--edges", "51", "--bootstrap", "20")
    said = call(capsys, *line)
    file = stored / "evaluation.json"
    old = {key: said[key] for key in said if key not in ("area_shares", "cached", "kept")}
    old |= {"cpr": old.pop("area"), "cmd": old.pop("area_to_one"), "metric_clean": 7.0}
    file.write_text(json.dumps({f"faithfulness-{content_key(said['asked'])[:10]}": old}))
    again = call(capsys, *line)
    assert again["cached"] and again["cpr"] is None and again["cmd"] is None and again["metric_clean"] == 7.0
    assert all(again[key] == said[key] for key in ("area", "area_to_one", "area_shares"))


def test_evaluate_says_what_each_edge_adds(capsys: pytest.CaptureFixture[str], stored: Path) -> None:
    said = call(capsys, "evaluate", "--run", str(stored), "--edges", "12", "--minimality", "--bootstrap", "20")
    (found,) = said["minimality"]
    assert len(found["edges"]) == found["edges_kept"] == said["curve"][0]["edges_kept"]


def test_evaluate_takes_other_prompts_and_other_scores(capsys: pytest.CaptureFixture[str], stored: Path) -> None:
    own = call(capsys, "evaluate", "--run", str(stored), "--edges", "30")
    other = call(capsys, "evaluate", "--run", str(stored), "--edges", "30", "--seed", "9", "--pairs", "5")
    assert other["n_pairs"] == 5 and other["metric_clean"] != own["metric_clean"]
    call(capsys, "export", "scores.json", "--run", str(stored))
    file = call(capsys, "evaluate", "--scores", "scores.json", "--task", "ioi", "--pairs", "6", "--edges", "30")
    assert file["curve"] == own["curve"]
    limit = call(capsys, "evaluate", "--run", str(stored), "--threshold", "0.05")
    scores = open_run(stored).scores()
    assert limit["curve"][0]["edges_selected"] == int((np.abs(scores.values) >= 0.05).sum())


def test_evaluate_goes_by_the_intervention_and_metric_of_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = ("--task", "sva", "--pairs", "4", "--method", "eap", "--intervention", "zero", "--metric", "logit-diff")
    said = call(capsys, "attribute", *made, "--export", "scores.json")
    line = ("evaluate", "--run", said["run"], "--edges", "40")
    own, patched = call(capsys, *line), call(capsys, *line, "--intervention", "patching")
    assert (own["intervention"], patched["intervention"]) == ("zero", "patching")
    assert own["metric_corrupted"] != pytest.approx(patched["metric_corrupted"], rel=1e-3)
    again = call(capsys, *line, "--intervention", "zero")
    assert again["cached"] and again["curve"] == own["curve"]
    assert main([*line]) == 0
    assert "every edge at its zero value" in capsys.readouterr().out
    others = call(capsys, *line, "--seed", "7")
    assert (others["metric"], others["intervention"]) == ("logit-diff", "zero"), "other pairs of the same task"
    task = call(capsys, *line, "--task", "gender-bias", "--pairs", "2")
    assert task["metric"] == "logit-diff"
    assert call(capsys, *line, "--task", "hypernymy", "--pairs", "2")["metric"] == "prob-diff", "another task's own"
    given = ("--task", "sva", "--pairs", "4", "--edges", "40")
    assert call(capsys, "evaluate", "--scores", "scores.json", *given)["intervention"] == "patching"
    kept = call(capsys, "import", "scores.json", "--keep", "--task", "sva", "--model", "demo")["run"]
    for prompts in ((), ("--seed", "7"), ("--task", "sva")):
        told = refuse(capsys, "evaluate", "--run", kept, "--edges", "40", *prompts)
        assert "imported from a file; evaluate the file: eapgp evaluate --scores scores.json" in told


def test_compare_and_show_tell_what_is_not_usual(capsys: pytest.CaptureFixture[str], stored: Path) -> None:
    made = ("--pairs", "4", "--method", "eap", "--split", "test", "--option", "corruption=hard")
    zero = call(capsys, "attribute", *made, "--intervention", "zero")["run"]
    patched = call(capsys, "attribute", *made)["run"]
    assert call(capsys, "compare", "--run", zero, "--run", patched)["differ_in"] == ["intervention"]
    other = call(capsys, "attribute", "--task", "sva", "--pairs", "4", "--method", "ifr")["run"]
    assert call(capsys, "compare", "--run", zero, "--run", other)["differ_in"] == [
        *("method", "task", "prompts", "metric", "intervention"),
    ]
    assert main(["compare", "--run", zero, "--run", other]) == 0
    said = capsys.readouterr().out
    assert "they differ in task, prompts, metric, intervention: part of the disagreement comes from that" in said
    assert main(["runs", "show", zero]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "ioi, 4 pairs, corruption hard, held-out prompts, seed 0" in shown and "intervention zero" in shown
    assert main(["runs", "list", "intervention=zero"]) == 0
    assert "eap, zero" in capsys.readouterr().out


def test_node_scores_are_told_exported_and_select_circuits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = call(capsys, "exact", "--pairs", "3", "--export", "scores.json")
    own = open_run(said["run"]).attribution().node_scores
    assert own is not None
    sources = open_run(said["run"]).scores().graph.sources
    told = {node["name"]: node["score"] for node in said["nodes"]}
    assert told == pytest.approx(dict(zip(sources, own, strict=True)))
    sizes = [abs(node["score"]) for node in said["nodes"]]
    assert sizes == sorted(sizes, reverse=True)
    assert np.array_equal(read_file(tmp_path / "scores.json").node_scores, own)
    call(capsys, "export", "scores.csv", "--run", said["run"])  # a format that holds none
    by_nodes = call(capsys, "evaluate", "--run", said["run"], "--nodes", "3", "--nodes", "20", "--bootstrap", "5")
    expected = [select(open_run(said["run"]).scores(), n=n, by="nodes", node_scores=own).n_kept for n in (3, 20)]
    assert [entry["edges_kept"] for entry in by_nodes["curve"]] == expected
    assert by_nodes["curve"][1]["faithfulness"] == pytest.approx(1, abs=1e-3)  # 16 heads and 4 MLPs: the whole model
    file = call(
        capsys, "evaluate", "--scores", "scores.json", "--task", "ioi", "--pairs", "3", "--nodes", "3", "--nodes", "20"
    )
    assert file["curve"][0]["metric"] == pytest.approx(by_nodes["curve"][0]["metric"])
    assert "got sizes and nodes" in refuse(capsys, "evaluate", "--run", said["run"], "--nodes", "3", "--edges", "3")
    assert "rule='top-n'" in refuse(capsys, "evaluate", "--run", said["run"], "--nodes", "3", "--rule", "greedy")


def test_a_run_is_never_evaluated_on_a_model_that_changed(
    stored: Path, tmp_path: Path, loader: Callable[..., Any]
) -> None:
    class Changed:
        def __init__(self, model: Any) -> None:
            self.weights_hash, self.tokenizer_hash = "0" * 16, model.tokenizer_hash

    shutil.copytree(stored, tmp_path / "run")
    with pytest.raises(ModelError, match="the model has changed: compute the run again"):
        evaluate_run(
            open_run(tmp_path / "run"),
            Question(sizes=(7,)),
            how=Running(model_loader=lambda name, **options: Changed(loader(name, **options))),
        )


def test_cancelling_stores_nothing(home: Path, loader: Callable[..., Any]) -> None:
    def stop(phase: str, fraction: float) -> None:
        if phase != "loading the model" and fraction > 0:
            raise Cancelled("stopped by the user.")

    library = RunLibrary(home)
    with pytest.raises(Cancelled):
        compute_run(RunSpec(n_pairs=4, batch_size=2), library=library, progress=stop, model_loader=loader)
    assert library.list() == []
    run = compute_run(RunSpec(n_pairs=4, batch_size=2), library=library, model_loader=loader)
    assert not run.cached and library.find(run.request) is not None


def test_inline_prompts_are_stored_and_found_again(home: Path, loader: Callable[..., Any]) -> None:
    library = RunLibrary(home)
    generated = compute_run(RunSpec(n_pairs=2, method="eap"), library=library, model_loader=loader)
    pairs = tuple(
        {"clean": p.clean, "corrupted": p.corrupted, "correct": list(p.correct), "incorrect": list(p.incorrect)}
        for p in generated.prompts()
    )
    spec = RunSpec(prompts=pairs, task="mine", method="eap")
    run = compute_run(spec, library=library, model_loader=loader)
    assert run.request["task"] == "mine" and run.spec == spec
    assert np.array_equal(run.scores().values, generated.scores().values)
    assert compute_run(spec, library=library, model_loader=loader).cached


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["--model", "gpt3"], "unknown model 'gpt3'"),
        (["--model", "absent/folder/here"], "absent/folder/here"),
        (["--intervention", "noise"], "noise"),
        (["--intervention", "zero"], "zero"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--dtype", "int8"], "unknown dtype 'int8'"),
    ],
)
def test_bad_choices_are_told(capsys: pytest.CaptureFixture[str], line: list[str], text: str) -> None:
    assert text in refuse(capsys, "attribute", "--pairs", "2", *line)


def change_cell(file: Path, row: int, column: str, value: str) -> None:
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows[row][column] = value
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [("corrupted", " the", "tokens"), ("correct", " Mary John", "token"), ("correct", " zyzzyva", "zyzzyva")],
    ids=["length", "two tokens", "unknown word"],
)
def test_bad_pairs_are_told_with_their_number(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, column: str, value: str, text: str
) -> None:
    call(capsys, "prompts", "generate", "ioi", "--pairs", "3", "--out", "bad.csv")
    change_cell(tmp_path / "bad.csv", 1, column, value)
    message = refuse(capsys, "attribute", "--prompts", "bad.csv", "--method", "eap")
    assert text in message and "2" in message
    assert "2 of 3 pairs fit" in refuse(capsys, "prompts", "check", "bad.csv")


def test_sizes_beyond_the_graph_are_told_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str], stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eapgp.runs.compute.load_model", None)
    message = refuse(capsys, "evaluate", "--run", str(stored), "--edges", str(N_EDGES + 1))
    assert "479" in message and "480" in message
    assert "expected with --scores only" in refuse(capsys, "evaluate", "--run", str(stored), "--model", "gpt2")


def test_nan_in_the_metric_is_told_and_stores_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(ROOT / "assets" / "demo", broken)
    weights = load_file(broken / "model.safetensors")
    name = next(key for key in weights if key.endswith("wpe.weight"))
    weights[name][10:] = torch.nan  # only prompts of more than ten tokens meet it
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    message = refuse(capsys, "attribute", "--model", str(broken), "--pairs", "2")
    assert "finite" in message
    assert RunLibrary(home).list() == []


def test_a_run_folder_that_holds_other_files_is_never_written_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert "notes.txt" in refuse(capsys, "attribute", "--pairs", "2", "--out", "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_as_a_user_calls_it(tmp_path: Path) -> None:
    """The real process: standard output is one JSON object although the libraries print while loading."""
    line = [sys.executable, "-m", "eapgp", "attribute", "--pairs", "2", "--method", "eap", "--json"]
    done = subprocess.run([*line, "--home", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["n_edges"] == N_EDGES and Path(said["run"]).parent == tmp_path / "runs"


def test_a_hub_model_without_network_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refuse(capsys, "attribute", "--model", "nobody/absent-model", "--pairs", "2")
    assert "nobody/absent-model" in message and "network" in message


def test_columns_named_on_the_command_line_are_kept_and_asked_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from eapgp.ui.parts.snippets import run_shell  # brings streamlit with it

    made = make_prompts("ioi", 2)
    rows = "".join(f"{p.clean};{p.corrupted};{p.correct[0]}\n" for p in made)
    path = tmp_path / "table.csv"
    path.write_text(f"Question;Twin, edited;Reply\n{rows}", encoding="utf-8")
    flag = "clean=Question,corrupted=Twin, edited,correct=Reply"
    assert call(capsys, "prompts", "check", str(path), "--columns", flag)["fitting"] == 2
    asked = ("attribute", "--prompts", str(path), "--columns", flag, "--method", "eap")
    first = call(capsys, *asked)
    assert first["metric"] == "log-prob" and not first["cached"]
    spec = open_run(Path(first["run"])).spec
    assert spec is not None
    words = shlex.split(run_shell(spec))
    assert call(capsys, *words[1:-1])["cached"] and call(capsys, *words[1:-1])["id"] == first["id"]
    others = ("--prompts", str(path), "--columns", flag)
    evaluated = call(capsys, "evaluate", "--run", first["run"], *others, "--edges", "9")
    assert evaluated["metric"] == "log-prob"
    assert "columns: expected with a file" in refuse(capsys, "attribute", "--columns", flag)
    assert "columns clean=Ask: expected one of its columns" in refuse(
        capsys, "attribute", "--prompts", str(path), "--columns", "clean=Ask"
    )
