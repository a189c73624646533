"""How well a model does a task: right answers, and the metric on clean and corrupted prompts. Forward passes only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eapgp.metrics import accuracy, get_metric
from eapgp.prompts.encode import EncodedPairs
from eapgp.types import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from eapgp.models.model import Model

SIDES = ("clean", "corrupted")
Look = Callable[[str, NDArray[np.int64], "Tensor"], None]


@dataclass(frozen=True)
class Behaviour:
    """A model on prompt pairs.

    right `[pair]`: whether the right answers win on the clean prompt; clean, corrupted `[pair]`: the metric.
    """

    right: NDArray[np.bool_]
    clean: NDArray[np.float64]
    corrupted: NDArray[np.float64]


def behaviour(
    model: Model, pairs: EncodedPairs, *, metric: str, progress: Progress | None = None, look: Look | None = None
) -> Behaviour:
    """Run clean and corrupted prompts. look(side, index, logits `[pair, vocab]`) sees every batch.

    Errors: UnknownNameError for a metric; ComputationError where one pair does not fit in memory; Cancelled.
    """
    import torch

    from eapgp.engine.batches import make_batch, run_halving, split_batches
    from eapgp.engine.passes import Keep, capture

    row, done = get_metric(metric), 0
    values: dict[str, Any] = {side: np.zeros(pairs.n) for side in SIDES}
    right = np.zeros(pairs.n, dtype=bool)

    def work(index: NDArray[np.int64]) -> None:
        if progress is not None:
            progress("running the prompts", done / pairs.n)
        batch = make_batch(model, pairs, index, row)
        for side in SIDES:
            logits = capture(model, getattr(batch, side), keep=Keep.NOTHING).logits
            values[side][index] = row.compute(logits, batch.targets).float().cpu().numpy()
            if side == "clean":
                right[index] = accuracy(logits, batch.targets).cpu().numpy()
            if look is not None:
                look(side, index, logits)

    with torch.no_grad():
        for index, _ in run_halving(split_batches(model, pairs, None), work, lambda _: None):
            done += len(index)
    return Behaviour(right, values["clean"], values["corrupted"])
