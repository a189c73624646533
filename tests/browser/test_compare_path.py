"""The Compare and Path pages in a real browser, on the bundled results."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from eapgp.numerals import MINUS
from tests.browser.app_helpers import LONG, choose, fill, move_step, open_tab, pick, settled, until
from tests.browser.conftest import PHONE, wait_ready


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app with an empty library of its own."""
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


def panes_of(page: Any) -> Any:
    """The circuits beside each other on Compare."""
    return page.locator(".st-key-compare-panes .row > .circuit-view")


def titles_of(page: Any) -> list[str]:
    return panes_of(page).locator(".name-of").all_inner_texts()


def test_compare_opens_on_two_linked_panes_under_one_toolbar(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="compare")
    panes = panes_of(page)
    panes.nth(1).locator(".edges .edge").first.wait_for(state="attached")
    assert titles_of(page) == ["EAP-IG", "EAP-GP · relative"]
    assert page.locator(".st-key-compare-panes .toolbar").count() == 1
    notes = panes.locator(".note-of")
    until(page, lambda: all("keeps" in text for text in notes.all_inner_texts()), what="faithfulness on each pane")
    sentence = page.locator(".eapgp-finding")
    until(page, lambda: "EAP-IG keeps more than EAP-GP" in sentence.inner_text(), what="the sentence")
    before = notes.all_inner_texts()
    box = page.locator(".st-key-compare-panes input.number")
    box.fill("15")
    box.press("Enter")
    for place in (0, 1):
        until(
            page, lambda at=place: int(panes.nth(at).locator(".tally").inner_text().split()[0]) <= 15, what="the size"
        )
    until(page, lambda: "k=15" in page.url, what="k in the URL")
    until(
        page,
        lambda: all("keeps" in text and text not in before for text in notes.all_inner_texts()),
        what="the faithfulness of the other size",
    )
    until(page, lambda: not panes.locator(".note-of.stale").count(), what="notes of this size")
    tools = page.locator(".st-key-compare-panes .toolbar")
    at_first = panes.locator(".world").first.evaluate("one => one.style.transform")
    tools.get_by_role("button", name="Zoom in").click()
    until(page, lambda: "zoom=" in page.url, what="the zoom in the URL")
    places = panes.locator(".world").evaluate_all("all => all.map((one) => one.style.transform)")
    assert places[0] == places[1] != at_first
    tools.get_by_role("button", name="Filter").click()
    tools.get_by_role("button", name="− against").click()
    until(page, lambda: not panes.locator(".edges .edge.plus").count(), what="the filter in both panes")


def test_methods_that_were_picked_stay_while_they_are_computed(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="compare", query="seed=31&pairs=8")
    picked = page.locator(".st-key-field-these [data-tag]")
    for name in ("Mask-IG · k = 3", "EAP"):
        page.locator(".st-key-field-these input").first.fill(name)
        page.get_by_role("option", name=name, exact=True).click()
        wait_ready(page)
    page.keyboard.press("Escape")
    wait_ready(page)
    names = picked.all_inner_texts()
    assert names == ["EAP-IG", "EAP-GP · relative", "Mask-IG · k = 3", "EAP"]
    page.get_by_role("button", name="Compute 4 missing").click()
    panes_of(page).nth(3).locator(".edges .edge").first.wait_for(state="attached", timeout=LONG)
    until(page, lambda: page.locator(".st-key-compare-missing").count() == 0, what="nothing missing any more")
    assert picked.all_inner_texts() == names
    assert titles_of(page) == names


def test_compare_any_pair_edge_by_edge_and_by_curve(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="compare", query="these=eap,eap-ig left,eap-gp relative&b=3&picture=sets")
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
    page.get_by_text(re.compile(r"Area under the curve.*the order flips in [\d.]+ %")).wait_for()
    open_tab(page, "Costs")
    page.get_by_text("Passes per prompt pair").wait_for()
    assert "b=3" in page.url and "picture=sets" in page.url and "tab=costs" in page.url


def test_tasks_are_compared_and_missing_seeds_computed_at_a_click(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="compare", query="by=tasks&tab=curves")
    page.get_by_text("These runs differ in task, prompts, metric").wait_for()
    page.get_by_text("No paired difference").wait_for(timeout=LONG)
    choose(page, "by", "Prompt seeds")
    fill(page, "pairs", "4")
    page.get_by_role("button", name="Compute 2 missing").click()
    panes_of(page).nth(1).locator(".edges .edge").first.wait_for(state="attached", timeout=LONG)
    until(page, lambda: titles_of(page) == ["EAP-GP · seed 0", "EAP-GP · seed 1"], what="both seeds")
    page.get_by_text("These runs differ in prompts").wait_for()


def test_path_draws_both_paths_and_its_views(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="path", query="at=3")
    page.get_by_text("on indirect object identification it came nearer on 1 of 64").wait_for()
    assert "on 64 of 64 pairs" in page.locator(".eapgp-finding").inner_text(), "it opens on a path that comes nearer"
    pick(page, "walk", "Indirect object identification")
    until(page, lambda: "on 63 of 64 pairs" in page.locator(".eapgp-finding").inner_text(), what="the settings' own")
    settled(page)
    plot = page.locator(".st-key-projection .js-plotly-plot")
    plot.wait_for()
    assert "GradPath" in plot.inner_text() and "Straight line" in plot.inner_text()
    page.locator(".st-key-path-step").get_by_role("button", name="Play").click()
    page.locator(".st-key-path-step").get_by_role("button", name="Stop").click()
    for quantity in ("output_distance", "metric", "gradient_norm", "vanished", "to_corrupted", "to_clean"):
        page.locator(f".st-key-path-{quantity} .js-plotly-plot").wait_for()
    move_step(page, 3)
    assert page.locator(".st-key-path-metric").get_by_text("step 3").count() == 1
    open_tab(page, "Vanished gradients")
    page.locator(".st-key-vanished .js-plotly-plot").wait_for()
    fill(page, "pair", "2")
    page.get_by_text("Corrupted", exact=True).first.wait_for()
    pick(page, "background", "Its slope")
    page.locator(".st-key-projection .contourlayer .contour").first.wait_for(timeout=LONG, state="attached")
    open_tab(page, "Which tokens move")
    page.locator(".st-key-tokens .js-plotly-plot").wait_for(timeout=LONG)
    assert "pair=2" in page.url and "background=slope" in page.url and "at=3" in page.url


RING = """() => {
  const plot = document.querySelector(".st-key-projection .js-plotly-plot");
  const trace = [...plot.querySelectorAll(".scatterlayer .trace")].find(
    (one) => one.__data__[0].trace.name === "current step");
  return trace.querySelector("path.point").getBoundingClientRect().x;
}"""
LINE = """() => {
  const plot = document.querySelector(".st-key-path-metric .js-plotly-plot");
  const at = plot._fullLayout.shapes.findIndex((one) => one.name === "current");
  return plot.querySelector(`.shapelayer [data-index="${at}"]`).getBoundingClientRect().x;
}"""


HEARD = 300  # ms after a move until the server hears of it (path_step.js)
SENDS = """() => {
  window.sends = [];
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (...what) {
    window.sends.push(performance.now());
    return send.apply(this, what);
  };
}"""


@pytest.mark.parametrize("task", ["ioi", "hypernymy", "sva&model=smollm2-135m"])
def test_every_bundled_path_has_its_landscape_and_its_step_moves_in_the_browser(
    app: str, open_page: Callable[..., Any], task: str, record_property: Callable[..., None]
) -> None:
    page = open_page(app, path="path", query=f"task={task}")
    page.locator(".st-key-projection .contourlayer .contour").first.wait_for(state="attached")
    page.locator(".st-key-path-metric .js-plotly-plot").wait_for()
    wait_ready(page)
    places = [(page.evaluate(RING), page.evaluate(LINE))]
    page.evaluate(SENDS)
    times = []
    for step in (1, 2, 5):
        begun = page.evaluate("performance.now()")
        times.append(move_step(page, step))
        places.append((page.evaluate(RING), page.evaluate(LINE)))
        assert f"step {step} of 5" in page.locator(".st-key-path-step output").inner_text()
        until(page, lambda step=step: f"at={step}" in page.url, what="the step in the URL")
        told = min(at for at in page.evaluate("window.sends") if at > begun)
        assert told - begun >= HEARD, "the server is not asked before the marks have moved"
        wait_ready(page)
    assert len(set(places)) == 4 and [line for _, line in places] == sorted(line for _, line in places)
    record_property("step_ms", round(max(times), 1))
    assert min(times) <= 50
    assert page.evaluate(LINE) == places[-1][1]
    page.reload()
    wait_ready(page)
    page.locator(".st-key-path-metric .js-plotly-plot").wait_for()
    until(page, lambda: "step 5" in page.locator(".st-key-path-step output").inner_text(), what="the step of the link")


def test_what_each_point_adds_sums_to_the_edge_s_score(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="path", query="tab=edge&follow=m0->a3.h1<v>", size=PHONE)
    page.locator(".st-key-edge-path .js-plotly-plot").wait_for(timeout=LONG)

    def told() -> list[tuple[str, str]]:
        text = page.get_by_text("Sum over the points").first.inner_text()  # drawn anew, the old one stands beside it
        return re.findall(r"([+-][\d.]+) \(score of the run ([+-][\d.]+)\)", text.replace(MINUS, "-"))

    until(page, lambda: len(told()) == 2, what="the sums of both paths")
    assert all(abs(float(a) - float(b)) < 2e-5 for a, b in told())
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert wide <= PHONE[0] + 1
    menu = page.locator(".st-key-edge-path-menu button >> visible=true").first.bounding_box()
    assert menu is not None and menu["x"] >= 0 and menu["x"] + menu["width"] <= PHONE[0] and menu["width"] > 80


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
