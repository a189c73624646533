"""How printed figures look before anything is drawn: matplotlib with settings of our own, and an empty figure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

from eapgp.errors import ModelError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SETTINGS: dict[str, Any] = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "eapgp"}
_SETTINGS |= {"font.family": ["DejaVu Sans", "sans-serif"], "axes.unicode_minus": True, "text.usetex": False}
_LOCK = RLock()  # matplotlib's settings are the process's


@contextmanager
def settings() -> Iterator[None]:
    """Our settings of matplotlib, whatever the user's own are."""
    try:
        from matplotlib import rc_context, style
    except ImportError as error:
        raise ModelError(
            "figures as SVG, PDF and PNG: expected matplotlib, which is not installed; install it, or run `make setup`."
        ) from error
    with _LOCK, style.context("default"), rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure on white; inches."""
    with settings():
        from matplotlib.figure import Figure

        return Figure(figsize=(width, height), facecolor="white")
