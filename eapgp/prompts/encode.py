"""From texts to token ids: the form in which prompt pairs reach a model.

1. Tokenise clean and corrupted without special tokens; put the BOS in front if wanted.
2. Check that both have one length: patching swaps activations position by position.
3. Turn every answer into one token id.
4. Pad to the right with a valid id; `lengths` says what is real.

Messages count pairs from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import PairLengthError, PromptError
from eapgp.prompts.align import display_tokens
from eapgp.prompts.answers import ONE_TOKEN_PAIRS, AnswerReader, Ids, tokenise
from eapgp.prompts.pairs import PromptPair, PromptSet


@dataclass(frozen=True, eq=False)
class EncodedPairs:
    """Token ids of prompt pairs.

    clean, corrupted: `[pair, pos]` int64, padded on the right with a valid id.
    lengths: `[pair]` real tokens of each pair, BOS included; the last one is the answer position.
    correct, incorrect: `[pair]` tuples of token ids, without repetition.
    """

    clean: NDArray[np.int64]
    corrupted: NDArray[np.int64]
    lengths: NDArray[np.int64]
    correct: tuple[Ids, ...]
    incorrect: tuple[Ids, ...]

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
        )


def encode(prompts: PromptSet, tokenizer: Any, *, prepend_bos: bool) -> EncodedPairs:
    """Token ids of every pair.

    Errors: PairLengthError where clean and corrupted differ in length; PromptError where a
    prompt is empty or holds unknown words, an answer is not exactly one token or not an id of
    the vocabulary, or (logit difference) one answer is both right and wrong.
    """
    if not prompts.pairs:
        raise PromptError("no prompt pairs: at least one is needed. Add a pair or raise the number of pairs.")
    prefix = _bos(tokenizer) if prepend_bos else []
    encoded = [ids for ids, _ in _each(prompts, tokenizer, raises=True) if ids]
    fill = _padding_id(tokenizer)
    return EncodedPairs(
        _padded([prefix + ids.clean for ids in encoded], fill),
        _padded([prefix + ids.corrupted for ids in encoded], fill),
        np.array([len(prefix) + len(ids.clean) for ids in encoded], dtype=np.int64),
        tuple(ids.correct for ids in encoded),
        tuple(ids.incorrect for ids in encoded),
    )


def fitting(prompts: PromptSet, tokenizer: Any) -> tuple[PromptSet, tuple[str, ...]]:
    """The pairs that this tokenizer can encode, and why each of the others cannot be."""
    results = list(_each(prompts, tokenizer, raises=False))
    kept = tuple(pair for pair, (ids, _) in zip(prompts, results, strict=True) if ids)
    return replace(prompts, pairs=kept), tuple(reason for ids, reason in results if not ids)


class _PairIds(NamedTuple):
    clean: list[int]
    corrupted: list[int]
    correct: Ids
    incorrect: Ids


def _each(prompts: PromptSet, tokenizer: Any, *, raises: bool) -> Iterator[tuple[_PairIds | None, str]]:
    """For every pair its ids, or None and the reason why there are none (which is raised if `raises`)."""
    reader = AnswerReader(tokenizer)
    clean = tokenise([pair.clean for pair in prompts], tokenizer)
    corrupted = tokenise([pair.corrupted for pair in prompts], tokenizer)
    for i, pair in enumerate(prompts):
        try:
            _check_prompts(pair, clean[i], corrupted[i], tokenizer)
            yield _PairIds(clean[i], corrupted[i], *_answers(prompts, pair, reader, tokenizer)), ""
        except PromptError as error:
            reason = f"pair {i + 1}: {error}"
            if raises:
                raise type(error)(reason) from None
            yield None, reason


def _bos(tokenizer: Any) -> list[int]:
    if tokenizer.bos_token_id is None:
        raise PromptError(
            "a BOS token was asked for, but this tokenizer has none (bos_token_id is empty). Encode without it."
        )
    return [int(tokenizer.bos_token_id)]


def _padding_id(tokenizer: Any) -> int:
    candidates = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next((int(i) for i in candidates if i is not None and 0 <= i < len(tokenizer)), 0)


def _padded(rows: list[list[int]], fill: int) -> NDArray[np.int64]:
    out = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = ids
    return out


def _check_prompts(pair: PromptPair, clean: list[int], corrupted: list[int], tokenizer: Any) -> None:
    for name, text, ids in (("clean", pair.clean, clean), ("corrupted", pair.corrupted, corrupted)):
        if not ids:
            raise PromptError(f"{name} is empty; at least one token is needed. Write a prompt.")
        _check_known(name, text, ids, tokenizer)
    if len(clean) != len(corrupted):
        raise PairLengthError(
            f"clean has {len(clean)} tokens, corrupted has {len(corrupted)}; "
            "patching needs equal lengths. Reword one prompt or drop the pair."
        )


def _check_known(name: str, text: str, ids: list[int], tokenizer: Any) -> None:
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown not in ids or unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        return
    words = "some words"
    if getattr(tokenizer, "is_fast", False):
        spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        missing = [text[a:b].strip() for (a, b), i in zip(spans, ids, strict=True) if i == unknown]
        words = ", ".join(repr(word) for word in dict.fromkeys(missing))
    raise PromptError(
        f"{name} holds {words}, which this model's vocabulary does not have. "
        "Use words it knows (the task's own prompts show them) or another model."
    )


def _answers(prompts: PromptSet, pair: PromptPair, reader: AnswerReader, tokenizer: Any) -> tuple[Ids, Ids]:
    sides = {"correct": pair.correct, "incorrect": pair.incorrect}
    for name, answers in sides.items():
        if not answers:
            raise PromptError(f"no {name} answer; at least one is needed. Add a text or a token id.")
    if prompts.origin.get("answers") == ONE_TOKEN_PAIRS:
        sides["correct"], sides["incorrect"] = reader.one_token_pairs(pair.correct, pair.incorrect)
    ids = []
    for name, answers in sides.items():
        try:
            ids.append(reader.ids(answers))
        except PromptError as error:
            raise PromptError(f"{name} answer {error}") from None
    if prompts.metric == "logit-diff":
        _check_overlap(ids[0], ids[1], tokenizer)
    return ids[0], ids[1]


def _check_overlap(correct: Ids, incorrect: Ids, tokenizer: Any) -> None:
    both = sorted(set(correct) & set(incorrect))
    if both:
        shown = ", ".join(repr(text) for text in display_tokens(tokenizer, both))
        raise PromptError(
            f"{shown} is both a correct and an incorrect answer; a logit difference needs them apart. "
            "Remove it from one side."
        )
