"""What the tests of the real app share: a server with an empty library, and steps on its pages."""

from __future__ import annotations

import contextlib
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


def pick(page: Any, field: str, label: str, *, exact: bool = False) -> None:
    """Pick an option of a select box anywhere on the page.

    A run of the page closes its list, and swallows a click on it: it is reopened until the box shows the option.
    """
    box = page.locator(f".st-key-field-{field} input")
    option = page.get_by_role("option", name=label, exact=exact)

    def picked() -> bool:
        if label in box.input_value() and not option.count():
            return True
        if not option.count():
            box.press("ArrowDown")
            page.wait_for_timeout(300)
        if option.count():
            with contextlib.suppress(Exception):  # the list was closed meanwhile
                option.first.click(timeout=2_000)
            page.wait_for_timeout(300)
        return False

    until(page, picked, what=f"{label} in {field}")


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
    """The value of the readout, once it is there: another run's may stand there first, and go for a moment."""
    value = page.locator(".st-key-readout [data-testid=stMetricValue]").first
    read: list[str] = []

    def is_read() -> bool:
        value.filter(has_text=re.compile(r"\d")).wait_for(timeout=LONG)
        read[:] = re.findall(r"^[−-]?[\d.]+$", value.inner_text().strip())
        return bool(read)

    until(page, is_read, seconds=LONG / 1000, what="a number in the readout")
    return float(read[0].replace("−", "-"))


def until(page: Any, condition: Any, *, seconds: float = 60, what: str = "condition") -> None:
    """Wait for a Python condition, letting the browser's events through meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{what} did not come true within {seconds} s at {page.url}")


def open_tab(page: Any, name: str) -> None:
    """Open a tab below the picture."""
    page.get_by_role("tab", name=re.compile(f"^{re.escape(name)}")).click()
    wait_ready(page)


def settled(page: Any, *, seconds: float = 300, jobs: bool = True) -> None:
    """Wait until nothing on the page is being computed or redrawn: no progress bar, spinner, skeleton or faded part.

    jobs: wait for jobs too; without, only until the page itself is drawn.
    """
    busy = """(jobs) => {
      const own = "[data-testid=stSpinner], [data-testid=stSkeleton]";
      const parts = jobs ? `${own}, [data-testid=stProgress], [data-stale=true]` : own;
      const state = document.querySelector("[data-testid=stApp]")?.dataset.testScriptState;
      const found = [...document.querySelectorAll(parts)].map((part) => `${part.dataset.testid}: ${part.innerText}`);
      return state === "notRunning" || !jobs ? found : [...found, `script ${state}`];
    }"""
    quiet, end, found = 0, time.monotonic() + seconds, ""
    while quiet < 4:
        assert time.monotonic() < end, f"{page.url} did not come to rest within {seconds} s: {found}"
        page.wait_for_timeout(250)
        found = page.evaluate(busy, jobs)
        quiet = 0 if found else quiet + 1


def move_step(page: Any, step: int) -> float:
    """Drag the step's slider; the milliseconds that the browser takes to move every mark."""
    slider = page.locator(".st-key-path-step input")
    taken = """(slider, step) => {
      slider.value = String(step);
      const begin = performance.now();
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      return performance.now() - begin;
    }"""
    return float(slider.evaluate(taken, step))
