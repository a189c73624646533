"""What reads prompts: a loaded model, or a tokenizer alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from eapgp.prompts.prompting import USUAL, Prompting


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
