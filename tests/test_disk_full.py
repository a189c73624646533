"""A computed result is not lost for lack of disk: it is answered, and can be saved once there is space."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs_made import assert_same, made_attribution, made_prompts, made_request
from streamlit.testing.v1 import AppTest

from eapgp.cli import main
from eapgp.errors import NotSavedError
from eapgp.runs import RunLibrary, RunSpec, arrays, files, open_run
from eapgp.study import worker as study_worker
from eapgp.study.plan import Execution, make_study
from eapgp.study.sweep import sweep
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobManager
from eapgp.ui.library import measure, results

ROOT = Path(__file__).resolve().parent.parent
WRITES = {
    "a temporary folder": (files.tempfile, "mkdtemp"),
    "a JSON file": (files.tempfile, "mkstemp"),
    "the text of a JSON file": (Path, "write_text"),
    "an array file": (arrays, "write_arrays"),
    "making a file durable": (files.os, "fsync"),
    "moving the folder into place": (Path, "rename"),
}


def no_space(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def library(tmp_path: Path) -> RunLibrary:
    return RunLibrary(tmp_path / "home")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here; the writes are made to fail one by one instead")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def save(library: RunLibrary) -> Any:
    prompts = made_prompts()
    return library.save(made_attribution(), made_request(prompts), prompts, spec=RunSpec(n_pairs=4), device="cpu")


@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_fails_leaves_the_result_in_hand(
    write: str, library: RunLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(*WRITES[write], no_space)
        with pytest.raises(
            NotSavedError, match=r"/home/runs: the result is computed .* No space left.*free space"
        ) as told:
            save(library)
    assert library.folders() == [] and not list(library.temporary.glob("*"))
    run = told.value.unsaved.save()
    assert_same(open_run(run.path).attribution(), made_attribution())
    assert library.problems() == [] and run.prompts() == made_prompts()


def test_a_real_disk_that_is_full(small_disk: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (small_disk / "else").write_bytes(bytes(150_000))
    out = tmp_path / "elsewhere"
    command = ["attribute", "--task", "ioi", "--pairs", "4", "--method", "eap-gp", "--home", str(small_disk), "--json"]
    assert main([*command, "--out", str(out)]) == 1
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert answer["top_edges"] and answer["run"] is None and answer["metric_clean"] > 0
    assert str(small_disk / "runs") in told.err and "free space" in told.err
    assert [edge["name"] for edge in answer["top_edges"]] == [name for name, _ in open_run(out).scores().top(20)]
    (small_disk / "else").unlink()
    (small_disk / "tmp").exists() and [path.rmdir() for path in (small_disk / "tmp").iterdir()]
    library = RunLibrary(small_disk)
    assert library.folders() == [] and library.disk_use()["unfinished_bytes"] == 0


def test_every_other_write_names_its_place_and_the_remedy(
    small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Notes, archives and copies on a full disk: what lies there stays whole, and all works once there is room."""
    library, zipped = RunLibrary(small_disk / "home"), tmp_path / "run.zip"
    run = save(library)
    library.export(run.id, zipped)
    fill(small_disk / "else")
    words = {
        "meta.json": ("note", run.id, "long " * 2000),
        "copy": ("export", run.id, str(small_disk / "copy")),
        "x.zip": ("export", run.id, str(small_disk / "x.zip")),
        str(small_disk): ("import", str(zipped)),
    }
    for place, command in words.items():
        assert main(["runs", *command, "--home", str(library.home)]) in (1, 2)
        told = capsys.readouterr().err
        assert place in told and "No space left" in told and told.count("\n") == 1 and "set EAPGP_DEBUG" not in told
        assert library.problems() == [] and [info.id for info in library.list()] == [run.id]
    assert sorted(path.name for path in small_disk.iterdir()) == ["else", "home"]
    (small_disk / "else").unlink()
    for command in words.values():
        assert main(["runs", *command, "--home", str(library.home)]) == 0
    assert library.problems() == []


def fill(file: Path) -> None:
    """Write until there is no room."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(handle, bytes(4096)):
            pass
    os.close(handle)


def test_the_answer_is_printed_and_the_remedy_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(arrays, "write_arrays", no_space)
    command = ["attribute", "--task", "ioi", "--pairs", "2", "--method", "eap", "--home", str(tmp_path / "home")]
    assert main([*command, "--export", str(tmp_path / "scores.json")]) == 1
    told = capsys.readouterr()
    assert "->" in told.out and "not stored" in told.out
    assert f"{tmp_path / 'home' / 'runs'}: the result is computed but could not be stored" in told.err
    assert (tmp_path / "scores.json").is_file()


def test_a_failed_job_keeps_the_result_until_it_is_saved(library: RunLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = JobManager()
    with monkeypatch.context() as full:
        full.setattr(arrays, "write_arrays", no_space)
        job = manager.wait(manager.submit("run-x", "a run", lambda progress: save(library).id), 20)
    assert job is not None and job.state == "failed" and "free space" in job.message
    assert job.result.save().id == library.list()[0].id


@pytest.fixture
def app_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    import streamlit as st

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EAPGP_WARM_UP", "0")
    st.cache_resource.clear()
    yield tmp_path / "home"
    st.cache_resource.clear()


def test_the_page_offers_to_save_and_then_shows_the_run(app_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submit: Callable[..., Any] = measure.submit_run
    with monkeypatch.context() as full:
        full.setattr(arrays, "write_arrays", no_space)
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
        app.query_params["method"], app.query_params["pairs"] = "eap", "3"
        app.run()
        app.button(key="run-button").click().run()
        (job,) = [job for job in server.manager().jobs._jobs.values() if job.id.startswith("run-")]
        server.manager().wait(job.id, 60)
        app.run()
        assert not app.exception and any("could not be stored" in one.value for one in app.error)
        app.button(key=f"save-{job.id}").click().run()
        assert any("No space left" in one.value for one in app.error), "it is still full"
    assert submit is measure.submit_run
    app.button(key=f"save-{job.id}").click().run()
    assert not app.exception and not any("could not be stored" in one.value for one in app.error)
    assert [card.method for card in results.shelf().cards() if not card.example] == ["eap"]


def test_a_sweep_keeps_its_cell_until_there_is_room(
    small_disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full while a cell computes; its result is neither lost nor computed again."""
    monkeypatch.setattr(study_worker, "ROOM_SECONDS", 0.01)
    library = RunLibrary(small_disk / "home")
    study = make_study({"name": "full", "models": ["demo"], "tasks": ["ioi"], "methods": ["eap"], "pairs": 2})
    told: list[str] = []

    def progress(phase: str, fraction: float) -> None:
        if phase == "cells" and 0 < fraction < 0.5 and not told:
            fill(small_disk / "else")
        if phase.startswith("waiting"):
            told.append(phase)
            (small_disk / "else").unlink(missing_ok=len(told) > 1)

    execution = Execution("in-process")
    result = sweep(study, library, folder=tmp_path / "study", execution=execution, progress=progress)
    assert (result.computed, result.failed) == (1, []) and library.problems() == []
    assert told == [f"waiting for space in {library.runs}"] and "free space" in caplog.text
