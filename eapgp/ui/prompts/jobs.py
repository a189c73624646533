"""What the model says to the prompts: tokens side by side, top answers, right or wrong. Runs in a job."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.evaluation.answers import Likely, Position, likeliest, named, pair_tokens
from eapgp.evaluation.behaviour import SIDES, behaviour
from eapgp.prompts.align import SPACE, display_tokens
from eapgp.prompts.encode import Fit, encode, fit
from eapgp.prompts.pairs import Answer, PromptPair, PromptSet
from eapgp.prompts.prompting import ONE_TOKEN_PAIRS, AnswerReader, PromptReader, tokenise
from eapgp.runs.compute import load_for
from eapgp.runs.spec import RunSpec
from eapgp.ui.jobs.manager import Progress
from eapgp.ui.jobs.workshop import Workshop, with_gradients

ALIKE = 5


@dataclass(frozen=True)
class Seen:
    """The model on a prompt set.

    fit: which pairs can be used, and why not the others; ready: the usable ones, as a run can take
    them. clean, corrupted `[usable]`: the
    metric; right `[usable]`: whether the right answers win on the clean prompt. tokens: of every
    pair, by position. top_clean, top_corrupted: per used pair the likeliest next tokens. mended:
    the set with answers respelt where a space more or less makes them one token; None where
    nothing is to mend.
    """

    model: str
    weights: str
    fit: Fit
    ready: PromptSet
    tokens: tuple[tuple[Position, ...], ...]
    clean: NDArray[np.float64]
    corrupted: NDArray[np.float64]
    right: NDArray[np.bool_]
    top_clean: tuple[tuple[Likely, ...], ...] = ()
    top_corrupted: tuple[tuple[Likely, ...], ...] = ()
    mended: PromptSet | None = field(default=None, repr=False)


def see_work(
    shop: Workshop, lane: str, spec: RunSpec, prompts: PromptSet, metric: str, *, contrast: bool = True
) -> Callable[[Progress], Seen]:
    """Run the model of a spec on every pair of a prompt set; contrast: as in `fit`."""

    def work(progress: Progress) -> Seen:
        progress("loading the model", 0.0)
        model = load_for(spec, partial(shop.model, lane), progress)
        return see(model, prompts, metric, progress, contrast=contrast)

    return with_gradients(work)


def see(model: Any, prompts: PromptSet, metric: str, progress: Progress, *, contrast: bool = True) -> Seen:
    """Encode what can be encoded and run it; pairs that cannot be are told with the reason."""
    progress("reading the tokens", 0.0)
    findings = fit(prompts, model, contrast=contrast)
    usable = prompts.pick(findings.usable)
    seen = Seen(
        str(model.id),
        str(model.weights_hash),
        findings,
        _ready(usable, model),
        pair_tokens(model, prompts.pairs),
        *(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool)),
        mended=_mended(prompts, [problem.pair for problem in findings.problems], model),
    )
    if not len(usable):
        return seen
    return _run(model, encode(usable, model, contrast=False), metric, seen, progress)


def _run(model: Any, encoded: Any, metric: str, seen: Seen, progress: Progress) -> Seen:
    top: dict[str, list[Any]] = {side: [()] * encoded.n for side in SIDES}

    def look(side: str, index: NDArray[np.int64], logits: Any) -> None:
        for pair, row in zip(index.tolist(), likeliest(logits.softmax(-1)), strict=True):
            top[side][pair] = row

    done = behaviour(model, encoded, metric=metric, progress=progress, look=look)
    answers = {side: named(model.tokenizer, rows, encoded.correct, encoded.incorrect) for side, rows in top.items()}
    return replace(
        seen,
        clean=done.clean,
        corrupted=done.corrupted,
        right=done.right,
        top_clean=answers["clean"],
        top_corrupted=answers["corrupted"],
    )


def _ready(usable: PromptSet, model: Any) -> PromptSet:
    """The pairs with their answers as they count: a list of word forms is cut to those of one token."""
    if usable.origin.get("answers") != ONE_TOKEN_PAIRS:
        return usable
    reader = AnswerReader(model.tokenizer, n_vocab=model.n_vocab)
    pairs = []
    for pair in usable:
        correct, incorrect = reader.one_token_pairs(pair.correct, pair.incorrect)
        pairs.append(replace(pair, correct=correct, incorrect=incorrect))
    return replace(usable, pairs=tuple(pairs), origin={**usable.origin, "answers": "one token each"})


def _mended(prompts: PromptSet, others: Sequence[int], model: Any) -> PromptSet | None:
    reader = AnswerReader(model.tokenizer, n_vocab=model.n_vocab)
    pairs = list(prompts.pairs)
    for i in others:
        pairs[i] = _respelt(pairs[i], reader)
    return replace(prompts, pairs=tuple(pairs)) if pairs != list(prompts.pairs) else None


def _respelt(pair: PromptPair, reader: AnswerReader) -> PromptPair:
    def one(answer: Answer) -> Answer:
        if isinstance(answer, str) and not reader.is_one_token(answer):
            other = answer[1:] if answer.startswith(" ") else f" {answer}"
            return other if other and reader.is_one_token(other) else answer
        return answer

    return replace(pair, correct=tuple(map(one, pair.correct)), incorrect=tuple(map(one, pair.incorrect)))


@dataclass(frozen=True)
class Word:
    """How a tokenizer reads a word. forms: (text, its tokens, whether it can be an answer), as typed first.

    advice: what to do; alike: one-token words that are spelt alike.
    """

    forms: tuple[tuple[str, tuple[str, ...], bool], ...]
    advice: str
    alike: tuple[str, ...]


def word_work(shop: Workshop, lane: str, model_name: str, word: str) -> Callable[[Progress], Word]:
    """Ask a model's tokenizer about one word."""

    def work(progress: Progress) -> Word:
        progress("loading the model", 0.0)
        return read_word(shop.model(lane, model_name, progress=progress, device="auto", dtype="float32"), word)

    return with_gradients(work)


def read_word(model: PromptReader, word: str) -> Word:
    """The word with and without a space in front, and what to write as an answer."""
    tokenizer = model.tokenizer
    reader = AnswerReader(tokenizer, n_vocab=model.n_vocab)
    bare = word.strip()
    forms = []
    for text in dict.fromkeys([word, f" {bare}", bare]):
        pieces = tuple(display_tokens(tokenizer, tokenise([text], tokenizer)[0]))
        forms.append((text, pieces, reader.is_one_token(text)))
    good = [text for text, _, fits in forms if fits]
    if forms[0][2]:
        advice = f"Write {word!r}: it is one token."
    elif good:
        advice = f"Write {good[0]!r} instead: that is one token."
    else:
        advice = "Choose another word, or one of those below: an answer must be exactly one token."
    return Word(tuple(forms), advice, () if good else _alike(tokenizer, bare))


def _alike(tokenizer: Any, word: str) -> tuple[str, ...]:
    names = display_tokens(tokenizer, range(len(tokenizer)))
    first = word[:1].casefold()
    words = {name[1:]: None for name in names if name[:1] == SPACE and name[1:2].casefold() == first}
    return tuple(f" {name}" for name in difflib.get_close_matches(word, words, n=ALIKE, cutoff=0.5))
