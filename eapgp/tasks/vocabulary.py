"""What a tokenizer makes of a task's words: how many tokens each is, and which can be an answer.

Every word here stands within a sentence, after a space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from eapgp.prompts.align import display_tokens
from eapgp.prompts.answers import AnswerReader
from eapgp.prompts.pairs import Answer
from eapgp.types import Bools, Ints

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
