"""Checks the shapes in annotations at every call; `conftest` puts it around the engine's and the methods' functions."""

from __future__ import annotations

from typing import Any

from beartype import beartype


def checked(thing: Any) -> Any:
    """What names arrays or tensors; but functions made inside functions: hooks, which every pass makes anew, slowly.

    Functions without arrays are left alone: what users hand to the public ones is refused by the library's own errors.
    """
    if "<locals>" in getattr(thing, "__qualname__", ""):
        return thing
    kinds = " ".join(str(kind) for kind in getattr(thing, "__annotations__", {}).values())
    return beartype(thing) if "Tensor" in kinds or "np.ndarray" in kinds else thing
