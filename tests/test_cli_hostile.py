"""The command line against what it should not be given, interrupted, without network, and from a shell's completion."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eapgp.cli import main
from eapgp.study.reproduce import GRID
from eapgp.study.reproduce_rows import METHODS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "home"


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a command that must exit with 2; standard output holds one JSON object and nothing else."""
    assert main([*arguments, "--json", "--quiet"]) == 2
    out, err = capsys.readouterr()
    message = str(json.loads(out)["error"]["message"])
    assert err == f"eapgp: {message}\n", "one line, also with --quiet"
    return message


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 8)


def long_field(path: Path) -> None:
    path.write_text("clean,corrupted,correct,incorrect\n" + "x " * 100_000 + ",b,c,d\n")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (binary, "UTF-8 text was expected"),
        (lambda path: path.write_bytes(b"clean,corrupted,correct,incorrect\n\0,a,b,c\n"), "NUL bytes"),
        (lambda path: path.write_text("clean,corrupted,correct,incorrect\né,b,c,d\n", encoding="latin-1"), "UTF-8"),
        (lambda path: path.write_text('clean,corrupted,correct,incorrect\n"a,b,c,d\n'), "row 1"),
        (lambda path: path.write_text("clean,corrupted,correct,incorrect\na,b\n"), "row 1 has 2 cells"),
        (lambda path: path.write_text("clean,corrupted,correct,incorrect\na,b,,d\n"), "row 1, column correct"),
        (long_field, "row 1"),
        (lambda path: path.mkdir(), "is a folder"),
    ],
)
def test_what_is_no_prompt_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, make: Callable[[Path], None], text: str
) -> None:
    make(tmp_path / "名 é.csv")
    message = refuse(capsys, "attribute", "--prompts", "名 é.csv")
    assert text in message and "名 é.csv" in message


def demo_config(folder: Path) -> Path:
    """A folder with everything of the demo model but its weights."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(ROOT / "assets" / "demo" / name, folder / name)
    return folder


def test_model_folders_that_cannot_be_read_and_pickles_that_are_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    (demo_config(tmp_path / "empty") / "model.safetensors").write_bytes(b"")
    (demo_config(tmp_path / "pickle") / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "bare").mkdir()
    assert "config.json and model.safetensors" in refuse(capsys, "attribute", "--model", "empty")
    assert "model.safetensors" in refuse(capsys, "attribute", "--model", "pickle")
    assert "holds no config.json" in refuse(capsys, "attribute", "--model", "bare")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["attribute", "--steps", "9" * 22], "at most 10,000"),
        (["attribute", "--pairs", "9" * 22], "distinct ones exist"),
        (["attribute", "--out", "file"], "expected a folder"),
        (["attribute", "--export", "absent/x.json"], "make it first"),
        (["attribute", "--export", "."], "got a folder"),
        (["attribute", "--home", "file"], "--home file: expected a folder"),
        (["runs", "list", "--home", "file"], "file/runs"),
        (["reproduce", "--out", "file"], "expected a folder"),
        (["sweep", "file", "--out", "file"], "expected a folder"),
        (["attribute", "--method", "random", "--option", "seed=abc"], "seed must be a whole number"),
        (["attribute", "--method", "random", "--option", "seed=-1"], "seed must be a whole number"),
        (["evaluate", "--run", "ioi-eap", "--option", "step=unit"], "expected an option of the task (corruption)"),
        (["evaluate", "--run", "sva-eap", "--option", "corruption=hard"], "task 'sva' has no option 'corruption'"),
        (["evaluate", "--run", "ioi-eap", "--intervention", "noise"], "unknown intervention 'noise'"),
        (["evaluate", "--run", "ioi-eap", "--metric", "noise"], "unknown metric 'noise'"),
        (["evaluate", "--run", "ioi-eap", "--run", "ioi-eap-gp"], "got 2 of them; give one"),
        (["runs", "show", "x" * 300], "File name too long"),
        (["attribute", "--model", "x" * 300], "unknown model 'xxx"),
        (["attribute", "--out", "x" * 300], "File name too long"),
        (["runs", "list", "--home", "loop"], "symbolic links"),
        (["runs", "show", "ioi-eap", "--top", "-5"], "greater than or equal to 0"),
        (["app", "--no-browser", "--address", "999.1.1.1", "--port", "8997"], "expected an address of this machine"),
        (["attribute", "--model", "ünï/名"], "ünï/名"),
        (["attribute", "--model", "no/such-model"], "give a local folder"),
    ],
)
def test_places_and_numbers_are_checked_before_anything_is_computed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: list[str], text: str
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert text in refuse(capsys, *line)


def test_reproduce_without_weights_exits_with_2_says_why_and_loses_nothing(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    assert main(["reproduce", "--model", "gpt2", "--json", "--quiet"]) == 2
    out, err = capsys.readouterr()
    reply = json.loads(out)
    assert err.count("\n") == 1 and err.startswith("eapgp: not run: model 'gpt2' could not be fetched")
    assert reply["verdicts"]["not run"] == len(reply["rows"]) == 6 * len(METHODS) * len(GRID)
    assert all(row["value"] is None for row in reply["rows"]) and reply["error"]["type"] == "NotRun"
    assert not home.exists(), "no report of nothing"
    assert main(["reproduce", "--model", "gpt2", "--quiet", "--out", "report"]) == 2
    assert capsys.readouterr().out == ""
    assert "| not run |" in (tmp_path / "report" / "reproduction.md").read_text()


def test_an_outcome_outlives_the_weights(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was run while the weights were at hand answers later requests too."""
    line = ["reproduce", "--limit", "1", "--pairs", "2", "--no-exact", "--json", "--quiet"]
    assert main(line) == 0
    before = json.loads(capsys.readouterr().out)
    from eapgp.errors import ModelError

    def gone(*_: Any, **__: Any) -> None:
        raise ModelError("the weights are gone.")

    monkeypatch.setattr("eapgp.study.worker.load_model", gone)
    assert main(line) == 0
    after = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in after["rows"]] == [row["verdict"] for row in before["rows"]]
    assert Path(after["page"]).is_file() and (home / "studies" / "paper-demo-1-task-2-pairs-no-exact").is_dir()


def test_a_library_that_cannot_be_written_answers_what_it_holds_and_refuses_the_rest_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["attribute", "--pairs", "2", "--method", "eap", "--json", "--home", os.environ["EAPGP_HOME"]]
    assert main(line) == 0
    first = json.loads(capsys.readouterr().out)
    may = os.access
    monkeypatch.setattr("os.access", lambda place, mode, **how: not mode & os.W_OK and may(place, mode, **how))
    monkeypatch.setattr("eapgp.runs.compute.run_attribution", lambda *_, **__: pytest.fail("computed for nothing"))
    assert main(line) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["cached"] and again["id"] == first["id"]
    assert main([*line, "--seed", "1"]) == 2
    assert "expected a folder that can be written" in json.loads(capsys.readouterr().out)["error"]["message"]


def completions(words: str, at: int) -> list[str]:
    environment = {**os.environ, "_EAPGP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    code = "import sys; sys.argv = ['eapgp']; from eapgp.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.stdout.split()


def test_the_shell_completes_methods_tasks_and_models() -> None:
    assert completions("eapgp attribute --method eap-g", 3) == ["eap-gp", "eap-gp-activations", "eap-gp-conductance"]
    assert completions("eapgp prompts generate h", 3) == ["hypernymy"]
    assert completions("eapgp attribute --model gpt2-", 3) == ["gpt2-medium", "gpt2-large", "gpt2-xl"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupt_within_executed_text_exits_with_130(tmp_path: Path) -> None:
    """CPython ends `python -m` by the signal where it passed through such text, although it was caught."""
    (tmp_path / "interrupted.py").write_text(
        "import sys, eapgp.cli\n"
        "from eapgp.__main__ import run\n"
        "eapgp.cli.main = lambda: exec('raise KeyboardInterrupt')\n"
        "sys.exit(run())\n"
    )
    line = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == 130, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupted_command_exits_with_130_and_leaves_no_run(home: Path) -> None:
    line = [sys.executable, "-m", "eapgp", "attribute", "--method", "exact", "--pairs", "64", "--json"]
    started = subprocess.Popen(
        line,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert started.stderr is not None
    for text in started.stderr:
        if text.startswith("scoring edges"):
            break
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=120)
    assert started.returncode == 130, err
    assert json.loads(out)["error"]["type"] == "Cancelled" and err.endswith("eapgp: interrupted.\n")
    assert not list((home / "runs").glob("*/run.json"))
