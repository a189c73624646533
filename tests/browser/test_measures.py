"""What the first screen of each page holds: the first figure in sight, few controls, nothing that jumps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.measures import failures, measures

PAGES = ("compare",)


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app with an empty library of its own."""
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


@pytest.mark.parametrize("name", PAGES)
def test_the_first_figure_is_in_sight_beside_few_controls(app: str, browser: Any, name: str) -> None:
    measured = measures(browser, app, [name])
    assert not failures(measured, shift=None), measured
