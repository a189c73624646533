"""Scores from a file, kept as a run and shown on the dashboard."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from eapgp.attribution.result import EdgeScores
from eapgp.errors import FormatError
from eapgp.formats import write_scores
from eapgp.graph import Graph
from eapgp.ground_truth import GPT2_SMALL
from eapgp.runs import RunLibrary
from eapgp.runs.imported import keep_scores
from eapgp.ui.library.circuits import known_roles
from eapgp.ui.library.results import Shelf

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A score file of GPT-2 small's size; the strongest edges join input and logits."""
    rng = np.random.default_rng(0)
    values = np.where(GPT2_SMALL.mask, rng.normal(0, 1e-3, GPT2_SMALL.mask.shape), 0.0)
    for edge, score in (("input->a9.h9<v>", 0.5), ("a9.h9->logits", 1.0), ("input->logits", -0.4)):
        values[GPT2_SMALL.edge_index(edge)] = score
    path = tmp_path_factory.mktemp("scores") / "ioi.gpt2.json"
    write_scores(EdgeScores(GPT2_SMALL, values), path)
    return path


def test_the_command_line_says_of_imported_scores_what_is_known(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from eapgp.cli import main

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    run = keep_scores(RunLibrary(), file, task="ioi")
    assert main(["runs", "show", run.id]) == 0
    said = capsys.readouterr().out
    assert "ioi, as told at the import" in said and "not told at the import" in said and "sha256" in said
    assert not any(word in said for word in ("pairs", "seed", "passes", "unknown"))
    assert main(["runs", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if run.id[:12] in line)
    assert line.split().count("–") >= 3  # steps, pairs, seed


def test_a_file_becomes_one_run_with_exactly_its_scores(file: Path, tmp_path: Path) -> None:
    from eapgp.formats import read_scores

    library = RunLibrary(tmp_path)
    run = keep_scores(library, file, task="ioi", model="gpt2")
    assert np.array_equal(run.scores().values, read_scores(file).values)
    assert run.name == "ioi.gpt2" and len(run.prompts()) == 0 and run.spec is None
    run.verify()
    assert keep_scores(library, file, task="ioi", model="gpt2").id == run.id
    assert [summary.id for summary in library.list("imported ioi")] == [run.id]
    assert keep_scores(library, file, task="greater-than", model="gpt2").id != run.id
    card = Shelf(library, None).get(run.id)
    assert card is not None and known_roles(card)["a9.h9"] == "Name mover"


def test_its_details_say_what_is_known_and_how_to_import_it_again(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from eapgp.cli import main
    from eapgp.ui.parts import provenance

    library = RunLibrary(tmp_path / "home")
    plain = keep_scores(library, file)
    told = keep_scores(library, file, task="ioi", model="gpt2", negate=True)
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "again"))
    for run, model in ((plain, "not told at the import"), (told, "gpt2, as told at the import")):
        card = Shelf(library, None).get(run.id)
        assert card is not None
        facts = dict(provenance.facts(card))
        assert facts["Model"] == model and "Metric" not in facts and "Passes" not in facts
        assert file.name in facts["File"]
        python, shell = provenance._import_lines(card)
        found: dict[str, Any] = {}
        exec(python, found)
        assert found["run"].id == run.id
        assert main(shlex.split(shell)[1:]) == 0
        assert run.id in capsys.readouterr().out


def test_what_is_no_score_file_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = tmp_path / "scores.json"
    bad.write_text("[]")
    with pytest.raises(FormatError, match=r"scores\.json"):
        keep_scores(RunLibrary(tmp_path / "home"), bad)
    assert RunLibrary(tmp_path / "home").list() == []


@pytest.mark.parametrize("selected", ["", "a9.h9", "a9.h9->logits", "logits"])
def test_explore_shows_imported_scores_without_running_anything(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selected: str
) -> None:
    import streamlit as st

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    st.cache_resource.clear()
    run = keep_scores(RunLibrary(tmp_path), file, task="ioi", model="gpt2")
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).switch_page("pages/explore.py")
    app.query_params["run"] = run.id
    app.query_params["sel"] = selected
    app.run()
    assert not app.exception and not app.error
    said = "\n".join(str(block.value) for block in [*app.caption, *app.markdown])
    assert "imported without prompts" in said and "Imported scores" in said
    assert "Faithfulness" not in [metric.label for metric in app.metric]
    if selected == "a9.h9":
        assert "Name mover" in said
    st.cache_resource.clear()


def test_explore_says_why_scores_of_zero_show_no_circuit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit as st

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    st.cache_resource.clear()
    graph = Graph(2, 2)
    write_scores(EdgeScores(graph, np.zeros(graph.mask.shape)), tmp_path / "zero.json")
    run = keep_scores(RunLibrary(tmp_path), tmp_path / "zero.json")
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).switch_page("pages/explore.py")
    app.query_params["run"] = run.id
    app.run()
    assert not app.exception
    assert any("every edge scores 0" in str(error.value) for error in app.error)
    st.cache_resource.clear()
