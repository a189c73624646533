"""What the tests of the real app share: a server with an empty library, and steps on its pages."""

from __future__ import annotations

import re
import time
from typing import Any

from tests.browser.conftest import wait_ready

LONG = 120_000  # ms: the first job of a server imports torch and loads the model


def choose(page: Any, field: str, label: str) -> None:
    """Pick an option of a select box of the sidebar by its visible text."""
    before = page.url
    page.locator(f".st-key-field-{field} input").click()
    page.get_by_role("option", name=label, exact=True).click()
    until(page, lambda: page.url != before, what=f"{field} in the URL")
    wait_ready(page)


def fill(page: Any, field: str, value: str) -> None:
    """Type into a number or text field."""
    box = page.locator(f".st-key-field-{field} input")
    box.fill(value)
    box.press("Enter")
    page.wait_for_url(f"**{field}={value}*")
    wait_ready(page)


def run_button(page: Any) -> Any:
    """The sidebar's button that starts a computation."""
    return page.locator(".st-key-run-button button").first


def faithfulness(page: Any) -> float:
    """The value of the readout, once it is there."""
    value = page.locator(".st-key-readout [data-testid=stMetricValue]").first
    value.filter(has_text=re.compile(r"\d")).wait_for(timeout=LONG)
    return float(value.inner_text())


def until(page: Any, condition: Any, *, seconds: float = 60, what: str = "condition") -> None:
    """Wait for a Python condition, letting the browser's events through meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def open_tab(page: Any, name: str) -> None:
    """Open a tab below the picture."""
    page.get_by_role("tab", name=re.compile(f"^{re.escape(name)}")).click()
    wait_ready(page)
