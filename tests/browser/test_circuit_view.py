"""The circuit view in Chromium: what a person sees, does by hand and by keyboard, and what Python hears."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser.conftest import PHONE, wait_ready
from eapgp.attribution.result import EdgeScores
from eapgp.circuits import select
from eapgp.figures.circuit_view import Pane, build_payload, view_css, view_js
from eapgp.figures.pyvis_view import pyvis_html
from eapgp.figures.standalone import circuit_html
from eapgp.graph import Graph

APP = "tests/browser/apps/circuit.py"


def made(layers: int = 12, heads: int = 12, seed: int = 0) -> EdgeScores:
    """The scores that the app draws."""
    graph = Graph(layers, heads)
    rng = np.random.default_rng(seed)
    weight = np.exp(rng.normal(0, 1.6, len(graph.nodes)))
    weight[0] = weight[-1] = weight.max()
    values = rng.normal(0, 1e-3, graph.mask.shape) * weight[:-1, None] * weight[graph.destination_nodes][None, :]
    return EdgeScores(graph, np.where(graph.mask, values, 0.0))


@pytest.fixture
def open_view(serve: Any, open_page: Any) -> Any:
    """`open_view(query, …) -> page` with the view drawn."""

    def start(query: str = "layers=4&heads=4&n=40", **options: Any) -> Any:
        page = open_page(serve(APP), query=query, **options)
        page.locator(".circuit-view .node.used.head, .circuit-view .node.group").first.wait_for(state="attached")
        return page

    return start


def used_heads(page: Any) -> list[str]:
    labels = (
        page.locator(".circuit-view")
        .first.locator(".node.used.head")
        .evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label').split(',')[0])")
    )
    return list(labels)


def node(page: Any, name: str, view: int = 0) -> Any:
    return page.locator(".circuit-view").nth(view).locator(f'.node[aria-label^="{name},"]')


def said(page: Any, start: str, rest: str) -> None:
    """Waits until the app's own line says so."""
    page.get_by_text(re.compile(f"^{re.escape(start)}.*{rest}")).first.wait_for()


def point_at(page: Any, name: str, view: int = 0) -> tuple[float, float]:
    box = node(page, name, view).locator(".box").bounding_box()
    spot = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*spot)
    return spot


def opacity_of_edges(page: Any, view: int = 0) -> float:
    layer = page.locator(".circuit-view").nth(view).locator(".layer.edges")
    return float(layer.evaluate("element => getComputedStyle(element).opacity"))


def settled(page: Any, milliseconds: int = 400) -> None:
    page.wait_for_timeout(milliseconds)
    wait_ready(page)


# ---- what is drawn -----------------------------------------------------------------------------


def test_the_first_picture_is_the_pruned_top_n(open_view: Any) -> None:
    page = open_view("layers=4&heads=4&n=40")
    circuit = select(made(4, 4), n=40)
    assert 0 < circuit.n_kept < 40
    assert page.locator(".counts").inner_text() == f"40 selected · {circuit.n_kept} kept"
    heads = [name for name in circuit.node_names() if name.startswith("a")]
    assert sorted(used_heads(page)) == sorted(heads)
    said(page, "selection:", "none")
    said(page, "n:", "None")  # nothing is reported while mounting


def test_the_slider_redraws_in_the_browser_alone(open_view: Any) -> None:
    page = open_view("n=100")
    slider = page.get_by_role("slider", name="Number of edges, logarithmic")
    sent = len(page.guard.sent)
    places = "nodes => nodes.map((node) => node.getAttribute('transform')).join()"
    before = page.locator(".node").evaluate_all(places)
    for value, n in ((250, 13), (650, 856), (1000, 32_491)):
        slider.evaluate(f"(element) => {{ element.value = {value}; element.dispatchEvent(new Event('input')); }}")
        page.get_by_text(f"{n:,} selected").first.wait_for(state="attached")
        kept = select(made(), n=n).n_kept
        assert page.locator(".counts").inner_text().startswith(f"{n:,} selected · {kept:,} kept")
        assert page.get_by_label("Number of edges", exact=True).input_value() == str(n)
    assert "strongest 5,000 drawn" in page.locator(".counts").inner_text()
    assert page.locator(".node").evaluate_all(places) == before, "a node moved"
    page.wait_for_timeout(500)
    assert len(page.guard.sent) == sent, "moving the slider must not ask the server"
    slider.dispatch_event("change")
    said(page, "n: 32491; selected: 32491; kept:", str(select(made(), n=32_491).n_kept))
    said(page, "runs:", "2")


def test_the_number_box_sets_the_size_and_tells_python(open_view: Any) -> None:
    page = open_view("layers=4&heads=4&n=40")
    box = page.get_by_label("Number of edges", exact=True)
    box.fill("17")
    box.press("Enter")
    said(page, "n: 17; selected: 17; kept:", str(select(made(4, 4), n=17).n_kept))
    box.fill("999999")
    box.press("Enter")
    said(page, "n:", str(Graph(4, 4).n_edges))


def test_signs_have_their_colour_and_negative_edges_are_dashed(open_view: Any) -> None:
    page = open_view()
    look = "path => { const style = getComputedStyle(path); return [style.stroke, style.strokeDasharray]; }"
    plus = page.locator(".edges .edge.plus").last.evaluate(look)
    minus = page.locator(".edges .edge.minus").last.evaluate(look)
    assert plus == ["rgb(0, 114, 178)", "none"]
    assert minus[0] == "rgb(213, 94, 0)"
    assert minus[1] != "none"


# ---- pointing, choosing, keys ------------------------------------------------------------------


def test_pointing_at_a_node_fades_the_rest_and_says_what_it_is(open_view: Any) -> None:
    page = open_view("layers=4&heads=4&n=40&roles=1")
    name = used_heads(page)[0]
    point_at(page, name)
    page.locator(".stage.fade-hover").wait_for()
    page.wait_for_timeout(250)
    assert 0.05 <= opacity_of_edges(page) <= 0.10
    tip = page.locator(".tip")
    assert tip.locator(".tip-name").inner_text() == name
    assert "attention head" in tip.inner_text()
    circuit = select(made(4, 4), n=40)
    incident = [edge for edge in circuit.edge_names() if edge.startswith(f"{name}->") or f"->{name}<" in edge]
    curves = page.locator(".lit .edge path").evaluate_all(
        "paths => paths.map((path) => path.getAttribute('d')).join('')"
    )
    assert curves.count("C") == len(incident) > 0
    page.mouse.move(5, 5)
    page.locator(".stage:not(.fade-hover)").wait_for()
    assert not tip.is_visible()


def test_pointing_snaps_to_the_nearest_edge(open_view: Any) -> None:
    page = open_view()
    scores, circuit = made(4, 4), select(made(4, 4), n=40)
    spot = page.locator(".edges .edge path").last.evaluate(
        """path => { const at = path.getPointAtLength(path.getTotalLength() * 0.5), m = path.getScreenCTM();
                     const p = new DOMPoint(at.x, at.y).matrixTransform(m); return [p.x, p.y]; }"""
    )
    page.mouse.move(spot[0] + 4, spot[1])
    page.locator(".tip").wait_for()
    text = page.locator(".tip").inner_text()
    name = text.splitlines()[0]
    assert name in circuit.edge_names()
    place = next(i for i, (other, _) in enumerate(scores.top(40), 1) if other == name)
    score = scores.values[scores.graph.edge_index(name)]
    assert f"#{place} of {scores.graph.n_edges}" in text
    assert f"{'+' if score > 0 else '−'}{abs(score):.4g}" in text
    assert ("supports the behaviour" if score > 0 else "works against it") in text
    page.locator(".lit .edge path").first.wait_for(state="attached")  # drawn with the next frame
    assert page.locator(".lit .edge path").count() == 1


def test_a_click_selects_a_modifier_click_pins_and_escape_clears(open_view: Any) -> None:
    page = open_view()
    first, second = used_heads(page)[:2]
    page.mouse.click(*point_at(page, first))
    said(page, "selection:", re.escape(first))
    assert "selected" in node(page, first).get_attribute("class")
    spot = point_at(page, second)
    page.keyboard.down("Control")
    page.mouse.click(*spot)
    page.keyboard.up("Control")
    said(page, "pins:", re.escape(second))
    said(page, "selection:", re.escape(first))
    page.mouse.move(5, 5)
    page.keyboard.press("Escape")
    said(page, "selection:", "none")
    said(page, "pins:", "none")
    assert not page.locator(".node.selected, .node.pinned").count()


def test_tracing_shows_all_paths_through_the_selection(open_view: Any) -> None:
    from eapgp.circuits import trace

    page = open_view()
    circuit = select(made(4, 4), n=40)
    name = next(n for n in used_heads(page) if 0 < trace(circuit, n).n_kept < circuit.n_kept)
    assert not page.get_by_role("button", name="Trace").count(), "there is nothing to trace yet"
    page.mouse.click(*point_at(page, name))
    page.mouse.move(5, 5)
    page.get_by_role("button", name="Trace").click()
    page.locator('[aria-label="Trace"][aria-pressed="true"]').wait_for()
    page.wait_for_timeout(200)
    curves = page.locator(".lit .edge path").evaluate_all(
        "paths => paths.map((path) => path.getAttribute('d')).join('')"
    )
    assert curves.count("C") == trace(circuit, name).n_kept


def test_everything_works_without_a_mouse(open_view: Any) -> None:
    page = open_view()
    page.get_by_role("button", name="Full screen").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.getAttribute('aria-label')").startswith(
        "logits"
    )
    page.keyboard.press("ArrowDown")
    focused = "document.activeElement.shadowRoot.activeElement.getAttribute('aria-label').split(',')[0]"
    name = page.evaluate(focused)
    assert name != "logits"
    assert page.locator(".tip-name").inner_text() == name
    page.keyboard.press("Enter")
    said(page, "selection:", re.escape(name))
    page.keyboard.press("Space")
    said(page, "pins:", re.escape(name))
    page.keyboard.press("e")
    said(page, "selection:", "->")
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "input"
    page.keyboard.press("Escape")
    said(page, "selection:", "none")
    assert page.locator(".stage").get_attribute("aria-label").startswith("Circuit: 40 selected")
    assert page.locator(".node[tabindex='0']").count() == 1


# ---- filters, groups, edits --------------------------------------------------------------------


def test_filters_hide_edges_and_leave_the_circuit_alone(open_view: Any) -> None:
    page = open_view()
    scores, circuit = made(4, 4), select(made(4, 4), n=40)
    value = {name: scores.values[scores.graph.edge_index(name)] for name in circuit.edge_names()}
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("button", name="− against").click()
    negative = [name for name in value if value[name] < 0]
    said(page, "n: 40; selected: 40;", f"kept: {circuit.n_kept}; shown: {len(negative)}")
    assert not page.locator(".edges .edge.plus").count()
    page.get_by_label("v", exact=True).uncheck()
    shown = [name for name in negative if not name.endswith("<v>")]
    said(page, "n: 40;", f"shown: {len(shown)}")
    page.get_by_label("Last layer").fill("1")
    page.get_by_label("Last layer").press("Enter")
    low = [n for n in shown if re.fullmatch(r"(input|[am][01](\.h\d)?)->([am][01](\.h\d)?(<\w>)?|logits)", n)]
    said(page, "n: 40;", f"shown: {len(low)}")
    page.get_by_role("button", name="Reset").click()
    said(page, "n: 40;", f"shown: {circuit.n_kept}")
    page.keyboard.press("Escape")
    assert not page.locator(".panel").first.is_visible()


def test_groups_collapse_rename_and_reach_python(open_view: Any) -> None:
    page = open_view()
    names = used_heads(page)[:3]
    page.keyboard.down("Control")
    for name in names:
        page.mouse.click(*point_at(page, name))
    page.keyboard.up("Control")
    said(page, "pins:", re.escape(names[2]))
    page.get_by_role("button", name="Groups").click()
    page.get_by_role("button", name="Group 3 nodes").click()
    said(page, "groups:", r"\['Group 1'\]")
    box = page.locator(".node.group")
    assert "3 nodes" in box.get_attribute("aria-label")
    assert not node(page, names[0]).is_visible()
    page.get_by_label("Name of group Group 1").fill("Movers")
    page.get_by_label("Name of group Group 1").press("Enter")
    said(page, "groups:", r"\['Movers'\]")
    assert page.locator(".group-name").text_content() == "Movers"
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export JSON").click()
    saved = json.loads(Path(waiting.value.path()).read_text())
    assert saved["groups"] == [{"name": "Movers", "nodes": names, "collapsed": True}]
    page.get_by_label("collapse").uncheck()
    node(page, names[0]).locator(".box").wait_for()
    assert not box.count()


def test_edit_tools_remove_and_add_edges(open_view: Any) -> None:
    page = open_view("layers=4&heads=4&n=40&edit=1")
    name = used_heads(page)[-1]
    kept = page.locator(".counts").inner_text()
    page.get_by_role("button", name="Remove").click()
    page.mouse.click(*point_at(page, name))
    said(page, "edits:", rf"excluded \['{re.escape(name)}'\]")
    assert page.locator(".counts").inner_text() != kept
    page.get_by_role("button", name="Add edge").click()
    page.mouse.click(*point_at(page, "m0"))
    page.mouse.click(*point_at(page, "logits"))
    said(page, "edits:", r"added \['m0->logits'\]")


# ---- camera, size, themes ----------------------------------------------------------------------


def test_zoom_survives_a_rerun_and_the_plain_wheel_scrolls_the_page(open_view: Any) -> None:
    page = open_view("layers=4&heads=4&n=40&height=600", size=(1200, 500))
    stage = page.locator(".stage")
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.wheel(0, 120)
    page.locator(".hint.shown").wait_for()
    page.wait_for_timeout(300)
    assert stage.bounding_box()["y"] < box["y"], "the page did not scroll"
    world = page.locator(".world")
    fitted = world.get_attribute("style")
    for _ in range(2):
        page.get_by_role("button", name="Zoom in").click()
    said(page, "groups:", r"zoom: \{'k': 1.8")
    zoomed = world.get_attribute("style")
    assert zoomed != fitted
    assert page.locator(".zoom").text_content() == "182%"
    number = page.get_by_label("Number of edges", exact=True)
    number.fill("30")
    number.press("Enter")
    said(page, "n: 30;", "kept")
    settled(page)
    assert re.search(r"scale\((.*?)\)", world.get_attribute("style")) == re.search(r"scale\((.*?)\)", zoomed) or (
        "scale" in zoomed and page.locator(".zoom").text_content() == "182%"
    )
    page.get_by_role("button", name="Fit").click()
    said(page, "groups:", "zoom: None")


def test_a_node_has_one_name_at_every_zoom_and_its_ports_appear_near(open_view: Any) -> None:
    page = open_view("n=60")
    name = used_heads(page)[0]
    label = node(page, name).locator(".name")
    assert label.text_content() == name
    assert not node(page, name).locator(".glyph").first.is_visible()
    for _ in range(5):
        page.get_by_role("button", name="Zoom in").click()
    page.locator('.stage[data-zoom="near"]').wait_for()
    assert label.text_content() == name
    letters = node(page, name).locator(".glyph").evaluate_all("texts => texts.map((text) => text.textContent).join('')")
    assert letters == "qkv"


SIZES = """() => {
  const root = document.querySelector("[data-testid=stBidiComponentIsolated]").shadowRoot;
  const layer = root.querySelector(".layer.nodes");
  const scale = layer.getBoundingClientRect().width / layer.viewBox.baseVal.width;
  const names = [...root.querySelectorAll(".node:not(.folded) .name")].filter((name) => name.checkVisibility());
  const boxes = [...root.querySelectorAll(".node:not(.folded) .box")].map((box) => box.getBoundingClientRect());
  const width = (name) => name.getBoundingClientRect().width;
  return {
    font: Math.min(...names.map((name) => parseFloat(getComputedStyle(name).fontSize) * scale)),
    box: Math.min(...boxes.flatMap((box) => [box.width, box.height])),
    wider: names.filter((name) => width(name) > width(name.parentElement.querySelector(".box"))).length,
    shown: names.map((name) => name.textContent),
  };
}"""
"""What is drawn without a gesture: the smallest name and box in px, and how many names are wider than their box."""


@pytest.mark.parametrize("size", [(1280, 720), (900, 700), PHONE])
@pytest.mark.parametrize("graph", ["layers=30&heads=9&n=75", "layers=48&heads=25&n=150"])
def test_a_deep_graph_opens_with_names_that_can_be_read(open_view: Any, graph: str, size: tuple[int, int]) -> None:
    page = open_view(graph, size=size, theme="dark" if size == PHONE else "light")
    page.wait_for_timeout(500)
    for rows in ("folded", "all"):
        if rows == "all":
            page.get_by_role("button", name="Fold empty rows").click()
            page.locator(".node.folded").first.wait_for(state="detached")
        drawn = page.evaluate(SIZES)
        assert drawn["font"] >= 10.95, rows  # 11 px, but for the rounding of places
        assert drawn["box"] >= 11, rows
        assert drawn["wider"] == 0, rows
        assert set(used_heads(page)) <= set(drawn["shown"]), rows
    assert page.evaluate("document.scrollingElement.scrollWidth") <= size[0]


def test_rows_without_a_node_of_the_circuit_are_folded_at_a_switch(open_view: Any) -> None:
    page = open_view("layers=30&heads=9&n=75")
    layers = {int(name[1:].split(".")[0]) for name in select(made(30, 9), n=75).node_names() if name[0] in "am"}
    labels = page.locator(".band-label").all_text_contents()
    single = {int(label[1:]) for label in labels if "–" not in label and label[1:].isdigit()}
    assert layers <= single
    covered = set(single)
    for first, last in (label.split("–") for label in labels if "–" in label):
        span = set(range(int(first[1:]), int(last[1:]) + 1))
        assert not span & layers
        covered |= span
    assert covered == set(range(30)), "every layer has a row or stands in a fold"
    folded = page.locator(".layer.nodes").bounding_box()["height"]
    switch = page.get_by_role("button", name="Fold empty rows")
    switch.click()
    said(page, "rows:", "all")
    assert switch.get_attribute("aria-pressed") == "false"
    assert not page.locator(".fold").count()
    assert page.locator(".layer.nodes").bounding_box()["height"] > folded + 300
    page.locator(".node.used.head").first.focus()
    page.keyboard.press("r")
    said(page, "rows:", "used")
    page.locator(".fold").first.wait_for(state="attached")


def test_a_shallow_graph_is_drawn_whole_and_has_nothing_to_fold(open_view: Any) -> None:
    page = open_view()
    assert not page.get_by_role("button", name="Fold empty rows").is_visible()
    assert not page.get_by_role("scrollbar").is_visible()
    stage, whole = page.locator(".stage").bounding_box(), page.locator(".layer.nodes").bounding_box()
    assert whole["height"] <= stage["height"]


def test_a_deep_graph_scrolls_by_wheel_map_and_keys(open_view: Any) -> None:
    page = open_view("layers=30&heads=9&n=200&height=600", size=(1200, 500))
    bar = page.get_by_role("scrollbar")
    stage = page.locator(".stage").bounding_box()
    place = "document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot.querySelector('.world').style"

    def top() -> float:
        page.wait_for_timeout(250)
        return -float(page.evaluate(f"{place}.transform.match(/, (-?[\\d.]+)px/)[1]"))

    assert bar.get_attribute("aria-valuenow") == "0"
    page.mouse.move(stage["x"] + 300, stage["y"] + 100)
    page.mouse.wheel(0, 150)
    assert top() == pytest.approx(150, abs=2), "the wheel moves the drawing, not the page"
    assert page.locator(".stage").bounding_box()["y"] == stage["y"]
    said(page, "groups:", r"zoom: \{'k': 1")
    bar.focus()
    page.keyboard.press("End")
    assert bar.get_attribute("aria-valuenow") == "100"
    end = top()
    assert end == pytest.approx(page.locator(".layer.nodes").bounding_box()["height"] - stage["height"], abs=3)
    box = bar.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 4)
    assert top() < end / 3
    page.get_by_role("button", name="Fit").click()
    said(page, "groups:", "zoom: None")
    page.get_by_role("button", name="Fit").click()
    bar.wait_for(state="hidden")
    assert page.locator(".layer.nodes").bounding_box()["height"] <= stage["height"]


def test_full_screen_and_back(open_view: Any) -> None:
    page = open_view()
    button = page.get_by_role("button", name="Full screen")
    button.click()
    page.locator('[aria-label="Full screen"][aria-pressed="true"]').wait_for()
    assert page.locator(".circuit-view").bounding_box()["height"] > 850
    button.click()
    page.locator('[aria-label="Full screen"][aria-pressed="false"]').wait_for()
    assert page.locator(".circuit-view").bounding_box()["height"] == pytest.approx(640, abs=1)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_it_without_sideways_scrolling(open_view: Any, theme: str) -> None:
    page = open_view("n=60&roles=1&truth=1", size=PHONE, theme=theme, touch=True)
    legend = page.locator(".legend")
    assert legend.evaluate("e => e.scrollHeight <= e.clientHeight + 1"), "the legend scrolls in a small box"
    last = legend.locator(".legend-entry").last.bounding_box()
    whole = page.locator(".circuit-view").bounding_box()
    assert last["y"] + last["height"] <= whole["y"] + whole["height"]
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE[0]
    edges = page.evaluate(
        """() => { const root = document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot;
                   const outer = root.querySelector('.circuit-view').getBoundingClientRect();
                   return [...root.querySelectorAll('.toolbar *')].filter((e) => e.getClientRects().length)
                     .map((e) => e.getBoundingClientRect()).filter((r) => r.right > outer.right + 1).length; }"""
    )
    assert edges == 0, "something in the toolbar sticks out"
    assert not page.get_by_role("button", name="Filter").is_visible()
    page.get_by_role("button", name="More tools").tap()
    page.get_by_role("button", name="Filter").tap()
    page.get_by_role("button", name="− against").tap()
    page.locator(".edges .edge.plus").first.wait_for(state="detached")
    page.keyboard.press("Escape")
    assert (page.locator(".circuit-view.dark").count() == 1) == (theme == "dark")
    name = used_heads(page)[0]
    box = node(page, name).locator(".box").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    said(page, "selection:", re.escape(name))


@pytest.mark.parametrize(("wish", "seconds"), [("reduce", "0s"), ("no-preference", "0.16s")])
def test_motion_is_left_out_where_it_is_unwelcome(open_view: Any, wish: str, seconds: str) -> None:
    page = open_view(reduced_motion=wish)
    assert page.locator(".hint").evaluate("element => getComputedStyle(element).transitionDuration") == seconds


# ---- several panes, known circuits, hostile text -----------------------------------------------


def test_linked_panes_follow_without_the_server(open_view: Any) -> None:
    page = open_view("layers=4&heads=4&n=60&pair=1", size=(1440, 1800))
    page.locator(".circuit-view").nth(1).locator(".node.used.head").first.wait_for(state="attached")
    sent = len(page.guard.sent)
    name = used_heads(page)[0]
    point_at(page, name)
    page.locator(".circuit-view").nth(1).locator(".stage.fade-hover").wait_for()
    assert "lit" in node(page, name, 1).get_attribute("class")
    page.mouse.move(5, 5)
    page.locator(".circuit-view").nth(1).locator(".stage:not(.fade-hover)").wait_for()
    assert len(page.guard.sent) == sent
    page.locator(".circuit-view").first.get_by_role("button", name="Zoom in").click()
    page.wait_for_timeout(300)
    assert page.locator(".zoom").evaluate_all("texts => texts.map((text) => text.textContent)") == ["135%", "135%"]
    page.mouse.click(*point_at(page, name))
    page.locator(".circuit-view").nth(1).locator(f'.node.selected[aria-label^="{name},"]').wait_for(state="attached")


def test_a_comparison_tells_the_sets_apart(open_view: Any) -> None:
    page = open_view("layers=4&heads=4&n=50&compare=1")
    legend = page.locator(".legend").inner_text()
    assert all(text in legend for text in ("only EAP", "both", "only EAP-GP", "sign flipped"))
    a, other = made(4, 4), made(4, 4, 1)
    b = EdgeScores(a.graph, 0.7 * a.values + 0.3 * other.values)
    kept_a, kept_b = (set(select(s, n=50).edge_names()) for s in (a, b))
    drawn = {
        kind: page.locator(f".edges .edge.is-{kind} path")
        .evaluate_all("ps => ps.map((p) => p.getAttribute('d')).join('')")
        .count("C")
        for kind in ("only-a", "only-b", "both", "flipped")
    }
    flipped = {e for e in kept_a & kept_b if a.values[a.graph.edge_index(e)] * b.values[a.graph.edge_index(e)] < 0}
    assert drawn == {
        "only-a": len(kept_a - kept_b),
        "only-b": len(kept_b - kept_a),
        "both": len(kept_a & kept_b) - len(flipped),
        "flipped": len(flipped),
    }
    assert drawn["only-a"] > 0
    assert drawn["only-b"] > 0
    widest = "es => Math.max(...es.map((e) => parseFloat(e.style.getPropertyValue('--w'))))"
    one_scale = page.locator(".edges .edge.is-only-b").evaluate_all(widest)
    own = open_view("layers=4&heads=4&n=50&compare=1&units=0.01")
    assert "its own scale: units differ" in own.locator(".legend").inner_text()
    assert own.locator(".edges .edge.is-only-b").evaluate_all(widest) == one_scale


def test_a_known_circuit_is_found_missed_and_exceeded(open_view: Any) -> None:
    page = open_view("layers=6&heads=6&n=60&truth=1")
    scores = made(6, 6)
    truth = {n for n, _ in scores.top(40)[::2]} | {n for n, _ in scores.top(400)[300:310]}
    kept = set(select(scores, n=60).edge_names())
    drawn = {
        kind: page.locator(f".edges .edge.is-{kind} path")
        .evaluate_all("ps => ps.map((p) => p.getAttribute('d')).join('')")
        .count("C")
        for kind in ("found", "missed", "extra")
    }
    assert drawn == {"found": len(kept & truth), "missed": len(truth - kept), "extra": len(kept - truth)}
    assert min(drawn.values()) > 0


def test_hostile_names_are_shown_as_text(open_view: Any) -> None:
    page = open_view("layers=2&heads=3&n=70&hostile=1")
    page.locator(".node.group").wait_for(state="attached")
    point_at(page, "m1")
    page.locator(".tip").wait_for()
    assert "<img src=x" in page.locator(".tip").inner_text()
    assert "<img src=x" in page.locator(".heading").inner_text()
    page.get_by_role("button", name="Groups").click()
    assert page.locator(".group-row input[type=text]").first.input_value().startswith("<img src=x")
    page.wait_for_timeout(300)
    assert page.locator(".circuit-view img").count() == 0
    assert page.title() == "circuit"


# ---- pictures and stand-alone files ------------------------------------------------------------


def test_pictures_are_saved_with_labels_and_legend(open_view: Any) -> None:
    page = open_view("layers=4&heads=4&n=40&roles=1&title=My+circuit")
    page.get_by_role("button", name="Save").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Picture as SVG").click()
    kept = page.locator(".counts").inner_text().split()[3]
    assert waiting.value.suggested_filename == f"My-circuit-{kept}-edges.svg"
    text = Path(waiting.value.path()).read_text()
    for name in used_heads(page):
        assert f">{name}<" in text
    for content in ("My circuit", "Duplicate Token", "works against", "stroke-dasharray", "rgb(0, 114, 178)"):
        assert content in text
    assert "color(srgb" not in text
    assert "var(--" not in text
    page.get_by_role("button", name="Save").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Picture as PNG").click()
    assert Path(waiting.value.path()).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page.get_by_role("button", name="Save").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Edges shown as CSV").click()
    rows = Path(waiting.value.path()).read_text().splitlines()
    assert rows[0] == "edge,score,rank"
    assert sorted(row.split(",")[0] for row in rows[1:]) == sorted(select(made(4, 4), n=40).edge_names())


def test_the_offline_page_draws_slides_and_asks_for_nothing(open_page: Any, tmp_path: Path) -> None:
    file = tmp_path / "circuit.html"
    file.write_text(
        circuit_html(made(4, 4), title="Offline <b>", n=40, roles={"a0.h0": "<img src=x>"}), encoding="utf-8"
    )
    page = open_page(file.as_uri(), ready=False, offline=True)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    circuit = select(made(4, 4), n=40)
    assert page.locator(".counts").inner_text() == f"40 selected · {circuit.n_kept} kept"
    box = page.get_by_label("Number of edges", exact=True)
    box.fill("25")
    box.press("Enter")
    page.get_by_text(f"25 selected · {select(made(4, 4), n=25).n_kept} kept").first.wait_for(state="attached")
    page.mouse.click(*point_at(page, used_heads(page)[0]))
    page.locator(".node.selected").wait_for(state="attached")
    assert page.locator("h1").inner_text() == "Offline <b>"
    assert requests == []


def test_the_pyvis_page_draws_offline(open_page: Any, tmp_path: Path) -> None:
    file = tmp_path / "pyvis.html"
    file.write_text(pyvis_html(made(4, 4), select(made(4, 4), n=30), title="pyvis"), encoding="utf-8")
    page = open_page(file.as_uri(), ready=False, offline=True)
    page.locator("#mynetwork canvas").wait_for()
    assert page.locator("h1").all_inner_texts() == ["pyvis"]
    page.wait_for_timeout(500)
    inked = page.locator("#mynetwork canvas").evaluate(
        """canvas => { const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
                       let inked = 0;
                       for (let i = 0; i < data.length; i += 4) if (data[i + 2] > data[i] + 60) inked += 1;
                       return inked; }"""
    )
    assert inked > 300, "no blue line on the canvas"


# ---- how fast, and nothing left behind ---------------------------------------------------------

HARNESS = """
window.mountView = (data) => {
  const host = document.createElement("div");
  host.style.width = "1200px";
  document.body.replaceChildren(host);
  const parentElement = host.attachShadow({ mode: "open" });
  const style = document.createElement("style");
  style.textContent = window.viewCss;
  parentElement.append(style);
  const setStateValue = (...values) => window.reports.push(values);
  const component = { data, parentElement, setStateValue };
  const cleanup = show(component);
  return { host, parentElement, component, cleanup, show };
};
window.reports = [];
window.spy = (name) => {
  const original = CircuitView.prototype[name];
  window.spent = [];
  CircuitView.prototype[name] = function (...args) {
    const start = performance.now();
    const result = original.apply(this, args);
    window.spent.push(performance.now() - start);
    return result;
  };
};
window.ready = true;
"""


def harness() -> str:
    return f"window.viewCss = {json.dumps(view_css())};\n{view_js()}\n{HARNESS}"


def test_a_slider_move_costs_at_most_50_ms_for_32491_candidates(blank: Any) -> None:
    page = blank(harness())
    payload = {**build_payload(made(), n=10), "key": "speed", "height": 700}
    best = page.evaluate(
        """async (data) => {
          spy("render");
          const { parentElement } = mountView(data);
          const slider = parentElement.querySelector(".slider");
          const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          const best = {};
          // Other processes share the two cores: the best of many moves is what the work itself costs.
          const slow = () => Math.max(...Object.values(best)) > 50;
          for (let turn = 0; turn < 3 || (turn < 60 && slow()); turn += 1) {
            for (const value of [300, 600, 800, 900, 1000]) {
              spent.length = 0;
              slider.value = value;
              slider.dispatchEvent(new Event("input"));
              await frame();
              best[value] = Math.min(best[value] ?? Infinity, spent.at(-1));
            }
          }
          return best;
        }""",
        payload,
    )
    assert max(best.values()) <= 50, best


def test_nothing_is_left_after_it_is_taken_away(blank: Any) -> None:
    page = blank(harness())
    payload = {**build_payload(made(3, 3), n=20, pane=Pane(link_group="pair")), "key": "once"}
    left = page.evaluate(
        """async (data) => {
          spy("receive");
          const mounted = mountView(data);
          mounted.show({ ...mounted.component, data: { ...data, title: "again" } });
          const views = mounted.parentElement.querySelectorAll(".circuit-view").length;
          mounted.show(mounted.component)();
          await new Promise((done) => setTimeout(done, 50));
          window.dispatchEvent(new CustomEvent("eapgp-circuit-view", { detail: { kind: "hover", group: "pair" } }));
          document.dispatchEvent(new Event("pointerdown"));
          return [views, mounted.parentElement.querySelectorAll(".circuit-view").length, spent.length];
        }""",
        payload,
    )
    assert left == [1, 0, 0]
    assert page.evaluate("reports.length") == 0


def test_what_python_only_echoes_does_not_move_the_view(blank: Any) -> None:
    page = blank(harness())
    payload = {**build_payload(made(3, 3), n=20), "key": "echo"}
    sizes = page.evaluate(
        """async (data) => {
          const { parentElement, component, show } = mountView(data);
          const number = parentElement.querySelector(".number");
          const seen = [];
          const set = (n) => { number.value = n; number.dispatchEvent(new Event("change")); };
          const wait = () => new Promise((done) => setTimeout(done, 250));
          const answer = (n) => show({ ...component, data: { ...data, view: { ...data.view, n } } });
          set(30); await wait();
          set(50); await wait();
          answer(30);                      // the server is behind: an echo
          seen.push(number.value);
          answer(50); answer(30);          // caught up, and then Python itself asks for 30
          seen.push(number.value);
          return seen;
        }""",
        payload,
    )
    assert sizes == ["50", "30"]
