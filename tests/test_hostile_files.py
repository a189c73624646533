"""Files that unpack, nest or widen without end are refused before they are decoded, within little memory and time."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runs_made import made_attribution, made_prompts, made_request

from eapgp.cli import main
from eapgp.errors import FormatError, PromptError, RunError
from eapgp.prompts.files import read_prompts
from eapgp.runs import RunLibrary, RunSpec, compute_run, write_run

ROOT = Path(__file__).resolve().parent.parent
PAIR = '{"clean":"a","corrupted":"b","correct":"c","incorrect":"d"}'
HEAD = "clean,corrupted,correct,incorrect"
GRAPH = '{"cfg":{"n_layers":2,"n_heads":2},"nodes":{},"edges":'
PROMPTS: dict[str, tuple[str, str]] = {
    "wide.csv": (HEAD + "".join(f",c{n}" for n in range(2_000_000)) + "\n", "columns; at most 512"),
    "unnamed.csv": (HEAD + "," * 2_000_000 + "\na,b,c,d\n", "columns; at most 512"),
    "cell.csv": (HEAD + "\n" + '"' + "y" * 30_000_000 + '",b,c,d\n', "a cell of more than 131,072 characters"),
    "lists.json": ("[" + "[]," * 10_000_000 + "[]]", "more than the 2,000,000 that are read"),
    "objects.json": ("[" + "{}," * 10_000_000 + "{}]", "more than the 2,000,000 that are read"),
    "keys.json": ("[{" + ",".join(f'"k{n}":1' for n in range(2_100_000)) + "}]", "more than the 2,000,000"),
    "deep.json": ('[{"clean":' + "[" * 100_000 + "]" * 100_000 + "}]", "nested too deep"),
    "deeper.json": ('[{"clean":' + "[" * 90 + "]" * 90 + "}]", "deeper than 64"),
    "half.json": ('[{"clean":"\\ud800","corrupted":"b","correct":"c","incorrect":"d"}]', "half a character"),
    "line.jsonl": (PAIR + '\n{"clean":"' + "x " * 50_000_000 + '"}\n', "at most 64 MiB are read"),
    "brackets.jsonl": (PAIR + '\n{"clean":' + "[" + "[]," * 5_000_000 + "[]]}\n", "more than the 2,000,000"),
}
SCORES: dict[str, tuple[str, str]] = {
    "lists.json": (GRAPH + "[" + "[]," * 10_000_000 + "[]]}", "more than the 100,"),
    "deep.json": (GRAPH + "[" * 40_000 + "]" * 40_000 + "}", "not a readable JSON"),
    "wide.csv": (
        "source,destination,score" + "".join(f",c{n}" for n in range(2_000_000)) + "\n",
        "columns are more than",
    ),
    "tags.graphml": ("<graphml>" + "<a/>" * 3_100_000 + "</graphml>", "more than 3,000,000 tags"),
    "lists.pt": ("\x80\x02" + "]" * 5_000_000, "refused before unpickling"),
}
MEASURED = """
import resource, sys
from eapgp.errors import EapgpError
from eapgp.prompts.files import read_prompts
from eapgp.formats import read_scores
import pandas, networkx
def status(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))
before = status("VmSize")
resource.setrlimit(resource.RLIMIT_AS, (before + int(sys.argv[3]),) * 2)
start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
try:
    {"prompts": read_prompts, "scores": read_scores}[sys.argv[1]](sys.argv[2])
except EapgpError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime - start)
"""


def measured(kind: str, file: Path, room: int = 600_000_000) -> tuple[str, float]:
    """What a reader says of a file in a process that may take so many bytes more, and the seconds it took."""
    command = [sys.executable, "-c", MEASURED, kind, str(file), str(room)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr[-600:]
    *said, seconds = done.stdout.splitlines()
    return " ".join(said), float(seconds)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by RLIMIT_AS and read from /proc")
@pytest.mark.parametrize(
    ("kind", "name"), [*(("prompts", name) for name in PROMPTS), *(("scores", name) for name in SCORES)]
)
def test_a_bomb_is_refused_in_little_memory_and_time(kind: str, name: str, tmp_path: Path) -> None:
    text, expected = (PROMPTS if kind == "prompts" else SCORES)[name]
    file = tmp_path / name
    file.write_bytes(text.encode("latin-1"))
    said, seconds = measured(kind, file)
    assert expected in said and len(said) < 500, said
    assert seconds < 5


def test_pairs_in_many_lines_are_read_as_before(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join([PAIR] * 5) + "\n")
    assert len(read_prompts(file)) == 5
    file.write_text(PAIR + "\n")
    assert len(read_prompts(file)) == 1
    file.write_text(json.dumps([json.loads(PAIR)] * 3, indent=1))
    assert len(read_prompts(file)) == 3


def test_half_a_character_in_pairs_given_by_hand_is_an_error_in_one_line(tmp_path: Path) -> None:
    pairs = ({"clean": "a \ud800", "corrupted": "b", "correct": "c", "incorrect": "d"},)
    with pytest.raises(PromptError, match="pair 1: expected texts, got a text with half a character"):
        compute_run(RunSpec(prompts=pairs, method="eap"), library=RunLibrary(tmp_path))


# ---- places -------------------------------------------------------------------------------------


def keep(folder: Path) -> None:
    prompts = made_prompts()
    write_run(folder, made_attribution(), made_request(prompts), prompts)


@pytest.mark.parametrize("name", ["run.json", "prompts.json", "meta.json", "notes.txt"])
def test_out_never_replaces_a_folder_of_somebody_else_s_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text('{"mine": 1}')
    with pytest.raises(RunError, match=f"got one that holds '{name}'"):
        keep(tmp_path / "mine")
    assert (tmp_path / "mine" / name).read_text() == '{"mine": 1}'


def test_out_here_fills_the_folder_and_stays_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    before = here.stat().st_ino
    monkeypatch.chdir(here)
    for _ in range(2):  # into an empty folder, and over the run that lies there then
        keep(Path())
        assert here.stat().st_ino == before == Path.cwd().stat().st_ino
        assert sorted(path.name for path in here.iterdir()) == [
            "path.safetensors",
            "prompts.json",
            "run.json",
            "scores.safetensors",
        ]
    assert list(tmp_path.iterdir()) == [here]


ODD = {"bytes": os.fsdecode(b"/nowhere/\xff"), "lines": "/nowhere/a\nb", "long": "/nowhere/" + "x" * 5_000}
COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "prompts": lambda name: ["prompts", "check", name + ".csv"],
    "model": lambda name: ["attribute", "--model", name, "--pairs", "2"],
    "hub": lambda name: ["attribute", "--model", "owner" + name[8:].replace("x", "..", 1), "--pairs", "2"],
    "task": lambda name: ["attribute", "--task", name],
    "run": lambda name: ["runs", "show", name],
    "archive": lambda name: ["runs", "import", name + ".zip"],
    "scores": lambda name: ["import", name + ".json"],
    "study": lambda name: ["sweep", name + ".yaml", "--dry-run"],
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("command", COMMANDS)
def test_odd_names_are_errors_in_one_line(
    command: str, odd: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    assert main([*COMMANDS[command](ODD[odd]), "--json"]) == 2
    told = capsys.readouterr()
    message = json.loads(told.out)["error"]["message"]
    assert message.isprintable() and len(message) <= 1_600 and "Traceback" not in told.err


def test_an_archive_of_many_members_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for n in range(10_001):
            file.writestr(f"{n:020x}/run.json", "{}")
    (tmp_path / "many.zip").write_bytes(packed.getvalue())
    with pytest.raises(FormatError, match="expected 1 to 10000 runs"):
        RunLibrary(tmp_path / "home").import_(tmp_path / "many.zip")
    assert np.all([not path.name.startswith("0") for path in (tmp_path / "home").rglob("*")])
