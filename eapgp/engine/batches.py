"""Batches of prompt pairs: equal lengths together, right-padded, halved when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from eapgp.engine.passes import Keep, Tokens, capture
from eapgp.engine.past import Past, goes_on, make_past
from eapgp.errors import ComputationError, OptionError
from eapgp.metrics import Metric, Targets, targets_of
from eapgp.models.catalogue import default_batch_size
from eapgp.models.model import Model, widen
from eapgp.prompts.encode import EncodedPairs

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Some pairs on the model's device. index: which pairs of the prompt set they are.

    shared: leading positions at which both prompts of every pair are the same, and so is all that a causal model
    computes there; the answer's position is never among them. Where they are the tokens' past, none are left.
    """

    index: Int[np.ndarray, " pair"]
    clean: Tokens
    corrupted: Tokens
    targets: Targets
    shared: int = 0

    @property
    def start(self) -> int:
        """Which position of the prompts the first one is."""
        return 0 if self.clean.past is None else self.clean.past.length

    def after_shared(self, model: Model) -> Batch:
        """The positions after the shared ones, which are run once; all where the model cannot go on from there."""
        if not self.shared or not goes_on(model):
            return self
        return self.after(make_past(model, self.clean.ids[:, : self.shared]))

    def after(self, past: Past) -> Batch:
        """The positions after a past that is that of the shared ones."""
        return replace(self, clean=self.clean.after(past), corrupted=self.corrupted.after(past), shared=0)

    @property
    def size(self) -> int:
        """Number of pairs."""
        return len(self.index)


def make_batch(
    model: Model, encoded: EncodedPairs, index: Int[np.ndarray, " pair"], metric: Metric | None = None
) -> Batch:
    """Put the chosen pairs on the device, trimmed to the longest of them.

    metric: what will be computed on it; one that compares with the clean run finds it in the batch's targets.
    """
    lengths = encoded.lengths[index]
    longest = int(lengths.max())
    mask = torch.from_numpy(np.arange(longest)[None, :] < lengths[:, None]).to(model.device)
    last = torch.from_numpy(lengths - 1).to(model.device)

    def side(ids: NDArray[np.int64]) -> Tokens:
        return Tokens(torch.from_numpy(np.ascontiguousarray(ids[index, :longest])).to(model.device), mask, last)

    clean, targets = side(encoded.clean), targets_of(encoded.take(index), model.device)
    if metric is not None and metric.compares:
        with torch.no_grad():
            targets = targets.with_clean(capture(model, clean, keep=Keep.NOTHING).logits)
    return Batch(index, clean, side(encoded.corrupted), targets, _shared(encoded, index))


def _shared(encoded: EncodedPairs, index: Int[np.ndarray, " pair"]) -> int:
    """Leading positions at which both prompts of every pair are the same, at most up to the answer's."""
    ends = encoded.lengths[index] - 1
    unlike = encoded.clean[index] != encoded.corrupted[index]
    unlike[np.arange(len(index)), ends] = True
    return int(unlike.argmax(axis=1).min())


def split_batches(model: Model, encoded: EncodedPairs, batch_size: int | None) -> list[Int[np.ndarray, " _"]]:
    """Pair indices per batch, shortest prompts first. Errors: OptionError for a batch size below 1."""
    longest = int(encoded.lengths.max())
    size = default_batch_size(model.graph.n_sources, longest, model.d_model) if batch_size is None else batch_size
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise OptionError(f"batch size must be at least 1; got {batch_size!r}.")
    order = np.argsort(encoded.lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def run_halving(
    parts: list[NDArray[np.int64]], work: Callable[[NDArray[np.int64]], T], say: Callable[[str], None]
) -> Iterator[tuple[NDArray[np.int64], T]]:
    """Do `work` on each part; a part that does not fit in memory is halved and done again.

    Errors: ComputationError with the numbers if one pair alone does not fit.
    """
    waiting = list(parts)
    while waiting:
        part = waiting.pop(0)
        try:
            result = work(part)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            message = first_line(error)
        else:
            yield part, result
            continue
        free_memory()
        if len(part) == 1:
            raise one_pair_too_large(int(part[0]), message)
        half = len(part) // 2
        say(f"out of memory with {len(part)} pairs; going on with batches of {half}")
        rest = [piece for whole in waiting for piece in _pieces(whole, half)]
        waiting = [*_pieces(part, half), *rest]


def _pieces(part: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [part[start : start + size] for start in range(0, len(part), size)]


def one_pair_too_large(pair: int, message: str) -> ComputationError:
    """The error for a batch that cannot be halved any more; message: what the device said, with its numbers."""
    return ComputationError(
        f"one prompt pair does not fit in memory (pair {pair + 1}): {message} "
        "Use a smaller model, shorter prompts, dtype bfloat16 or another device."
    )


def first_line(error: Exception) -> str:
    """What an out-of-memory error says first; a MemoryError often says nothing."""
    return next(iter(str(error).splitlines()), "out of memory.")


def out_of_memory(error: Exception) -> bool:
    """Whether the error says that memory ran out, on the host or on a device."""
    text = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in text or "can't allocate" in text
    )


def free_memory() -> None:
    """Let go of cached device memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """Detached NumPy copy, in float32 or wider."""
    return widen(tensor.detach()).cpu().numpy()
