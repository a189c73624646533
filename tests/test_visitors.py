"""Visitors' libraries: which are listed, and which are deleted; never one that is in use."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest
from runs_made import made_attribution, made_prompts, made_request

from eapgp.cli import main
from eapgp.runs import RunLibrary, visitors
from eapgp.runs.library import DAY
from eapgp.runs.visitors import mark_used, remove_older, visitor_libraries

NAMES = tuple(digit * 24 for digit in "abcd")


def age(folder: Path, days: float) -> None:
    """Make a folder and all in it as old as that."""
    then = time.time() - days * DAY
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (then, then))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Libraries that were last used 50, 40, 31 and 2 days ago; beside them what is none."""
    for name, days in zip(NAMES, (50, 40, 31, 2), strict=True):
        library, prompts = RunLibrary(tmp_path / "visitors" / name), made_prompts()
        library.save(made_attribution(), made_request(prompts), prompts)
        age(library.home, days)
    (tmp_path / "visitors" / "notes").mkdir()
    age(tmp_path / "visitors" / "notes", 900)
    (tmp_path / "visitors" / ("e" * 24)).symlink_to(tmp_path / "visitors" / "notes")
    RunLibrary(tmp_path).save(made_attribution(), made_request(made_prompts()), made_prompts())
    age(tmp_path / "runs", 900)
    return tmp_path


def left(home: Path) -> list[str]:
    return sorted(path.name[0] for path in (home / "visitors").iterdir())


def test_those_not_used_for_so_long_are_deleted_and_nothing_else(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["visitors", "list", "--home", str(home), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["visitors"]
    assert [(one["visitor"], round(one["days"]), one["runs"]) for one in listed] == [
        (name, days, 1) for name, days in zip(NAMES, (50, 40, 31, 2), strict=True)
    ]
    for dry in (["--dry-run"], []):
        assert left(home) == list("abcden")
        assert main(["visitors", "rm", "--days", "30", "--home", str(home), "--json", *dry]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [one["visitor"] for one in told["visitors"]] == list(NAMES[:3]) and told["bytes"] > 0
        assert told["deleted"] != bool(dry)
    assert left(home) == list("den")
    assert len(RunLibrary(home).list()) == 1 and RunLibrary(home / "visitors" / NAMES[3]).problems() == []


@pytest.mark.parametrize("days", ["0", "0.5", "-3", "nan"])
def test_less_than_a_day_is_refused(days: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["visitors", "rm", "--days", days, "--home", str(home)])
    assert left(home) == list("abcden")


def test_use_and_writing_keep_a_library(home: Path) -> None:
    """One whose visitor opened a page, one whose run is being written by a live process; a dead one's is no use."""
    mark_used(home / "visitors" / NAMES[0])
    writing = RunLibrary(home / "visitors" / NAMES[1])
    writing.make_temporary("run")
    age(writing.home, 40)
    dead = RunLibrary(home / "visitors" / NAMES[2])
    dead.make_temporary("run").rename(dead.temporary / f"run--{socket.gethostname()}--{2**22 + 7}--x")
    age(dead.home, 31)
    assert [one.path.name for one in visitor_libraries(home) if one.writing] == [NAMES[1]]
    assert [one.path.name for one in remove_older(home, 30)] == [NAMES[2]]
    assert left(home) == list("abden")


def test_a_visitor_who_comes_back_meanwhile_keeps_the_library(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def slow(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if target.name.startswith("removed--"):
            (target / "runs" / "new").mkdir()
        return moved

    monkeypatch.setattr(visitors.Path, "rename", slow)
    assert remove_older(home, 30) == [] and left(home) == list("abcden")


def test_what_a_killed_removal_left_goes_with_the_next(home: Path) -> None:
    (home / "visitors" / NAMES[0]).rename(home / "visitors" / f"removed--{NAMES[0]}--1")
    assert [one.path.name for one in remove_older(home, 45)] == []
    assert left(home) == list("bcden")


def test_a_clock_that_was_set_back_deletes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.time() - 1000 * DAY
    monkeypatch.setattr(visitors.time, "time", lambda: before)
    assert remove_older(home, 1) == [] and all(one.days == 0 for one in visitor_libraries(home))


def test_without_visitors_there_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["visitors", "list", "--home", str(tmp_path)]) == 0
    assert "no visitors' libraries" in capsys.readouterr().out
    assert main(["visitors", "rm", "--days", "1", "--home", str(tmp_path)]) == 0
