"""The combinations that a task can be made of, and the choice of some of them.

A task's prompts are points of a grid (names × templates × …). Enumerating the grid makes
pairs distinct by construction, gives the true maximum, and lets one rule on the indices
separate training from test combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import OptionError, UnknownNameError

SPLITS = ("all", "train", "test")
HOLD_OUT = 5  # one combination in five is kept for testing


def held_out(*indices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True where the sum of the indices is divisible by five: the test combinations."""
    return np.asarray(sum(indices[1:], indices[0]) % HOLD_OUT == 0)


def grid(*sizes: int) -> list[NDArray[np.int64]]:
    """Index arrays, one per axis, of every point of the grid (flattened, last axis fastest)."""
    return [axis.ravel() for axis in np.indices(sizes)]


def choose(
    task: str,
    axes: Sequence[NDArray[np.int64]],
    *,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    n: int,
    seed: int,
    split: str,
) -> tuple[list[tuple[int, ...]], np.random.Generator]:
    """n distinct points of the grid in a seeded order, and the generator for the free words.

    `train` and `test` mark the points of each split. A smaller n gives a prefix of a larger
    one. Errors: OptionError if n is below 1 or above the number of points.
    """
    if split not in SPLITS:
        raise UnknownNameError.of("split", split, SPLITS)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise OptionError(f"task {task}: the number of pairs must be a whole number of at least 1; got {n!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise OptionError(f"task {task}: the seed must be a whole number of at least 0; got {seed!r}.")
    allowed = np.flatnonzero({"all": train | test, "train": train, "test": test}[split])
    if n > len(allowed):
        raise OptionError(
            f"task {task}: {n:,} pairs were asked for, but only {len(allowed):,} distinct ones exist "
            f"(split {split!r}). Ask for at most {len(allowed):,}."
        )
    rng = np.random.default_rng(seed)
    picked = rng.permutation(allowed)[:n]
    return [tuple(int(axis[i]) for axis in axes) for i in picked], np.random.default_rng([seed, 1])


def pick(rng: np.random.Generator, words: Sequence[Any]) -> Any:
    """One of the words."""
    return words[int(rng.integers(len(words)))]
