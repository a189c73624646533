"""What stands around every page: a link as a server's very first request, and a switch of the theme."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from eapgp.ui.base.routes import PAGES
from tests.browser.app_helpers import settled, until
from tests.browser.conftest import PHONE


@pytest.fixture
def fresh(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A server that has answered nobody yet."""
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


def test_a_deep_link_to_a_fresh_server(fresh: str, open_page: Callable[..., Any]) -> None:
    page = open_page(fresh, path="prompts", query="task=sva")
    page.get_by_role("heading", name="Prompts").first.wait_for()
    assert page.locator("[role=dialog]").count() == 0
    for _, title, _ in PAGES:
        assert page.get_by_role("link", name=title, exact=True).first.is_visible()
    assert "task=sva" in page.url
    page.get_by_role("link", name="Runs", exact=True).first.click()
    page.wait_for_url("**/runs*")
    page.get_by_role("heading", name="Runs").first.wait_for()
    again = open_page(fresh, path="ground_truth", size=PHONE)
    again.get_by_role("heading", name="Ground truth").first.wait_for()
    assert again.locator("[role=dialog]").count() == 0


def test_figures_follow_a_switch_of_the_theme(fresh: str, open_page: Callable[..., Any]) -> None:
    page = open_page(fresh, path="explore", query="tab=spread")
    page.locator(".st-key-distribution .js-plotly-plot .main-svg").first.wait_for()
    settled(page)
    reruns, entries, address = len(page.guard.sent), page.evaluate("history.length"), page.url
    light = _looks(page)
    _switch_theme(page, "Dark")
    until(page, lambda: _looks(page)["figure"] != light["figure"], what="a figure of the dark theme")
    settled(page)
    dark = _looks(page)
    assert _brightness(light["figure"]) < 100 and _brightness(dark["figure"]) > 180  # ink on paper, chalk on board
    assert dark["logo"] != light["logo"]
    assert len(page.guard.sent) == reruns + 1, "one rerun and no more"
    assert (page.evaluate("history.length"), page.url) == (entries, address)
    assert dark["top"] == light["top"], "the page does not move"
    _switch_theme(page, "System")  # light again
    until(page, lambda: _looks(page)["figure"] == light["figure"], what="the figure of the light theme")
    settled(page)
    _switch_theme(page, "Light")  # the same as the system's: nothing to do
    page.wait_for_timeout(1500)
    assert len(page.guard.sent) == reruns + 2


def _switch_theme(page: Any, name: str) -> None:
    page.get_by_test_id("stMainMenu").locator("button").first.click()
    page.get_by_test_id(f"stMainMenuItem-theme-{name}").click()
    page.keyboard.press("Escape")
    page.get_by_test_id("stMainMenuPopover").wait_for(state="detached")


def _looks(page: Any) -> dict[str, Any]:
    """Colour of the figures' text, the logo, and where the page begins."""
    return page.evaluate(
        """() => ({
          figure: getComputedStyle(document.querySelector(".st-key-distribution .xtitle")).fill,
          logo: document.querySelector("[data-testid=stHeaderLogo], [data-testid=stSidebarLogo]").src,
          top: document.querySelector("[data-testid=stMain] h1").getBoundingClientRect().top,
        })"""
    )


def _brightness(colour: str) -> float:
    red, green, blue = map(float, re.findall(r"[\d.]+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_line_of_settings_opens_them_on_a_phone(fresh: str, open_page: Callable[..., Any]) -> None:
    page = open_page(fresh, path="explore", size=PHONE, touch=True)
    page.locator(".eapgp-finding").filter(has_text="47 of 479 edges keep 94 %").wait_for()
    page.get_by_role("button", name=re.compile("change$")).click()
    inside = "document.activeElement.closest('[data-testid=stSidebar]') !== null"
    until(page, lambda: page.evaluate(inside), what="the focus on the first setting")
