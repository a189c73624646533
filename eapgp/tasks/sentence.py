"""A sentence of one's own: what its words could be replaced by, and many pairs made of one.

1. A word of the project's lists belongs to a kind (a name, a country with its capital, a noun in both numbers …). Its
   row holds the forms that go together, so that Lisbon takes Portugal along, and `teacher` `teachers`.
2. `alternatives` of a word: its other forms, then the same form of other rows; of a stereotyped job those of the other
   gender. They change what decides the answer and nothing else.
   A number in digits has the numbers of as many digits, the nearest first.
3. `make_alike` reads every listed word of a pair as a slot: one row for each, distinct rows of one kind for distinct
   words, the same row wherever the word comes again, in the prompts and in the answers. Numbers are no slots: which
   answers are right may depend on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from eapgp.errors import PromptError
from eapgp.prompts.encode import fit
from eapgp.prompts.pairs import Answer, PromptPair, PromptSet
from eapgp.prompts.prompting import PromptReader
from eapgp.tasks import words

PAIRS = 32
_TRIES = 40  # draws per pair that is wanted: most fit, unless the vocabulary is small
_WORD = re.compile(r"[^\W\d_]+")
Row = tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """Words that can stand for each other. rows: the forms of each; opposite: the kind that a corrupted twin takes;
    slot: whether pairs of the same form have others of them in its places."""

    title: str
    rows: tuple[Row, ...]
    opposite: str = ""
    slot: bool = True


def _singles(*entries: str) -> tuple[Row, ...]:
    return tuple((entry,) for entry in entries)


NUMBERS = "one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred"
KINDS: tuple[Kind, ...] = (
    Kind("name", _singles(*words.NAMES)),
    Kind("capital and country", tuple(words.CAPITALS)),
    Kind("person, singular and plural", tuple(words.PEOPLE)),
    Kind("thing, singular and plural", tuple(words.THINGS)),
    Kind("job that texts tie to women", _singles(*words.SHE_JOBS, *words.SHE_PERSONS), "job that texts tie to men"),
    Kind("job that texts tie to men", _singles(*words.HE_JOBS, *words.HE_PERSONS), "job that texts tie to women"),
    Kind("place", _singles(*words.PLACES)),
    Kind("object", _singles(*words.OBJECTS)),
    Kind("event", _singles(*words.EVENTS)),
    Kind("number in words", _singles(*NUMBERS.split()), slot=False),
)
NUMBER = "number"  # in digits


@cache
def _places() -> dict[str, tuple[Kind, int, int]]:
    """Word → its kind, row and form; of a word of several kinds the first."""
    found: dict[str, tuple[Kind, int, int]] = {}
    for kind in KINDS:
        for row, forms in enumerate(kind.rows):
            for form, word in enumerate(forms):
                found.setdefault(word, (kind, row, form))
    return found


def kind_of(word: str) -> str:
    """What kind a word is of, or "" where no list has it."""
    return NUMBER if word.isdecimal() else _places()[word][0].title if word in _places() else ""


def alternatives(word: str) -> tuple[str, ...]:
    """What a listed word or a number could be in the corrupted twin, the likeliest choice first; of others nothing."""
    if word.isdecimal():
        return _numbers(word)
    if word not in _places():
        return ()
    kind, row, form = _places()[word]
    if kind.opposite:
        return tuple(forms[0] for other in KINDS if other.title == kind.opposite for forms in other.rows)
    forms = [one for one in kind.rows[row] if one != word] if "singular" in kind.title else []
    same = [forms_[form] for at, forms_ in enumerate(kind.rows) if at != row]
    return (*forms, *same)


def _numbers(text: str) -> tuple[str, ...]:
    """Numbers of as many digits, the nearest first: others in the last two places, then in the two before these."""
    value, found = int(text), []
    for unit in (1, 100) if len(text) > 2 else (1,):
        digit = value // unit % 100
        near = sorted(range(100 if len(text) > 1 else 10), key=lambda other: (abs(other - digit), other < digit))
        found += [str(value + (other - digit) * unit).zfill(len(text)) for other in near if other != digit]
    return tuple(one for one in found if len(one) == len(text))


@dataclass(frozen=True)
class Token:
    """A token of a prompt. start, end: its characters, the space before a word left out; text: those characters."""

    text: str
    start: int
    end: int


def tokens_of(text: str, tokenizer: Any) -> tuple[Token, ...]:
    """The tokens of a prompt with the characters that they are."""
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    tokens = []
    for start, end in spans:
        piece = text[start:end]
        skipped = len(piece) - len(piece.lstrip(" "))
        tokens.append(Token(piece[skipped:], start + skipped, end))
    return tuple(tokens)


def replaced(text: str, token: Token, word: str) -> str:
    """The prompt with another word in a token's place."""
    return text[: token.start] + word + text[token.end :]


def equal_length(text: str, token: Token, candidates: Sequence[str], tokenizer: Any) -> tuple[str, ...]:
    """The candidates that keep the prompt's number of tokens and leave every other token as it is, in their order."""
    own = tokenizer(text, add_special_tokens=False)["input_ids"]
    place = next(at for at, one in enumerate(tokens_of(text, tokenizer)) if one == token)
    texts = [replaced(text, token, word) for word in candidates]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    unknown = tokenizer.unk_token_id
    fits = []
    for word, ids in zip(candidates, rows, strict=True):
        same = len(ids) == len(own) and ids[:place] == own[:place] and ids[place + 1 :] == own[place + 1 :]
        if same and ids[place] != own[place] and (unknown is None or ids[place] != unknown):
            fits.append(word)
    return tuple(dict.fromkeys(fits))


def slots(pair: PromptPair) -> dict[str, str]:
    """Word → its kind, for every word of a pair that `make_alike` changes."""
    texts = (pair.clean, pair.corrupted, *(str(one) for one in (*pair.correct, *pair.incorrect)))
    found = (word for text in texts for word in _WORD.findall(text))
    return {word: kind_of(word) for word in found if word in _places() and _places()[word][0].slot}


def make_alike(pair: PromptPair, model: PromptReader, *, n: int = PAIRS, seed: int = 0) -> PromptSet:
    """Pairs of the same form with other words; the first one is the pair itself.

    n: how many; fewer only where the lists hold no more that fit the tokenizer. seed: of the drawing.
    Errors: PromptError where no word of the pair is of a list, or the pair itself does not fit the model.
    """
    if not slots(pair):
        raise PromptError(
            "a template needs a word that can change: expected a name, place, object, capital, country, job or noun of "
            "the lists (eapgp.tasks.words) in the sentence, found none."
        )
    one = PromptSet("sentence", (pair,), "logit-diff", {"kind": "sentence", "seed": seed})
    fit(one, model).require_all()
    pairs: dict[PromptPair, None] = {pair: None}
    drawn = _drawn(pair, np.random.default_rng(seed))
    for _ in range(_TRIES):
        fresh = replace(one, pairs=tuple(next(drawn) for _ in range(n)))
        usable = fit(fresh, model).usable
        pairs |= dict.fromkeys(fresh.pairs[place] for place in usable)
        if len(pairs) >= n:
            break
    return replace(one, pairs=tuple(pairs)[:n])


def _drawn(pair: PromptPair, rng: np.random.Generator) -> Iterator[PromptPair]:
    """The pair with other rows in its slots, again and again."""
    at = {word: _places()[word] for word in slots(pair)}
    rows_of: dict[str, list[int]] = {}
    for kind, row, _ in at.values():
        rows_of.setdefault(kind.title, [])
        if row not in rows_of[kind.title]:
            rows_of[kind.title].append(row)
    sizes = {kind.title: len(kind.rows) for kind in KINDS}
    while True:
        new = {
            title: dict(zip(rows, rng.choice(sizes[title], len(rows), replace=False).tolist(), strict=True))
            for title, rows in rows_of.items()
        }
        words_ = {word: kind.rows[new[kind.title][row]][form] for word, (kind, row, form) in at.items()}
        yield _with_words(pair, words_)


def _with_words(pair: PromptPair, words_: dict[str, str]) -> PromptPair:
    def changed(text: str) -> str:
        return _WORD.sub(lambda match: words_.get(match[0], match[0]), text)

    def answers(side: tuple[Answer, ...]) -> tuple[Answer, ...]:
        return tuple(changed(one) if isinstance(one, str) else one for one in side)

    return PromptPair(changed(pair.clean), changed(pair.corrupted), answers(pair.correct), answers(pair.incorrect))
