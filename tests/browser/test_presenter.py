"""Presenter mode: by key, by button and by link, on every page; inside the graph that fills the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eapgp.ui.base.routes import PAGES
from tests.browser.app_helpers import LONG, faithfulness, until
from tests.browser.conftest import DESKTOP, PHONE, wait_ready


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home")), "EAPGP_WARM_UP": "0"})


def presenting(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.dataset.presenter === '1'"))


def text_size(page: Any) -> float:
    return float(
        page.evaluate("parseFloat(getComputedStyle(document.querySelector('[data-testid=stMain] h1')).fontSize)")
    )


def open_app(open_page: Callable[..., Any], app: str, path: str, **options: Any) -> Any:
    page = open_page(app, path=path, **options)
    page.locator("[data-testid=stMain] h1").first.wait_for(timeout=LONG)
    page.get_by_role("button", name="Present", exact=True).wait_for(timeout=LONG)
    return page


@pytest.mark.parametrize("name", [name for name, _, _ in PAGES])
def test_p_turns_it_on_and_esc_off_on_every_page(app: str, open_page: Callable[..., Any], name: str) -> None:
    page = open_app(open_page, app, "" if name == PAGES[0][0] else name)
    before = text_size(page)
    page.keyboard.press("p")
    assert presenting(page)
    assert not page.get_by_test_id("stSidebar").is_visible()
    assert text_size(page) == pytest.approx(1.5 * before, rel=0.01)
    until(page, lambda: "present=1" in page.url, what="the mode in the link")
    wait_ready(page)
    assert presenting(page), "the answer of the server does not turn it off"
    page.keyboard.press("Escape")
    assert not presenting(page)
    until(page, lambda: "present" not in page.url, what="the link without the mode")
    assert text_size(page) == before


@pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "dark"), (PHONE, "light")])
def test_a_link_presents_and_the_graph_that_fills_the_screen_says_what_it_is(
    app: str, open_page: Callable[..., Any], size: tuple[int, int], theme: str
) -> None:
    page = open_app(open_page, app, "explore", query="present=1", size=size, theme=theme, touch=size == PHONE)
    until(page, lambda: presenting(page), what="presenter mode")
    value = faithfulness(page)
    title = page.locator(".st-key-page-head h1").inner_text()
    about = page.locator(".circuit-view .about")
    assert not about.is_visible()
    page.get_by_role("button", name="Full screen").click()
    about.wait_for()
    for part in (title, f"{value:.3f}", "keep"):
        assert part in about.inner_text()
    pair = page.locator(".st-key-page-head .eapgp-pair").first
    assert about.locator(".eapgp-pair .differs").inner_text().split() == pair.locator(".differs").inner_text().split()
    style = "e => getComputedStyle(e).borderTopStyle"  # "" of one that was drawn anew meanwhile
    until(page, lambda: about.locator(".differs").evaluate(style) == "solid", what="the differing word's style")
    assert about.bounding_box()["width"] <= size[0]
    page.get_by_role("button", name="Full screen").click()
    about.wait_for(state="hidden")
    button = page.get_by_role("button", name="Present", exact=True)
    assert button.get_attribute("aria-pressed") == "true"
    assert "Esc or P leaves" in button.get_attribute("title")
    button.click()
    until(page, lambda: "present" not in page.url, what="the link without the mode")
    assert not presenting(page)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= size[0]


def test_p_is_a_letter_where_one_types(app: str, open_page: Callable[..., Any]) -> None:
    page = open_app(open_page, app, "explore")
    box = page.locator(".st-key-field-edge input")
    box.click()
    page.keyboard.type("pP")
    assert box.input_value() == "pP"
    assert not presenting(page)
    number = page.get_by_label("Number of edges", exact=True)
    number.focus()
    page.keyboard.press("p")
    assert not presenting(page)
    page.locator(".stage .node.used").first.focus()
    page.keyboard.press("P")
    until(page, lambda: presenting(page), what="presenter mode")
    page.keyboard.press("p")
    until(page, lambda: not presenting(page), what="the end of presenter mode")
