"""How prompts and their answers reach a model: the start token, the chat template, the one token id of each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from eapgp.errors import OptionError, PromptError
from eapgp.prompts.align import display_tokens
from eapgp.prompts.pairs import Answer

OWN, NONE = "own", "none"
"""Values of `Prompting.bos` beside the texts of tokens: the tokenizer's own start token, and none."""
ONE_TOKEN, FIRST_TOKEN = "one-token", "first-token"
ANSWERS = {ONE_TOKEN: "One token only", FIRST_TOKEN: "The first token counts"}


@dataclass(frozen=True, slots=True)
class Prompting:
    """How prompts are put to a model; clean and corrupted alike.

    bos: the start token before each prompt: `own` (the tokenizer's), `none`, the text of another token, or None, as
    the model usually has it. chat: each prompt is the user's turn in the tokenizer's chat template, and the answer
    begins the model's; the template brings its own start token. answers: `one-token` refuses answers of several
    tokens, `first-token` takes their first.

    Errors: OptionError.
    """

    bos: str | None = None
    chat: bool = False
    answers: str = ONE_TOKEN

    def __post_init__(self) -> None:
        if self.bos == "":
            raise OptionError(f"start token: expected {OWN}, {NONE} or the text of a token, got an empty text.")
        if self.answers not in tuple(ANSWERS):
            raise OptionError(f"answers: expected {' or '.join(ANSWERS)}, got {self.answers!r}.")

    def to_dict(self) -> dict[str, Any]:
        """What is not usual, as plain values; `from_dict` reads them back."""
        values = {entry.name: (getattr(self, entry.name), entry.default) for entry in fields(self)}
        return {name: value for name, (value, usual) in values.items() if value != usual}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Prompting:
        """Inverse of `to_dict`."""
        return cls(**values)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What is not usual, in words."""
        starts = {None: "", OWN: "the tokenizer's start token", NONE: "no start token"}
        start = starts.get(self.bos, f"start token {self.bos}")
        first = "first token of the answers" if self.answers == FIRST_TOKEN else ""
        return tuple(text for text in (start, "chat template" if self.chat else "", first) if text)

    def start(self, tokenizer: Any, *, usual: bool) -> list[int]:
        """Token ids put before each prompt: one or none. usual: whether the model usually has its start token there.

        Errors: PromptError where the tokenizer has no such token.
        """
        if self.bos == NONE or (self.bos is None and (self.chat or not usual)):
            return []
        if self.bos is None or self.bos == OWN:
            if tokenizer.bos_token_id is None:
                raise PromptError(
                    "a BOS token was asked for, but this tokenizer has none (bos_token_id is empty). Encode without it."
                )
            return [int(tokenizer.bos_token_id)]
        token = tokenizer.get_vocab().get(self.bos)
        if token is None:
            have = ", ".join(tokenizer.all_special_tokens) or "none of its own"
            raise PromptError(
                f"start token {self.bos!r}: this tokenizer has no token of that text; its special tokens are {have}."
            )
        return [int(token)]

    def written(self, texts: Sequence[str], tokenizer: Any) -> list[str]:
        """The texts as the model gets them, without the start token. Errors: PromptError without a chat template."""
        if not self.chat:
            return list(texts)
        if not getattr(tokenizer, "chat_template", None):
            raise PromptError(
                "chat: expected a tokenizer with a chat template, this one has none; leave it out, or use the model's "
                "instruction-tuned version or another tokenizer."
            )
        turns = {text: self._turn(text, tokenizer) for text in dict.fromkeys(texts)}
        return [turns[text] for text in texts]

    def _turn(self, text: str, tokenizer: Any) -> str:
        turn = [{"role": "user", "content": text}]
        try:
            return str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # a template is a program of its own, and raises what it likes
            detail = " ".join(str(error).split())[:160] or type(error).__name__
            raise PromptError(f"chat: the tokenizer's chat template does not take a prompt: {detail}") from None


USUAL = Prompting()


# ---- what reads prompts --------------------------------------------------------------------------


class PromptReader(Protocol):
    """What decides which prompts can be used; a `Model` is one.

    prepend_bos: whether the start token is usually put in front of every prompt; prompting: what is asked for in
    place of that. n_context: longest prompt in
    tokens; n_vocab: rows of the embedding; None where they are not known.
    """

    @property
    def tokenizer(self) -> Any: ...

    @property
    def prepend_bos(self) -> bool: ...

    @property
    def prompting(self) -> Prompting: ...

    @property
    def n_context(self) -> int | None: ...

    @property
    def n_vocab(self) -> int | None: ...


@dataclass(frozen=True)
class TokenizerOnly:
    """A tokenizer without its model: prompts of any length, and every id of the tokenizer."""

    tokenizer: Any
    prepend_bos: bool = True
    n_context: int | None = None
    n_vocab: int | None = None
    prompting: Prompting = USUAL


# ---- answers -------------------------------------------------------------------------------------

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
