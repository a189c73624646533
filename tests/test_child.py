"""Work in child processes that really panic, are killed, or take all memory: their lane goes on to the next job."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import child_made
import psutil
import pytest
from engine_made import one_thread, tiny_folder
from test_models_broken import panicking

from eapgp.errors import Cancelled, ComputationError, FormatError, ModelError
from eapgp.runs.library import RunLibrary
from eapgp.runs.spec import RunSpec
from eapgp.ui.jobs import untrusted
from eapgp.ui.jobs.child import Limits, in_child
from eapgp.ui.jobs.manager import JobManager, JobView
from eapgp.ui.jobs.workshop import Workshop, attribution_work
from eapgp.ui.library.score_files import ScoreFiles

one_thread()
MEMORY = 300 * 10**6
LIMITS = Limits(MEMORY, 60)


def children() -> list[psutil.Process]:
    """The processes that `in_child` started, and no others: a browser of other tests is no one's to kill."""
    return [child for child in psutil.Process().children(recursive=True) if _is_ours(child)]


def _is_ours(process: psutil.Process) -> bool:
    try:
        return "eapgp.ui.jobs.child" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def asked(name: str, limits: Limits = LIMITS, **values: Any) -> Any:
    return in_child("the file", getattr(child_made, name), values, limits)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    assert not children()


def test_an_answer_and_its_progress() -> None:
    told: list[tuple[str, float]] = []
    result = in_child(
        "it",
        child_made.answer,
        {"value": 21},
        LIMITS,
        progress=lambda phase, fraction: told.append((phase, fraction)),
    )
    assert result == {"twice": 42}
    assert told[0] == ("loading", 0.0)


def test_an_error_comes_as_itself() -> None:
    with pytest.raises(ModelError, match="expected one, got none"):
        asked("refuse")


@pytest.mark.parametrize(
    ("name", "text"),
    [("panic", "PanicException"), ("killed", "signal 9"), ("crash", "signal 11"), ("leave", "exit code 0")],
)
def test_a_death_is_one_line(name: str, text: str) -> None:
    with pytest.raises(ComputationError, match=text) as error:
        asked(name, Limits(60 * 10**9, 60))
    assert str(error.value).startswith("the file cannot be read")


def test_memory_has_an_end() -> None:
    started = psutil.Process().memory_info().rss
    with pytest.raises(ComputationError, match=r"more than the 0\.3 GB of memory"):
        asked("hoard")
    assert psutil.Process().memory_info().rss - started < MEMORY / 3


def test_memory_has_an_end_where_the_system_sets_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "resource.py").write_text("def setrlimit(*_): raise OSError\nRLIMIT_DATA = 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ComputationError, match=r"more than the 0\.3 GB of memory"):
        asked("hoard")


def test_silence_has_an_end() -> None:
    started = time.monotonic()
    with pytest.raises(ComputationError, match="more than 2 s"):
        asked("sleep", Limits(MEMORY, 2))
    assert time.monotonic() - started < 20


def test_a_cancelled_job_ends_its_child() -> None:
    def stop(phase: str, fraction: float) -> None:
        if children():
            raise Cancelled

    with pytest.raises(Cancelled):
        in_child("it", child_made.sleep, {}, LIMITS, progress=stop)


def test_a_child_ends_with_its_server() -> None:
    code = (
        "import child_made; from eapgp.ui.jobs.child import *; "
        "in_child('it', child_made.sleep, {}, Limits(10**9, 600), progress=lambda *_: print(1, flush=True))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert server.stdout is not None
    server.stdout.readline()
    [child] = psutil.Process(server.pid).children()
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.stdout.close()
    child.wait(timeout=20)


# ---- a lane --------------------------------------------------------------------------------------


def ended(
    jobs: JobManager, key: str, work: Callable[..., Any], *, meanwhile: Callable[[], None] = lambda: None
) -> JobView:
    jobs.submit(key, key, work)
    meanwhile()
    job = jobs.wait(key, 120)
    assert job is not None and not job.live
    return job


def a_run(folder: Path | str, home: Path, shop: Workshop) -> Any:
    spec = RunSpec(model=str(folder), task="ioi", n_pairs=2, method="eap", device="cpu", random_weights=False)
    return attribution_work(shop, "cpu", spec, RunLibrary(home))


def kill_child() -> None:
    """SIGKILL to the process that loads a model, once it is at work."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in children():
            with contextlib.suppress(psutil.Error):
                if child.memory_info().rss > 100e6:
                    child.kill()
                    return
        time.sleep(0.02)
    raise AssertionError("no process loads the model")


def test_a_lane_outlives_what_kills_its_children(tmp_path: Path) -> None:
    """A model whose loading is killed, one that panics, one that takes all memory; then one that is well."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    shutil.copytree(tiny_folder("llama"), good)
    shutil.copytree(tiny_folder("llama"), bad)
    panicking(bad)
    jobs, shop, home = JobManager(), Workshop(), tmp_path / "home"

    killed = ended(jobs, "killed", a_run(good, home, shop), meanwhile=kill_child)
    assert killed.state == "failed" and "signal 9" in killed.message and str(good) in killed.message
    panicked = ended(jobs, "panicked", a_run(bad, home, shop))
    assert panicked.state == "failed" and "cannot be read" in panicked.message
    hoarded = ended(jobs, "hoarded", lambda progress: asked("hoard"))
    assert hoarded.state == "failed" and "GB of memory" in hoarded.message
    panic = ended(jobs, "panic", lambda progress: asked("panic", Limits(60 * 10**9, 60)))
    assert panic.state == "failed" and "PanicException" in panic.message

    done = ended(jobs, "done", a_run("demo", home, shop))
    assert done.state == "done", done.message
    well = ended(jobs, "well", lambda progress: shop.model("cpu", str(good), device="cpu", progress=progress))
    assert well.state == "done" and well.result.id == str(good), well.message
    assert {thread.name for thread in threading.enumerate()} >= {"eapgp-cpu"}


def test_a_model_is_tried_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_folder("gpt2"), tmp_path / "model")
    tried: list[str] = []
    monkeypatch.setattr("eapgp.ui.jobs.workshop.try_model", lambda name, *_: tried.append(name))
    shop, name = Workshop(), str(tmp_path / "model")
    for _ in range(2):
        shop.try_model(name, dtype="float32")
        shop.try_model("demo", dtype="float32")
    assert tried == [name]
    (tmp_path / "model" / "config.json").touch()
    shop.try_model(name, dtype="float32")
    shop.try_model("demo", dtype="float32", tokenizer=name)
    assert tried == [name, name, "demo"]


# ---- uploads -------------------------------------------------------------------------------------


def test_an_upload_that_kills_its_reader_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrusted, "read_scores_file", child_made.killed)
    with pytest.raises(ComputationError, match="signal 9"):
        ScoreFiles(tmp_path).add("scores.csv", b"source,destination,score\n")
    assert ScoreFiles(tmp_path).all() == []


def test_uploads_keep_their_own_errors(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="column 'source' is missing"):
        ScoreFiles(tmp_path).add("scores.csv", b"a,b\n1,2\n")
    archive = tmp_path / "runs.zip"
    archive.write_bytes(b"PK nothing")
    with pytest.raises(FormatError):
        untrusted.import_runs(archive, tmp_path / "home")
