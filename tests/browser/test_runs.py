"""The Runs page in a real browser: what arrives, is named, deleted, brought back and imported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.formats import write_scores
from eapgp.ground_truth import GPT2_SMALL, ground_truth
from eapgp.runs import RunLibrary
from eapgp.runs.run import open_run
from tests.browser.app_helpers import open_tab, until
from tests.browser.conftest import PHONE, ROOT, wait_ready

EXAMPLE = ROOT / "assets" / "examples" / "sva-eap"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], home: Path) -> str:
    """The app with an empty library of its own."""
    return serve("app.py", env={"EAPGP_HOME": str(home)})


def test_a_run_arrives_by_itself_is_named_deleted_and_brought_back(
    app: str, open_page: Callable[..., Any], home: Path
) -> None:
    page = open_page(app, path="runs", theme="dark")
    page.get_by_text("You have computed nothing yet").wait_for()
    run_id = open_run(EXAMPLE).id
    (home / "runs").mkdir(exist_ok=True)
    shutil.copytree(EXAMPLE, home / "copied")
    (home / "copied").rename(home / "runs" / run_id)  # as another process stores a run
    page.get_by_text("Your runs · 1").wait_for()
    page = open_page(app, path="runs", query=f"picked={run_id}&show=own", theme="dark")
    page.get_by_text(f"{run_id}").first.wait_for()
    name = page.get_by_label("Name", exact=True)
    name.fill("**First** try")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="**First** try").wait_for()
    open_tab(page, "Download")
    with page.expect_download() as started:
        page.locator(".st-key-download-graphml button").first.click()
    assert "<graphml" in Path(started.value.path()).read_text(encoding="utf-8")
    assert "tab=files" in page.url
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_text("Your runs · 0").wait_for()
    assert not (home / "runs" / run_id).exists()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Your runs · 1").wait_for()
    assert open_run(home / "runs" / run_id).name == "**First** try"
    page.get_by_role("button", name="Open in Explore").click()
    until(page, lambda: "/runs" not in page.url and f"run={run_id}" in page.url, what="the run on Explore")


def test_no_other_run_is_ticked_after_one_is_deleted(app: str, open_page: Callable[..., Any], home: Path) -> None:
    for example in (EXAMPLE, EXAMPLE.parent / "sva-eap-ig", EXAMPLE.parent / "sva-random"):
        shutil.copytree(example, home / "runs" / open_run(example).id, dirs_exist_ok=True)
    page = open_page(app, path="runs", query="show=own")

    def tick_the_first() -> str:
        before = page.url
        page.locator("[class*=st-key-runs-own] canvas").first.click(position={"x": 15, "y": 54}, force=True)
        until(page, lambda: page.url != before, what="another selection")
        wait_ready(page)
        return page.url.partition("picked=")[2]

    deleted = tick_the_first()
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_text("Your runs · 2").wait_for()
    wait_ready(page)
    assert len(tick_the_first()) == len(deleted) and deleted not in page.url


def test_scores_are_imported_and_held_against_a_known_circuit_and_a_bad_file_is_one_line(
    app: str, home: Path, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    values = np.where(GPT2_SMALL.mask, 1e-3, 0.0)
    for edge in ground_truth("ioi").circuit.edge_names()[:50]:
        values[GPT2_SMALL.edge_index(edge)] = 1.0
    scores = write_scores(EdgeScores(GPT2_SMALL, values), tmp_path / "ioi-made.json")
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    page = open_page(app, path="runs", query="show=own&picked=examples", size=PHONE)
    page.get_by_text("Import runs or scores").click()
    page.locator("input[type=file]").set_input_files([str(scores), str(bad)])
    page.get_by_text("Imported scores · 1").wait_for()
    page.get_by_text("'cfg' is missing").wait_for()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= PHONE[0] + 1

    def pick_the_file() -> None:
        canvas = page.locator("[class*=st-key-runs-files] canvas").first
        canvas.scroll_into_view_if_needed()
        canvas.click(position={"x": 15, "y": 54}, force=True)  # a layer of the table lies over it

    pick_the_file()
    page.locator(".st-key-file-to-explore").get_by_text("Negative means helpful").click()
    wait_ready(page)
    page.get_by_role("button", name="Open in Explore").click()
    until(page, lambda: "run=" in page.url and "/runs" not in page.url, what="the scores on Explore")
    kept = RunLibrary(home).open(page.url.split("run=")[1].split("&")[0])
    assert np.array_equal(kept.scores().values, -values) and kept.name == "ioi-made, negated"
    page.locator(".st-key-explore-circuit .node text.role").first.wait_for(state="attached")

    page.goto(f"{app}/runs?show=own")
    wait_ready(page)
    pick_the_file()
    page.get_by_role("button", name="Open in Ground truth").click()
    until(page, lambda: "ground_truth" in page.url, what="the page Ground truth")
    wait_ready(page)
    drawn = page.locator(".st-key-field-overlay input")
    until(page, lambda: "ioi-made" in drawn.input_value(), what="the file as the one that is drawn")
    page.locator(".st-key-truth-circuit .edges .edge").first.wait_for(state="attached")
