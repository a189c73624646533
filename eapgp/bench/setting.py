"""What a benchmark runs on: a model of random weights and random prompts of one length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from eapgp.attribution.api import attribute
from eapgp.bench.measure import Timing
from eapgp.engine.batches import Batch, make_batch
from eapgp.metrics import DEFAULT_METRIC, get_metric
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs

STEPS = 5
CURVE_SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the edges of the timed curve: those of every earlier report."""
Work = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Setting:
    """A model and prompts on it, as one batch."""

    model: Model
    encoded: EncodedPairs
    batch: Batch = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch", make_batch(self.model, self.encoded, np.arange(self.encoded.n)))

    @property
    def cuda(self) -> bool:
        """Whether the model lies on a CUDA device."""
        return self.model.device.type == "cuda"

    @property
    def difference_mb(self) -> float:
        """Size of one activation difference `[pair, src, pos, d_model]` in float32."""
        numbers = self.batch.clean.ids.numel() * self.model.graph.n_sources * self.model.d_model
        return numbers * 4 / 2**20

    def metric(self, logits: torch.Tensor) -> torch.Tensor:
        """`[pair]` logit difference."""
        return get_metric(DEFAULT_METRIC).compute(logits, self.batch.targets)

    def run(self, method: str, **options: Any) -> None:
        """Score every edge once, as one batch."""
        attribute(self.model, self.encoded, method=method, batch_size=self.encoded.n, keep_points=False, **options)


def random_pairs(n_vocab: int, pairs: int, length: int, seed: int = 0) -> EncodedPairs:
    """Random token ids; the corrupted prompt differs in one position."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(1, n_vocab, (pairs, length))
    corrupted = clean.copy()
    corrupted[:, length // 2] = rng.integers(1, n_vocab, pairs)
    answers = rng.integers(1, n_vocab, (pairs, 2))
    return EncodedPairs(
        clean,
        corrupted,
        np.full(pairs, length),
        tuple((int(a),) for a in answers[:, 0]),
        tuple((int(b),) for b in answers[:, 1]),
    )


def ratio(measurements: dict[str, Timing], over: str, under: str) -> float:
    """Median over repeats of the ratio of neighbouring runs."""
    pairs = zip(measurements[over].seconds, measurements[under].seconds, strict=True)
    return float(np.median([a / b for a, b in pairs]))


def repeat(work: Callable[..., None], times: int, *arguments: Any, **how: Any) -> None:
    """Do the same thing a few times over."""
    for _ in range(times):
        work(*arguments, **how)
