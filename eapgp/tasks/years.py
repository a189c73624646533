"""How a tokenizer writes years: which token follows the century.

1. two digits, as GPT-2 does (` 17`, `32`);
2. else one digit (`1`, `7`, `3`, `2`), as SmolLM2, Qwen and Llama 2 do;
3. else no token begins after the century (`173`, `2` in Llama 3), and the task cannot be posed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from eapgp.prompts.pairs import Answer
from eapgp.tasks.recipe import Vocabulary
from eapgp.tasks.words import CENTURIES, UNSPLIT_YEARS
from eapgp.types import Bools, Ints

PAIRS = tuple(f"{year:02d}" for year in range(100))
DIGITS = tuple(map(str, range(10)))
EXAMPLE = f"{CENTURIES[-1]}32"
EARLY_YEARS = [1, 0, *range(2, 10)]  # the corrupted year is the first of them that is written as the start years are


@dataclass(frozen=True, eq=False)
class WrittenYears:
    """What follows the century.

    answers: for the hundred pairs of digits or the ten digits, in order; None where the vocabulary lacks one.
    starts: `[century, year]` years that can be start years; corrupted: `[century]` the early year in their place.
    why_not: the reason where no year can start.
    """

    answers: tuple[Answer | None, ...]
    starts: Bools
    corrupted: Ints
    why_not: str = ""

    def sides(self, start: int) -> tuple[tuple[Answer, ...], tuple[Answer, ...]]:
        """Answers that are right and wrong after a start year.

        Two digits: the start year itself is wrong. One digit: the start year's tens digit, after which the year
        may still be either, is on neither side.
        """
        if len(self.answers) == len(DIGITS):
            right, wrong = self.answers[start // 10 + 1 :], self.answers[: start // 10]
        else:
            right, wrong = self.answers[start + 1 :], self.answers[: start + 1]
        return _present(right), _present(wrong)


def written_years(vocabulary: Vocabulary) -> WrittenYears:
    """How a vocabulary writes most years of the centuries; without a tokenizer, two digits stand apart."""
    apart = np.array([[year not in UNSPLIT_YEARS[century] for year in range(len(PAIRS))] for century in CENTURIES])
    two, one = apart & _between(2, 98), _between(10, 89)  # answers on both sides
    corrupted = np.full(len(CENTURIES), EARLY_YEARS[0])
    if vocabulary.tokenizer is None:
        return WrittenYears(PAIRS, two, corrupted)
    if 3 in vocabulary.digit_groups(EXAMPLE):
        return WrittenYears((), np.zeros_like(two), corrupted, f"{_as_written(vocabulary)}: digits stand in threes")
    whole_two = _followed_by(vocabulary, [[pair] for pair in PAIRS])
    whole_one = _followed_by(vocabulary, [list(pair) for pair in PAIRS])
    ends, starts, whole = max(
        (PAIRS, two & whole_two, whole_two), (DIGITS, one & whole_one, whole_one), key=lambda way: int(way[1].sum())
    )
    early = whole[:, EARLY_YEARS]
    corrupted = np.array(EARLY_YEARS)[early.argmax(axis=1)]
    starts &= early.any(axis=1, keepdims=True) & (np.arange(len(PAIRS)) > corrupted[:, None])
    written = WrittenYears(vocabulary.continuations(ends), starts, corrupted, _as_written(vocabulary))
    return replace(written, starts=starts & np.array([[all(written.sides(year)) for year in range(len(PAIRS))]]))


def _present(answers: tuple[Answer | None, ...]) -> tuple[Answer, ...]:
    return tuple(answer for answer in answers if answer is not None)


def _between(first: int, last: int) -> Bools:
    return np.array([[first <= year <= last for year in range(len(PAIRS))]])


def _followed_by(vocabulary: Vocabulary, parts: list[list[str]]) -> Bools:
    """`[century, year]` whether the tokens of a year are the century's and then these."""
    entries = [[vocabulary.entry(part) for part in year] for year in parts]
    rows = []
    for century in CENTURIES:
        start, *years = vocabulary.tokens([f" year {century}{end}" for end in ("", *PAIRS)])
        rows.append([bool(start) and ids == [*start, *end] for ids, end in zip(years, entries, strict=True)])
    return np.array(rows, dtype=np.bool_)


def _as_written(vocabulary: Vocabulary) -> str:
    pieces = vocabulary.pieces(f" {EXAMPLE}")
    if not pieces:
        return "its vocabulary has no digits"
    return f"{EXAMPLE} is written as {' + '.join(map(repr, pieces))}, with no token that begins after the century"
