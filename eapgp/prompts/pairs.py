"""Prompt pairs: the one input that every method takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Answer = str | int  # a text that must be one token, or a token id


@dataclass(frozen=True, slots=True)
class PromptPair:
    """A clean prompt and a corrupted twin that changes the right answer.

    Both tokenise to one length: patching swaps activations position by position.
    Answers are texts (with their leading space where the tokenizer wants one) or token ids.
    `note` is free text for display: the template, the group, the held-out combination.
    """

    clean: str
    corrupted: str
    correct: tuple[Answer, ...]
    incorrect: tuple[Answer, ...]
    note: str = ""


@dataclass(frozen=True)
class PromptSet:
    """Prompt pairs with the task they belong to and how they were made.

    `origin` tells how to make them again: generator options and seed, or the file's name
    and hash. `metric` is the default metric of the task.
    """

    task: str
    pairs: tuple[PromptPair, ...]
    metric: str
    origin: dict[str, object] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[PromptPair]:
        return iter(self.pairs)

    def take(self, n: int) -> PromptSet:
        """The first n pairs."""
        return PromptSet(self.task, self.pairs[:n], self.metric, self.origin)

    def pick(self, places: Iterable[int]) -> PromptSet:
        """The pairs at these positions, from 0."""
        return PromptSet(self.task, tuple(self.pairs[place] for place in places), self.metric, self.origin)

    @property
    def hash(self) -> str:
        """Content hash of the pairs (texts and answers, in order); 16 hex digits."""
        written: dict[tuple[Answer, ...], str] = {}  # answer sets are long and often shared

        def answers(side: tuple[Answer, ...]) -> str:
            if side not in written:
                written[side] = json.dumps(side, ensure_ascii=False)
            return written[side]

        digest = hashlib.sha256()
        for pair in self.pairs:
            texts = json.dumps([pair.clean, pair.corrupted, pair.note], ensure_ascii=False)
            digest.update(f"{texts} {answers(pair.correct)} {answers(pair.incorrect)}\n".encode())
        return digest.hexdigest()[:16]
