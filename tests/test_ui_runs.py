"""What the Runs page does to the library: import, delete, undo, export; without a browser."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.errors import RunError
from eapgp.formats import write_scores
from eapgp.graph import Graph
from eapgp.runs.run import open_run
from eapgp.ui.library import results
from eapgp.ui.parts import exports
from eapgp.ui.runs import details as runs_details
from eapgp.ui.runs import lists

EXAMPLES = results.examples_folder()
pytestmark = pytest.mark.skipif(EXAMPLES is None, reason="the bundled examples are not there: make them first")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A library of one run, a copy of a bundled one."""
    import streamlit as st

    assert EXAMPLES is not None
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    st.cache_resource.clear()
    source = EXAMPLES / "sva-eap"
    run_id = open_run(source).id
    shutil.copytree(source, tmp_path / "runs" / run_id)
    yield tmp_path
    st.cache_resource.clear()


def mine() -> list[str]:
    return [card.id for card in results.shelf().cards() if not card.example]


def test_a_run_goes_to_the_trash_and_comes_back_whole(home: Path) -> None:
    (run_id,) = mine()
    before = sorted(path.name for path in (home / "runs" / run_id).iterdir())
    results.shelf().library.delete(run_id)
    assert mine() == [] and results.shelf().library.deleted() == [run_id]
    assert "sva" in runs_details._described(run_id) and run_id in runs_details._described(run_id)
    runs_details.bring_back(run_id)
    assert mine() == [run_id]
    assert sorted(path.name for path in (home / "runs" / run_id).iterdir()) == before


def test_what_is_downloaded_can_be_imported_again(home: Path) -> None:
    (run_id,) = mine()
    card = results.shelf().get(run_id)
    assert card is not None
    data = exports.folder_zip([card])
    assert {name.split("/")[0] for name in zipfile.ZipFile(io.BytesIO(data)).namelist()} == {run_id}
    results.shelf().library.delete(run_id)
    assert runs_details._imported("mine.zip", data) == (True, "mine.zip: 1 run imported.")
    assert mine() == [run_id]
    fine, line = runs_details._imported("broken.zip", data[:200])
    assert not fine and "broken.zip" in line and "\n" not in line


def test_scores_are_imported_searched_removed_and_brought_back(home: Path, tmp_path: Path) -> None:
    graph = Graph(2, 2, d_model=8)
    path = write_scores(EdgeScores(graph, np.where(graph.mask, 1.0, 0.0)), tmp_path / "ioi-made.json")
    assert runs_details._imported(path.name, path.read_bytes()) == (True, "ioi-made.json: edge scores imported.")
    fine, line = runs_details._imported("x.json", b"{}")
    assert not fine and line.startswith("x.json") and "\n" not in line
    (file,) = lists.files_matching("IOI", "all")
    assert lists.files_matching("sva", "all") == [] and lists.files_matching("", "examples") == []
    lists.score_files().remove(file.id)
    assert lists.files_matching("", "all") == []
    runs_details.bring_back(file.id)
    assert lists.files_matching("", "own") == [file]
    lists.score_files().remove(file.id)
    lists.score_files().purge()
    runs_details.bring_back(file.id)
    assert lists.files_matching("", "all") == []


def test_search_and_filter(home: Path) -> None:
    cards = results.shelf().cards()
    assert [card.example for card in lists.matching(cards, "", "own")] == [False]
    assert all(card.example for card in lists.matching(cards, "", "examples"))
    found = lists.matching(cards, "sva method=eap", "all")
    assert len(found) == 3 and {card.task for card in found} == {"sva"}
    assert {card.model for card in found} == {"demo", "smollm2-135m"}
    table = lists.table(found)
    assert "name" not in table.columns and table["id"].tolist() == [card.id[:8] for card in found]
    results.shelf().library.rename(mine()[0], "First try")
    assert [card.run.name for card in lists.matching(results.shelf().cards(), "first", "all")] == ["First try"]


def test_a_copy_of_an_example_is_the_user_s_own(home: Path) -> None:
    """An example's archive that was imported can be named and deleted; the example stays."""
    (run_id,) = mine()
    card = results.shelf().get(run_id)
    assert card is not None and not card.example
    results.shelf().library.delete(run_id)
    left = results.shelf().get(run_id)
    assert left is not None and left.example


def test_a_new_name_is_noticed_by_open_pages(home: Path) -> None:
    (run_id,) = mine()
    before = lists.listing(home / "runs")
    assert lists.listing(home / "runs") == before
    results.shelf().library.rename(run_id, "another")
    assert lists.listing(home / "runs") != before and lists.listing(home / "absent") == frozenset()


def test_a_run_that_was_altered_does_not_leave_in_a_zip(home: Path) -> None:
    (card,) = [card for card in results.shelf().cards() if not card.example]
    scores = next(path for path in card.run.path.iterdir() if path.suffix == ".safetensors")
    data = bytearray(scores.read_bytes())
    data[-2] ^= 1
    scores.write_bytes(bytes(data))
    with pytest.raises(RunError):
        exports.folder_zip([card])
