"""Scores and prompts that were altered are used nowhere: the run is named and set aside, the others go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from eapgp.cli import main
from eapgp.errors import RunError
from eapgp.runs.bundled import examples_folder
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run, open_run
from eapgp.ui.library import results

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = examples_folder()
pytestmark = pytest.mark.skipif(EXAMPLES is None, reason="the bundled examples are not there: make them first")
ALTERED = "expected SHA-256"


def flip(path: Path, *, at: int = -40) -> None:
    """Flip two bytes of a file; its size stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x20
    data[at + 4] ^= 0x20
    path.write_bytes(data)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunLibrary]:
    """Two copies of bundled runs."""
    import streamlit as st

    assert EXAMPLES is not None
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    st.cache_resource.clear()
    for name in ("sva-eap", "sva-eap-ig"):
        shutil.copytree(EXAMPLES / name, tmp_path / "runs" / open_run(EXAMPLES / name).id)
    yield RunLibrary(tmp_path)
    st.cache_resource.clear()


@pytest.fixture
def altered(library: RunLibrary) -> Run:
    """The run of the two whose scores are changed now, after they were read once in this process."""
    run = next(library.open(one.id) for one in library.list() if one.method == "eap")
    run.scores()
    flip(run.path / "scores.safetensors")
    return run


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments, "--json"]) == 2
    return str(json.loads(capsys.readouterr().out)["error"]["message"])


@pytest.mark.parametrize(
    "command",
    [
        ("runs", "show", "RUN"),
        ("runs", "export", "RUN", "copy"),
        ("runs", "export", "RUN", "copy.zip"),
        ("export", "--run", "RUN", "scores.json"),
        ("compare", "--run", "RUN", "--run", "OTHER"),
        ("ground-truth", "--run", "RUN", "--variant", "ioi/hanna2024"),
        ("evaluate", "--run", "RUN", "--edges", "5"),
    ],
    ids=" ".join,
)
def test_the_command_line_refuses_it_by_name(
    command: tuple[str, ...], altered: Run, library: RunLibrary, capsys: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    other = next(one.id for one in library.list() if one.id != altered.id)
    message = refused(capsys, *({"RUN": altered.id, "OTHER": other}.get(word, word) for word in command))
    assert "scores.safetensors" in message and ALTERED in message
    assert not (tmp_path / "copy").exists() and not (tmp_path / "copy.zip").exists()


def test_the_list_names_it_and_goes_on(altered: Run, library: RunLibrary, capsys: Any) -> None:
    assert main(["runs", "list", "--json"]) == 0
    told = capsys.readouterr()
    listed = json.loads(told.out)
    assert [run["method"] for run in listed["runs"]] == ["eap-ig"]
    assert altered.id in told.err and ALTERED in told.err
    assert [folder.name for folder, _ in library.problems()] == [altered.id]


def test_it_answers_no_question_and_a_new_one_takes_its_place(altered: Run, library: RunLibrary) -> None:
    assert library.find(altered.request) is None
    assert EXAMPLES is not None
    source = open_run(EXAMPLES / "sva-eap")
    again = library.save(source.attribution(), source.request, source.prompts(), spec=source.spec)
    assert again.id == altered.id and np.array_equal(again.scores().values, source.scores().values)
    assert library.find(altered.request) == again and library.deleted() == [altered.id]


def test_prompts_and_paths_are_held_against_their_hashes_too(library: RunLibrary) -> None:
    run = next(library.open(one.id) for one in library.list() if one.method == "eap-ig")
    flip(run.path / "path.safetensors")
    run.scores()
    with pytest.raises(RunError, match=rf"path\.safetensors: {ALTERED}"):
        run.attribution()
    stored = (run.path / "prompts.json").read_text()
    (run.path / "prompts.json").write_text(stored.replace('"kind"', '"kinb"'))  # not in the pairs' own hash
    with pytest.raises(RunError, match=rf"prompts\.json: {ALTERED}"):
        open_run(run.path).prompts()


def test_a_file_is_hashed_once_while_it_stays_as_it_is(library: RunLibrary, monkeypatch: Any) -> None:
    run = library.open(library.list()[0].id)
    run.scores()
    monkeypatch.setattr("eapgp.runs.files.file_hash", lambda path: pytest.fail(f"{path} was hashed again"))
    open_run(run.path).scores()


def test_the_pages_set_it_aside_and_take_it_back_when_it_is_mended(
    library: RunLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "LOOK_AGAIN", 0.0)  # files are looked at anew every two seconds
    run = next(library.open(one.id) for one in library.list() if one.method == "eap")
    shelf, whole = results.shelf(), (run.path / "scores.safetensors").read_bytes()
    examples = sum(card.example for card in shelf.cards())
    card = next(card for card in shelf.cards() if card.run.path == run.path)
    flip(run.path / "scores.safetensors")
    with pytest.raises(RunError, match=ALTERED):
        results.attribution(card)
    assert run.path not in [one.run.path for one in shelf.cards()] and len(shelf.cards()) == examples + 1
    assert [folder for folder, _ in shelf.problems()] == [run.path] and ALTERED in shelf.absence(run.id)
    (run.path / "scores.safetensors").write_bytes(whole)
    assert shelf.problems() == [] and len(shelf.cards()) == examples + 2


def test_the_runs_page_lists_it_and_deletes_it(altered: Run, library: RunLibrary) -> None:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).switch_page("pages/runs.py").run()
    assert not app.exception and "Unreadable · 1" in [one.value for one in app.subheader]
    assert any("it was altered" in one.value for one in app.error)
    app.button(key=f"unreadable-{altered.id}").click().run()
    assert not app.exception and library.problems() == [] and library.deleted() == [altered.id]
    assert "Unreadable · 1" not in [one.value for one in app.subheader]


def test_explore_opens_with_the_bundled_run_of_that_id_in_its_place(altered: Run) -> None:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).switch_page("pages/explore.py")
    app.query_params["run"] = altered.id
    app.run()
    assert not app.exception and app.title
    bundled = results.shelf().get(altered.id)
    assert bundled is not None and bundled.example, "the bundled run of that id answers in its place"
