"""The Paper page: bundled at once, "not run" where nothing ran, and the job is the library's own `reproduce`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from eapgp.errors import Cancelled
from eapgp.places import bundled
from eapgp.runs import RunLibrary
from eapgp.study.reproduce import not_run, protocol
from eapgp.study.reproduce_result import BUNDLED_FILE, Reproduction, read_reproduction
from eapgp.study.reproduce_rows import METHODS, NOT_RUN, REPRODUCED, UNPUBLISHED, Asked, Row, name_of
from eapgp.ui.jobs.workshop import Workshop
from eapgp.ui.paper import jobs as paper_work

ROOT = Path(__file__).resolve().parent.parent
Open = Callable[..., AppTest]


@pytest.fixture
def open_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """`open_page(**query)`: the Paper page, with an empty library."""
    import streamlit as st

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    st.cache_resource.clear()

    def start(**query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)
        for name, value in query.items():
            app.query_params[name] = value
        app.switch_page("pages/paper.py")
        return app.run()

    yield start
    st.cache_resource.clear()


def verdicts(app: AppTest) -> dict[str, int]:
    """Verdict → count, as the page shows them."""
    return {metric.label.split(" ", 1)[1].lower(): int(metric.value) for metric in app.metric}


def said(app: AppTest) -> str:
    blocks: list[Any] = [*app.error, *app.warning, *app.info, *app.caption, *app.markdown, *app.title]
    return "\n".join(str(block.value) for block in blocks)


@pytest.mark.parametrize("tab", ["cells", "all", "manual", "protocol", "made"])
def test_every_tab_opens_on_the_bundled_outcome(open_page: Open, tab: str) -> None:
    app = open_page(tab=tab)
    assert not app.exception and not app.error and not app.warning
    assert verdicts(app) == {UNPUBLISHED: 480, REPRODUCED: 0, "higher": 0, "lower": 0, NOT_RUN: 0}
    assert "GPT-2 small's, another model's" in said(app)
    outcomes = app.dataframe[0].value
    assert len(outcomes) == 48 and outcomes["ours"].notna().all()
    assert "published" not in outcomes, "what is published for another model stands in its own column"
    ioi = outcomes[(outcomes["task"] == "ioi") & (outcomes["method"] == "EAP-GP · unit (our reading of the paper)")]
    assert ioi["gpt2_small"].iloc[0] == "0.800"


def test_both_published_tables_stand_beside_another_model(open_page: Open) -> None:
    outcomes = open_page(size="15").dataframe[0].value
    ioi = outcomes[(outcomes["task"] == "ioi") & (outcomes["method"] == "EAP-IG")]
    assert ioi["gpt2_small"].iloc[0] == "0.636 or 0.827"


def test_gpt2_without_weights_shows_the_published_numbers_and_nothing_of_ours(open_page: Open) -> None:
    app = open_page(model="gpt2", size="800")
    assert not app.exception
    assert verdicts(app)[NOT_RUN] == 1104 and sum(verdicts(app).values()) == 1104
    outcomes = app.dataframe[0].value
    assert outcomes["ours"].isna().all() and set(outcomes["verdict"]) == {"○ not run"}
    assert outcomes["published"].notna().sum() == 18, "three methods on six tasks"
    assert not app.button(key="run-button").disabled


def test_settings_without_an_outcome_say_so_and_keep_the_picture(open_page: Open) -> None:
    app = open_page(each="5", exact="no")
    assert not app.exception
    assert "have no outcome yet" in said(app) and verdicts(app)[UNPUBLISHED] == 480
    assert app.button(key="run-button").label == "Run the protocol"
    app = open_page(each="many", colour="red")
    assert any("each = 'many'" in one.value for one in app.warning)
    assert any("'colour'" in one.value for one in app.warning)


def test_a_damaged_outcome_is_ignored(open_page: Open, tmp_path: Path) -> None:
    asked = Asked(pairs=5)
    file = paper_work.result_file(asked, RunLibrary(tmp_path))
    file.parent.mkdir(parents=True)
    file.write_text('{"format": "eapgp reproduction", "version": 1, "rows": [[1]]}')
    app = open_page(each="5")
    assert not app.exception and not app.error
    assert "have no outcome yet" in said(app)


def test_an_own_outcome_is_found_where_the_command_line_keeps_it(open_page: Open, tmp_path: Path) -> None:
    asked = Asked(model="gpt2", limit=1)
    row = Row("ioi", "eap", 200, 0.006156, 0.01, -0.02, 0.04, 0.0, "source", REPRODUCED, kept=190)
    made = {
        "model": {"weights_hash": "abc", "dtype": "float32"},
        "pairs": 100,
        "seed": 0,
        "runs": {"ioi": {"eap": "r"}},
        "seconds": 1.0,
        "device": "cpu",
        "libraries": {"eapgp": "0"},
        "created": "now",
    }
    overlap = {"task": "ioi", "method": "eap", "circuit": "hanna2024", "edges": 200}
    overlap |= {f"{a}_{b}": 0.5 for a in ("edges", "nodes") for b in ("precision", "recall")}
    whole = Reproduction("gpt2", 32_491, (row,), ("remark",), asked, (overlap,), made)
    file = paper_work.result_file(asked, RunLibrary(tmp_path))
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(whole.to_dict()))
    assert read_reproduction(file) == whole
    app = open_page(model="gpt2", first="1", tab="manual")
    assert not app.exception and not app.error
    assert verdicts(app)[REPRODUCED] == 1 and app.button(key="run-button").disabled
    assert len(app.dataframe) == 2, "outcomes, and precision and recall"


def test_the_job_keeps_its_outcome_and_the_board_says_how_far_it_is(tmp_path: Path) -> None:
    library, asked = RunLibrary(tmp_path), Asked(limit=1, pairs=2, exact=False)
    study = protocol(Asked("demo", limit=1, pairs=2, exact=False))
    assert study.name == asked.name == "paper-demo-1-task-2-pairs-no-exact"
    names = [name for name in METHODS if name != "exact"]
    before = paper_work.board(study, library, running=True)
    assert before == {"ioi": {name: "running" if name == "eap" else "waiting" for name in names}}
    work = paper_work.reproduce_work(Workshop(), "cpu", asked, library)

    def cancelled(phase: str, fraction: float) -> None:
        if phase == "cells" and paper_work.board(study, library, running=False)["ioi"]["eap"] == "done":
            raise Cancelled("stopped.")

    with pytest.raises(Cancelled):
        work(cancelled)
    assert not paper_work.result_file(asked, library).exists(), "nothing half is kept as an outcome"
    after = paper_work.board(study, library, running=True)["ioi"]
    assert after == dict.fromkeys(names, "waiting") | {"eap": "done", "eap-ig": "running"}, "what was finished stays"
    seen: list[tuple[str, float]] = []
    result = work(lambda phase, fraction: seen.append((phase, fraction)))
    assert result.ran and {row.method for row in result.rows if row.value is not None} == set(names)
    cells = [fraction for phase, fraction in seen if phase == "cells"]
    assert cells == sorted(cells) and cells[-1] == 1 and len(set(cells)) > 4, "also inside a cell"
    kept = read_reproduction(paper_work.result_file(asked, library))
    assert kept.asked == asked and len(kept.rows) == len(result.rows)
    assert set(paper_work.board(study, library, running=False)["ioi"].values()) == {"done"}


def test_the_bundled_outcome_is_what_the_protocol_gives(tmp_path: Path) -> None:
    """One task by one method, computed again."""
    from eapgp.study.worker import Worker

    path = bundled(BUNDLED_FILE)
    assert path is not None and path.stat().st_size < 100_000
    stored = read_reproduction(path)
    assert stored.asked == Asked() and stored.made["pairs"] == 64 and len(stored.made["runs"]) == 6
    (cell,) = [
        c for c in protocol(Asked()).cells if (c.spec.task, name_of(c.spec.to_dict())) == ("hypernymy", "eap-gp")
    ]
    record = Worker(RunLibrary(tmp_path)).compute(cell)
    assert record["run"] == stored.made["runs"]["hypernymy"]["eap-gp"], "run tools.reproduction again"
    (answer,) = record["evaluations"].values()
    again = {entry["edges_selected"]: entry["faithfulness"] for entry in answer["curve"]}
    rows = [row for row in stored.rows if (row.task, row.method) == ("hypernymy", "eap-gp")]
    assert {row.edges for row in rows} == set(again)
    assert all(abs(again[row.edges] - row.value) < 1e-3 for row in rows if row.value is not None)


def test_names_of_what_is_asked_tell_settings_apart(tmp_path: Path) -> None:
    names = {
        Asked().name,
        Asked(limit=2).name,
        Asked(pairs=8).name,
        Asked(exact=False).name,
        Asked(seed=1).name,
        Asked("gpt2").name,
        Asked(str(tmp_path / "a" / "gpt2")).name,
        Asked(str(tmp_path / "b" / "gpt2")).name,
        Asked("x/名前").name,
    }
    assert len(names) == 9
    assert Asked(limit=6) == Asked() == Asked(pairs=64)
    assert not_run(Asked("gpt2"), "why").verdicts()[NOT_RUN] == 1104
