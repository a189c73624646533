"""Screenshots of every page in both themes and at phone width, from the real app.

    python tests/browser/shots.py OUT [--base URL] [--page NAME=PATH_AND_QUERY] …

Without --base the app is started on a free port and stopped afterwards.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
PAGES = {name: f"/{name}" for name in ("compare", "path", "faithfulness", "paper", "prompts", "runs")}
PAGES["explore"] = "/"
CHROMIUM = "/usr/bin/chromium"


@contextmanager
def running_app() -> Iterator[str]:
    """The app on a free port; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    command += ["--server.port", str(port), "--server.fileWatcherType", "none"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base = f"http://localhost:{port}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{base}/_stcore/health", timeout=1)
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        yield base
    finally:
        process.terminate()
        process.wait(10)


def settle(page: Page, *, extra: float = 1.5) -> None:
    """Wait until the script has run and what it draws has had time to appear."""
    page.wait_for_selector("[data-testid=stApp][data-test-connection-state=CONNECTED]", timeout=60_000)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=60_000)
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=60_000)
    page.wait_for_timeout(int(extra * 1000))


def shoot(browser: Browser, base: str, out: Path, pages: dict[str, str], sizes: list[str], themes: list[str]) -> None:
    """One viewport picture and one full-page picture for every page, size and theme."""
    for theme in themes:
        for size in sizes:
            width, height = SIZES[size]
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light"
            )
            page = context.new_page()
            page.on("pageerror", lambda error: print(f"page error: {error}"))
            for name, path in pages.items():
                page.set_viewport_size({"width": width, "height": height})
                page.goto(base + path)
                settle(page, extra=3)
                page.screenshot(path=str(out / f"{name}-{size}-{theme}.png"))
                tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
                page.set_viewport_size({"width": width, "height": min(int(tall) + 20, 6000)})
                page.wait_for_timeout(1200)
                page.screenshot(path=str(out / f"{name}-{size}-{theme}-whole.png"))
            context.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--base")
    parser.add_argument("--page", action="append", default=[])
    parser.add_argument("--size", action="append", choices=list(SIZES))
    parser.add_argument("--theme", action="append", choices=["light", "dark"])
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    pages = dict(entry.split("=", 1) if "=" in entry else (entry, PAGES[entry]) for entry in asked.page) or PAGES
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        options = (asked.out, pages, asked.size or list(SIZES), asked.theme or ["light", "dark"])
        if asked.base:
            shoot(browser, asked.base, *options)
        else:
            with running_app() as base:
                shoot(browser, base, *options)
        browser.close()


if __name__ == "__main__":
    main()
