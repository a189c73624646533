"""The Explore page in a real browser, on the demo model."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.app_helpers import LONG, choose, faithfulness, fill, open_tab, run_button, until
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
    open_page(app)  # the server's imports are not the page's
    start = time.monotonic()
    page = open_page(app)
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    first = time.monotonic() - start
    record_property("first_picture_seconds", round(first, 2))
    print(f"first picture after {first:.2f} s")
    assert "50 selected" in edges_on_screen(page)
    assert 0.5 < faithfulness(page) < 1.2
    assert page.get_by_text("bundled example").is_visible()
    assert run_button(page).inner_text().strip().endswith("Computed")


def test_run_cancel_and_run_again(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app)
    choose(page, "method", "Exact patching")
    fill(page, "pairs", "400")
    page.get_by_text("have no result yet").wait_for()
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
    page = open_page(app)
    small = faithfulness(page)
    box = page.locator(".st-key-explore-circuit input.number")
    box.fill("10")
    box.press("Enter")
    until(page, lambda: edges_on_screen(page).startswith("10 selected"), what="the count of the picture")
    until(page, lambda: "k=10" in page.url, what="k in the URL")
    until(page, lambda: faithfulness(page) != small, seconds=120, what="the new faithfulness")
    assert faithfulness(page) < small


def test_an_edge_is_selected_shown_and_really_patched(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, query="sel=a3.h1->logits")
    page.get_by_text("estimated to lower the metric").wait_for()
    page.locator(".st-key-patch-edge button").first.click()
    page.get_by_text("Real effect of patching").wait_for(timeout=LONG)
    real = page.locator("[data-testid=stMetric]", has_text="Real effect").locator("[data-testid=stMetricValue]")
    assert float(real.inner_text()) > 0
    page.locator(".st-key-go-logits button").first.click()
    wait_ready(page)
    until(page, lambda: "sel=logits" in page.url, what="the selected node in the URL")


def test_tabs_show_table_map_curve_and_how_it_was_made(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app)
    page.locator(".st-key-edge-table").wait_for()
    open_tab(page, "Heat map")
    page.locator(".st-key-heat-map .js-plotly-plot").wait_for()
    open_tab(page, "Faithfulness by size")
    page.locator(".st-key-curve .js-plotly-plot").wait_for(timeout=LONG)
    open_tab(page, "How it was made")
    page.get_by_text("compute_run(spec, library=RunLibrary())").wait_for()
    assert "tab=made" in page.url
    open_tab(page, "Download")
    with page.expect_download() as started:
        page.locator(".st-key-download-mib-json button").first.click()
    text = Path(started.value.path()).read_text()
    assert '"input->a0.h0<q>"' in text and '"in_graph"' in text


def test_a_pasted_link_restores_the_view_and_a_bad_parameter_is_named(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, query="method=eap&k=20&tab=map&pairs=many&colour=red")
    page.get_by_text("pairs = 'many'").wait_for()
    assert page.get_by_text("parameter 'colour'").is_visible()
    assert "20 selected" in edges_on_screen(page)
    page.locator(".st-key-heat-map .js-plotly-plot").wait_for()
    assert page.get_by_text("EAP · demo").is_visible()
    again = open_page(app, query="method=eap&k=20&tab=map")
    assert again.get_by_text("The link").count() == 0


def test_an_unknown_model_is_one_line_and_the_page_stays(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, query="model=no-such-model-at-all&pairs=4")
    run_button(page).click()
    page.get_by_text("The computation failed").wait_for(timeout=LONG)
    assert page.get_by_text("Traceback").count() == 0
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    assert page.locator("[data-testid=stAlert]").filter(has_text="no-such-model-at-all").count() >= 1


@pytest.mark.parametrize(("size", "theme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_phone_width_and_dark_theme(app: str, open_page: Callable[..., Any], size: tuple[int, int], theme: str) -> None:
    page = open_page(app, size=size, theme=theme)
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert wide <= size[0] + 1
