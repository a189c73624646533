"""From texts to token ids: the form in which prompt pairs reach a model.

1. Tokenise clean and corrupted without special tokens; put the BOS in front if wanted.
2. Check that both have one length: patching swaps activations position by position.
3. Turn every answer into one token id.
4. Pad to the right with a valid id; `lengths` says what is real.

Messages count pairs from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import PairLengthError, PromptError
from eapgp.prompts.align import display_tokens
from eapgp.prompts.pairs import Answer, PromptPair, PromptSet

Ids = tuple[int, ...]
Sides = tuple[tuple[Answer, ...], tuple[Answer, ...]]

# Value of PromptSet.origin["answers"] where correct and incorrect are two forms of the same
# words, position by position, and only words whose two forms are one token each count.
ONE_TOKEN_PAIRS = "pairs of one-token words"


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
    clean = _tokenise([pair.clean for pair in prompts], tokenizer)
    corrupted = _tokenise([pair.corrupted for pair in prompts], tokenizer)
    to_id = _answer_reader(tokenizer)
    kept = _word_pairs(to_id) if prompts.origin.get("answers") == ONE_TOKEN_PAIRS else None
    right, wrong = [], []
    for i, pair in enumerate(prompts, start=1):
        _check_prompts(i, pair, clean[i - 1], corrupted[i - 1], tokenizer)
        correct, incorrect = kept(i, pair) if kept else (pair.correct, pair.incorrect)
        right.append(_answers(i, "correct", correct, to_id))
        wrong.append(_answers(i, "incorrect", incorrect, to_id))
        if prompts.metric == "logit-diff":
            _check_overlap(i, right[-1], wrong[-1], tokenizer)
    lengths = np.array([len(prefix) + len(ids) for ids in clean], dtype=np.int64)
    fill = _padding_id(tokenizer)
    return EncodedPairs(
        _padded([prefix + ids for ids in clean], fill),
        _padded([prefix + ids for ids in corrupted], fill),
        lengths,
        tuple(right),
        tuple(wrong),
    )


def fitting(prompts: PromptSet, tokenizer: Any) -> tuple[PromptSet, tuple[str, ...]]:
    """The pairs that this tokenizer can encode, and why each of the others cannot be."""
    kept, reasons = [], []
    for i, pair in enumerate(prompts, start=1):
        try:
            encode(replace(prompts, pairs=(pair,)), tokenizer, prepend_bos=False)
            kept.append(pair)
        except PromptError as error:
            reasons.append(str(error).replace("pair 1:", f"pair {i}:", 1))
    return replace(prompts, pairs=tuple(kept)), tuple(reasons)


def _bos(tokenizer: Any) -> list[int]:
    if tokenizer.bos_token_id is None:
        raise PromptError(
            "a BOS token was asked for, but this tokenizer has none (bos_token_id is empty). Encode without it."
        )
    return [int(tokenizer.bos_token_id)]


def _padding_id(tokenizer: Any) -> int:
    candidates = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next((int(i) for i in candidates if i is not None and 0 <= i < len(tokenizer)), 0)


def _tokenise(texts: list[str], tokenizer: Any) -> list[list[int]]:
    return [list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _padded(rows: list[list[int]], fill: int) -> NDArray[np.int64]:
    out = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = ids
    return out


def _check_prompts(index: int, pair: PromptPair, clean: list[int], corrupted: list[int], tokenizer: Any) -> None:
    for name, text, ids in (("clean", pair.clean, clean), ("corrupted", pair.corrupted, corrupted)):
        if not ids:
            raise PromptError(f"pair {index}: {name} is empty; at least one token is needed. Write a prompt.")
        _check_known(index, name, text, ids, tokenizer)
    if len(clean) != len(corrupted):
        raise PairLengthError(
            f"pair {index}: clean has {len(clean)} tokens, corrupted has {len(corrupted)}; "
            "patching needs equal lengths. Reword one prompt or drop the pair."
        )


def _check_known(index: int, name: str, text: str, ids: list[int], tokenizer: Any) -> None:
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown not in ids or unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        return
    words = "some words"
    if getattr(tokenizer, "is_fast", False):
        spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        missing = [text[a:b].strip() for (a, b), i in zip(spans, ids, strict=True) if i == unknown]
        words = ", ".join(repr(word) for word in dict.fromkeys(missing))
    raise PromptError(
        f"pair {index}: {name} holds {words}, which this model's vocabulary does not have. "
        "Use words it knows (the task's own prompts show them) or another model."
    )


def _check_overlap(index: int, correct: Ids, incorrect: Ids, tokenizer: Any) -> None:
    both = sorted(set(correct) & set(incorrect))
    if both:
        shown = ", ".join(repr(text) for text in display_tokens(tokenizer, both))
        raise PromptError(
            f"pair {index}: {shown} is both a correct and an incorrect answer; a logit difference needs them apart. "
            "Remove it from one side."
        )


def _answers(index: int, side: str, answers: tuple[Answer, ...], to_id: Callable[[Answer], int]) -> Ids:
    if not answers:
        raise PromptError(f"pair {index}: no {side} answer; at least one is needed. Add a text or a token id.")
    try:
        return tuple(dict.fromkeys(to_id(answer) for answer in answers))
    except PromptError as error:
        raise PromptError(f"pair {index}: {side} answer {error}") from None


def _word_pairs(to_id: Callable[[Answer], int]) -> Callable[[int, PromptPair], Sides]:
    """A function that keeps the words whose two forms are one token each.

    Which ones these are depends on the tokenizer, so a list of verbs cannot know. (The code
    published with arXiv:2403.17806 also keeps the few singular forms whose plural is not one token.)
    """
    seen: dict[Sides, Sides] = {}

    def is_one(answer: Answer) -> bool:
        try:
            to_id(answer)
        except PromptError:
            return False
        return True

    def keep(index: int, pair: PromptPair) -> Sides:
        sides = (pair.correct, pair.incorrect)
        if sides not in seen:
            both = [(a, b) for a, b in zip(*sides, strict=True) if is_one(a) and is_one(b)]
            if not both:
                raise PromptError(
                    f"pair {index}: none of the {len(pair.correct)} words is one token in both forms. "
                    "Use a model with a larger vocabulary."
                )
            seen[sides] = tuple(a for a, _ in both), tuple(b for _, b in both)
        return seen[sides]

    return keep


def _answer_reader(tokenizer: Any) -> Callable[[Answer], int]:
    """A function from an answer to its token id, which remembers what it has seen.

    Tokenizers that put a space in front by themselves (sentencepiece) give the id of " She"
    for the text "She", so there one leading space is dropped.
    """
    size = len(tokenizer)
    first = tokenizer.convert_ids_to_tokens(_tokenise(["a"], tokenizer)[0])[0]
    adds_space = str(first).startswith("▁")
    seen: dict[str, int] = {}

    def one_token(text: str) -> int | None:
        ids = _tokenise([text], tokenizer)[0]
        known = len(ids) == 1 and (ids[0] != tokenizer.unk_token_id or text == tokenizer.unk_token)
        return ids[0] if known else None

    def read(answer: Answer) -> int:
        if isinstance(answer, int):
            if not 0 <= answer < size:
                raise PromptError(
                    f"{answer} is no token id: the vocabulary has ids 0 to {size - 1:,}. "
                    "Were the ids made for another model?"
                )
            return answer
        if answer not in seen:
            bare = answer.removeprefix(" ")
            found = one_token(bare if adds_space else answer)
            if found is None:
                raise PromptError(_not_one_token(answer, tokenizer, one_token))
            seen[answer] = found
        return seen[answer]

    return read


def _not_one_token(answer: str, tokenizer: Any, one_token: Callable[[str], int | None]) -> str:
    ids = _tokenise([answer], tokenizer)[0]
    pieces = ", ".join(repr(text) for text in display_tokens(tokenizer, ids))
    other = answer.removeprefix(" ") if answer.startswith(" ") else " " + answer
    if not ids:
        became = "is empty"
    elif tokenizer.unk_token_id in ids:
        became = "is not in this model's vocabulary"
    else:
        became = f"is {len(ids)} tokens ({pieces})"
    hint = f"{other!r} is one token: did you mean that?" if other and one_token(other) is not None else ""
    return f"{answer!r} {became}, but exactly one is needed. {hint or 'Choose a word that is one token.'}"
