"""The combinations that a task can be made of, and the order in which a seed takes them.

A task's prompts are points of a grid (names × templates × …). Enumerating the grid makes
pairs distinct by construction, gives the true maximum, and lets one rule on the indices
separate training from test combinations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import UnknownNameError
from eapgp.prompts.pairs import PromptPair
from eapgp.types import Bools, Ints

SPLITS = ("all", "train", "test")
HOLD_OUT = 5  # one combination in five is kept for testing
Point = tuple[int, ...]


def held_out(*indices: Ints) -> Bools:
    """True where the sum of the indices is divisible by five: the test combinations."""
    return np.asarray(sum(indices[1:], indices[0]) % HOLD_OUT == 0)


def grid(*sizes: int) -> list[Ints]:
    """Index arrays, one per axis, of every point of the grid (flattened, last axis fastest)."""
    return [axis.ravel() for axis in np.indices(sizes)]


@dataclass(frozen=True, eq=False)
class Space:
    """The points of a grid that may be taken. train, test: those of each split, one entry per point.

    Words that do not fit are left out of these marks, never of the axes: a point belongs to the same split
    whatever the tokenizer.
    """

    axes: Sequence[Ints]
    train: Bools
    test: Bools

    def allowed(self, split: str) -> NDArray[np.intp]:
        """Places of the points of a split. Errors: UnknownNameError."""
        if split not in SPLITS:
            raise UnknownNameError.of("split", split, SPLITS)
        return np.flatnonzero({"all": self.train | self.test, "train": self.train, "test": self.test}[split])

    def points(self, *, seed: int, split: str) -> Iterator[Point]:
        """Every point of a split, in an order that the seed alone decides."""
        for place in np.random.default_rng(seed).permutation(self.allowed(split)):
            yield tuple(int(axis[place]) for axis in self.axes)


@dataclass(frozen=True, eq=False)
class Recipe:
    """How one vocabulary poses a task: the combinations, and what writes the pair of one.

    write: from a point and the random numbers for the words that are free. why_not: which words a vocabulary
    lacks where there is no combination.
    """

    space: Space
    write: Callable[[Point, np.random.Generator], PromptPair]
    why_not: str

    def pairs(self, *, seed: int, split: str) -> Iterator[PromptPair]:
        """Every pair of a split, each once; equal seeds give them in one order."""
        rng = np.random.default_rng([seed, 1])
        for point in self.space.points(seed=seed, split=split):
            yield self.write(point, rng)


def pick(rng: np.random.Generator, words: Sequence[Any]) -> Any:
    """One of the words."""
    return words[int(rng.integers(len(words)))]
