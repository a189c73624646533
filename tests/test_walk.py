"""How many files one looks into to follow a pair: from a command or a page to the method's code and the picture.

A file counts where one of its functions is called on the way; what importing it does is not counted.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from eapgp.cli import main
from eapgp.ui.jobs import server

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = f"{ROOT / 'eapgp'}/"
FROM_COMMAND, FROM_RUN = 29, 90
"""Files at most; may only become fewer.

They were 28 and 73 before the page's head (findings, numerals, answers, alignment, sentences, chip), the schema of
records, what a public server allows, the child process and the survey of all pairs came onto these ways.
"""


class Walk:
    """The package's files whose functions are called, between the first calls of two functions, `file:name`."""

    def __init__(self, first: str = "", last: str = "") -> None:
        self.files: set[str] = set()
        self.first, self.last = first, last
        self.begun, self.over = not first, False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or self.over or not code.co_filename.startswith(PACKAGE):
            return
        file = code.co_filename.removeprefix(PACKAGE)
        if file in self.files or not _is_function(frame):
            return
        place = f"{file}:{code.co_name}"
        self.begun = self.begun or place == self.first
        if self.begun:
            self.files.add(file)
            self.over = place == self.last


def _is_function(frame: FrameType | None) -> bool:
    """Whether a function is called, and not because a module of the package is being imported."""
    if frame is None or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return False
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(PACKAGE):
            return False
        frame = frame.f_back
    return True


@contextmanager
def followed(walk: Walk) -> Iterator[None]:
    """What this thread, and every thread that it starts, calls."""
    threading.setprofile(walk)
    sys.setprofile(walk)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def wait_for_jobs() -> None:
    until = time.monotonic() + 60
    while server.manager().live() and time.monotonic() < until:
        time.sleep(0.05)


def test_from_the_command_to_the_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = Walk("cli/attribute.py:attribute", "attribution/eap_gp.py:run")
    with followed(walk):
        assert main(["attribute", "--pairs", "1", "--no-cache", "--quiet", "--json", "--home", str(tmp_path)]) == 0
    assert walk.over and {"cli/attribute.py", "attribution/eap_gp.py", "models/load.py"} <= walk.files
    assert len(walk.files) <= FROM_COMMAND, sorted(walk.files)


def test_from_run_to_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    monkeypatch.setenv("EAPGP_WARM_UP", "0")
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).switch_page("pages/explore.py")
    app.query_params["pairs"] = "7"
    app.run()
    walk = Walk()
    with followed(walk):
        app.button(key="run-button").click().run()
        wait_for_jobs()
        app.run()
        wait_for_jobs()
    assert not app.exception and {"attribution/eap_gp.py", "figures/circuit_view/payload.py"} <= walk.files
    assert len(walk.files) <= FROM_RUN, sorted(walk.files)
