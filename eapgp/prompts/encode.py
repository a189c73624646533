"""Which prompt pairs a model can use, and their token ids: the form in which they reach a model.

1. Write clean and corrupted as the model gets them (within its chat template, if asked for); tokenise them without
   special tokens.
2. Put the start token in front where there is to be one and the text does not hold it already.
3. Look at every pair: known words, rows of the embedding, equal lengths, context window, answers of one token.
4. Look at all pairs: what a reader should know of them, and whether anything differs at all. This is what `fit` says;
   `encode` makes an error of it unless every pair can be used.
5. Pad to the right with a valid id; `lengths` says what is real.

Messages count pairs from 1. Imports no torch.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import PairLengthError, PromptError
from eapgp.prompts.align import display_tokens
from eapgp.prompts.pairs import Answer, PromptPair, PromptSet
from eapgp.prompts.prompting import (
    FIRST_TOKEN,
    ONE_TOKEN_PAIRS,
    AnswerReader,
    Ids,
    PromptReader,
    needed_sides,
    tokenise,
)

LISTED = 5  # reasons that a message holds
NUMBERED = 12  # pairs whose numbers a message holds


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a pair cannot be used. pair: its position in the set, from 0; reason: one line without its number.

    kind: empty, words, vocabulary, length, context, answer, overlap or equal.
    """

    pair: int
    kind: str
    reason: str

    @property
    def message(self) -> str:
        """The reason with the pair's number, from 1."""
        return f"pair {self.pair + 1}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `pair` counts from 1."""
        return {"pair": self.pair + 1, "kind": self.kind, "message": self.message}


@dataclass(frozen=True)
class Fit:
    """Which pairs of a set a model can use.

    usable: their positions, from 0; problems: one for every other pair, in order; remarks: what is usable
    but was not taken as it was written, or will not do what its author expects; one line each.
    """

    n_pairs: int
    usable: tuple[int, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; pairs count from 1."""
        return {
            "n_pairs": self.n_pairs,
            "fitting": len(self.usable),
            "problems": [problem.to_dict() for problem in self.problems],
            "remarks": list(self.remarks),
        }

    def require_all(self) -> None:
        """Errors: PairLengthError or PromptError unless every pair can be used; `details` lists all problems."""
        if not self.problems:
            return
        lengths = all(problem.kind == "length" for problem in self.problems)
        error = (PairLengthError if lengths else PromptError)(self.summary())
        error.details = {"problems": [problem.to_dict() for problem in self.problems]}
        raise error

    def summary(self) -> str:
        """The problems in one line: pairs of one reason together, the first few reasons and how many more."""
        pairs: dict[str, list[int]] = {}
        for problem in self.problems:
            pairs.setdefault(problem.reason, []).append(problem.pair)
        first = list(pairs.items())[:LISTED]
        text = " ".join(f"{numbered(which)}: {reason}" for reason, which in first)
        rest = [pair for which in list(pairs.values())[LISTED:] for pair in which]
        return f"{text} And {len(rest)} more: {numbered(sorted(rest))}." if rest else text


def fit(prompts: PromptSet, model: PromptReader, *, contrast: bool = True) -> Fit:
    """Which pairs a model can use, and why not the others; nothing is run.

    contrast: whether clean and corrupted have to differ in at least one pair; they need not where the
    corrupted run decides no score (an ablation in place of patching).

    Errors: PromptError where there are no pairs, or the tokenizer lacks the start token or chat template asked for.
    """
    return examine(prompts, model, contrast=contrast)[0]


class PairIds(NamedTuple):
    """Token ids of one pair, start token included."""

    clean: list[int]
    corrupted: list[int]
    correct: Ids
    incorrect: Ids


class Misfit(PromptError):
    """A pair cannot be used, for a reason of this kind; mend: what its author can do."""

    def __init__(self, kind: str, reason: str, mend: str = "") -> None:
        super().__init__(f"{reason} {mend}".rstrip())
        self.kind, self.reason, self.mend = kind, reason, mend

    def told(self, *, generated: bool) -> str:
        """The reason, and what the reader can do: nobody rewords the pairs of a generated task."""
        return f"{self.reason} {GENERATED}" if generated and self.mend else str(self)


def examine(prompts: PromptSet, model: PromptReader, *, contrast: bool = True) -> tuple[Fit, tuple[PairIds, ...]]:
    """As `fit`, with the token ids of the usable pairs."""
    if not prompts.pairs:
        raise PromptError("no prompt pairs: at least one is needed. Add a pair or raise the number of pairs.")
    examiner = _Examiner(prompts, model)
    ids: dict[int, PairIds] = {}
    problems: list[Problem] = []
    for place, pair in enumerate(prompts):
        try:
            ids[place] = examiner.ids(place, pair)
        except Misfit as misfit:
            problems.append(Problem(place, misfit.kind, misfit.told(generated=is_generated(prompts))))
    equal = [place for place, pair in ids.items() if pair.clean == pair.corrupted]
    remarks = _remarks(prompts, list(ids), examiner.literal_starts & set(ids), examiner.start_token)
    remarks += examiner.cut_answers(prompts, list(ids)) + examiner.spaced_answers(prompts, list(ids))
    if equal and contrast and len(equal) == len(ids):
        problems += [Problem(place, "equal", EQUAL) for place in equal]
        ids = {}
    elif equal:
        remarks.append(f"{numbered(equal)} of {len(prompts):,}: {SAME if contrast else SAME_ABLATED}")
    problems.sort(key=lambda problem: problem.pair)
    return Fit(len(prompts), tuple(ids), tuple(problems), tuple(remarks)), tuple(ids.values())


def is_generated(prompts: PromptSet) -> bool:
    """Whether a task made the pairs."""
    return prompts.origin.get("kind") == "generated"


GENERATED = "The task made this pair: take another seed or task, or prompts of your own."
EQUAL = (
    "clean and corrupted are the same prompt, so nothing is changed and every score would be 0. "
    "Change in the corrupted prompt what decides the answer."
)
SAME = "clean and corrupted are the same prompt; this adds nothing to the scores and draws every mean towards 0."
SAME_ABLATED = "clean and corrupted are the same prompt."


class _Examiner:
    """Token ids pair by pair; remembers which pairs hold the start token already."""

    def __init__(self, prompts: PromptSet, model: PromptReader) -> None:
        tokenizer, prompting = model.tokenizer, model.prompting
        self._tokenizer, self._model, self._prompts = tokenizer, model, prompts
        first = prompting.answers == FIRST_TOKEN
        self._answers = AnswerReader(tokenizer, n_vocab=model.n_vocab, first_token=first)
        self._prefix = prompting.start(tokenizer, usual=model.prepend_bos)
        check_rows("the start token", self._prefix, model)
        sides = {"clean": [pair.clean for pair in prompts], "corrupted": [pair.corrupted for pair in prompts]}
        self._texts = {name: prompting.written(texts, tokenizer) for name, texts in sides.items()}
        self._sides = {name: tokenise(texts, tokenizer) for name, texts in self._texts.items()}
        self.literal_starts: set[int] = set()

    @property
    def start_token(self) -> str:
        """The start token as it is written."""
        return str(self._tokenizer.convert_ids_to_tokens(self._prefix)[0]) if self._prefix else ""

    def cut_answers(self, prompts: PromptSet, usable: list[int]) -> list[str]:
        """What is to be said of answers whose first token counts."""
        cut = self._answers.cut
        pairs = [(place, [*prompts.pairs[place].correct, *prompts.pairs[place].incorrect]) for place in usable]
        places = [place for place, answers in pairs if cut.intersection(answers)]
        if not places:
            return []
        example = next(answer for place, answers in pairs for answer in answers if answer in cut)
        token = display_tokens(self._tokenizer, self._answers.ids((example,), "correct"))[0]
        return [
            f"{numbered(places)} of {len(prompts):,}: answers are several tokens, of which the first counts "
            f"({example!r} is read as {token!r})."
        ]

    def spaced_answers(self, prompts: PromptSet, usable: list[int]) -> list[str]:
        """What is to be said of answers that continue a text where they begin a turn."""
        pairs = [prompts.pairs[place] for place in usable] if self._model.prompting.chat else []
        sides = dict.fromkeys(side for pair in pairs for side in (pair.correct, pair.incorrect))
        spaced = [answer for side in sides for answer in side if isinstance(answer, str) and answer.startswith(" ")]
        if not spaced:
            return []
        return [
            f"the answer begins the model's turn in the chat template; answers begin with a space ({spaced[0]!r} …) "
            "and are read as they are written; without the space they may be likelier."
        ]

    def ids(self, place: int, pair: PromptPair) -> PairIds:
        """Token ids of one pair. Errors: Misfit."""
        sides = []
        for name, text in (("clean", pair.clean), ("corrupted", pair.corrupted)):
            ids = self._sides[name][place]
            if not ids or not text:
                raise Misfit("empty", f"{name} is empty; at least one token is needed. Write a prompt.")
            self._check_words(name, self._texts[name][place], ids)
            sides.append(self._with_start(place, ids))
        clean, corrupted = sides
        if len(clean) != len(corrupted):
            n_start = len(self._prefix)
            raise Misfit(
                "length",
                f"clean has {len(clean) - n_start} tokens, corrupted has {len(corrupted) - n_start}; "
                "patching needs equal lengths.",
                "Reword one prompt or drop the pair.",
            )
        check_context(len(clean), self._model)
        return PairIds(clean, corrupted, *self._answer_ids(pair))

    def _with_start(self, place: int, ids: list[int]) -> list[int]:
        if self._prefix and ids[:1] == self._prefix:
            if not self._model.prompting.chat:  # a template that begins with it does as it should
                self.literal_starts.add(place)
            return ids
        return self._prefix + ids

    def _check_words(self, name: str, text: str, ids: list[int]) -> None:
        tokenizer = self._tokenizer
        unknown = _unknown_words(tokenizer, text, ids)
        if unknown:
            words = ", ".join(dict.fromkeys(visible_word(word) for word in unknown))
            raise Misfit(
                "words",
                f"{name} holds {words}, which this model's vocabulary does not have.",
                "Use words it knows (the task's own prompts show them) or another model.",
            )
        check_rows(name, ids, self._model)

    def _answer_ids(self, pair: PromptPair) -> tuple[Ids, Ids]:
        sides = {"correct": pair.correct, "incorrect": pair.incorrect}
        for name in needed_sides(self._prompts.metric):
            if not sides[name]:
                raise Misfit(
                    "answer",
                    f"no {name} answer; the metric {self._prompts.metric} needs at least one. "
                    "Add a text or a token id, or take a metric that needs none, such as kl.",
                )
        ids = []
        try:
            if self._prompts.origin.get("answers") == ONE_TOKEN_PAIRS:
                sides["correct"], sides["incorrect"] = self._answers.one_token_pairs(pair.correct, pair.incorrect)
            for name, answers in sides.items():
                ids.append(self._answers.ids(answers, name))
        except PromptError as error:
            raise Misfit("answer", str(error)) from None
        if self._prompts.metric == "logit-diff":
            self._check_overlap(*ids)
        return ids[0], ids[1]

    def _check_overlap(self, correct: Ids, incorrect: Ids) -> None:
        both = sorted(set(correct) & set(incorrect))
        if both:
            texts = ", ".join(repr(text) for text in display_tokens(self._tokenizer, both))
            raise Misfit(
                "overlap",
                f"{texts} is both a correct and an incorrect answer; a logit difference needs them apart.",
                "Remove it from one side.",
            )


def check_rows(name: str, ids: Sequence[int], model: PromptReader) -> None:
    """Errors: Misfit where a token has no row in the model's embedding."""
    outside = [token for token in ids if model.n_vocab is not None and not 0 <= token < model.n_vocab]
    if outside:
        token = outside[0]
        named = 0 <= token < len(model.tokenizer)
        word = f"{display_tokens(model.tokenizer, [token])[0]!r} (token {token:,})" if named else f"token {token:,}"
        raise Misfit(
            "vocabulary",
            f"{name} holds {word}, but the model's embedding has rows for tokens 0 to {model.n_vocab - 1:,} only. "  # type: ignore[operator]
            "Use another word, or the tokenizer that the model was trained with.",
        )


def check_context(length: int, model: PromptReader) -> None:
    """Errors: Misfit where a prompt of that many tokens, start token included, is too long for the model."""
    if model.n_context is not None and length > model.n_context:
        raise Misfit(
            "context",
            f"the prompts have {length:,} tokens, but the model reads at most {model.n_context:,}.",
            "Shorten both or drop the pair.",
        )


def _unknown_words(tokenizer: Any, text: str, ids: list[int]) -> list[str]:
    """The parts of a text for which the vocabulary has no token; the literal unknown token is none of them."""
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown not in ids:
        return []
    if not getattr(tokenizer, "is_fast", False):  # cannot tell where a token came from
        return [] if unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id) else [""]
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    words = (text[a:b].strip(" ") or text[a:b] for (a, b), token in zip(spans, ids, strict=True) if token == unknown)
    return [word for word in words if word != tokenizer.unk_token]


def visible_word(word: str) -> str:
    """A word in quotes; characters that nobody sees are named by code point."""
    if not word:
        return "some words"
    hidden = dict.fromkeys(char for char in word if char != " " and (char.isspace() or not char.isprintable()))
    named = ", ".join(f"U+{ord(char):04X} {unicodedata.name(char, '').lower()}".strip() for char in hidden)
    return f"{word!r} ({named})" if named else repr(word)


def _remarks(prompts: PromptSet, usable: list[int], literal: set[int], start: str) -> list[str]:
    said = prompts.origin.get("remarks", ())
    remarks = [str(remark) for remark in said] if isinstance(said, list | tuple) else []
    if literal:
        remarks.append(
            f"{numbered(sorted(literal))}: the text already begins with the start token {start!r}, which the model "
            "puts in front of every prompt; it stands there once."
        )
    pairs = [prompts.pairs[place] for place in usable]
    sides = dict.fromkeys(side for pair in pairs for side in (pair.correct, pair.incorrect) if side)  # often shared
    generated = is_generated(prompts)  # whose digits are meant so
    if sides and not generated and all(_is_number(answer) for side in sides for answer in side):
        first = next(iter(sides))[0]
        if not all(len(str(answer).strip()) == 2 for side in sides for answer in side):  # those are years
            remarks.append(
                f"all answers are digits ({first!r} …) and were taken as texts; token ids have their own columns, "
                "correct_idx and incorrect_idx."
            )
    return remarks


def _is_number(answer: Answer) -> bool:
    return isinstance(answer, str) and answer.strip().isdecimal()


def numbered(places: Sequence[int]) -> str:
    """`pair 3`, or `pairs 1, 2 and 5`: positions from 0 as numbers from 1; of many the first few."""
    numbers = [f"{place + 1:,}" for place in places[:NUMBERED]]
    if len(places) > NUMBERED:
        return f"pairs {', '.join(numbers)} and {len(places) - NUMBERED:,} more"
    return f"pair {numbers[0]}" if len(numbers) == 1 else f"pairs {', '.join(numbers[:-1])} and {numbers[-1]}"


# ---- token ids -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class EncodedPairs:
    """Token ids of prompt pairs.

    clean, corrupted: `[pair, pos]` int64, padded on the right with a valid id.
    lengths: `[pair]` real tokens of each pair, BOS included; the last one is the answer position.
    correct, incorrect: `[pair]` tuples of token ids, without repetition.
    remarks: what the reader of a result should know about the prompts; one line each.
    """

    clean: NDArray[np.int64]
    corrupted: NDArray[np.int64]
    lengths: NDArray[np.int64]
    correct: tuple[Ids, ...]
    incorrect: tuple[Ids, ...]
    remarks: tuple[str, ...] = ()

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
            self.remarks,
        )


def encode(prompts: PromptSet, model: PromptReader, *, contrast: bool = True) -> EncodedPairs:
    """Token ids of every pair, as the model (or a tokenizer alone) reads them.

    contrast: as in `fit`. Errors: PairLengthError where clean and corrupted differ in length, PromptError for
    all else that `fit` finds; every pair that cannot be used is told.
    """
    fit, pairs = examine(prompts, model, contrast=contrast)
    fit.require_all()
    fill = _padding_id(model)
    return EncodedPairs(
        _padded([ids.clean for ids in pairs], fill),
        _padded([ids.corrupted for ids in pairs], fill),
        np.array([len(ids.clean) for ids in pairs], dtype=np.int64),
        tuple(ids.correct for ids in pairs),
        tuple(ids.incorrect for ids in pairs),
        fit.remarks,
    )


def encoded_for(prompts: PromptSet | EncodedPairs, model: PromptReader, *, contrast: bool = True) -> EncodedPairs:
    """Token ids that the model can take, whatever the prompts came as. Errors: as `encode`."""
    if isinstance(prompts, PromptSet):
        return encode(prompts, model, contrast=contrast)
    problems = []
    for place in range(prompts.n):
        try:
            check_context(int(prompts.lengths[place]), model)
            for name, ids in (
                ("clean", prompts.clean[place].tolist()),
                ("corrupted", prompts.corrupted[place].tolist()),
                ("the correct answer", prompts.correct[place]),
                ("the incorrect answer", prompts.incorrect[place]),
            ):
                check_rows(name, ids, model)
        except Misfit as misfit:
            problems.append(Problem(place, misfit.kind, str(misfit)))
    Fit(prompts.n, (), tuple(problems), ()).require_all()
    return prompts


def _padding_id(model: PromptReader) -> int:
    tokenizer: Any = model.tokenizer
    size = len(tokenizer) if model.n_vocab is None else min(len(tokenizer), model.n_vocab)
    candidates = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next((int(i) for i in candidates if i is not None and 0 <= i < size), 0)


def _padded(rows: list[list[int]], fill: int) -> NDArray[np.int64]:
    out = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = ids
    return out
