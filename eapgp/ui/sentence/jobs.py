"""What the model makes of a sentence, its twin and its answers; runs in jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from eapgp.errors import PromptError
from eapgp.evaluation.answers import Likely, PairAnswers, likely_at, likely_next, pair_answers
from eapgp.metrics import DEFAULT_METRIC
from eapgp.models.model import Model
from eapgp.prompts import fit
from eapgp.prompts.align import SPACE
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.runs.compute import load_for
from eapgp.runs.files import content_key
from eapgp.runs.spec import RunSpec
from eapgp.tasks import sentence
from eapgp.tasks.sentence import Token
from eapgp.types import Progress
from eapgp.ui.jobs import server
from eapgp.ui.jobs.workshop import with_gradients
from eapgp.ui.library.consent import live_lane

LIKELY = 300  # tokens of the model's own that are tried where no list knows the word
PROPOSED = 12


@dataclass(frozen=True)
class Asked:
    """What stands on the page. at: the exchanged token, from 1; 0 for none. Empty answers are the usual ones."""

    model: str
    text: str
    right: str
    wrong: str
    at: int
    word: str
    twin: str

    @property
    def key(self) -> str:
        """A hash of it."""
        return content_key(vars(self))


@dataclass(frozen=True)
class Reading:
    """What the model makes of it.

    answers: the likeliest next tokens. proposals: (word, its probability there or None) for the exchanged one; kind:
    the list that they are of, or "". pair: as a run can take it; None with the reason in problem. answered: the model
    on the pair.
    """

    tokens: tuple[Token, ...]
    answers: tuple[Likely, ...]
    proposals: tuple[tuple[str, float | None], ...] = ()
    kind: str = ""
    pair: PromptPair | None = None
    answered: PairAnswers | None = None
    problem: str = ""


def submit(asked: Asked) -> str:
    """Start (or join) reading; another sentence of this session takes its place."""
    lane = live_lane(asked.model)
    loader = partial(server.workshop().model, lane)

    def work(progress: Progress) -> Reading:
        return read(load_for(RunSpec(model=asked.model), loader, progress), asked)

    slot = server.session_slot("sentence")
    return server.manager().submit(
        f"sentence-{asked.key}", "your sentence", with_gradients(work, quick=True), lane=lane, slot=slot
    )


def read(model: Model, asked: Asked) -> Reading:
    """Tokens, answers and twin of a sentence. Errors: PromptError for no text."""
    answers = likely_next(model, asked.text)
    tokens = sentence.tokens_of(asked.text, model.tokenizer)
    token = tokens[asked.at - 1] if 0 < asked.at <= len(tokens) else None
    proposals = _proposals(model, asked.text, token, asked.at - 1) if token is not None else ()
    kind = sentence.kind_of(token.text) if token is not None else ""
    corrupted = asked.twin or (sentence.replaced(asked.text, token, asked.word) if token and asked.word else "")
    reading = Reading(tokens, answers, proposals, kind)
    if not corrupted:
        return Reading(**{**vars(reading), "problem": "Choose the word that decides the answer, and what replaces it."})
    try:
        pair = _pair(model, asked, corrupted, answers)
        one = PromptSet("sentence", (pair,), DEFAULT_METRIC)
        fit(one, model).require_all()
    except PromptError as error:
        return Reading(**{**vars(reading), "problem": str(error)})
    return Reading(**{**vars(reading), "pair": pair, "answered": pair_answers(model, one)})


def _pair(model: Model, asked: Asked, corrupted: str, answers: tuple[Likely, ...]) -> PromptPair:
    right = asked.right or written(answers[0][0])
    after = [written(name) for name, _, _ in (*likely_next(model, corrupted), *answers)]
    wrong = asked.wrong or next((name for name in after if name != right), "")
    return PromptPair(asked.text, corrupted, (right,), (wrong,))


def written(name: str) -> str:
    """A token's name as it is written in a prompt."""
    return name.replace(SPACE, " ")


def _proposals(model: Model, text: str, token: Token, place: int) -> tuple[tuple[str, float | None], ...]:
    likely = {word.strip(): chance for word, chance in reversed(likely_at(model, text, place, LIKELY))}
    listed = sentence.alternatives(token.text)
    if not listed:
        own = sorted((word for word in likely if word.isalpha()), key=lambda word: -likely[word])
        fits = sentence.equal_length(text, token, own, model.tokenizer)
        return tuple((word, likely[word]) for word in fits[:PROPOSED])
    fits = sentence.equal_length(text, token, listed, model.tokenizer)
    first, rest = fits[:1], sorted(fits[1:], key=lambda word: -likely.get(word, 0.0))
    return tuple((word, likely.get(word)) for word in (*first, *rest)[:PROPOSED])


def alike_work(asked: Asked, pair: PromptPair) -> Callable[[Progress], PromptSet]:
    """Make many pairs of one."""
    loader = partial(server.workshop().model, live_lane(asked.model))

    def work(progress: Progress) -> PromptSet:
        return sentence.make_alike(pair, load_for(RunSpec(model=asked.model), loader, progress))

    return with_gradients(work, quick=True)
