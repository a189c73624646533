"""The command line without a model: replies, errors, exit codes, and every command that needs no torch."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from runs_made import assert_same, made_attribution, made_prompts, made_request

from eapgp import __version__
from eapgp.cli import MODULES, build, main
from eapgp.cli.attribute import path_steps
from eapgp.cli.options import key_values, make_spec
from eapgp.cli.output import Output, Reply, number, size
from eapgp.errors import Cancelled, ComputationError, InputError, NotFiniteError, OptionError
from eapgp.prompts import read_prompts
from eapgp.runs import Run, RunLibrary, open_run

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Run:
    prompts = made_prompts()
    return RunLibrary(home).save(made_attribution(), made_request(prompts), prompts, device="cpu")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The JSON object that a command prints; it must be all that standard output holds."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a command that must exit with 2, the same in both streams and on one line."""
    assert main([*arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    message = json.loads(out)["error"]["message"]
    assert err.splitlines()[-1] == f"eapgp: {message}"
    return str(message)


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


ALL = dict(commands(typer.main.get_command(build())))


def test_the_commands_that_were_promised_are_there() -> None:
    single = "attribute evaluate compare ground-truth exact import export tasks methods bench app"
    of_runs = "list show open rm restore rename note export import gc"
    expected = {(name,) for name in single.split()} | {("runs", name) for name in of_runs.split()}
    assert expected | {("prompts", "generate"), ("prompts", "check"), ("models", "get")} <= set(ALL)


def test_help_says_where_the_fields_library_differs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attribute", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "The EAP-IG library has other conventions" in text and "mean-positional averages the clean prompts" in text
    assert main(["methods", "eap-ig-activations"]) == 0
    assert "gives other scores" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("module", MODULES)
def test_a_command_is_there_without_the_modules_of_others(module: str) -> None:
    for name in MODULES[module]:
        assert set(typer.main.get_command(build(name)).commands) == set(MODULES[module])
    assert {words[0] for words in ALL} == {name for names in MODULES.values() for name in names}


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help_with_examples_and_the_shared_options(words: tuple[str, ...]) -> None:
    command = ALL[words]
    assert f"eapgp {' '.join(words)}" in command.help
    assert "Examples:" in command.help
    names = {name for parameter in command.params for name in parameter.opts}
    assert {"--json", "--quiet"} <= names
    undescribed = [parameter.name for parameter in command.params if not parameter.help and parameter.name != "help"]
    assert not undescribed


def test_what_needs_no_torch_imports_none() -> None:
    code = (
        "import sys\nfrom eapgp.cli import main\n"
        "for line in (['--help'], ['models'], ['tasks'], ['methods'], ['methods', 'eap-gp'], ['runs', 'list'],\n"
        "             ['ground-truth', '--list'], ['prompts', 'generate', 'ioi', '--pairs', '2']):\n"
        "    assert main(line) == 0, line\n"
        "heavy = ('torch', 'transformer_lens', 'transformers', 'streamlit', 'pandas', 'plotly')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    for text in ("attribute", "gpt2-xl", "country-capital", "GradPath"):
        assert text in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"eapgp {__version__}\n"


def test_the_module_and_its_exit_code(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "eapgp", "tasks", "nonsense", "--json"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["type"] == "UnknownNameError"
    assert done.stderr.count("\n") == 1


def test_shell_completion_names_the_commands() -> None:
    environment = {**os.environ, "_EAPGP_COMPLETE": "complete_bash", "COMP_WORDS": "eapgp attr", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['eapgp']; from eapgp.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "attribute" in done.stdout


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["tasks", "--colour"], "No such option: --colour"),
        (["attribute", "--pairs", "many"], "Invalid value for '--pairs'"),
        (["runs", "show"], "Missing argument 'RUN'"),
        (["attribute", "--pairs", "0"], "pairs: expected at least 1, got 0."),
        (["attribute", "--task", "ioii"], "unknown task 'ioii'"),
        (["attribute", "--method", "eapgp"], "unknown method 'eapgp'"),
        (["attribute", "--metric", "logit"], "unknown metric 'logit'"),
        (["attribute", "--steps", "0"], "at least 1; got 0"),
        (["attribute", "--step", "-1"], "'relative', 'unit', 'descend' or a positive number"),
        (["attribute", "--method", "eap", "--steps", "3"], "no option 'steps'"),
        (["attribute", "--option", "corruption"], "expected key=value"),
        (["attribute", "--option", "corruption=harder"], "harder"),
        (["attribute", "--option", "colour=red"], "no option 'colour'"),
        (["attribute", "--prompts", "absent.csv"], "absent.csv"),
        (["attribute", "--export", "scores.xyz"], "unknown suffix '.xyz'"),
        (["attribute", "--split", "dev"], "dev"),
        (["compare"], "expected two of --run and --scores together, got 0"),
        (["evaluate"], "expected either --run or --scores, got neither"),
        (["evaluate", "--run", "0000"], "eapgp runs list shows what there is"),
        (["ground-truth", "--scores", "absent.json", "--variant", "ioi"], "absent.json"),
        (["import", "absent.json"], "absent.json"),
        (["import", "scores.pkl"], "refused"),
        (["methods", "eap-pg"], "Did you mean"),
        (["prompts", "generate", "ioi", "--out", "x.txt"], "expected a .csv file"),
        (["app", "--port", "0"], "--port"),
        (["bench", "--only", "speed"], "unknown section 'speed'"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], line: list[str], text: str
) -> None:
    assert text in refuse(capsys, *line)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "is empty"),
        ("clean,corrupted,correct,incorrect\n", "holds no pairs"),
        ("clean,corrupted,reply\na,b,c\n", "incorrect"),
        ("clean,corrupted,correct,incorrect\na,b,c,d\na,,c,d\n", "corrupted"),
    ],
)
def test_a_bad_prompt_file_is_told_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, text: str
) -> None:
    (tmp_path / "pairs.csv").write_text(content)
    message = refuse(capsys, "attribute", "--prompts", "pairs.csv")
    assert text in message and "pairs.csv" in message
    assert "torch" not in message


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("eapgp.cli.library.RunLibrary", stop)


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (InputError("bad"), 2, "InputError"),
        (NotFiniteError("bad"), 2, "NotFiniteError"),
        (ComputationError("bad"), 1, "ComputationError"),
        (Cancelled("bad"), 130, "Cancelled"),
        (KeyboardInterrupt(), 130, "Cancelled"),
        (ZeroDivisionError("two\nlines"), 1, "ZeroDivisionError"),
    ],
)
def test_exit_codes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, kind: str
) -> None:
    failing(monkeypatch, error)
    assert main(["runs", "list", "--json"]) == code
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["type"] == kind
    assert err.count("\n") == 1 and err.startswith("eapgp: ")


def test_a_traceback_only_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ZeroDivisionError("gone"))
    monkeypatch.setenv("EAPGP_DEBUG", "1")
    assert main(["runs", "list"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" in err and "set EAPGP_DEBUG=1" in err


def test_what_libraries_print_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=True)
    with out.guarded():
        print("loading…")
    out.emit(Reply({"x": float("nan"), "y": np.float32(2), "z": [np.inf]}))
    captured = capsys.readouterr()
    assert captured.err == "loading…\n"
    assert json.loads(captured.out) == {"x": None, "y": 2.0, "z": [None]}


def test_quiet_silences_messages_prints_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    with out.guarded(), out.progress() as progress:
        print("noise")
        out.message("more noise")
        warnings.warn("even more", stacklevel=1)
        progress("scoring edges", 0.5)
    out.emit(Reply({}, "reply"))
    assert capsys.readouterr() == ("reply\n", "")


def test_progress_is_sparse_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("eapgp.cli.output.time.monotonic", lambda: clock[0])
    with Output().progress() as progress:
        assert progress is not None
        for step in range(101):
            clock[0] = step / 4
            progress("scoring", step / 100)
    assert capsys.readouterr().err.splitlines() == [
        "scoring: 0 %",
        "scoring: 40 %, 15 s left",
        "scoring: 80 %, 5 s left",
    ]


def test_the_catalogues_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    methods = call(capsys, "methods")["methods"]
    assert {"eap", "eap-ig", "eap-gp", "exact", "random"} <= {entry["name"] for entry in methods}
    for entry in methods:
        assert all(entry[key] for key in ("name", "title", "paper", "cost", "interventions", "explanation"))
    models = {entry["name"]: entry for entry in call(capsys, "models")["models"]}
    assert models["gpt2"]["n_edges"] == 32_491 and models["gpt2-xl"]["n_edges"] == 2_235_025
    tasks = {entry["name"]: entry for entry in call(capsys, "tasks")["tasks"]}
    assert len(tasks) == 6 and tasks["ioi"]["options"][0]["name"] == "corruption"
    assert call(capsys, "tasks", "sva")["tasks"][0] == tasks["sva"]


def test_runs_from_list_to_trash_and_back(capsys: pytest.CaptureFixture[str], run: Run) -> None:
    listed = call(capsys, "runs", "list", "eap-gp steps=3")["runs"]
    assert [entry["id"] for entry in listed] == [run.id] and listed[0]["steps"] == 3
    assert call(capsys, "runs", "list", "method=eap")["runs"] == []
    assert call(capsys, "runs", "rename", run.id[:6], "first look")["name"] == "first look"
    assert call(capsys, "runs", "note", "first look", "α")["note"] == "α"
    shown = call(capsys, "runs", "show", "first look", "--top", "2")
    assert [edge["name"] for edge in shown["top_edges"]] == [name for name, _ in run.scores().top(2)]
    assert shown["request"] == run.request and shown["note"] == "α"
    assert call(capsys, "runs", "open", run.id)["run"] == str(run.path)
    assert call(capsys, "runs", "rm", run.id[:8])["removed"] == [run.id]
    assert call(capsys, "runs", "restore")["trash"] == [run.id]
    assert call(capsys, "runs", "restore", run.id[:8])["run"] == str(run.path)
    record = run.path / "run.json"
    record.write_bytes(record.read_bytes()[:100])  # a run that is damaged is brought back too, and said to be
    call(capsys, "runs", "rm", run.id)
    restored = call(capsys, "runs", "restore", run.id)
    assert restored["restored"] == run.id and "expected JSON" in restored["problem"] and run.path.is_dir()
    assert call(capsys, "runs", "gc")["disk"]["runs"] == 1


def test_runs_say_the_same_to_people(capsys: pytest.CaptureFixture[str], run: Run) -> None:
    assert main(["runs", "list"]) == 0
    assert run.id[:12] in capsys.readouterr().out
    assert main(["runs", "show", run.id]) == 0
    out = capsys.readouterr().out
    for text in (str(run.path), "eap-gp steps=3", "4 forward, 6 backward", run.scores().top(1)[0][0]):
        assert text in out
    assert main(["runs", "open", run.id]) == 0
    assert capsys.readouterr().out == f"{run.path}\n"


def test_runs_list_tells_of_damaged_runs_on_standard_error(capsys: pytest.CaptureFixture[str], run: Run) -> None:
    (run.path / "scores.safetensors").unlink()
    assert main(["runs", "list", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["runs"] == [], "set aside: its scores answer nothing"
    assert run.id in err and "scores.safetensors" in err


def test_runs_travel_by_zip_and_folder(capsys: pytest.CaptureFixture[str], run: Run, tmp_path: Path) -> None:
    call(capsys, "runs", "export", run.id, "run.zip")
    call(capsys, "runs", "export", run.id, "copy")
    assert_same(open_run(tmp_path / "copy").attribution(), made_attribution())
    other = str(tmp_path / "other")
    assert call(capsys, "runs", "import", "run.zip", "--home", other)["runs"] == [run.id]
    assert_same(RunLibrary(other).open(run.id).attribution(), made_attribution())
    (tmp_path / "run.zip").write_bytes(b"PK")
    assert "expected a whole zip file" in refuse(capsys, "runs", "import", "run.zip", "--home", other)


def test_export_and_import_keep_the_scores(capsys: pytest.CaptureFixture[str], run: Run, tmp_path: Path) -> None:
    for name in ("scores.json", "scores.csv", "scores.parquet"):
        call(capsys, "export", name, "--run", run.id)
        read = call(capsys, "import", name, "--top", "3")
        assert read["top_edges"] == [{"name": edge, "score": score} for edge, score in run.scores().top(3)]
        assert (read["n_edges"], read["n_scored"]) == (46, 45)
    marked = call(capsys, "export", "circuit.graphml", "--run", run.id, "--edges", "10")
    assert marked["edges_selected"] == 10 >= marked["edges_kept"]
    page = call(capsys, "export", "circuit.html", "--run", run.id, "--edges", "10")
    text = (tmp_path / "circuit.html").read_text()
    assert page["format"] == "html" and text.startswith("<!doctype html>") and run.scores().top(1)[0][0][:5] in text
    assert "cannot" in refuse(capsys, "export", "absent/scores.json", "--run", run.id)
    assert "expected a file that can be written" in refuse(capsys, "export", "absent/page.html", "--run", run.id)
    call(capsys, "import", "scores.json", "--to", "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "scores.csv").read_text()


def test_compare_takes_runs_and_files(capsys: pytest.CaptureFixture[str], run: Run, home: Path) -> None:
    prompts = made_prompts()
    other = RunLibrary(home).save(made_attribution(5), made_request(prompts, 5), prompts)
    found = call(capsys, "compare", "--run", run.id, "--run", other.id, "-k", "5", "-k", "20")
    x, y = (found_run.scores() for found_run in (run, other))
    scored = x.graph.mask & ~np.isnan(x.values) & ~np.isnan(y.values)
    assert found["pearson"] == pytest.approx(np.corrcoef(x.values[scored], y.values[scored])[0, 1], abs=1e-6)
    assert set(found["jaccard"]) == {"5", "20"}
    for key in ("pearson_abs", "spearman", "kendall", "sign_agreement", "layers", "types"):
        assert found[key] is not None
    call(capsys, "export", "b.json", "--run", other.id)
    same = call(capsys, "compare", "--run", other.id, "--scores", "b.json")
    assert same["pearson"] == pytest.approx(1) and same["jaccard"]["10"] == 1
    assert main(["compare", "--run", run.id, "--run", other.id]) == 0
    assert "Agreement is not faithfulness" in capsys.readouterr().out


def test_ground_truth_takes_a_file_without_the_model(capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    scores = str(shared / "data" / "edge-scores" / "ioi-eap-ig.gpt2.HEAD.json")
    found = call(capsys, "ground-truth", "--scores", scores, "--variant", "ioi/hanna2024", "--edges", "400")
    assert 0.8 < found["auroc"]["edges"] < 1
    (at,) = found["sizes"]
    assert at["edges_selected"] == 400
    assert at["edges"]["precision"] == pytest.approx(at["edges"]["hits"] / at["edges_kept"])
    assert "--variant" in refuse(capsys, "ground-truth", "--scores", scores)


def test_the_published_files_agree_as_published(capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    files = [
        shared / "data" / "edge-scores" / f"greater-than_prob_diff_{kind}.gpt2.json" for kind in ("vanilla", "real")
    ]
    found = call(capsys, "compare", "--scores", str(files[0]), "--scores", str(files[1]))
    assert found["pearson_abs"] == pytest.approx(0.708, abs=0.002)


def test_generated_prompts_can_be_read_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = ("prompts", "generate", "ioi", "--pairs", "6", "--seed", "3", "--option", "corruption=hard")
    made = call(capsys, *line, "--out", "pairs.csv")
    read = read_prompts(tmp_path / "pairs.csv")
    assert len(read) == 6 and read.hash == made["hash"]
    assert call(capsys, *line)["hash"] == made["hash"]
    assert call(capsys, *line[:-2])["hash"] != made["hash"]


def test_specs_from_options() -> None:
    spec = make_spec(method=None, task="ioi", extra=["corruption=hard", "keep_points=true"], rows={"steps": "3"})
    assert spec.task_options == {"corruption": "hard"}
    assert spec.options == {"steps": 3, "keep_points": True}
    assert (spec.model, spec.n_pairs, spec.method) == ("demo", None, "eap-gp")
    from_file = make_spec(prompts=Path("x.csv"))
    assert (from_file.prompts_file, from_file.task) == ("x.csv", None)


def test_values_of_options() -> None:
    assert key_values(["a=1", "b=x=y", "c=[1, 2]", "d="]) == {"a": "1", "b": "x=y", "c": "[1, 2]", "d": ""}
    read = make_spec(method=None, extra=["step=0.5", "steps=3"], rows={"objective": "last"}).options
    assert read == {"step": 0.5, "steps": 3, "objective": "last"}
    assert make_spec(method=None, extra=['step="unit"']).options == {"step": "unit"}
    assert make_spec(method="exact", rows={"edges": ["a->b", "c->d,a->b"]}).options == {"edges": ["a->b", "c->d"]}
    assert make_spec(method="exact", extra=['edges=["a->b"]']).options == {"edges": ["a->b"]}
    with pytest.raises(OptionError, match=r"--option steps: expected once, got --steps too"):
        make_spec(method=None, extra=["steps=3"], rows={"steps": "3"})
    with pytest.raises(OptionError, match="got twice"):
        key_values(["a=1", "a=2"])


def test_path_steps_are_means_over_pairs() -> None:
    record = made_attribution().paths["gradpath"]
    steps = path_steps(record)
    assert [entry["step"] for entry in steps] == [0, 1, 2, 3]
    assert steps[2]["distance"] == pytest.approx(record.output_distance[2].mean())
    assert steps[2]["rose"] == pytest.approx((record.output_distance[2] > record.output_distance[1]).mean())
    assert np.isnan(steps[0]["gradient_norm"]) and not steps[0]["used"]
    assert path_steps(None) == []


def test_numbers_for_reading() -> None:
    assert [number(value) for value in (None, float("nan"), 0.123456, 32_491, True, "x")] == [
        "–",
        "–",
        "0.1235",
        "32,491",
        "yes",
        "x",
    ]
    assert [size(value) for value in (0, 999, 1500, 2_000_000)] == ["0 B", "999 B", "1.5 kB", "2.0 MB"]


def test_the_dashboard_is_started_here_and_reports_to_nobody(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def start(line: list[str], environment: dict[str, str], *, cwd: Path) -> bool:
        seen.update(line=line, environment=environment, cwd=cwd)
        return True

    monkeypatch.setattr("eapgp.cli.dashboard.run_until_stopped", start)
    reply = call(capsys, "app", "--port", "8765", "--no-browser", "--home", str(tmp_path / "lib"))
    assert reply["url"] == "http://localhost:8765"
    options = dict(zip(seen["line"][5::2], seen["line"][6::2], strict=True))
    assert options["--browser.gatherUsageStats"] == "false" and options["--server.port"] == "8765"
    assert options["--server.address"] == "localhost" and options["--server.headless"] == "true"
    assert Path(seen["line"][4]).name == "app.py" and Path(seen["line"][4]).parent == seen["cwd"]
    assert seen["environment"]["EAPGP_HOME"] == str(tmp_path / "lib")


def test_a_taken_port_is_named_with_a_free_one_before_anything_starts() -> None:
    import socket

    from eapgp.cli.dashboard import check_port
    from eapgp.errors import InputError

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} on 127\.0\.0\.1 is taken.* --port \d+"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)


def test_an_interruption_during_the_imports_is_told_like_any_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from eapgp.__main__ import run

    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "eapgp.cli", Interrupted("eapgp.cli"))
    monkeypatch.setattr(sys, "argv", ["eapgp", "tasks", "--json"])
    assert run() == 130
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["type"] == "Cancelled" and "interrupted" in said.err


def test_an_interruption_that_a_library_swallowed_stops_the_work_at_its_next_step() -> None:
    from eapgp.__main__ import OnInterrupt

    before = signal.signal(signal.SIGINT, OnInterrupt())
    try:
        with Output(quiet=True).progress() as progress:
            progress("scoring edges", 0.1)
            with contextlib.suppress(BaseException):
                signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                progress("scoring edges", 0.2)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_command_s_process_collects_garbage_seldom() -> None:
    """Looking through the libraries' objects again and again was a tenth of a cold `eapgp attribute`."""
    lines = (
        "import gc, sys",
        "from eapgp.__main__ import run",
        "sys.argv = ['eapgp', '--version']",
        "assert run() == 0 and gc.isenabled() and gc.get_threshold()[0] >= 10_000, gc.get_threshold()",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, stdout=subprocess.DEVNULL)
