"""How a tokenizer writes years: which token follows the century.

1. two digits, as GPT-2 does (` 17`, `32`);
2. else one digit (`1`, `7`, `3`, `2`), as SmolLM2, Qwen and Llama 2 do;
3. else no token begins after the century (`173`, `2` in Llama 3), and the task cannot be posed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eapgp.prompts.pairs import Answer
from eapgp.tasks.vocabulary import Vocabulary
from eapgp.tasks.words import CENTURIES, UNSPLIT_YEARS
from eapgp.types import Bools

PAIRS = tuple(f"{year:02d}" for year in range(100))
DIGITS = tuple(map(str, range(10)))
EXAMPLE = f"{CENTURIES[-1]}32"


@dataclass(frozen=True, eq=False)
class WrittenYears:
    """What follows the century.

    answers: the hundred pairs of digits or the ten digits, in order. whole: `[century, year]` where the year is the
    century's own tokens and then answers. why_not: the reason where no year is written so.
    """

    answers: tuple[Answer, ...]
    whole: Bools
    why_not: str

    @property
    def one_digit(self) -> bool:
        """Whether the next token is one digit."""
        return len(self.answers) == len(DIGITS)

    @property
    def starts(self) -> Bools:
        """`[year]` start years that have right and wrong answers: 02 … 98, or 10 … 89 where one digit decides."""
        low, high = (10, 89) if self.one_digit else (2, 98)
        return np.array([low <= year <= high for year in range(len(PAIRS))])

    def sides(self, start: int) -> tuple[tuple[Answer, ...], tuple[Answer, ...]]:
        """Answers that are right and wrong after a start year.

        Two digits: the start year itself is wrong. One digit: the start year's tens digit, after which the year
        may still be either, is on neither side.
        """
        if self.one_digit:
            return self.answers[start // 10 + 1 :], self.answers[: start // 10]
        return self.answers[start + 1 :], self.answers[: start + 1]


def written_years(vocabulary: Vocabulary) -> WrittenYears:
    """How a vocabulary writes the years of all centuries; without a tokenizer, two digits stand apart."""
    apart = np.array([[year not in UNSPLIT_YEARS[century] for year in range(len(PAIRS))] for century in CENTURIES])
    if vocabulary.tokenizer is None:
        return WrittenYears(PAIRS, apart, "")
    two = _followed_by(vocabulary, [[pair] for pair in PAIRS]) & apart
    if two.any() and all(vocabulary.entry(pair) is not None for pair in PAIRS):
        return WrittenYears(vocabulary.continuations(PAIRS), two, "")
    one = _followed_by(vocabulary, [list(pair) for pair in PAIRS])
    if one.any():
        return WrittenYears(vocabulary.continuations(DIGITS), one, "")
    return WrittenYears((), one, _why_not(vocabulary))


def _followed_by(vocabulary: Vocabulary, parts: list[list[str]]) -> Bools:
    """`[century, year]` whether the tokens of a year are those of its century and then these entries."""
    entries = [[vocabulary.entry(part) for part in year] for year in parts]
    rows = []
    for century in CENTURIES:
        start, *years = vocabulary.tokens([f" year {century}{end}" for end in ("", *PAIRS)])
        rows.append([bool(start) and ids == [*start, *end] for ids, end in zip(years, entries, strict=True)])
    return np.array(rows, dtype=np.bool_)


def _why_not(vocabulary: Vocabulary) -> str:
    pieces = vocabulary.pieces(f" {EXAMPLE}")
    if not pieces:
        return "the vocabulary has no digits"
    written = " + ".join(map(repr, pieces))
    return (
        f"{EXAMPLE} is written as {written}, where no token begins after the century's two digits; one digit or two "
        "have to stand there"
    )
