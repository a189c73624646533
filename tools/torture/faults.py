"""Faults of the machine, each made for real; what is true afterwards is checked.

Afterwards finished results are whole (every run of the library reads and holds against its hashes), nothing unfinished
is shown, what was computed is not lost for lack of disk, and the reason is said in one line that names the place.

- *in tests/*: those tests are run and counted, a row for each fault.
- *made here*: kill -9 of a sweep's worker; a server that is killed and told to end while a job runs, and a connection
  that is lost meanwhile; no memory for a computation (RLIMIT_AS); a read-only library; a clock that was set back.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from eapgp.runs.library import RunLibrary
from tools import ROOT
from tools.torture.session import Server, Visitor, serving
from tools.torture.slurm import free_port
from tools.torture.table import Row, Setting

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
PATIENCE = 300.0  # seconds for a command
TESTS = {
    "killed, panicking, greedy and silent children": ("test_child.py",),
    "disk full at every write, and a small tmpfs": ("test_disk_full.py",),
    "download cut off, and no room for it": (
        "test_models_hub.py::test_a_cut_connection_is_taken_up_again_at_once",
        "test_models_hub.py::test_what_broke_off_goes_on_at_the_next_try",
        "test_models_hub.py::test_cancelled_soon_and_resumed",
        "test_models_hub.py::test_no_room_on_the_disk",
    ),
    "corrupted cache and runs": (
        "test_models_hub.py::test_what_came_is_held_against_what_the_hub_says",
        "test_altered_runs.py",
    ),
    "two writers, and kill -9 of one": (
        "test_runs_processes.py",
        "test_study.py::test_two_sweeps_of_one_study_share_the_work",
    ),
    "kill -9 of a sweep": (
        "test_study.py::test_kill_9_loses_nothing_and_the_table_is_the_same",
        "test_study.py::test_a_worker_ends_with_its_sweep_however_that_ends",
    ),
}
"""Faults that tests/ make."""


def run(setting: Setting) -> list[Row]:
    """A row per fault."""
    rows = []
    for fault in (worker_killed, server_ended, out_of_memory, read_only, clock_set_back):
        setting.say(fault.__name__)
        started, (title, wrong, skipped) = time.monotonic(), fault(setting.folder / fault.__name__)
        rows.append(Row(title, {"seconds": time.monotonic() - started, "tests": ""}, tuple(wrong), skipped))
    for title, names in TESTS.items():
        setting.say(title)
        rows.append(tested(title, names))
    return rows


def tested(title: str, names: tuple[str, ...]) -> Row:
    """What tests say."""
    started = time.monotonic()
    line = [sys.executable, "-m", "pytest", "-n", "0", "-q", "--no-header", "--tb=line"]
    done = subprocess.run(
        [*line, *(f"tests/{name}" for name in names)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines() or [done.stderr[-200:]]
    wrong = [text for text in lines if text.startswith("FAILED")] or [lines[-1]]
    figures = {"seconds": time.monotonic() - started, "tests": lines[-1].partition(" in ")[0]}
    return Row(title, figures, tuple(wrong) if done.returncode else ())


Told = tuple[str, list[str], str]
"""A fault's title, what was not as it should be, and why it was not made ("" where it was)."""


# ---- sweeps --------------------------------------------------------------------------------------

STUDY: dict[str, Any] = {
    "name": "faults",
    "models": ["demo"],
    "tasks": ["ioi"],
    "methods": ["eap", "exact"],
    "seeds": [0, 1],
    "pairs": 32,
    "evaluations": [{"sizes": [20], "resamples": 20}],
    "execution": {"executor": "local", "workers": 2, "threads": 1},
}


def worker_killed(folder: Path) -> Told:
    """Kill -9 of one worker: the sweep says so in one line and goes on when it is asked for again."""
    sweep = _sweep(folder)
    until = time.monotonic() + PATIENCE
    while not list(folder.glob("home/studies/*/cells/*")) and sweep.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    below = psutil.Process(sweep.pid).children(recursive=True) if sweep.poll() is None else []
    workers = [one for one in below if "submitit.core._submit" in " ".join(one.cmdline())]
    if workers:
        workers[0].kill()
    code, error = _ended(sweep)
    last = error.strip().splitlines()[-1] if error.strip() else ""
    wrong = [] if workers else ["no worker was seen"]
    if code not in (0, 1) or "Traceback" in last or (code == 1 and "Run the same command again" not in last):
        wrong.append(f"exit code {code}: {last[:300]}")
    code, error = _ended(_sweep(folder))
    library = RunLibrary(folder / "home")
    wrong += [] if code == 0 else [f"the sweep that was asked for again ended with {code}: {error[-300:]}"]
    wrong += [] if len(library.list()) == 4 else [f"expected 4 runs, got {len(library.list())}"]
    return "kill -9 of a sweep's worker", [*wrong, *_not_whole(library)], ""


def _ended(sweep: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a sweep, and what it said."""
    error = sweep.communicate(timeout=PATIENCE)[1]
    return sweep.returncode, error


def _sweep(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    study = folder / "study.yaml"
    study.write_text(json.dumps(STUDY))
    line = [sys.executable, "-m", "eapgp", "sweep", str(study), "--home", str(folder / "home"), "--quiet"]
    return subprocess.Popen(line, cwd=ROOT, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _not_whole(library: RunLibrary) -> list[str]:
    wrong = [problem for _, problem in library.problems()]
    for info in library.list():
        library.open(info.id).verify()
    return wrong


# ---- the server ----------------------------------------------------------------------------------


def server_ended(folder: Path) -> Told:
    """A server that loses a connection, is killed and is told to end, each while a healthy job runs."""
    with serving(folder, free_port()) as server:
        wrong = asyncio.run(_connection_lost(server))
        kept = {info.id for info in RunLibrary(server.home).list()}
        for number in (signal.SIGKILL, signal.SIGTERM):
            wrong += asyncio.run(_ended_while_it_works(server, number))
            server.start()
        wrong += asyncio.run(_shown(server))
    library = RunLibrary(server.home)
    lost = kept - {info.id for info in library.list()}
    wrong += [f"{len(lost)} finished runs are lost"] if lost else []
    title = "server killed (SIGKILL, SIGTERM), browser that reconnects, while a job runs"
    return title, [*wrong, *_not_whole(library)], ""


async def _connection_lost(server: Server) -> list[str]:
    """The same session comes back, sees its job, and gets the result."""
    async with Visitor(server.port, "lost") as visitor:
        await visitor.visit("explore", "method=exact&pairs=24&seed=5")
        await visitor.change("run-button", "trigger_value", True)
        before = visitor.session
        await visitor.reconnect()
        await visitor.rerun("again")
        wrong = [] if visitor.session == before else ["the session after a lost connection is another one"]
        until = time.monotonic() + PATIENCE
        while not RunLibrary(server.home).list() and time.monotonic() < until:
            await asyncio.sleep(0.2)
        await visitor.rerun("again")
        wrong += visitor.failures
    return wrong if RunLibrary(server.home).list() else [*wrong, "the job of a lost connection gave no run"]


async def _ended_while_it_works(server: Server, number: int) -> list[str]:
    """Ask for a long run and end the server while it computes; its children end too."""
    visitor = Visitor(server.port, "killed")
    await visitor.__aenter__()
    await visitor.visit("explore", f"method=exact&pairs=400&seed={number}")
    await visitor.change("run-button", "trigger_value", True)
    until = time.monotonic() + PATIENCE
    while "cancel-button" not in visitor.ids and time.monotonic() < until:
        await asyncio.sleep(0.2)
    processes, wrong = server.processes, list(visitor.failures)
    wrong += [] if "cancel-button" in visitor.ids else ["no job was running"]
    took = server.end(number)
    await visitor.__aexit__()
    if number == signal.SIGTERM and took > 25:
        wrong.append(f"SIGTERM took {took:.0f} s")
    _, left = psutil.wait_procs(processes, timeout=20)
    return [*wrong, *([f"{len(left)} processes outlive their server"] if left else [])]


async def _shown(server: Server) -> list[str]:
    """The Runs page opens and nothing unfinished is in the library."""
    async with Visitor(server.port, "after") as visitor:
        await visitor.visit("runs", "")
        wrong = list(visitor.failures)
    half = [path.name for path in RunLibrary(server.home).folders() if not (path / "run.json").is_file()]
    return wrong + [f"half a run is in the library: {name}" for name in half]


# ---- memory, disk, clock -------------------------------------------------------------------------

SMALL_MEMORY = """
import resource, sys, psutil
from eapgp.cli import main
from eapgp.models import load_model
load_model("demo")
room = psutil.Process().memory_info().vms + 150 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, room))
sys.exit(main(sys.argv[1:]))
"""


def out_of_memory(folder: Path) -> Told:
    """150 MB of address space for what needs more: smaller batches, or one line that says so; the library is whole."""
    line = [sys.executable, "-c", SMALL_MEMORY, "attribute", "--task", "ioi", "--pairs", "512", "--batch-size", "512"]
    line += ["--method", "eap", "--home", str(folder / "home"), "--quiet", "--json"]
    code, out, error = _call(line)
    wrong = _told(code, error, "memory") if code else []
    wrong += ["nothing was said of memory"] if not code and "out of memory" not in out else []
    title = f"out of memory (RLIMIT_AS): {'refused in one line' if code else 'smaller batches'}"
    return title, [*wrong, *_not_whole(RunLibrary(folder / "home"))], ""


def read_only(folder: Path) -> Told:
    """A library on a file system that is read-only: it reads as ever, and each change is refused in one line."""
    title, home = "read-only library", folder / "home"
    run_id = _example_into(home)
    mounted = subprocess.run(["mount", "--bind", home, home], capture_output=True, check=False).returncode == 0
    if not mounted:
        return title, [], "nothing can be mounted here"
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
        eapgp, about, wrong = [sys.executable, "-m", "eapgp"], ["--home", str(home)], []
        for words in (["list"], ["show", run_id, "--quiet"]):
            code, _, error = _call([*eapgp, "runs", *words, *about])
            wrong += [f"runs {words[0]}: {error[-200:]}"] if code else []
        for words in (["rename", run_id, "x"], ["note", run_id, "x"], ["rm", run_id]):
            code, _, error = _call([*eapgp, "runs", *words, *about])
            wrong += [f"runs {words[0]}: {one}" for one in _told(code, error, "ead-only")]
        wrong += _not_whole(RunLibrary(home))
    finally:
        subprocess.run(["umount", home], check=False)
    return title, wrong, ""


def clock_set_back(folder: Path) -> Told:
    """A clock of five years ago (faketime): runs of the future are listed, and what lives is not cleared away."""
    title, home = "clock set back by five years", folder / "home"
    if shutil.which("faketime") is None:
        return title, [], "faketime is not installed (Debian's faketime)"
    run_id = _example_into(home)
    working = RunLibrary(home).make_temporary("working")
    wrong = []
    for words in (["list", "--json"], ["note", run_id, "of the past"], ["gc", "--hours", "0"], ["show", run_id]):
        line = ["faketime", "-f", "-5y", sys.executable, "-m", "eapgp", "runs", *words, "--home", str(home)]
        code, out, error = _call(line)
        if code or "Traceback" in error:
            wrong.append(f"runs {words[0]}: exit code {code}, {error[-300:]}")
        elif words[0] == "list" and run_id not in out:
            wrong.append("a run of the future is not listed")
    if not working.is_dir():
        wrong.append("what a live process writes was cleared away")
    note = RunLibrary(home).open(run_id).meta.get("note")
    wrong += [] if note == "of the past" else [f"the note is {note!r}"]
    return title, [*wrong, *_not_whole(RunLibrary(home))], ""


def _example_into(home: Path) -> str:
    """A bundled run as one of a new library's own; its id."""
    library = RunLibrary(home)
    example = min((ROOT / "assets" / "examples").glob("*/run.json"), key=lambda path: path.stat().st_size).parent
    run_id = str(json.loads((example / "run.json").read_text())["id"])
    shutil.copytree(example, library.runs / run_id)
    return run_id


def _call(line: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(line, cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


def _told(code: int, error: str, word: str) -> list[str]:
    """What is wrong with how a failure was told: in one last line, with this word and no traceback."""
    last = error.strip().splitlines()[-1] if error.strip() else ""
    if code in (1, 2) and word in last and "Traceback" not in error and "set EAPGP_DEBUG" not in last:
        return []
    return [f"exit code {code}: {last[:300]}"]
