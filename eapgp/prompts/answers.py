"""Answers: from a text or a token id to the one token id that counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eapgp.errors import PromptError
from eapgp.prompts.align import display_tokens
from eapgp.prompts.pairs import Answer

Ids = tuple[int, ...]
Sides = tuple[tuple[Answer, ...], tuple[Answer, ...]]

# Value of PromptSet.origin["answers"] where correct and incorrect are two forms of the same
# words, position by position, and only words whose two forms are one token each count.
ONE_TOKEN_PAIRS = "pairs of one-token words"

# Sides whose answers a metric reads; both where it is not listed.
NEEDED_SIDES = {"log-prob": ("correct",), "correct-logit": ("correct",), "correct-prob": ("correct",), "kl": ()}
OWN_METRIC = "custom:"
"""How the name of a metric of one's own begins; which answers it reads is its author's affair."""


def needed_sides(metric: str) -> tuple[str, ...]:
    """The sides, correct and incorrect, without whose answers a metric cannot be computed."""
    return () if metric.startswith(OWN_METRIC) else NEEDED_SIDES.get(metric, ("correct", "incorrect"))


def tokenise(texts: list[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of each text, without special tokens."""
    return [list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


class AnswerReader:
    """Reads answers with one tokenizer and remembers what it has read.

    Tokenizers that put a space in front by themselves (sentencepiece) give the id of " She"
    for the text "She", so with them one leading space is dropped; digits that are not one token so are
    those that continue a number. n_vocab: rows of the model's embedding, where they are known.
    first_token: answers of several tokens are read as their first; `cut` names them.
    """

    def __init__(self, tokenizer: Any, *, n_vocab: int | None = None, first_token: bool = False) -> None:
        self._tokenizer = tokenizer
        self._size = len(tokenizer) if n_vocab is None else min(len(tokenizer), n_vocab)
        pieces = tokenizer.convert_ids_to_tokens(tokenise(["a"], tokenizer)[0])
        self._adds_space = bool(pieces) and str(pieces[0]).startswith("▁")
        self._ids: dict[str, int | None] = {}
        self._first_token = first_token
        self._firsts: dict[str, int] = {}
        self.cut: set[Answer] = set()
        self._sides: dict[tuple[Answer, ...], Ids] = {}
        self._pairs: dict[Sides, Sides] = {}

    def ids(self, answers: tuple[Answer, ...], side: str) -> Ids:
        """Token ids of one side's answers, each once.

        side: correct or incorrect, for the message. Errors: PromptError (without the pair's number).
        """
        if answers not in self._sides:
            self._learn([answer for answer in answers if isinstance(answer, str)])
            self._sides[answers] = tuple(dict.fromkeys(self._id(answer, side) for answer in answers))
        return self._sides[answers]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts; none of one with an unknown word. What begins with a space stands within a sentence."""
        unknown = self._tokenizer.unk_token_id
        sides = tokenise([self._written(text) for text in texts], self._tokenizer)
        return [[] if unknown is not None and unknown in ids else ids for ids in sides]

    def entry(self, text: str) -> int | None:
        """The vocabulary's own entry of that name: of digits, the token that continues a number."""
        token = self._tokenizer.convert_tokens_to_ids(text)
        return None if token is None or token == self._tokenizer.unk_token_id or token >= self._size else int(token)

    def is_one_token(self, answer: str) -> bool:
        """Whether a text can be an answer."""
        self._learn([answer])
        return self._is_one(answer)

    def one_token_pairs(self, correct: tuple[Answer, ...], incorrect: tuple[Answer, ...]) -> Sides:
        """The words whose two forms, one on each side, are one token each.

        Which ones these are depends on the tokenizer, so a list of verbs cannot know. (The code
        published with arXiv:2403.17806 also keeps the few singular forms whose plural is not one
        token.) Errors: PromptError if none is left.
        """
        sides = (correct, incorrect)
        if sides not in self._pairs:
            self._learn([answer for side in sides for answer in side if isinstance(answer, str)])
            both = [(a, b) for a, b in zip(*sides, strict=True) if self._is_one(a) and self._is_one(b)]
            if not both:
                raise PromptError(
                    f"none of the {len(correct)} words is one token in both forms. "
                    "Use a model with a larger vocabulary."
                )
            self._pairs[sides] = tuple(a for a, _ in both), tuple(b for _, b in both)
        return self._pairs[sides]

    def _id(self, answer: Answer, side: str) -> int:
        if isinstance(answer, str):
            token = self._ids[answer]
            if token is not None:
                return token
            if answer in self._firsts:
                self.cut.add(answer)
                return self._firsts[answer]
            raise PromptError(f"{side} answer {self._not_one_token(answer)}")
        if not 0 <= answer < self._size:
            raise PromptError(
                f"{side} answer {answer} is no token id: the vocabulary has ids 0 to {self._size - 1:,}. "
                "Were the ids made for another model?"
            )
        return answer

    def _is_one(self, answer: Answer) -> bool:
        return isinstance(answer, int) or self._ids[answer] is not None

    def _learn(self, texts: list[str]) -> None:
        """Tokenise the texts that are new, in one call."""
        new = list(dict.fromkeys(text for text in texts if text not in self._ids))
        written = [self._written(text) for text in new]
        for text, form, ids in zip(new, written, tokenise(written, self._tokenizer), strict=True):
            self._ids[text] = ids[0] if self._is_known(form, ids) else self._digits(text)
            if self._first_token and len(ids) > 1 and self._is_known(form, ids[:1]):
                self._firsts[text] = ids[0]

    def _written(self, text: str) -> str:
        return text.removeprefix(" ") if self._adds_space else text

    def _digits(self, text: str) -> int | None:
        """Digits that continue a number, where the tokenizer's own space makes two tokens of them ("▁", "3")."""
        return self.entry(text) if self._adds_space and text.isdecimal() else None

    def _is_known(self, text: str, ids: list[int]) -> bool:
        tokenizer = self._tokenizer
        single = len(ids) == 1 and (ids[0] != tokenizer.unk_token_id or text == tokenizer.unk_token)
        return single and ids[0] < self._size

    def _not_one_token(self, answer: str) -> str:
        tokenizer = self._tokenizer
        ids = tokenise([answer], tokenizer)[0]
        pieces = ", ".join(repr(text) for text in display_tokens(tokenizer, ids))
        other = answer.removeprefix(" ") if answer.startswith(" ") else " " + answer
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            return (
                f"{answer!r} is token {ids[0]:,}, but the model's embedding has rows for tokens 0 to "
                f"{self._size - 1:,} only. Use another word, or the tokenizer that the model was trained with."
            )
        hint = "Choose a word that is one token."
        if not ids:
            became = "is empty"
        elif tokenizer.unk_token_id in ids:
            became = "is not in this model's vocabulary"
        else:
            became = f"is {len(ids)} tokens ({pieces})"
            hint = "Choose a word that is one token, or let the first token count (--answers first-token)."
        if answer.strip().isdecimal():
            hint = "A token id has its own column, correct_idx or incorrect_idx."
        if other and self._is_known(other, tokenise([other], tokenizer)[0]):
            hint = f"{other!r} is one token: did you mean that?"
        return f"{answer!r} {became}, but exactly one is needed. {hint}"
