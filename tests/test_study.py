"""Studies: what a study file may say, what it expands to, and what a sweep does with failures and kills."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from eapgp.cli import main
from eapgp.errors import Cancelled, FormatError, OptionError
from eapgp.graph import Graph
from eapgp.runs import RunLibrary, RunSpec
from eapgp.study import plan
from eapgp.study.estimate import estimate
from eapgp.study.plan import Cell, Execution, Study, make_study, read_study
from eapgp.study.sweep import executor_parameters, in_order, make_executor, split, sweep
from eapgp.study.worker import Worker, is_done, read_record, work

ROOT = Path(__file__).resolve().parent.parent
SMALL: dict[str, Any] = {
    "name": "small",
    "models": ["demo"],
    "tasks": ["ioi"],
    "methods": ["eap", "random"],
    "pairs": 4,
    "evaluations": [{"sizes": [20, 100, 479], "resamples": 50}],
    "execution": {"executor": "in-process"},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def model() -> Any:
    from eapgp.models.load import load_model

    return load_model("demo")


@pytest.fixture
def worker(home: Path, model: Any) -> Worker:
    return Worker(RunLibrary(home), model_loader=lambda name, **how: model)


def with_(**changes: Any) -> dict[str, Any]:
    return {**SMALL, **changes}


def test_cells_are_the_product_of_all_parts_and_distinct() -> None:
    study = make_study(
        with_(
            tasks=["ioi", {"name": "sva", "pairs": 8, "split": "test"}],
            methods=["eap", {"name": "eap-gp", "options": {"step": "unit"}, "vary": {"steps": [3, 5, 3]}}],
            seeds=[0, 7],
        )
    )
    assert len(study.cells) == 2 * (1 + 2) * 2
    assert len({cell.key for cell in study.cells}) == len(study.cells)
    assert {(cell.spec.task, cell.spec.n_pairs, cell.spec.split) for cell in study.cells} == {
        ("ioi", 4, "all"),
        ("sva", 8, "test"),
    }
    steps = {cell.spec.options["steps"] for cell in study.cells if cell.spec.method == "eap-gp"}
    assert steps == {3, 5}
    assert all(cell.spec.options["step"] == "unit" for cell in study.cells if cell.spec.method == "eap-gp")


def test_a_cells_name_depends_on_what_is_computed_and_on_nothing_else() -> None:
    (cell, _) = make_study(SMALL).cells
    elsewhere = make_study(with_(name="other", execution={"device": "cpu", "batch_size": 2, "workers": 3})).cells[0]
    assert cell.key == elsewhere.key
    assert make_study(with_(methods=[{"name": "eap", "label": "mine"}])).cells[0].key == cell.key
    for change in ({"pairs": 5}, {"seeds": [1]}, {"evaluations": [{"sizes": [20, 100, 478], "resamples": 50}]}):
        assert make_study(with_(**change)).cells[0].key != cell.key
    assert Cell.from_dict(json.loads(json.dumps(cell.to_dict()))) == cell


def test_circuits_are_judged_with_the_intervention_of_their_scores() -> None:
    study = make_study(with_(methods=["eap", {"name": "eap", "intervention": "zero"}]))
    assert [cell.evaluations[0].question.intervention for cell in study.cells] == ["patching", "zero"]
    given = make_study(with_(evaluations=[{**SMALL["evaluations"][0], "intervention": "patching"}]))
    assert given.cells[0].key == study.cells[0].key, "as it was named before"


def test_an_option_at_its_default_is_the_same_cell() -> None:
    bare, given = (
        make_study(with_(methods=[method])).cells for method in ("eap-ig", {"name": "eap-ig", "options": {"steps": 5}})
    )
    assert [cell.key for cell in bare] == [cell.key for cell in given]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": None}, r"models: expected a list, got None"),
        ({"methods": [{"name": "eapp"}]}, r"methods\[0\]: unknown method 'eapp'.*Did you mean 'eap'"),
        (
            {"methods": ["eap", {"name": "eap", "steps": 3}]},
            r"methods\[1\]: unknown key 'steps'; expected some of name",
        ),
        ({"methods": [{"name": "eap-gp", "vary": {"steps": 3}}]}, r"methods\[0\]\.vary\.steps: expected a list, got 3"),
        ({"methods": [{"name": "eap-gp", "vary": {"steps": [3, 0]}}]}, r"methods\[0\]: steps \(k\).*got 0"),
        (
            {"methods": [{"name": "eap-gp", "options": {"steps": 3}, "vary": {"steps": [3]}}]},
            r"methods\[0\]: option 'steps' is fixed and varied",
        ),
        ({"tasks": ["ioy"]}, r"tasks\[0\].*unknown task 'ioy'"),
        ({"tasks": [{"name": "ioi", "options": {"corruption": "soft"}}]}, r"tasks\[0\].*unknown corruption 'soft'"),
        ({"tasks": [{"pairs": 3}]}, r"tasks\[0\]: expected the key 'name', found none"),
        ({"seeds": [0, "one"]}, r"seeds\[1\]: expected a whole number, got 'one'"),
        ({"evaluations": [{"grid": "fine"}]}, r"evaluations\[0\]\.grid: expected one of default, mib, got 'fine'"),
        (
            {"evaluations": [{"sizes": [1]}, {"name": "more", "sizes": [20, 480]}], "models": ["gpt2", "demo"]},
            r"evaluations\[1\]\.sizes: expected at most 479, the edges of demo, got 480",
        ),
        (
            {"evaluations": [{"sizes": [1], "thresholds": [0.1]}]},
            r"evaluations\[0\]: circuits: expected sizes, nodes or",
        ),
        ({"evaluations": [{"name": "a"}, {"name": "a"}]}, r"evaluations\[1\]\.name: 'a' is there twice"),
        (
            {"execution": {"slurm": {"queue": "x"}}},
            r"execution\.slurm: unknown key 'queue'; expected some of partition",
        ),
        ({"extra": 1}, r"study: unknown key 'extra'"),
        ({"name": "../up"}, r"name: '../up'"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line_that_names_the_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        make_study(with_(**change), where="s.yaml")
    assert str(caught.value).startswith("s.yaml: ") and "\n" not in str(caught.value)


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: [small\nmodels: demo")
    with pytest.raises(FormatError, match=r"study\.yaml: expected YAML, got .* in line 2, column"):
        read_study(path)
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(FormatError, match="expected YAML"):
        read_study(path)
    with pytest.raises(FormatError, match="expected a study file, found none"):
        read_study(tmp_path / "absent.yaml")


def test_prompt_files_are_looked_for_beside_the_study(tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(with_(tasks=[{"name": "ioi", "prompts": "pairs.csv"}])))
    with pytest.raises(FormatError, match=r"pairs\.csv: expected a file, found none"):
        read_study(folder / "study.yaml")
    (folder / "pairs.csv").write_text("clean,corrupted,correct,incorrect\na,b,c,d\n")
    assert read_study(folder / "study.yaml").cells[0].spec.prompts_file == str(folder / "pairs.csv")
    columns = {"clean": "Question", "corrupted": "Twin"}
    tasks = [{"name": "mine", "prompts": "pairs.csv", "columns": columns}]
    (folder / "study.yaml").write_text(yaml.safe_dump(with_(tasks=tasks)))
    assert read_study(folder / "study.yaml").cells[0].spec.columns == columns


def test_estimates_follow_the_methods_passes() -> None:
    def cost(**changes: Any) -> Any:
        return estimate(make_study(with_(evaluations=[], **changes)).cells[0])

    eap = cost(methods=["eap"])
    assert (eap.forward, eap.backward) == (4 * (2 + 1), 4)
    gp = cost(methods=[{"name": "eap-gp", "options": {"steps": 3}}])
    assert (gp.forward, gp.backward) == (4 * (2 + 4), 4 * 6)
    assert cost(methods=["exact"]).forward == 4 * (2 + 0.5 * Graph(4, 4).n_edges)
    assert cost(models=["gpt2-xl"]).memory > 1_557_611_200 * 4
    assert cost(models=["someone/unknown"]).forward is None
    evaluated = estimate(make_study(SMALL).cells[0])
    assert evaluated.forward == eap.forward + 4 * (2 + 3)


def test_neighbours_share_models_and_prompts_and_no_part_is_empty() -> None:
    study = make_study(with_(models=["demo", "gpt2"], tasks=["ioi", "sva"], seeds=[0, 1]))
    ordered = in_order(study.cells)
    groups = [(cell.spec.model, cell.spec.task, cell.spec.seed) for cell in ordered]
    assert len([a for a, b in itertools.pairwise(groups) if a != b]) == len(set(groups)) - 1
    for parts in (1, 2, 3, 16, 99):
        found = split(ordered, parts)
        assert [cell for part in found for cell in part] == ordered and all(found)
        assert len(found) <= parts


def test_a_sweep_computes_once_and_answers_from_the_library(worker: Worker) -> None:
    study = make_study(SMALL)
    first = sweep(study, worker.library, worker=worker)
    assert (first.computed, first.skipped, first.failed) == (2, 0, [])
    full = first.table[first.table["edges_selected"] == 479]
    assert np.allclose(full["faithfulness"].astype(float), 1, atol=1e-5)
    assert list(first.table["method"]) == ["eap"] * 3 + ["random"] * 3
    assert pd.read_parquet(first.folder / "table.parquet").equals(first.table)
    again = sweep(study, worker.library, worker=Worker(worker.library, model_loader=None))
    assert (again.computed, again.skipped) == (0, 2) and again.table.equals(first.table)
    more = sweep(make_study(with_(methods=["eap", "random", "relp"])), worker.library, worker=worker)
    assert (more.computed, more.skipped) == (1, 2)


def test_what_the_sweep_says_is_what_evaluate_says(worker: Worker) -> None:
    from eapgp.runs import compute_run
    from eapgp.runs.evaluate import Question, Running, evaluate_run

    table = sweep(make_study(SMALL), worker.library, worker=worker).table
    elsewhere = RunLibrary(worker.library.home / "elsewhere")
    spec = RunSpec(model="demo", task="ioi", n_pairs=4, method="eap")
    run = compute_run(spec, library=elsewhere, model_loader=worker.load)
    answer = evaluate_run(run, Question(sizes=(20, 100, 479), resamples=50), how=Running(model_loader=worker.load))
    rows = table[table["method"] == "eap"]
    assert set(rows["run"]) == {run.id}
    for name in ("faithfulness", "faithfulness_low", "metric_low", "kl", "accuracy_high"):
        assert np.allclose(rows[name].astype(float), [entry[name] for entry in answer["curve"]], atol=1e-6)


def test_other_prompts_can_be_evaluated_on(worker: Worker) -> None:
    held = {"name": "held out", "sizes": [100], "seed": 9, "split": "test", "pairs": 3, "resamples": 20}
    table = sweep(make_study(with_(evaluations=[*SMALL["evaluations"], held])), worker.library, worker=worker).table
    assert list(table["evaluation"].unique()) == ["faithfulness", "held out"]
    assert set(table.loc[table["evaluation"] == "held out", "eval_pairs"]) == {3}


def test_what_is_judged_alike_shares_the_clean_and_corrupted_runs(
    worker: Worker, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two methods, two questions on the same held-out pairs and one on others: two runners, and the numbers of five."""
    from eapgp.evaluation.runner import CircuitRunner

    held = {"split": "test", "pairs": 3, "resamples": 20, "metric": "logit-diff"}
    questions = [
        {"name": "top", "sizes": [50, 100], **held},
        {"name": "grown", "sizes": [100], "rule": "greedy", **held},
        {"name": "other metric", "sizes": [100], **held, "metric": "prob-diff"},
    ]
    prompts: list[str] = []
    init = CircuitRunner.__init__

    def counted(self: CircuitRunner, model: Any, pairs: Any, **how: Any) -> None:
        prompts.append(pairs.hash)
        init(self, model, pairs, **how)

    monkeypatch.setattr(CircuitRunner, "__init__", counted)
    some = [{"name": "demo", "bos": "none"}]
    study = make_study(with_(models=some, methods=["eap", "random"], evaluations=questions[:2]))
    table = sweep(study, worker.library, worker=worker).table
    assert len(prompts) == 1
    prompts.clear()
    whole = sweep(make_study(with_(models=some, methods=["eap"], evaluations=questions)), worker.library, worker=worker)
    assert len(prompts) == 1 and set(whole.table["evaluation"]) == {"top", "grown", "other metric"}
    alone = [
        sweep(
            make_study(with_(models=some, methods=[method], evaluations=[question])),
            RunLibrary(home / method / question["name"]),
            worker=Worker(RunLibrary(home / method / question["name"]), model_loader=worker.load),
        ).table
        for method in ("eap", "random")
        for question in questions[:2]
    ]
    assert list(table["faithfulness"]) == [value for one in alone for value in one["faithfulness"]]


def test_a_cell_that_fails_is_told_and_the_others_go_on(home: Path, model: Any) -> None:
    calls: list[str] = []

    def loader(name: str, **how: Any) -> Any:
        calls.append(name)
        if name == "gpt2" and len(calls) < 4:
            raise RuntimeError("no\nsuch weights")
        return model

    study = make_study(with_(models=["gpt2", "demo"], methods=["eap"]))
    result = sweep(study, RunLibrary(home), worker=Worker(RunLibrary(home), model_loader=loader))
    (failed,) = result.failed
    assert failed["error"] == {"type": "RuntimeError", "message": "no such weights", "expected": False}
    assert list(result.table["status"]) == ["failed", "done", "done", "done"]
    assert "no such weights" in result.report.read_text()
    again = sweep(study, RunLibrary(home), worker=Worker(RunLibrary(home), model_loader=loader))
    assert (again.computed, again.skipped) == (1, 1), "only what failed is tried again"


def test_an_interruption_stops_the_sweep_and_keeps_what_is_finished(worker: Worker) -> None:
    study = make_study(SMALL)

    folder = worker.library.home / "studies" / "small"

    def done() -> list[bool]:
        return [is_done(read_record(folder, cell), worker.library) for cell in study.cells]

    def inside(phase: str, fraction: float) -> None:
        if fraction > 0:  # within the first cell
            raise Cancelled("stopped")

    def between(phase: str, fraction: float) -> None:
        if any(done()):
            raise Cancelled("stopped")

    for stop, finished in ((inside, [False, False]), (between, [True, False])):
        with pytest.raises(Cancelled):
            sweep(study, worker.library, worker=worker, progress=stop)
        assert done() == finished


def test_a_deleted_run_is_computed_again(worker: Worker) -> None:
    study = make_study(SMALL)
    first = sweep(study, worker.library, worker=worker)
    worker.library.delete(first.records[0]["run"])
    again = sweep(study, worker.library, worker=worker)
    assert again.computed == 1 and again.table.equals(first.table)


def test_a_cell_that_another_process_holds_is_waited_for(worker: Worker, tmp_path: Path) -> None:
    import threading

    from eapgp.runs.files import locked
    from eapgp.study.worker import cell_folder

    (cell, other) = make_study(SMALL).cells
    place = cell_folder(tmp_path, cell.key)
    place.mkdir(parents=True)
    order: list[str] = []

    def hold() -> None:
        with locked(place):
            held.set()
            release.wait(60)
            order.append("released")

    held, release = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    for record in work([cell, other], tmp_path, worker.library, worker=worker):
        order.append(record["cell"])
        release.set()
        time.sleep(0.01)
    thread.join()
    assert order == [other.key, "released", cell.key]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_loses_nothing_and_the_table_is_the_same(tmp_path: Path) -> None:
    """In a process of its own, since forking a process that has run torch in threads is unsafe."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\nfrom pathlib import Path\nfrom kill_sweep import *\n"
        "study = make_study({**STUDY, 'tasks': ['ioi'], 'seeds': [0, 1]})\n"
        f"print(check_killed(Path({str(tmp_path)!r}), kills=8, longest=2.0, study=study))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    progress = json.loads(done.stdout)
    assert sum(map(len, progress)) == 8 and all(part == sorted(part) for part in progress) and progress[0][-1] > 0


def test_two_sweeps_of_one_study_share_the_work(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(with_(methods=["eap", "random", "relp", "ifr"])))
    line = [sys.executable, "-m", "eapgp", "sweep", str(path), "--json", "--quiet"]
    environment = {**os.environ, "EAPGP_HOME": str(home), "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    replies = [json.loads(process.communicate(timeout=400)[0]) for process in both]
    assert all(reply["done"] == 4 and reply["failed"] == 0 for reply in replies)
    library = RunLibrary(home)
    assert len(library.list()) == 4 and library.problems() == []
    records = list((home / "studies" / "small" / "cells").glob("*/cell.json"))
    assert len(records) == 4 and not any(json.loads(record.read_text())["cached"] for record in records)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="signals of POSIX")
def test_ctrl_c_in_the_terminal_stops_the_workers_without_a_traceback(tmp_path: Path, home: Path) -> None:
    """Ctrl-C reaches every process of the terminal's group, the ones that submitit starts too."""
    path = tmp_path / "study.yaml"
    local = {"executor": "local", "workers": 2, "threads": 1}
    path.write_text(yaml.safe_dump(with_(methods=["exact", "random"], pairs=512, execution=local)))
    started = subprocess.Popen(
        [sys.executable, "-m", "eapgp", "sweep", str(path), "--json"],
        cwd=ROOT,
        env={**os.environ, "EAPGP_HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert started.stderr is not None
    for text in started.stderr:
        if text.startswith("cells"):
            break
    os.killpg(started.pid, signal.SIGINT)
    out, err = started.communicate(timeout=120)
    assert started.returncode == 130, err
    assert json.loads(out)["error"]["type"] == "Cancelled"
    assert err == "eapgp: interrupted.\n"
    with pytest.raises(ProcessLookupError):  # none is left, soon
        for _ in range(600):
            os.killpg(started.pid, 0)
            time.sleep(0.1)


def test_a_worker_ends_with_its_sweep_however_that_ends(tmp_path: Path) -> None:
    code = "import sys, time; from eapgp.study.worker import end_with; end_with(int(sys.argv[1])); time.sleep(60)"
    sweep = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    worker = subprocess.Popen([sys.executable, "-c", code, str(sweep.pid)], cwd=ROOT)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(4)
    sweep.kill()  # and not waited for: it stays a zombie
    assert worker.wait(20) == 1
    sweep.wait()


def test_local_processes_through_submitit(tmp_path: Path, home: Path, worker: Worker) -> None:
    study = make_study(with_(execution={"executor": "local", "workers": 1, "threads": 1}))
    seen: list[float] = []
    result = sweep(study, RunLibrary(home), progress=lambda phase, fraction: seen.append(fraction))
    assert result.failed == [] and result.computed == 2 and seen[-1] == 1
    here = sweep(
        study,
        RunLibrary(tmp_path / "here"),
        execution=Execution("in-process"),
        worker=Worker(RunLibrary(tmp_path / "here"), model_loader=worker.load),
    )
    same = [name for name in result.table.columns if result.table[name].dtype == "string"]
    assert result.table[same].equals(here.table[same])
    for name in ("faithfulness", "metric_clean", "area"):
        assert np.allclose(result.table[name].astype(float), here.table[name].astype(float), atol=1e-5)


def test_a_report_calls_an_area_cpr_only_on_mib_s_grid(home: Path, worker: Worker) -> None:
    grids = [{"sizes": [20, 100, 479], "resamples": 20}, {"name": "mib", "grid": "mib", "resamples": 20}]
    result = sweep(make_study(with_(evaluations=grids)), RunLibrary(home), worker=worker)
    named = result.table.groupby("evaluation")[["area", "cpr", "cmd"]].count()
    assert named.loc["faithfulness"].tolist() == [6, 0, 0]
    assert named.loc["mib", "area"] == named.loc["mib", "cpr"] == named.loc["mib", "cmd"] == 20
    quantities = result.differences.groupby("evaluation")["quantity"].agg(set)
    assert quantities["faithfulness"] == {"area", "area_to_one", "faithfulness"}
    assert quantities["mib"] == {"cpr", "cmd", "faithfulness"}
    text = result.report.read_text()
    assert "<th>CPR" not in text and "sizes of the study" in text and "MIB&#x27;s grid" in text


def test_slurm_gets_its_parameters_and_says_where_it_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = {"partition": "gpu", "gpus_per_node": 1, "mem_gb": 40, "timeout_min": 90, "cpus_per_task": 6}
    how = make_study(with_(execution={"executor": "slurm", "workers": 8, "slurm": slurm})).execution
    assert executor_parameters(how, "x") == {
        "name": "eapgp-x",
        "timeout_min": 90,
        "mem_gb": 40,
        "cpus_per_task": 6,
        "gpus_per_node": 1,
        "slurm_partition": "gpu",
        "slurm_array_parallelism": 8,
    }
    monkeypatch.setenv("PATH", str(tmp_path))  # also on a machine that has it
    with pytest.raises(OptionError, match=r"executor 'slurm'.*Use --executor local"):
        make_executor(tmp_path, how, "x")


def test_the_report_asks_the_network_for_nothing_and_escapes_names(worker: Worker) -> None:
    study = make_study(with_(description="<img src=x onerror=alert(1)>", methods=[{"name": "eap", "label": "<b>me"}]))
    text = sweep(study, worker.library, worker=worker).report.read_text()
    body = text[text.rindex("</script></head>") :] if "</script></head>" in text else text
    assert "Content-Security-Policy" in text and "default-src 'none'" in text
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", body)
    assert "<img" not in body and "<b>me" not in body and "&lt;img" in body
    assert "Plotly.newPlot" in body


@pytest.fixture
def study_file(tmp_path: Path) -> Iterator[Callable[..., str]]:
    def write(**changes: Any) -> str:
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(with_(**changes)))
        return str(tmp_path / "study.yaml")

    yield write


def test_a_dry_run_computes_nothing(
    study_file: Callable[..., str], capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    path = study_file(execution={"executor": "slurm", "slurm": {"partition": "long"}})
    assert main(["sweep", path, "--dry-run", "--json"]) == 0
    reply = json.loads(capsys.readouterr().out)
    assert reply["to_compute"] == len(reply["cells"]) == 2
    assert reply["parameters"]["slurm_partition"] == "long"
    assert reply["forward"] == sum(cell["forward"] for cell in reply["cells"])
    assert not home.exists()
    assert main(["sweep", path, "--dry-run", "--limit", "1"]) == 0
    assert "1 of 1 cells to compute" in capsys.readouterr().out


def test_a_wrong_file_or_executor_exits_with_2(
    study_file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", study_file(seeds=[]), "--dry-run"]) == 2
    assert "seeds" in capsys.readouterr().err
    assert main(["sweep", study_file(), "--executor", "cloud"]) == 2
    assert "unknown executor 'cloud'" in capsys.readouterr().err


def test_a_sweep_with_a_failed_cell_tells_it_and_exits_with_1(
    study_file: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = study_file(models=[str(tmp_path / "no-model")])
    assert main(["sweep", path, "--executor", "in-process", "--json", "--quiet"]) == 1
    out, err = capsys.readouterr()
    reply = json.loads(out)
    assert reply["failed"] == reply["cells"] == len(reply["failures"]) and reply["done"] == 0
    assert err == f"eapgp: {reply['cells']} of {reply['cells']} cells failed; the same command tries them again.\n"
    assert Path(reply["report"]).is_file()


def test_planning_needs_no_torch() -> None:
    code = (
        "import sys; import eapgp.study.plan, eapgp.study.estimate, eapgp.study.table, eapgp.cli.study\n"
        "assert 'torch' not in sys.modules and 'submitit' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_study_type_is_plain(tmp_path: Path) -> None:
    study: Study = make_study(SMALL)
    assert study.limited(1).cells == study.cells[:1] and study.limited(None) is study


def test_a_task_is_posed_once_however_many_cells_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    posed: list[tuple[str, str]] = []
    monkeypatch.setattr(plan, "make_prompts", lambda task, n, *, split, **options: posed.append((task, split)))
    tasks = [{"name": "ioi"}, {"name": "ioi", "split": "test"}, {"name": "sva"}]
    study = {"name": "x", "models": ["demo"], "tasks": tasks, "methods": ["eap", "eap-ig"], "seeds": [0, 1, 2]}
    assert len(plan.make_study(study).cells) == 18
    assert posed == [("ioi", "all"), ("ioi", "test"), ("sva", "all")]
