"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook

# Shapes in annotations are checked at every call, in tests alone. Before anything of eapgp is imported.
install_import_hook(["eapgp.engine", "eapgp.attribution", "eapgp.readings", "eapgp.reference"], "shape_check.checked")

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("EAPGP_WARM_UP", "0")  # two cores are shared by all tests; those of the warm-up say so


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files are shared among processes as `tests/scheduling.py` says."""
    from tests.scheduling import FewBrowsers

    config.option.loadscopereorder = False
    return FewBrowsers(config, log)


def shared_folder() -> Path | None:
    """The reference material beside the checkout, or None."""
    named = os.environ.get("EAPGP_SHARED")
    folder = Path(named) if named else ROOT.parent / "shared"
    return folder if (folder / "data").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference material; the test is skipped where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("the reference material ../shared is absent (or set EAPGP_SHARED)")
    return folder
