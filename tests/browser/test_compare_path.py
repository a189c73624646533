"""The Compare and Path pages in a real browser, on the bundled results."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.app_helpers import LONG, open_tab, until
from tests.browser.conftest import wait_ready


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app with an empty library of its own."""
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


def test_compare_opens_on_a_fresh_server_with_linked_panes(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="compare")
    panes = [page.locator(f".st-key-compare-{i}") for i in range(4)]
    for pane in panes:
        pane.locator(".edges .edge").first.wait_for(state="attached")
    titles = [pane.locator(".heading").inner_text() for pane in panes]
    assert titles == ["EAP", "EAP-IG", "EAP-GP · relative", "EAP-GP · unit (paper)"]
    box = panes[0].locator("input.number")
    box.fill("15")
    box.press("Enter")
    for pane in panes:
        until(page, lambda pane=pane: "15 selected" in pane.locator(".counts").inner_text(), what="the linked size")
    until(page, lambda: "k=15" in page.url, what="k in the URL")


def test_compare_scatter_overlap_sets_curves_and_costs(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="compare")
    page.locator(".st-key-rank-scatter .js-plotly-plot").wait_for()
    open_tab(page, "Overlap by size")
    page.locator(".st-key-jaccard .js-plotly-plot").wait_for()
    open_tab(page, "Shared and not")
    page.get_by_text(re.compile(r"In both.*\d+")).first.wait_for()
    open_tab(page, "Faithfulness by size")
    page.locator(".st-key-curves .js-plotly-plot").wait_for(timeout=LONG)
    open_tab(page, "Costs")
    page.get_by_text("passes do not depend on either").wait_for()
    page.get_by_text("EAP and EAP-IG in one").click()
    wait_ready(page)
    page.locator(".st-key-compare-sets .edges .edge").first.wait_for(state="attached")
    assert "picture=sets" in page.url


def test_path_draws_both_paths_and_its_views(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="path")
    plot = page.locator(".st-key-projection .js-plotly-plot")
    plot.wait_for()
    assert "GradPath" in plot.inner_text() and "Straight line" in plot.inner_text()
    plot.get_by_text("Play", exact=True).click()
    page.locator(".st-key-path-output_distance .js-plotly-plot").wait_for()
    open_tab(page, "Vanished gradients")
    page.locator(".st-key-vanished .js-plotly-plot").wait_for()
    box = page.locator(".st-key-field-pair input")
    box.fill("2")
    box.press("Enter")
    page.get_by_text("Corrupted", exact=True).first.wait_for()
    page.get_by_text("Distance to the corrupted output", exact=True).first.click()
    page.locator(".st-key-projection .contourlayer .contour").first.wait_for(timeout=LONG, state="attached")
    open_tab(page, "Which tokens move")
    page.locator(".st-key-tokens .js-plotly-plot").wait_for(timeout=LONG)
    assert "pair=2" in page.url and "background=distance" in page.url


def test_the_unit_step_s_overshoot_is_told_and_the_relative_step_is_one_click_away(
    app: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(app, path="path", query="step=unit")
    page.get_by_text("The step overshoots").wait_for()
    page.get_by_text("Show the relative step instead").click()
    wait_ready(page)
    until(page, lambda: "step=" not in page.url, what="the default step in the URL")


def test_a_method_without_a_path_says_what_to_do(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="path", query="method=eap")
    page.get_by_text("follows no path").wait_for()
    page.get_by_text("Show EAP-GP", exact=True).click()
    page.locator(".st-key-projection .js-plotly-plot").wait_for()


def test_settings_follow_from_page_to_page(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, query="task=ioi&method=eap-ig")
    page.get_by_role("link", name="Path").click()
    page.get_by_text("EAP-IG · ioi").wait_for()
    until(page, lambda: "method=eap-ig" in page.url and "/path" in page.url, what="the setting in the new page's URL")
