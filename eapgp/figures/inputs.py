"""Plain inputs of the figures, where no result class of the library fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.types import Floats

OF_NODES = ", nodes"
"""How the name of a curve of circuits by nodes ends."""

Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class CurveLine:
    """Normalised faithfulness of one method's circuits.

    sizes `[size]` edges selected; values `[size]`, NaN where undefined; low, high `[size]`: ends
    of the confidence interval; kept `[size]`: edges left after pruning; nodes `[size]`: how many nodes
    were selected, where the circuits were selected by nodes.
    """

    name: str
    sizes: Ints
    values: Floats
    low: Floats | None = None
    high: Floats | None = None
    kept: Ints | None = None
    nodes: Ints | None = None

    @property
    def label(self) -> str:
        """The name, which says where circuits were selected by nodes."""
        return self.name if self.nodes is None else self.name + OF_NODES


@dataclass(frozen=True)
class Background:
    """A quantity on a grid of the projection's plane: z `[y, x]`, NaN allowed."""

    x: Floats
    y: Floats
    z: Floats
    label: str


@dataclass(frozen=True)
class RocLine:
    """Receiver operating characteristic: false and true positive rate, both rising from 0 to 1."""

    name: str
    false_positive: Floats
    true_positive: Floats
    area: float


@dataclass(frozen=True)
class PrecisionRecallLine:
    """Precision and recall as the circuit grows; sizes `[size]` where known."""

    name: str
    recall: Floats
    precision: Floats
    sizes: Ints | None = None


@dataclass(frozen=True)
class ConfusionRow:
    """Found, missed and extra parts of a circuit against a reference."""

    name: str
    found: int
    missed: int
    extra: int
