"""Small models and pairs that the engine's tests share; each is built once per process."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import SIZE, build_folder

from eapgp.models import Model, load_model
from eapgp.prompts.encode import EncodedPairs


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="eapgp-tiny-")


@functools.cache
def tiny_folder(name: str, **changes: Any) -> Path:
    """Folder of a tiny random model."""
    key = "-".join([name, *(f"{k}={v}" for k, v in sorted(changes.items()))])
    return build_folder(name, Path(_folder().name) / key, **changes)


@functools.cache
def tiny_model(name: str, dtype: str = "float64", **changes: Any) -> Model:
    """A tiny random model, loaded the way a user's is."""
    return load_model(str(tiny_folder(name, **changes)), device="cpu", dtype=dtype)


def random_pairs(
    n: int, *, seed: int = 0, shortest: int = 5, longest: int = 5, vocab: int = SIZE["vocab"], answers: int = 1
) -> EncodedPairs:
    """Random token ids that differ in two places; prompts of unequal length where asked for."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, n)
    lengths[0] = longest
    clean = rng.integers(1, vocab, (n, longest))
    corrupted = clean.copy()
    for row, length in enumerate(lengths):
        for place in rng.choice(np.arange(1, length), 2, replace=False):
            corrupted[row, place] = 1 + (clean[row, place] + rng.integers(0, vocab - 2)) % (vocab - 1)
        clean[row, length:] = corrupted[row, length:] = 0
    chosen = [rng.choice(np.arange(1, vocab), 2 * answers, replace=False) for _ in range(n)]
    return EncodedPairs(
        clean,
        corrupted,
        lengths.astype(np.int64),
        tuple(tuple(int(i) for i in row[:answers]) for row in chosen),
        tuple(tuple(int(i) for i in row[answers:]) for row in chosen),
    )


def relative_error(found: Any, expected: Any) -> float:
    """Largest difference over the largest expected value."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape, f"{found.shape} against {expected.shape}"
    assert np.abs(expected).max() > 0, "an expected value of zero everywhere proves nothing"
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def hooks_left(model: Model) -> list[str]:
    """Everything that still hangs on the model: hooks of the bridge, torch hooks, replaced forwards."""
    left = [name for name, point in model.bridge.hook_dict.items() if point.fwd_hooks or point.bwd_hooks]
    # the bridge itself replaces the forwards of some architectures' own blocks, so only its blocks count
    left += [f"block {i}.forward" for i, layer in enumerate(model.layers) if "forward" in vars(layer.block)]
    return left


def one_thread() -> None:
    """Tests share the machine."""
    torch.set_num_threads(1)
