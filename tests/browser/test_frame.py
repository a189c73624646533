"""A link to a page as the very first request of a server opens that page inside the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eapgp.ui.frame import PAGES
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
