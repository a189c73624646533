"""The Paper page: opens on the bundled outcome, runs the protocol in the background, says "not run" without weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.app_helpers import LONG, choose, fill, open_tab, run_button, until
from tests.browser.conftest import PHONE, wait_ready


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], home: Path) -> str:
    """The app with an empty library and no way to the hub."""
    return serve("app.py", env={"EAPGP_HOME": str(home), "HF_ENDPOINT": "http://hub.invalid", "HTTPS_PROXY": ""})


def verdict(page: Any, name: str) -> int:
    """How many cells have a verdict, as the page counts them."""
    metric = page.locator(".st-key-paper-verdicts [data-testid=stMetric]").filter(has_text=name)
    return int(metric.locator("[data-testid=stMetricValue]").inner_text())


def test_the_page_opens_on_the_bundled_outcome_and_runs_the_protocol(
    app: str, home: Path, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page(app, path="paper")
    page.locator(".st-key-paper-curves .js-plotly-plot").wait_for()
    page.get_by_text("another model's").first.wait_for()
    assert verdict(page, "No published number") == 480 and verdict(page, "Reproduced") == 0
    for tab, shown in {
        "Manual circuits": "exist for GPT-2 small only",
        "The protocol": "up to 2,000 edges",
        "How it was made": "eapgp reproduce --model demo",
    }.items():
        open_tab(page, tab)
        page.get_by_text(shown).first.wait_for()
    open_tab(page, "Every cell")
    with page.expect_download() as download:
        page.locator(".st-key-paper-downloads").get_by_role("button", name="JSON").click()
    saved = tmp_path / "demo.json"
    download.value.save_as(saved)
    assert len(json.loads(saved.read_text())["rows"]) == 480

    fill(page, "first", "1")
    fill(page, "each", "3")
    page.get_by_text("have no outcome yet").wait_for()
    choose(page, "exact", "No")
    run_button(page).click()
    page.locator(".st-key-paper-verdicts").get_by_text("No published number").wait_for()
    until(page, lambda: verdict(page, "No published number") == 70, seconds=2 * LONG / 1000, what="the new outcome")
    assert verdict(page, "Not run") == 10, "exact patching was not asked for"
    assert run_button(page).is_disabled()
    assert "first=1" in page.url and "exact=no" in page.url
    kept = json.loads((home / "studies" / "paper-demo-1-task-3-pairs-no-exact" / "reproduction.json").read_text())
    assert kept["verdicts"]["no published number"] == 70
    page.reload()
    wait_ready(page)
    assert verdict(page, "No published number") == 70


def test_without_weights_nothing_is_made_up(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="paper", query="model=gpt2&first=1", size=PHONE, theme="dark")
    page.get_by_text("only the published numbers are shown").wait_for()
    assert verdict(page, "Not run") == 184 and verdict(page, "Reproduced") == 0
    page.locator(".st-key-paper-curves .js-plotly-plot").wait_for()
    wait_ready(page)
    page.get_by_test_id("stExpandSidebarButton").click()
    # on a phone a button with a tooltip is there twice, one of them hidden
    page.locator(".st-key-run-button button").locator("visible=true").click()
    page.get_by_text("could not be fetched").first.wait_for(timeout=LONG)
    assert verdict(page, "Not run") == 184, "the reason stands beside the published numbers, and no value does"
