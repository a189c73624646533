"""Headless Chromium for the browser tests, and Streamlit scripts served to it.

    def test_it(serve, open_page):
        page = open_page(serve("tests/browser/apps/circuit.py"), query="n=50", theme="dark")

A page fails its test on any script error, any Streamlit exception and any request that leaves
this machine. Tests are skipped, with the reason, where Playwright or Chromium is missing.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DESKTOP = (1440, 900)
PHONE = (390, 844)
PATIENCE = 60_000  # ms: two cores may be busy with other tests
LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]", "::1", ""}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a browser test."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


def chromium_path() -> str | None:
    """Chromium's executable: `$CHROMIUM`, or the one on the path."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for the session."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = chromium_path()
    if executable is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., str]]:
    """`serve(script, env={…}) -> url`: a Streamlit server per script and environment, stopped with the module."""
    servers: dict[tuple[Any, ...], Server] = {}

    def start(script: str | Path, *, env: dict[str, str] | None = None) -> str:
        key = (str(script), *sorted((env or {}).items()))
        if key not in servers:
            servers[key] = Server(ROOT / script, env or {})
        return servers[key].url

    yield start
    for server in servers.values():
        server.stop()


class Server:
    """A Streamlit script on a free port; its log is shown where it does not come up."""

    def __init__(self, script: Path, env: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.log = tempfile.NamedTemporaryFile(suffix=".log", mode="w+")  # noqa: SIM115 - lives as long as the server
        options = {
            "server.headless": "true",
            "server.port": str(self.port),
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": "false",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(script), *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self.wait()

    def wait(self, seconds: float = 90) -> None:
        """Polls the health address until it answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
        self.stop()
        pytest.fail(f"streamlit did not come up on port {self.port}:\n{self.text()[-3000:]}")

    def text(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Guard:
    """What a page must not do; `check` fails the test with what it did."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.problems: list[str] = []
        self.sent: list[Any] = []
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        page.on("request", self.request)
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: self.sent.append(frame)))

    def request(self, request: Any) -> None:
        address = urlparse(request.url)
        if address.scheme in ("data", "blob", "file", "about"):
            return
        host = address.hostname or ""
        if host not in LOCAL_HOSTS and not host.endswith(".localhost"):
            self.problems.append(f"request left this machine: {request.url}")

    def check(self) -> None:
        if not self.page.is_closed():
            for shown in self.page.locator("[data-testid=stException]").all_inner_texts():
                self.problems.append(f"exception on the page: {shown[:600]}")
            failed = self.page.get_by_text("BidiComponent Error").count()
            if failed:
                self.problems.append("a component failed to start")
        assert not self.problems, "\n".join(self.problems)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_page(url, path=, query=, size=, theme=, touch=) -> page`, ready and guarded.

    `page.guard.sent` lists the websocket frames the browser sent. `ready=False` does not wait for
    Streamlit (for plain HTML files).
    """
    opened: list[tuple[Any, Guard]] = []

    def start(
        url: str,
        *,
        path: str = "",
        query: str = "",
        size: tuple[int, int] = DESKTOP,
        theme: str = "light",
        touch: bool = False,
        ready: bool = True,
        **options: Any,
    ) -> Any:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=theme, has_touch=touch, **options
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        guard = Guard(page)
        page.guard = guard
        opened.append((context, guard))
        target = f"{url}/{path}" if path else url
        page.goto(f"{target}?{query}" if query else target)
        if ready:
            wait_ready(page)
        return page

    yield start
    try:
        for _, guard in opened:
            guard.check()
    finally:
        for context, _ in opened:
            context.close()


def wait_ready(page: Any, timeout: int = PATIENCE) -> None:
    """Connected, shown, and the script is not running. A job may still be: wait for its visible result."""
    page.wait_for_selector("[data-testid=stApp][data-test-connection-state=CONNECTED]", timeout=timeout)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=timeout)
    page.wait_for_function(_SHOWN, timeout=timeout)


# The first page is hidden until every kind of element on it is there; an app without the frame never says so.
_SHOWN = """() => document.documentElement.dataset.drawn ||
  (!document.querySelector('[class*="st-key-curtain-"]') && performance.now() > 3000)"""


@pytest.fixture
def blank(browser: Any, open_page: Callable[..., Any]) -> Callable[[str], Any]:
    """`blank(script) -> page`: an empty page that has run an ES module."""

    def start(script: str) -> Any:
        page = open_page("about:blank", ready=False)
        page.set_content("<!doctype html><body></body>")
        page.add_script_tag(content=script, type="module")
        page.wait_for_function("window.ready === true")
        return page

    return start
