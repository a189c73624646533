"""From texts to token ids: the form in which prompt pairs reach a model.

1. `fit` tokenises every pair and says which the model can use; unless all are, its findings are the error.
2. Pad to the right with a valid id; `lengths` says what is real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.prompts.answers import Ids
from eapgp.prompts.fit import Fit, Misfit, Problem, check_context, check_rows, examine
from eapgp.prompts.pairs import PromptSet
from eapgp.prompts.reader import PromptReader


@dataclass(frozen=True, eq=False)
class EncodedPairs:
    """Token ids of prompt pairs.

    clean, corrupted: `[pair, pos]` int64, padded on the right with a valid id.
    lengths: `[pair]` real tokens of each pair, BOS included; the last one is the answer position.
    correct, incorrect: `[pair]` tuples of token ids, without repetition.
    remarks: what the reader of a result should know about the prompts; one line each.
    """

    clean: NDArray[np.int64]
    corrupted: NDArray[np.int64]
    lengths: NDArray[np.int64]
    correct: tuple[Ids, ...]
    incorrect: tuple[Ids, ...]
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.lengths)
        assert self.clean.shape == self.corrupted.shape and self.clean.shape[0] == n
        assert len(self.correct) == len(self.incorrect) == n

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.lengths)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`[pair, pos]` true at real tokens."""
        return np.arange(self.clean.shape[1])[None, :] < self.lengths[:, None]

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> EncodedPairs:
        """Some of the pairs, cut to the longest of them."""
        rows = np.asarray(indices, dtype=np.int64)
        width = int(self.lengths[rows].max()) if rows.size else 0
        return EncodedPairs(
            self.clean[rows, :width],
            self.corrupted[rows, :width],
            self.lengths[rows],
            tuple(self.correct[i] for i in rows),
            tuple(self.incorrect[i] for i in rows),
            self.remarks,
        )


def encode(prompts: PromptSet, model: PromptReader, *, contrast: bool = True) -> EncodedPairs:
    """Token ids of every pair, as the model (or a tokenizer alone) reads them.

    contrast: as in `fit`. Errors: PairLengthError where clean and corrupted differ in length, PromptError for
    all else that `fit` finds; every pair that cannot be used is told.
    """
    fit, pairs = examine(prompts, model, contrast=contrast)
    fit.require_all()
    fill = _padding_id(model)
    return EncodedPairs(
        _padded([ids.clean for ids in pairs], fill),
        _padded([ids.corrupted for ids in pairs], fill),
        np.array([len(ids.clean) for ids in pairs], dtype=np.int64),
        tuple(ids.correct for ids in pairs),
        tuple(ids.incorrect for ids in pairs),
        fit.remarks,
    )


def encoded_for(prompts: PromptSet | EncodedPairs, model: PromptReader, *, contrast: bool = True) -> EncodedPairs:
    """Token ids that the model can take, whatever the prompts came as. Errors: as `encode`."""
    if isinstance(prompts, PromptSet):
        return encode(prompts, model, contrast=contrast)
    problems = []
    for place in range(prompts.n):
        try:
            check_context(int(prompts.lengths[place]), model)
            for name, ids in (
                ("clean", prompts.clean[place].tolist()),
                ("corrupted", prompts.corrupted[place].tolist()),
                ("the correct answer", prompts.correct[place]),
                ("the incorrect answer", prompts.incorrect[place]),
            ):
                check_rows(name, ids, model)
        except Misfit as misfit:
            problems.append(Problem(place, misfit.kind, str(misfit)))
    Fit(prompts.n, (), tuple(problems), ()).require_all()
    return prompts


def _padding_id(model: PromptReader) -> int:
    tokenizer: Any = model.tokenizer
    size = len(tokenizer) if model.n_vocab is None else min(len(tokenizer), model.n_vocab)
    candidates = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next((int(i) for i in candidates if i is not None and 0 <= i < size), 0)


def _padded(rows: list[list[int]], fill: int) -> NDArray[np.int64]:
    out = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = ids
    return out
