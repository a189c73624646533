"""The first start on a machine: `make app`, and `eapgp app` from an installed wheel, where nobody answers a question.

The home folder is empty, as on a fresh machine: Streamlit asks its own first-run questions only there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from eapgp.cli.dashboard import app_command
from eapgp.models.store import models_home
from tests.browser.conftest import free_port
from tests.conftest import ROOT

SECONDS = 60  # two cores may be busy with other tests; it takes about four


class Started:
    """A command that starts the dashboard, with what it wrote, the pages it opened and all processes it started."""

    def __init__(self, line: list[str], home: Path, *, stdin: str, cwd: Path, pythonpath: Path) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self._opened = home.parent / "opened"
        self._chunks: list[bytes] = []
        ours, theirs = os.openpty() if stdin == "terminal" else os.pipe()
        self.process = subprocess.Popen(
            line,
            cwd=cwd,
            env=self._environment(home) | {"PYTHONPATH": str(pythonpath)},
            stdin=theirs if stdin == "terminal" else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,  # so that the whole group can be killed in the end
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def _environment(self, home: Path) -> dict[str, str]:
        """A desktop's, with a stand-in for the program that opens a browser; nothing of this user's settings."""
        home.mkdir()
        for name in ("xdg-open", "open"):
            program = home.parent / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f'#!/bin/sh\necho "$1" >> "{self._opened}"\n')
            program.chmod(0o755)
        ours = ("XDG_", "EAPGP_", "STREAMLIT_", "MAKE", "MFLAGS")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        search = f"{home.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return inherited | {
            "HOME": str(home),
            "PATH": search,
            "DISPLAY": ":7",
            "EAPGP_PORT": str(self.port),
            "EAPGP_WARM_UP": "0",
            # What was fetched (or could not be) is not fetched again for an empty home.
            "EAPGP_MODELS": str(models_home()),
            "PIP_NO_INDEX": "1",
        }

    def _read(self, source: int) -> None:
        try:
            while chunk := os.read(source, 4096):
                self._chunks.append(chunk)
        except OSError:  # a pseudo-terminal ends with an error once nobody holds its other side
            pass
        finally:
            os.close(source)

    def text(self) -> str:
        """All output so far."""
        return b"".join(self._chunks).decode(errors="replace")

    def answer(self, path: str) -> str:
        """The body at an address, asked until the server is there."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as reply:
                    return reply.read().decode()
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"no answer at {path}; exit code {self.process.poll()}, output:\n{self.text()}")

    def opened_pages(self) -> str:
        """The address that a browser was sent to, once it was."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not self._opened.is_file():
            time.sleep(0.1)
        return self._opened.read_text()

    def all_processes(self) -> list[psutil.Process]:
        """The command itself and whatever it started, directly or not."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def listening(self) -> bool:
        """Whether something still answers."""
        try:
            urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End every process of the group, whatever the test saw."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """`start(line, stdin=, cwd=, pythonpath=)` in an empty home; every process is gone with the test."""
    running: list[Started] = []

    def begin(line: list[str], *, stdin: str, cwd: Path, pythonpath: Path) -> Started:
        running.append(Started(line, tmp_path / "home", stdin=stdin, cwd=cwd, pythonpath=pythonpath))
        return running[-1]

    yield begin
    for each in running:
        each.kill()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this project installed from a wheel; its dependencies are the environment's."""
    pytest.importorskip("hatchling", reason="no wheel without hatchling: make setup")
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", wheels, ROOT], check=True)
    (wheel,) = wheels.glob("eapgp-*.whl")
    subprocess.run([*pip, "install", *offline, "--target", site, wheel], check=True)
    return site


def comes_up_and_goes(started: Started) -> None:
    """The page answers though nobody types; SIGTERM to the command ends every process and frees the port."""
    assert started.answer("/_stcore/health") == "ok"
    assert "<html" in started.answer("/").lower()
    assert "mail" not in started.text().lower()
    assert started.url in started.opened_pages()
    processes = started.all_processes()
    assert len(processes) > 1
    started.process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=SECONDS)
    assert not alive, f"still there: {[process.cmdline() for process in alive]}"
    assert not started.listening()


@pytest.mark.parametrize("stdin", ["nothing", "terminal"])
def test_make_app_on_a_fresh_machine(start: Callable[..., Started], stdin: str) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    if subprocess.run(["make", "--question", "setup"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("the environment is older than pyproject.toml, and this test must not change it: make setup")
    started = start(["make", "app"], stdin=stdin, cwd=ROOT, pythonpath=ROOT)
    comes_up_and_goes(started)


@pytest.mark.parametrize("stdin", ["nothing", "terminal"])
def test_the_installed_command_on_a_fresh_machine(
    start: Callable[..., Started], installed: Path, stdin: str, tmp_path: Path
) -> None:
    line = [str(installed / "bin" / "eapgp"), "app"]
    started = start(line, stdin=stdin, cwd=tmp_path, pythonpath=installed)
    comes_up_and_goes(started)
    assert started.process.wait() == 0


def test_a_browser_is_opened_only_where_there_is_a_display() -> None:
    """Streamlit looks for the display where the option is left to it."""
    assert "--server.headless" not in app_command(port=8600, address="localhost", browser=True)
    line = app_command(port=8600, address="localhost", browser=False)
    assert line[line.index("--server.headless") + 1] == "true"
