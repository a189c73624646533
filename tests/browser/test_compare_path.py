"""The Compare and Path pages in a real browser, on the bundled results."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.app_helpers import LONG, fill, open_tab, until
from tests.browser.conftest import PHONE, wait_ready


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
    assert titles == ["EAP", "EAP-IG", "EAP-GP · relative", "EAP-GP · unit (our reading of the paper)"]
    box = panes[0].locator("input.number")
    box.fill("15")
    box.press("Enter")
    for pane in panes:
        until(page, lambda pane=pane: "15 selected" in pane.locator(".counts").inner_text(), what="the linked size")
    until(page, lambda: "k=15" in page.url, what="k in the URL")
    panes[1].get_by_role("button", name="Zoom in").click()
    until(page, lambda: panes[2].get_by_text("100%").count() == 0, what="the linked zoom")
    until(page, lambda: "zoom=" in page.url, what="the zoom in the URL")


def test_methods_that_were_picked_stay_while_they_are_computed(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="compare", query="seed=31&pairs=8")
    picked = page.locator(".st-key-field-these [data-tag]")
    for name in ("Mask-IG · k = 3", "EAP-GP · relative"):
        page.locator(".st-key-field-these input").first.fill(name)
        page.get_by_role("option", name=name, exact=True).click()
        wait_ready(page)
    page.keyboard.press("Escape")
    wait_ready(page)
    names = picked.all_inner_texts()
    assert names == ["EAP", "EAP-IG", "Mask-IG · k = 3", "EAP-GP · relative"]
    page.get_by_role("button", name="Compute 4 missing").click()
    page.locator(".st-key-compare-3 .edges .edge").first.wait_for(state="attached", timeout=LONG)
    until(page, lambda: page.locator(".st-key-compare-missing").count() == 0, what="nothing missing any more")
    assert picked.all_inner_texts() == names
    assert [page.locator(f".st-key-compare-{i} .heading").inner_text() for i in range(4)] == names


def test_compare_any_pair_edge_by_edge_and_by_curve(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="compare", query="b=3&picture=sets")
    page.locator(".st-key-compare-sets .edges .edge").first.wait_for(state="attached")
    page.locator(".st-key-compare-sets").get_by_text("only EAP-GP · relative").first.wait_for()
    plot = page.locator(".st-key-rank-scatter .js-plotly-plot")
    plot.get_by_text("EAP against EAP-GP · relative").wait_for()
    point = plot.locator(".scatterlayer .point").first
    point.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # the figure is laid out once more when it comes into view
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    until(page, lambda: "sel=" in page.url and "-%3E" in page.url, what="the clicked edge in the URL")
    open_tab(page, "Agreement")
    page.get_by_text("Exact patching and EAP", exact=True).wait_for()
    page.locator(".st-key-agreement-groups .js-plotly-plot").wait_for()
    open_tab(page, "Shared and not")
    page.get_by_text(re.compile(r"In both, sign flipped.*\d+")).first.wait_for()
    open_tab(page, "Faithfulness")
    page.locator(".st-key-curves .js-plotly-plot").wait_for(timeout=LONG)
    page.locator(".st-key-difference .js-plotly-plot").wait_for()
    page.get_by_text(re.compile(r"Area under the curve.*the order flips in \d+%")).wait_for()
    open_tab(page, "Costs")
    page.get_by_text("Passes per prompt pair").wait_for()
    assert "b=3" in page.url and "picture=sets" in page.url and "tab=costs" in page.url


def test_tasks_are_compared_and_missing_seeds_computed_at_a_click(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="compare", query="by=tasks&tab=curves")
    page.get_by_text("These runs differ in task, prompts, metric").wait_for()
    page.get_by_text("No paired difference").wait_for(timeout=LONG)
    page.locator(".st-key-field-by").get_by_text("Prompt seeds").click()
    wait_ready(page)
    fill(page, "pairs", "4")
    page.get_by_role("button", name="Compute 2 missing").click()
    for name, place in (("EAP-GP · seed 0", 0), ("EAP-GP · seed 1", 1)):
        pane = page.locator(f".st-key-compare-{place}")
        pane.locator(".edges .edge").first.wait_for(state="attached", timeout=LONG)
        until(page, lambda pane=pane, name=name: pane.locator(".heading").inner_text() == name, what=name)
    page.get_by_text("These runs differ in prompts").wait_for()


def test_path_draws_both_paths_and_its_views(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="path", query="at=3")
    plot = page.locator(".st-key-projection .js-plotly-plot")
    plot.wait_for()
    assert "GradPath" in plot.inner_text() and "Straight line" in plot.inner_text()
    plot.get_by_text("Play").click()
    for quantity in ("output_distance", "metric", "gradient_norm", "vanished", "to_corrupted", "to_clean"):
        page.locator(f".st-key-path-{quantity} .js-plotly-plot").wait_for()
    assert page.locator(".st-key-path-metric").get_by_text("step 3").count() == 1
    open_tab(page, "Vanished gradients")
    page.locator(".st-key-vanished .js-plotly-plot").wait_for()
    fill(page, "pair", "2")
    page.get_by_text("Corrupted", exact=True).first.wait_for()
    page.get_by_text("Its slope", exact=True).first.click()
    page.locator(".st-key-projection .contourlayer .contour").first.wait_for(timeout=LONG, state="attached")
    open_tab(page, "Which tokens move")
    page.locator(".st-key-tokens .js-plotly-plot").wait_for(timeout=LONG)
    assert "pair=2" in page.url and "background=slope" in page.url and "at=3" in page.url


def test_what_each_point_adds_sums_to_the_edge_s_score(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="path", query="tab=edge&follow=m0->a3.h1<v>", size=PHONE)
    page.locator(".st-key-edge-path .js-plotly-plot").wait_for(timeout=LONG)

    def told() -> list[tuple[str, str]]:
        text = page.get_by_text("Sum over the points").inner_text()
        return re.findall(r"([+-][\d.]+) \(score of the run ([+-][\d.]+)\)", text)

    until(page, lambda: len(told()) == 2, what="the sums of both paths")
    assert all(abs(float(a) - float(b)) < 2e-5 for a, b in told())
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert wide <= PHONE[0] + 1
    clipped = "e => e.scrollWidth > e.clientWidth + 1"
    assert not page.locator(".st-key-edge-path-csv button >> visible=true").first.evaluate(clipped)


def test_the_unit_step_is_told_to_move_away_and_the_relative_step_is_one_click_away(
    app: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(app, path="path", query="step=unit")
    page.get_by_text("came nearer to the corrupted run").wait_for()
    page.get_by_role("button", name="Show the relative step instead").click()
    wait_ready(page)
    until(page, lambda: "step=" not in page.url, what="the default step in the URL")


def test_a_method_without_a_path_says_what_to_do(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="path", query="method=eap")
    page.get_by_text("follows no path").wait_for()
    page.get_by_role("button", name="Show EAP-GP").click()
    page.locator(".st-key-projection .js-plotly-plot").wait_for()


def test_settings_follow_from_page_to_page(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="task=ioi&method=eap-ig")
    page.get_by_role("link", name="Path").click()
    page.locator(".st-key-settings-chip").filter(has_text="Indirect object identification · EAP-IG").wait_for()
    until(page, lambda: "method=eap-ig" in page.url and "/path" in page.url, what="the setting in the new page's URL")
