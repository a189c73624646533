"""Which tokens one node's output pushes up and down, through the final norm's frozen scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eapgp.models.model import widen
from eapgp.readings.pairs import encoded_pairs, one_pair, token_names
from eapgp.types import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from eapgp.models.model import Model
    from eapgp.prompts.encode import EncodedPairs
    from eapgp.prompts.pairs import PromptSet

MOST = 10
_ROWS = 16_384  # rows of the unembedding widened at a time


@dataclass(frozen=True)
class PromotedTokens:
    """Tokens with the largest and the smallest direct contribution of a node, in logits.

    Contributions are relative to the mean over the vocabulary (adding a constant to every logit
    changes nothing). promoted, suppressed: `(token, contribution)`, strongest first. answers:
    `(token, contribution, right)` of the pair's answers, at most a few of each side; empty where
    all pairs are averaged. pair: from 0, or None for the mean over pairs. side: clean or corrupted.
    """

    node: str
    pair: int | None
    side: str
    promoted: tuple[tuple[str, float], ...]
    suppressed: tuple[tuple[str, float], ...]
    answers: tuple[tuple[str, float, bool], ...]


def promoted_tokens(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    node: str,
    *,
    pair: int | None = None,
    side: str = "clean",
    n: int = MOST,
    progress: Progress | None = None,
) -> PromotedTokens:
    """The n tokens that a source writes for, and the n that it writes against, at the answer position.

    pair: from 0; None averages over all pairs. Errors: OptionError for a pair that is not there;
    UnknownNameError for a node that writes nothing.
    """
    import torch

    from eapgp.readings.final import unembedding

    encoded = encoded_pairs(model, prompts)
    row = model.graph.source_index(node)
    index = np.arange(encoded.n) if pair is None else one_pair(encoded, pair)
    with torch.no_grad():
        vector = _written(model, encoded.take(index), row, side, progress)
        logits = torch.cat([widen(rows) @ vector.to(rows.device) for rows in unembedding(model)[0].split(_ROWS)])
        logits = logits - logits.mean()
    n = min(n, len(logits))
    top, bottom = torch.topk(logits, n), torch.topk(-logits, n)
    named = token_names(model, [*top.indices.tolist(), *bottom.indices.tolist()])
    values = [*top.values.tolist(), *(-bottom.values).tolist()]
    rows = list(zip(named, values, strict=True))
    answers = () if pair is None else _of_answers(model, encoded, pair, logits)
    return PromotedTokens(node, pair, side, tuple(rows[:n]), tuple(rows[n:]), answers)


def _written(model: Model, encoded: EncodedPairs, row: int, side: str, progress: Progress | None) -> Tensor:
    """`[d_model]` the source's output through the frozen norm, mean over the pairs."""
    from eapgp.engine.batches import make_batch, split_batches
    from eapgp.readings.final import final_stream, normed

    total = None
    parts = split_batches(model, encoded, None)
    for done, part in enumerate(parts):
        if progress is not None:
            progress("reading what the node writes", done / len(parts))
        batch = make_batch(model, encoded, part)
        stream = final_stream(model, batch.clean if side == "clean" else batch.corrupted)
        summed = normed(model, stream.sources[row], stream.scale).sum(0)
        total = summed if total is None else total + summed
    assert total is not None
    return total / encoded.n


def _of_answers(model: Model, encoded: EncodedPairs, pair: int, logits: Tensor) -> tuple[tuple[str, float, bool], ...]:
    rows = []
    for ids, right in ((encoded.correct[pair][:3], True), (encoded.incorrect[pair][:3], False)):
        rows += [(name, float(logits[i]), right) for name, i in zip(token_names(model, list(ids)), ids, strict=True)]
    return tuple(rows)
