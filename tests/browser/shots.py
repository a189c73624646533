"""Screenshots of every page in both themes and at phone width, from the real app.

    python tests/browser/shots.py OUT [--base URL] [--page NAME[=PATH_AND_QUERY]] … [--size …] [--theme …] [--whole]

Without --base the app is started on a free port with an empty library and stopped afterwards. Each page is
brought into a state that shows results, and shot once nothing on it is computed or redrawn any more. The
pictures are PNGs of at most 256 colours. What was written is listed; the exit code is 1 where a page did not
come to rest, raised a script error or shows an error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from eapgp.ui.base.routes import PAGES  # noqa: E402
from eapgp.ui.start.fields import SCENES  # noqa: E402
from tests.browser.app_helpers import settled  # noqa: E402
from tests.browser.conftest import Server, chromium_path, wait_ready  # noqa: E402

SIZES = {"desktop": (1440, 900), "phone": (390, 844), "laptop": (1280, 720)}
USUAL_SIZES = ("desktop", "phone")
# What a phone says of itself beyond its size: fingers, no mouse.
DEVICES: dict[str, dict[str, Any]] = {
    "phone": {"has_touch": True, "is_mobile": True, "user_agent": "Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile"}
}
COLOURS = 256
PATIENCE = 600.0  # seconds for the jobs of one page
TALLEST = 6000  # px of a whole page
# What makes a page show its results, where its own address does not.
QUERIES = {"prompts": "pairs=16", "ground_truth": "known=planted"}


@dataclass
class Report:
    """What was written, and what went wrong."""

    written: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def build_planted(page: Page) -> None:
    """Have the planted model built and scored, so that the page compares ten methods."""
    button = page.locator(".st-key-start-planted button:visible")  # a phone has a hidden one beside it, for its help
    if button.count():
        button.first.click()
        page.locator(".st-key-stop-planted").wait_for(state="attached", timeout=60_000)


PREPARE: dict[str, Callable[[Page], None]] = {"ground_truth": build_planted}


def addresses() -> dict[str, str]:
    """Path and query of every page, and of Start's further scenes."""
    found = {}
    for place, (name, _, _) in enumerate(PAGES):
        query = QUERIES.get(name, "")
        found[name] = f"/{'' if place == 0 else name}" + (f"?{query}" if query else "")
    return found | {f"start-{number}": f"/?scene={number}" for number in range(2, len(SCENES) + 1)}


@contextmanager
def running_app() -> Iterator[str]:
    """The app with an empty library on a free port; yields its address."""
    with tempfile.TemporaryDirectory() as home:
        server = Server(ROOT / "app.py", {"EAPGP_HOME": home})
        try:
            yield server.url
        finally:
            server.stop()


def rest(page: Page) -> None:
    """Wait until the page is drawn in full: no job, no script, fonts there, figures and circuit drawn."""
    wait_ready(page)
    settled(page, seconds=PATIENCE)
    page.evaluate("document.fonts.ready.then(() => true)")
    page.wait_for_function(
        "[...document.querySelectorAll('[data-testid=stPlotlyChart]')].every((one) => one.querySelector('.main-svg'))"
    )
    page.wait_for_timeout(1200)  # transitions
    settled(page, seconds=PATIENCE)


def shoot(browser: Browser, base: str, asked: argparse.Namespace, pages: dict[str, str], report: Report) -> None:
    """One picture for every page, size and theme; with --whole also one of the page at its full height."""
    for theme in asked.theme or ["light", "dark"]:
        for size in asked.size or USUAL_SIZES:
            width, height = SIZES[size]
            for name, path in pages.items():
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=theme, **DEVICES.get(size, {})
                )
                page = context.new_page()
                page.set_default_timeout(120_000)
                label = f"{name}-{size}-{theme}"
                page.on("pageerror", lambda error, label=label: report.problems.append(f"{label}: {error}"))
                try:
                    picture(page, base + path, name, asked.out / f"{label}.png", report, whole=asked.whole)
                except Exception as error:
                    report.problems.append(f"{label}: {str(error).splitlines()[0]}")
                context.close()


def picture(page: Page, address: str, name: str, target: Path, report: Report, *, whole: bool) -> None:
    """Open a page, bring it to rest and write what it shows."""
    page.goto(address)
    wait_ready(page)
    settled(page, seconds=PATIENCE)
    PREPARE.get(name, lambda _: None)(page)
    rest(page)
    for text in page.locator("[data-testid=stAlertContentError], [data-testid=stException]").all_inner_texts():
        report.problems.append(f"{target.stem}: {' '.join(text.split())[:200]}")
    save(page, target, report)
    if whole:
        tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        size: Any = page.viewport_size
        page.set_viewport_size({"width": size["width"], "height": min(int(tall) + 20, TALLEST)})
        rest(page)
        save(page, target.with_name(f"{target.stem}-whole.png"), report)


def save(page: Page, target: Path, report: Report) -> None:
    """The viewport as a PNG of few colours."""
    page.mouse.move(0, 0)
    page.screenshot(path=str(target), animations="disabled")
    with Image.open(target) as full:
        small = full.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(target, optimize=True)
    report.written.append(f"{target}  {target.stat().st_size / 1000:.0f} kB")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Screenshots of every page of the dashboard.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", help="address of a running app; without it one is started")
    parser.add_argument("--page", action="append", default=[], help="only this page; NAME or NAME=/path?query")
    parser.add_argument("--size", action="append", choices=list(SIZES))
    parser.add_argument("--theme", action="append", choices=["light", "dark"])
    parser.add_argument("--whole", action="store_true", help="also write each page at its full height")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    known, report = addresses(), Report()
    pages = dict(entry.split("=", 1) if "=" in entry else (entry, known[entry]) for entry in asked.page) or known
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=arguments)
        if asked.base:
            shoot(browser, asked.base, asked, pages, report)
        else:
            with running_app() as base:
                shoot(browser, base, asked, pages, report)
        browser.close()
    print("\n".join(report.written))
    print(f"{len(report.written)} pictures, {len(report.problems)} problems")
    print("\n".join(report.problems))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
