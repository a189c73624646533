"""Which part of its prompt each position belongs to, so that scores can be told apart by it.

1. `by_token`: every position for itself; for one pair, or prompts of equal length.
2. `by_part`: the parts that a task names in its texts ("first name", "repeated name", …), what stands before, between
   and after them, the start token, and the last token, where the answer is read, whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import PromptError
from eapgp.prompts.align import display_tokens
from eapgp.prompts.encode import EncodedPairs, encode
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.prompts.prompting import PromptReader

START, END = "start token", "last token"
TOKENS: Literal["tokens"] = "tokens"
Marks = Mapping[str, Sequence[str]] | Literal["tokens"]
"""Parts of one's own: by name the words that stand for each; or every position for itself."""
Part = tuple[str, int, int]
"""A named part of a text: its name, and its first character and the one after its last."""


@dataclass(frozen=True)
class Spans:
    """Spans that all pairs of a set have. names: in the order of the prompts; of: `[pair, pos]` the span of each
    position, −1 on padding."""

    names: tuple[str, ...]
    of: NDArray[np.int64]

    def take(self, pairs: Sequence[int] | NDArray[np.int64]) -> Spans:
        """Those of some of the pairs."""
        return Spans(self.names, self.of[np.asarray(pairs)])


def by_token(prompts: PromptSet, model: PromptReader) -> Spans:
    """Every position for itself, named by its number and, where all pairs share it, its token.

    Errors: PromptError where prompts differ in length; as `encode`.
    """
    encoded = encode(prompts, model)
    if len(set(encoded.lengths.tolist())) > 1:
        raise PromptError(
            f"prompts of {encoded.lengths.min()} to {encoded.lengths.max()} tokens have no positions in common: "
            "expected equal lengths. Take one pair, or the task's parts."
        )
    names = tuple(_name(place, encoded, model.tokenizer) for place in range(encoded.clean.shape[1]))
    return Spans(names, np.tile(np.arange(len(names)), (encoded.n, 1)))


def _name(place: int, encoded: EncodedPairs, tokenizer: Any) -> str:
    ids = set(encoded.clean[:, place].tolist()) | set(encoded.corrupted[:, place].tolist())
    text = display_tokens(tokenizer, [ids.pop()])[0] if len(ids) == 1 else "…"
    return f"{place + 1} {text}"


def by_part(prompts: PromptSet, model: PromptReader, parts: Callable[[PromptPair], Sequence[Part]]) -> Spans:
    """The parts that `parts` names in the clean prompt of each pair, in their order, and what lies between them.

    A token belongs to a part when they share a character. Clean and corrupted are aligned token by token, so the
    corrupted prompt has the same spans.

    Errors: PromptError where the tokenizer does not tell which characters a token stands for, the model is asked within
    a chat template, or pairs have other parts than the first one; as `encode`.
    """
    encoded = encode(prompts, model)
    if model.prompting.chat or not getattr(model.tokenizer, "is_fast", False):
        raise PromptError(
            "the parts of a prompt are found by the characters that its tokens stand for: expected a fast tokenizer "
            "and no chat template. Take one pair and its tokens."
        )
    lengths = encoded.lengths.tolist()
    labels = [_labels(pair, parts(pair), model.tokenizer, n) for pair, n in zip(prompts, lengths, strict=True)]
    order = _order(labels)
    of = np.full(encoded.clean.shape, -1)
    for row, names in enumerate(labels):
        of[row, : len(names)] = [order.index(name) for name in names]
    return Spans(tuple(order), of)


def exchanged(pair: PromptPair, name: str = "exchanged") -> list[Part]:
    """The words of the clean prompt that the corrupted one has otherwise, each as a part of this name."""
    clean, corrupted = (list(re.finditer(r"\w+|[^\w\s]", text)) for text in (pair.clean, pair.corrupted))
    if len(clean) == len(corrupted):
        differing = [a for a, b in zip(clean, corrupted, strict=True) if a.group() != b.group()]
    else:
        differing = clean[_alike(clean, corrupted) : len(clean) - _alike(clean[::-1], corrupted[::-1])]
    return [(name, word.start(), word.end()) for word in differing]


def words_in(text: str, words: Sequence[str], name: str) -> list[Part]:
    """Every place at which one of the words stands in a text, as a part of this name, in order."""
    anyone = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return [(name, word.start(), word.end()) for word in re.finditer(rf"\b(?:{anyone})\b", text)]


def _alike(one: Sequence[re.Match[str]], other: Sequence[re.Match[str]]) -> int:
    """How many words two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a.group() != b.group()), min(len(one), len(other)))


def _labels(pair: PromptPair, parts: Sequence[Part], tokenizer: Any, length: int) -> list[str]:
    """The name of every position of one pair."""
    ranges = tokenizer(pair.clean, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    names = [START] * (length - len(ranges))
    before = ""
    for first, last in ranges:
        inside = [name for name, start, stop in parts if first < stop and last > start]
        if inside:
            before = inside[-1]
        names.append(inside[-1] if inside else (f"after {before}" if before else "before"))
    return [*names[:-1], END]


def _order(labels: Sequence[Sequence[str]]) -> list[str]:
    """All names in an order that fits every pair: each after those that stand before it in some pair."""
    order: list[str] = []
    for names in labels:
        at = 0
        for name in dict.fromkeys(names):
            if name in order:
                at = max(at, order.index(name) + 1)
            else:
                order.insert(at, name)
                at += 1
    return order
