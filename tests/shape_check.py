"""Checks the shapes in annotations at every call; `conftest` puts it around the engine's and the methods' functions."""

from __future__ import annotations

from typing import Any

from beartype import beartype


def checked(thing: Any) -> Any:
    """Anything but functions made inside functions: hooks, of which every pass makes anew, and slowly."""
    return thing if "<locals>" in getattr(thing, "__qualname__", "") else beartype(thing)
