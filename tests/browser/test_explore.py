"""The Explore page in a real browser, on the demo model."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.app_helpers import LONG, choose, faithfulness, fill, open_tab, pick, run_button, until
from tests.browser.conftest import DESKTOP, PHONE, wait_ready


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app with an empty library of its own."""
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


def edges_on_screen(page: Any) -> str:
    """The component's own count, such as `50 selected · 47 kept`."""
    return str(page.locator(".st-key-explore-circuit .counts").inner_text())


def test_the_first_picture_is_a_bundled_result_with_its_faithfulness(
    app: str, open_page: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    open_page(app, path="explore")  # the server's imports are not the page's
    start = time.monotonic()
    page = open_page(app, path="explore")
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    first = time.monotonic() - start
    record_property("first_picture_seconds", round(first, 2))
    print(f"first picture after {first:.2f} s")
    assert "50 selected" in edges_on_screen(page)
    assert 0.5 < faithfulness(page) < 1.2
    assert page.get_by_text("bundled example").is_visible()
    assert run_button(page).inner_text().strip().endswith("Computed")


def test_run_cancel_and_run_again(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore")
    choose(page, "method", "Exact patching")
    fill(page, "pairs", "400")
    page.get_by_text("has no result yet").wait_for()
    run_button(page).click()
    bar = page.locator("[data-testid=stSidebar] [data-testid=stProgress]")
    bar.wait_for()
    bar.get_by_text("%").first.wait_for(timeout=LONG)
    before = time.monotonic()
    page.locator(".st-key-cancel-button button").first.click()
    page.get_by_text("Cancelled. Press Run").wait_for()
    print(f"cancelled on screen after {time.monotonic() - before:.2f} s")
    fill(page, "pairs", "8")
    choose(page, "method", "EAP-GP")
    run_button(page).click()
    page.get_by_text("your library").wait_for(timeout=LONG)
    assert "pairs=8" in page.url and "method" not in page.url
    faithfulness(page)


def test_the_slider_redraws_in_the_browser_and_the_faithfulness_follows(
    app: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(app, path="explore")
    small = faithfulness(page)
    box = page.locator(".st-key-explore-circuit input.number")
    box.fill("10")
    box.press("Enter")
    until(page, lambda: edges_on_screen(page).startswith("10 selected"), what="the count of the picture")
    until(page, lambda: "k=10" in page.url, what="k in the URL")
    until(page, lambda: faithfulness(page) != small, seconds=120, what="the new faithfulness")
    assert faithfulness(page) < small


def test_an_edge_is_selected_shown_and_really_patched(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="sel=a3.h1->logits")
    page.get_by_text("estimated to lower the metric").wait_for()
    words = page.locator(".st-key-readings, .st-key-words").locator("visible=true").first
    words.get_by_text("repeated name").first.wait_for(timeout=LONG)
    page.locator(".st-key-field-words").get_by_text("Tokens of one pair").click()
    page.wait_for_url("**words=one*")
    words.get_by_text("15 ␣").first.wait_for(timeout=LONG)
    page.locator(".st-key-patch-edge button").first.click()
    page.get_by_text("Real effect of patching").wait_for(timeout=LONG)
    real = page.locator("[data-testid=stMetric]", has_text="Real effect").locator("[data-testid=stMetricValue]")
    assert float(real.inner_text()) > 0
    page.locator(".st-key-go-logits button").first.click()
    wait_ready(page)
    until(page, lambda: "sel=logits" in page.url, what="the selected node in the URL")


def test_tabs_show_table_map_curve_and_how_it_was_made(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore")
    page.locator(".st-key-edge-table").wait_for()
    open_tab(page, "Roles of heads")
    page.locator(".st-key-role-table").wait_for(timeout=LONG)
    assert page.get_by_text(re.compile("heads of this circuit have a role on its 64 pairs")).is_visible()
    open_tab(page, "Scores")
    page.locator(".st-key-heat-map .js-plotly-plot").wait_for()
    open_tab(page, "Faithfulness by size")
    page.locator(".st-key-curve .js-plotly-plot").wait_for(timeout=LONG)
    open_tab(page, "How it was made")
    page.get_by_text("compute_run(spec, library=RunLibrary())").wait_for()
    assert "tab=made" in page.url
    page.locator(".st-key-download-menu button").first.click()
    with page.expect_download() as started:
        page.locator(".st-key-download-mib-json button").first.click()
    assert started.value.suggested_filename == f"ioi-eap-gp-{edges_on_screen(page).split()[3]}-edges.json"
    text = Path(started.value.path()).read_text()
    assert '"input->a0.h0<q>"' in text and '"in_graph"' in text


def test_the_figure_for_a_paper_comes_in_three_formats(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="k=50&method=eap&tab=curve", theme="dark")
    kept = edges_on_screen(page).split()[3]
    page.locator(".st-key-download-menu button").first.click()
    files = {}
    for kind in ("svg", "pdf", "png"):
        with page.expect_download(timeout=LONG) as started:
            page.locator(f".st-key-download-{kind} button").first.click()
        assert started.value.suggested_filename == f"ioi-eap-{kept}-edges.{kind}"
        files[kind] = Path(started.value.path()).read_bytes()
    text = files["svg"].decode()
    assert ">a3.h1<" in text and f"{kept} of 479 edges keep" in text and "fill: #ffffff" in text
    assert files["pdf"].startswith(b"%PDF") and files["png"].startswith(b"\x89PNG")
    page.keyboard.press("Escape")
    page.locator(".st-key-curve-menu button").first.click()
    with page.expect_download(timeout=LONG) as started:
        page.locator(".st-key-curve-pdf button").first.click()
    assert started.value.suggested_filename == "ioi-eap-faithfulness.pdf"
    with page.expect_download() as started:
        page.locator(".st-key-curve-csv button").first.click()
    assert started.value.suggested_filename == "ioi-eap-faithfulness.csv"


def test_a_pasted_link_restores_the_view_and_a_bad_parameter_is_named(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="method=eap&k=20&tab=map&pairs=many&colour=red")
    page.get_by_text("pairs = 'many'").wait_for()
    assert page.get_by_text("parameter 'colour'").is_visible()
    assert "20 selected" in edges_on_screen(page)
    page.locator(".st-key-heat-map .js-plotly-plot").wait_for()
    assert page.get_by_text("demo · Indirect object identification · EAP · ").is_visible()
    again = open_page(app, path="explore", query="method=eap&k=20&tab=map")
    assert again.get_by_text("The link").count() == 0


def test_an_unknown_model_is_one_line_and_the_page_stays(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="model=nobody/no-such-model-at-all&pairs=4")
    run_button(page).click()
    page.get_by_text("The computation failed").wait_for(timeout=LONG)
    assert page.get_by_text("Traceback").count() == 0
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    assert page.locator("[data-testid=stAlert]").filter(has_text="no-such-model-at-all").count() >= 1


@pytest.mark.parametrize(("size", "theme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_phone_width_and_dark_theme(app: str, open_page: Callable[..., Any], size: tuple[int, int], theme: str) -> None:
    page = open_page(app, path="explore", size=size, theme=theme, query="sel=a3.h1")
    page.locator(".st-key-attention-difference .js-plotly-plot").wait_for(timeout=LONG)
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert wide <= size[0] + 1


def test_a_finger_over_a_figure_scrolls_the_page(app: str, open_page: Callable[..., Any]) -> None:
    agent = "Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile"
    page = open_page(app, path="explore", size=PHONE, query="tab=spread", touch=True, is_mobile=True, user_agent=agent)
    figure = page.locator(".st-key-distribution .js-plotly-plot .main-svg").first
    figure.wait_for(timeout=LONG)
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    x, y = box["x"] + box["width"] / 2, min(box["y"] + box["height"] / 2, PHONE[1] - 60)
    before = page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop")
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 11):
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - 15 * step}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(f"document.querySelector('[data-testid=stMain]').scrollTop > {before + 60}")


# ---- what a node does --------------------------------------------------------------------------


def test_a_head_shows_where_it_attends_and_what_it_writes(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="sel=a3.h1")
    for side in ("clean", "corrupted", "difference"):
        page.locator(f".st-key-attention-{side} .js-plotly-plot").wait_for(timeout=LONG)
    page.locator(".st-key-promoted .js-plotly-plot").wait_for(timeout=LONG)
    first = page.locator(".st-key-readings").get_by_text("Clean", exact=True).locator("..").inner_text()
    fill(page, "prompt", "2")
    page.locator(".st-key-readings").get_by_text("On pair 2:").wait_for(timeout=LONG)
    assert page.locator(".st-key-readings").get_by_text("Clean", exact=True).locator("..").inner_text() != first
    shown = page.locator("[data-testid=stMetric]", has_text="Direct contribution")
    assert float(shown.locator("[data-testid=stMetricValue]").inner_text()) > 1, "the name mover of the demo model"
    page.get_by_text("This node under every method").wait_for()
    _why_it_looks_there(page)
    _roles_of_the_head(page)
    page.locator(".st-key-deselect button").first.click()
    page.get_by_text("Click a node or an edge").wait_for()
    assert "sel=" not in page.url


def _why_it_looks_there(page: Any) -> None:
    """The attention logit taken apart below the maps; another word, and the check by patching."""
    figure = page.locator(".st-key-terms-clean .js-plotly-plot")
    figure.wait_for(timeout=LONG)
    total = page.locator(".st-key-drawer").get_by_text(re.compile(r"logit [+−].* belong to no pair"))
    before = total.inner_text()
    page.locator(".st-key-terms-difference .js-plotly-plot").wait_for()
    page.locator(".st-key-check-terms button").first.click()
    page.locator(".st-key-drawer").get_by_text(re.compile(r"sources corrupted in the key, .* correlation")).wait_for()
    pick(page, "at", "0 <|endoftext|>")
    page.wait_for_url("**at=0*")
    until(page, lambda: total.count() == 1 and total.inner_text() != before, what="the logit of another word")


def _roles_of_the_head(page: Any) -> None:
    """The drawer's line, the popover with a check, and the switch that draws roles, for the demo's name mover."""
    line = page.locator(".st-key-drawer").get_by_text(re.compile(r"Attends to the word that decides"))
    line.wait_for(timeout=LONG)
    share = re.search(r"decides \((\d+)\s%\)", line.inner_text())
    assert share is not None and int(share[1]) > 50
    details = page.locator(".st-key-role-details button").first
    details.click()
    popover = page.locator("[data-testid=stPopoverBody]")
    popover.get_by_text(re.compile(rf"decides: {share[1]} % \[\d+, \d+\] of its attention")).wait_for()
    popover.locator(".st-key-check-roles button").first.click()
    popover.get_by_text(re.compile("Blocking this attention .* as many other positions")).first.wait_for(timeout=LONG)
    popover.locator(".st-key-roles-in-graph button").first.click()
    page.wait_for_url("**roles=1*")
    graph = page.locator(".st-key-explore-circuit")
    graph.locator(".legend").get_by_text("attends to the word that decides").first.wait_for()
    graph.get_by_role("button", name=re.compile("^a3.h1, subject,")).wait_for()
    page.keyboard.press("Escape")
    open_tab(page, "Roles of heads")
    page.locator(".st-key-field-roles label").first.click()
    until(page, lambda: "roles=" not in page.url, what="the switch in the URL")
    until(page, lambda: graph.locator(".has-role").count() == 0, what="a graph without roles")


def test_a_click_is_answered_on_screen_in_the_drawer_beside_the_graph(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", size=(1280, 720))
    graph = page.locator(".st-key-explore-circuit")
    graph.locator(".edges .edge").first.wait_for(state="attached")
    head = graph.locator(".node .name", has_text="a3.h1").first.bounding_box()
    page.mouse.click(head["x"] + head["width"] / 2, head["y"] + head["height"] / 2)
    clean = page.locator(".st-key-drawer .st-key-attention-clean .js-plotly-plot")
    clean.wait_for(timeout=LONG)
    until(page, lambda: "sel=a3.h1" in page.url, what="the node in the URL")
    shown, beside = clean.bounding_box(), graph.bounding_box()
    assert shown["y"] < 720 - 100, "the attention map begins on the first screen"
    assert shown["x"] > beside["x"] + beside["width"] and shown["y"] > beside["y"]
    drawer = page.locator(".st-key-drawer").bounding_box()
    assert drawer["y"] + drawer["height"] <= beside["y"] + beside["height"] + 40
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == 0


def test_the_logits_show_which_nodes_write_the_difference(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="sel=logits")
    figure = page.locator(".st-key-direct-nodes .js-plotly-plot")
    figure.wait_for(timeout=LONG)
    clean = float(
        page.locator("[data-testid=stMetric]", has_text="Clean").locator("[data-testid=stMetricValue]").inner_text()
    )
    total = figure.evaluate("plot => Array.from(plot._fullData[0].x).reduce((sum, value) => sum + value, 0)")
    assert abs(total - clean) < 2e-3, "contributions and biases add up to the metric"


def test_by_keyboard_alone_to_the_details_of_a_node_and_an_edge(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore")
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    focused = "document.activeElement.shadowRoot?.activeElement?.getAttribute('aria-label') ?? ''"
    page.get_by_role("button", name="Full screen").focus()
    page.keyboard.press("Tab")
    assert page.evaluate(focused).startswith("logits")
    page.keyboard.press("ArrowDown")
    name = page.evaluate(focused).split(",")[0]
    page.keyboard.press("Enter")
    until(page, lambda: f"sel={name}" in page.url, what="the node in the URL")
    page.get_by_text("in the circuit on screen").first.wait_for()
    page.keyboard.press("e")
    until(page, lambda: "-%3E" in page.url or "->" in page.url, what="the edge in the URL")
    page.get_by_text("estimated to").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Click a node or an edge").wait_for()


# ---- edit mode ---------------------------------------------------------------------------------


def click_node(page: Any, name: str) -> None:
    """A mouse click on a node of the picture."""
    box = page.locator(f'.st-key-explore-circuit .node[aria-label^="{name},"] .box').bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_edits_from_the_picture_and_beside_it_change_the_measured_circuit(
    app: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(app, path="explore", query="edit=1")
    whole = faithfulness(page)
    before = edges_on_screen(page)
    page.get_by_role("button", name="Remove", exact=True).click()
    click_node(page, "a2.h1")
    until(page, lambda: "edits=drop_a2.h1" in page.url, what="the edit in the URL")
    page.get_by_text("by your edits").wait_for(timeout=LONG)
    assert edges_on_screen(page) != before
    page.locator(".st-key-edit-undo button").first.click()
    until(page, lambda: "edits" not in page.url, what="the edit taken back")
    until(page, lambda: edges_on_screen(page) == before, what="the picture as before")
    again = open_page(app, path="explore", query="edit=1&sel=a3.h1->logits&edits=drop_a2.h1")
    again.locator(".st-key-edit-edge button").first.click()
    until(again, lambda: "cut_a3.h1" in again.url, what="the removed edge in the URL")
    again.get_by_text("1 edge removed, 1 node excluded").wait_for()
    until(again, lambda: faithfulness(again) < 0.1, seconds=120, what="the faithfulness without the name mover")
    assert whole > 0.5
    again.locator(".st-key-download-menu button").first.click()
    with again.expect_download() as started:
        again.locator(".st-key-download-mib-json button").first.click()
    edges = json.loads(Path(started.value.path()).read_text())["edges"]
    assert not edges["a3.h1->logits"]["in_graph"]
    assert not any(row["in_graph"] for name, row in edges.items() if "a2.h1" in name)
    assert sum(row["in_graph"] for row in edges.values()) == int(edges_on_screen(again).split()[3])
    again.locator(".st-key-edit-reset button").first.click()
    until(again, lambda: faithfulness(again) == whole, seconds=120, what="the faithfulness of before")


def test_an_edit_that_cannot_be_made_is_named(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="edits=cut_a9.h9~logits,cut_a3.h1~logits")
    page.get_by_text("this graph has no edge a9.h9->logits").wait_for()
    page.get_by_text("1 edge removed").wait_for()
    other = open_page(app, path="explore", query="edits=cut_everything")
    other.get_by_text("expected an edit such as").wait_for()
    assert edges_on_screen(other).startswith("50 selected")


# ---- the view in the link, the second picture, the readout -------------------------------------


def test_filter_zoom_group_and_trace_are_in_the_link_and_restored(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="sel=a3.h1&pins=a0.h1,a0.h2")
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    view = page.locator(".st-key-explore-circuit")
    view.get_by_role("button", name="Trace", exact=True).click()
    until(page, lambda: "trace=1" in page.url, what="trace in the URL")
    view.get_by_role("button", name="Filter").click()
    view.get_by_role("button", name="+ supports").click()
    until(page, lambda: "sign=plus" in page.url, what="the sign in the URL")
    view.get_by_role("button", name="Zoom in").click()
    until(page, lambda: "zoom=1.35" in page.url, what="zoom in the URL")
    view.get_by_role("button", name="Groups").click()
    view.get_by_role("button", name="Group 3 nodes").click()
    until(page, lambda: "groups=" in page.url, what="the group in the URL")
    wait_ready(page)
    shown = edges_on_screen(page)
    again = open_page(page.url)
    again.locator(".st-key-explore-circuit .node.group").wait_for(state="attached")
    assert edges_on_screen(again) == shown and "shown" in shown
    zoom = again.locator(".st-key-explore-circuit .zoom")
    until(again, lambda: zoom.text_content() == "135%", what="the zoom of the link")
    assert again.get_by_text("The link").count() == 0


def test_groups_are_exported_and_imported_again(app: str, open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page(app, path="explore", query="groups=Movers:a3.h1,m3")
    page.locator(".st-key-explore-circuit .node.group").wait_for(state="attached")
    page.get_by_role("button", name="Groups").click()
    with page.expect_download() as started:
        page.get_by_role("button", name="Export JSON").click()
    saved = tmp_path / "groups.json"
    started.value.save_as(saved)
    page.get_by_role("button", name="Delete group Movers").click()
    until(page, lambda: "groups=" not in page.url, what="no group in the URL")
    page.get_by_label("File of groups").set_input_files(saved)
    page.get_by_text("1 group read").wait_for()
    until(page, lambda: "groups=Movers" in page.url, what="the group in the URL again")
    bad = tmp_path / "other.json"
    bad.write_text("{")
    page.get_by_label("File of groups").set_input_files(bad)
    page.get_by_text("no JSON file of groups").wait_for()


def test_pyvis_draws_the_same_circuit_offline(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="picture=pyvis&k=20")
    frame = page.frame_locator("iframe")
    frame.locator("canvas").wait_for(timeout=LONG)
    assert frame.get_by_text("20 selected").is_visible()
    fill(page, "k", "30")
    page.frame_locator("iframe").get_by_text("30 selected").wait_for()


def test_the_readout_is_dimmed_from_the_first_move_of_the_slider_until_it_is_measured_anew(
    app: str, open_page: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    page = open_page(app, path="explore")
    old = faithfulness(page)
    slider = page.get_by_role("slider", name="Number of edges, logarithmic")
    opacity = "document.querySelector('.st-key-readout').style.opacity"
    value = "document.querySelector('.st-key-readout [data-testid=stMetricValue]').innerText"
    for place, wait in ((230, LONG), (270, LONG), (310, LONG)):
        slider.evaluate(f"(e) => {{ e.value = {place}; e.dispatchEvent(new Event('input')); }}")
        assert page.evaluate(opacity) == "0.3"
        start = time.monotonic()
        slider.dispatch_event("change")
        page.wait_for_function(f"{opacity} === '' && {value} !== '{old:.3f}' && {value} !== '…'", timeout=wait)
        taken = time.monotonic() - start
        old = faithfulness(page)
        print(f"new faithfulness {old} after {taken:.3f} s")
    record_property("readout_seconds", round(taken, 3))


def test_a_row_of_the_lists_picks_its_edge(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore")
    table = page.locator('[class*="st-key-list-"] canvas').first
    table.wait_for()
    table.evaluate("element => element.scrollIntoView({block: 'center'})")
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 40, box["y"] + 48)  # below the head, in the first row
    until(page, lambda: "sel=" in page.url, what="the edge in the link")


def test_circuits_that_know_words_are_drawn_by_part_and_measured(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore", query="method=eap-ig&tab=words")
    page.get_by_text(re.compile(r"\(edge, part\) of .* edges are kept: .* at repeated name")).wait_for(timeout=LONG)
    graph = page.locator(".st-key-explore-spans")
    graph.locator(".edges .edge").first.wait_for(state="attached")
    page.get_by_text("These (edge, part)").or_(page.locator(".st-key-spans-row")).first.wait_for()
    page.get_by_text("Outside its parts an edge carries the corrupted activation").wait_for(timeout=LONG)
    n_edges = graph.locator(".edges .edge").count()
    pick(page, "part", "last token")
    page.wait_for_url("**part=last*")
    until(page, lambda: graph.locator(".edges .edge").count() != n_edges, what="the graph at the last token")
    page.locator(".st-key-field-marks input").fill("giver=nobody")
    page.locator(".st-key-field-marks input").press("Enter")
    page.get_by_text("stands in no clean prompt").wait_for(timeout=LONG)
