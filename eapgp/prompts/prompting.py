"""How a prompt and its answers reach a model: the start token, the chat template, answers of several tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from eapgp.errors import OptionError, PromptError

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
        if self.answers not in ANSWERS:
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
