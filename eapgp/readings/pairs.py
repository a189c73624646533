"""Prompt pairs as the readings take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import OptionError
from eapgp.prompts.align import display_tokens
from eapgp.prompts.encode import EncodedPairs, encoded_for

if TYPE_CHECKING:
    from eapgp.models.model import Model
    from eapgp.prompts.pairs import PromptSet


def encoded_pairs(model: Model, prompts: PromptSet | EncodedPairs) -> EncodedPairs:
    """Token ids, whatever the prompts came as. Errors: those of `encode`."""
    return encoded_for(prompts, model, contrast=False)


def one_pair(encoded: EncodedPairs, pair: int) -> NDArray[np.int64]:
    """Index of one pair. Errors: OptionError where there is no such pair."""
    if not 0 <= pair < encoded.n:
        raise OptionError(f"expected a pair from 0 to {encoded.n - 1}; got {pair}.")
    return np.array([pair], dtype=np.int64)


def token_names(model: Model, ids: Sequence[int]) -> list[str]:
    """Readable tokens; a row of the unembedding without a token keeps its number."""
    n_tokens = len(model.tokenizer)
    texts = iter(display_tokens(model.tokenizer, [i for i in ids if i < n_tokens]))
    return [next(texts) if i < n_tokens else f"[{i}]" for i in ids]
