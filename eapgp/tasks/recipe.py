"""What a task is made of: the combinations of its words, the order in which a seed takes them, and which words fit.

A task's prompts are points of a grid (names × templates × …). Enumerating the grid makes
pairs distinct by construction, gives the true maximum, and lets one rule on the indices
separate training from test combinations. A tokenizer decides which words can be taken: every word stands within a
sentence, after a space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import UnknownNameError
from eapgp.prompts.align import display_tokens
from eapgp.prompts.pairs import Answer, PromptPair
from eapgp.prompts.prompting import AnswerReader
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


# ---- which words fit -----------------------------------------------------------------------------

Word = TypeVar("Word")


class Vocabulary:
    """The words of one tokenizer; without a tokenizer every word is one token."""

    def __init__(self, tokenizer: Any | None = None) -> None:
        self.tokenizer = tokenizer
        self._reader = None if tokenizer is None else AnswerReader(tokenizer)

    def lengths(self, words: Sequence[str]) -> Ints:
        """`[word]` tokens of each; 0 where the vocabulary does not know it."""
        if self._reader is None:
            return np.ones(len(words), dtype=np.int64)
        return np.array([len(ids) for ids in self.tokens([f" {word}" for word in words])], dtype=np.int64)

    def reads(self, prompts: Sequence[str]) -> Bools:
        """`[prompt]` whether the vocabulary has a token for every part of a prompt."""
        if self._reader is None:
            return np.ones(len(prompts), dtype=np.bool_)
        return np.array([bool(ids) for ids in self._reader.tokens(prompts)], dtype=np.bool_)

    def known(self, words: Sequence[str]) -> tuple[str, ...]:
        """The words that it knows."""
        return fitting(words, self.lengths(words) > 0)

    def one_token(self, words: Sequence[str]) -> Bools:
        """`[word]` whether each can be an answer."""
        if self._reader is None:
            return np.ones(len(words), dtype=np.bool_)
        return np.array([self._reader.is_one_token(f" {word}") for word in words], dtype=np.bool_)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts within a sentence; none of a text with an unknown word. Needs a tokenizer."""
        assert self._reader is not None
        return self._reader.tokens(texts)

    def pieces(self, text: str) -> list[str]:
        """The tokens of a text within a sentence, as they are shown. Needs a tokenizer."""
        return display_tokens(self.tokenizer, self.tokens([text])[0])

    def digit_groups(self, number: str) -> tuple[int, ...]:
        """Into how many digits each the tokenizer's rules cut a number, whatever its vocabulary; none where no rule
        does. Needs a tokenizer.
        """
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        rules = getattr(backend, "pre_tokenizer", None)
        pieces = rules.pre_tokenize_str(number) if rules is not None else ()
        return tuple(sum(char.isdecimal() for char in piece) for piece, _ in pieces)

    def entry(self, digits: str) -> int | None:
        """The token that is these digits without a space before them, None where there is none. Needs a tokenizer."""
        assert self._reader is not None
        return self._reader.entry(digits)

    def continuations(self, digits: Sequence[str]) -> tuple[Answer | None, ...]:
        """Answers that continue a number: by id where their text is read otherwise, None where there is none. Needs a
        tokenizer.
        """
        return tuple(self._continuation(text) for text in digits)

    def _continuation(self, digits: str) -> Answer | None:
        assert self._reader is not None
        token = self._reader.entry(digits)
        read_so = self._reader.is_one_token(digits) and self._reader.ids((digits,), "correct") == (token,)
        return digits if read_so else token


def fitting(items: Sequence[Word], fits: Bools) -> tuple[Word, ...]:
    """The items that are marked."""
    return tuple(item for item, good in zip(items, fits, strict=True) if good)
