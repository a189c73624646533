"""A signed logarithmic scale: one early MLP's scores dwarf all others on a linear one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eapgp.numerals import number
from eapgp.types import Floats


def largest_magnitude(*arrays: Floats) -> float:
    """Largest finite |value| of all arrays; 0 where there is none."""
    tops = [float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)) for a in map(np.asarray, arrays)]
    return max(tops, default=0.0)


@dataclass(frozen=True)
class SignedLog:
    """sign(v) · log10(1 + |v| / threshold): linear near 0, logarithmic beyond `threshold`.

    Odd, increasing, 0 at 0, so colours stay centred and order is kept. `largest` bounds the ticks.
    """

    threshold: float
    largest: float

    @classmethod
    def over(cls, *arrays: Floats, decades: float = 3.0, limit: float | None = None) -> SignedLog:
        """A scale that shows `decades` powers of ten below the largest |value| (or below `limit`).

        Where that is 0, or so small that its threshold is no normal number to divide by, the largest is 1.
        """
        top = largest_magnitude(*arrays) if limit is None else limit
        top = top if top * 10.0**-decades >= np.finfo(np.float64).tiny else 1.0
        return cls(threshold=top * 10.0**-decades, largest=top)

    def __call__(self, values: Floats) -> NDArray[np.float64]:
        """Positions of values on the scale."""
        array = np.asarray(values, dtype=np.float64)
        return np.sign(array) * np.log10(1.0 + np.abs(array) / self.threshold)

    @property
    def end(self) -> float:
        """Position of `largest`."""
        return float(self(np.array(self.largest)))

    def ticks(self) -> tuple[list[float], list[str]]:
        """Positions and labels: 0 and ± powers of ten from the threshold to the largest value."""
        first = int(np.ceil(np.log10(self.threshold) + 0.3))
        last = int(np.floor(np.log10(self.largest) + 1e-9))
        sizes = [10.0**power for power in range(first, last + 1)]
        values = [*(-size for size in reversed(sizes)), 0.0, *sizes]
        return [float(p) for p in self(np.array(values))], [number(value) for value in values]
