"""A public server in the browser: a visitor's key outlives a reload, another browser is another visitor; the proxy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from tests.proxy_made import PASSWORD, USER, nginx_before


@pytest.fixture(scope="module")
def public(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("home")
    return serve("app.py", env={"EAPGP_PUBLIC": "1", "EAPGP_HOME": str(home), "EAPGP_WARM_UP": "0"})


def key_of(page: Any) -> str:
    """The visitor's key, once it is in the browser."""
    page.wait_for_function("document.cookie.includes('eapgp-visitor=')")
    return next(one["value"] for one in page.context.cookies() if one["name"] == "eapgp-visitor")


def test_a_visitor_keeps_a_key_and_runs(public: str, open_page: Callable[..., Any]) -> None:
    first, other = open_page(public, path="runs"), open_page(public, path="runs")
    key = key_of(first)
    assert len(key) == 32 and key_of(other) != key
    anna = open_page(public, path="explore", query="method=eap&pairs=3&task=sva")
    anna.get_by_test_id("stSidebar").get_by_role("button", name="Run", exact=True).click()
    anna.get_by_test_id("stSidebar").get_by_role("button", name="Computed").wait_for(timeout=120_000)
    key = key_of(anna)
    anna.goto(f"{public}/runs")
    anna.get_by_role("heading", name="Your runs · 1").wait_for()
    assert key_of(anna) == key
    other.reload()
    other.get_by_role("heading", name="Your runs · 0").wait_for()


def test_pages_work_behind_the_proxy_and_its_headers(
    public: str, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    """Under a name of its own, as on a server: the content-security header stops nothing that a page needs."""
    port = urlparse(public).port
    assert port is not None
    with nginx_before(port, tmp_path) as served:
        page = open_page(
            f"https://circuits.localhost:{served}",
            ignore_https_errors=True,
            http_credentials={"username": USER, "password": PASSWORD},
        )
        page.get_by_role("heading", name="Indirect object identification").first.wait_for()
        page.locator("canvas, svg.main-svg").first.wait_for()
        cookie = next(one for one in page.context.cookies() if one["name"] == "eapgp-visitor")
        assert cookie["secure"] and cookie["sameSite"] == "Strict"
        page.goto(f"https://circuits.localhost:{served}/compare")
        page.locator("svg.main-svg").first.wait_for()
        page.screenshot(path=str(tmp_path / "compare.png"))
