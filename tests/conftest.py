"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Shapes in annotations are checked at every call, in tests alone. Before anything of eapgp is imported.
install_import_hook(["eapgp.engine", "eapgp.attribution", "eapgp.readings"], "shape_check.checked")

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("EAPGP_WARM_UP", "0")  # two cores are shared by all tests; those of the warm-up say so


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
