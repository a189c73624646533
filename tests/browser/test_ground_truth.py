"""The Ground truth page in a real browser: nothing yet, imported scores, the planted circuit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.formats import write_scores
from eapgp.ground_truth import GPT2_SMALL, ground_truth
from tests.browser.app_helpers import LONG, open_tab, until
from tests.browser.conftest import wait_ready


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app with an empty library of its own."""
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of GPT-2 small in MIB's format that put the edges of the manual IOI circuit first."""
    values = np.where(GPT2_SMALL.mask, 1e-3 * np.random.default_rng(0).random(GPT2_SMALL.mask.shape), 0.0)
    for name in ground_truth("ioi").circuit.edge_names():
        values[GPT2_SMALL.edge_index(name)] = 1.0
    return write_scores(EdgeScores(GPT2_SMALL, values), tmp_path_factory.mktemp("up") / "ioi-made.json")


def test_the_demo_model_has_none_and_an_upload_is_compared(
    app: str, open_page: Callable[..., Any], upload: Path
) -> None:
    page = open_page(app, path="ground_truth", query="known=ioi/hanna2024&k=215")
    page.get_by_text("The demo model has no manual circuit").wait_for()
    page.get_by_role("button", name="Use the planted circuit").wait_for()
    page.locator("input[type=file]").set_input_files(str(upload))
    page.locator(".st-key-truth-circuit .edges .edge").first.wait_for(state="attached")
    readout = page.locator(".st-key-truth-readout")
    until(page, lambda: "215 of 215" in readout.inner_text(), what="the number of edges found")
    roles = page.locator(".st-key-truth-circuit").get_by_text("Name mover", exact=True)
    roles.first.wait_for(state="attached")  # at a node, shown from a certain zoom on
    roles.last.wait_for()  # in the legend
    page.locator(".st-key-roc-edges .js-plotly-plot").wait_for()
    page.locator(".st-key-roc-nodes .js-plotly-plot").wait_for()
    open_tab(page, "Found, missed, extra")
    page.locator(".st-key-truth-edges").wait_for()
    again = open_page(app, path="ground_truth", query=page.url.split("?")[1])
    again.get_by_text("ioi-made").first.wait_for()


def test_a_file_that_could_run_code_is_not_taken(app: str, open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page(app, path="ground_truth", query="known=greater-than/acdc&against=file-000000000000")
    wait_ready(page)
    bad = tmp_path / "scores.json"
    bad.write_text('{"edges": {}}')
    opener = page.get_by_role("button", name="Add scores")
    if opener.count():
        opener.click()
    page.locator("input[type=file]").set_input_files(str(bad))
    page.get_by_text("'cfg' is missing").wait_for()


def test_it_opens_on_the_planted_circuit_and_scores_it_at_a_click(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="ground_truth")
    page.get_by_text("8 of 262 edges are true by construction").wait_for()
    page.get_by_role("button", name="Build and score it").click()
    progress = page.get_by_test_id("stMainBlockContainer").get_by_text("Planted circuit ·")
    progress.wait_for()
    progress.wait_for(state="hidden", timeout=4 * LONG)
    page.locator(".st-key-truth-circuit .edges .edge").first.wait_for(state="attached")
    open_tab(page, "Every score")
    page.get_by_text("is among the 8 best of").wait_for()
