"""Types that many modules name: arrays, and the callback of long work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
"""An array of floats of any width; its shape is told where it is used."""

Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]

Progress: TypeAlias = Callable[[str, float], None]
"""Called with the phase and the share of it that is done, 0 … 1; may raise `Cancelled`, which must pass through."""
