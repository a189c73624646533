"""What a model says after a prompt: the likeliest next tokens, and both sides of a pair token by token.

Forward passes only. Probabilities are the softmax of the logits at the last position.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.errors import PromptError
from eapgp.evaluation.behaviour import SIDES
from eapgp.prompts.align import display_tokens
from eapgp.prompts.encode import check_context, encode
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.prompts.prompting import Ids, tokenise

if TYPE_CHECKING:
    from torch import Tensor

    from eapgp.models.model import Model

TOP = 6
Position = tuple[str, str, bool]  # clean token, corrupted token, whether they differ
Likely = tuple[str, float, str]  # token, probability, "right", "wrong" or ""
Ranked = Sequence[tuple[int, float]]  # token id, probability; likeliest first


@dataclass(frozen=True)
class PairAnswers:
    """One pair as a model reads and answers it.

    tokens: both sides, position by position. clean, corrupted: the likeliest next tokens, likeliest first, the best
    right and the best wrong answer always among them. counts: how many right and wrong answers there are. totals: per
    side their probabilities' sums, right and wrong.
    """

    tokens: tuple[Position, ...]
    clean: tuple[Likely, ...]
    corrupted: tuple[Likely, ...]
    counts: tuple[int, int]
    totals: Mapping[str, tuple[float, float]]

    def best(self, side: str, kind: str) -> str:
        """The likeliest right or wrong answer on a side (clean, corrupted); "" where there is none."""
        rows: tuple[Likely, ...] = getattr(self, side)
        return max(((chance, token) for token, chance, one in rows if one == kind), default=(0.0, ""))[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        rows = {name: [list(row) for row in getattr(self, name)] for name in ("tokens", *SIDES)}
        return {**rows, "counts": list(self.counts), "totals": {side: list(both) for side, both in self.totals.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PairAnswers:
        """Inverse of `to_dict`."""
        tokens = tuple((str(a), str(b), bool(differs)) for a, b, differs in values["tokens"])
        clean, corrupted = (tuple((str(t), float(p), str(kind)) for t, p, kind in values[side]) for side in SIDES)
        n_right, n_wrong = (int(count) for count in values["counts"])
        totals = {side: (float(values["totals"][side][0]), float(values["totals"][side][1])) for side in SIDES}
        return cls(tokens, clean, corrupted, (n_right, n_wrong), totals)


def pair_answers(model: Model, prompts: PromptSet, place: int = 0) -> PairAnswers:
    """Run one pair of a set, clean and corrupted. Errors: as `encode`."""
    one = prompts.pick([place])
    encoded = encode(one, model, contrast=False)
    length = int(encoded.lengths[0])
    chances = next_chances(model, [side[0, :length].tolist() for side in (encoded.clean, encoded.corrupted)])
    right, wrong = encoded.correct[0], encoded.incorrect[0]
    rows = [_with_best(likeliest(chance[None])[0], chance, (right, wrong)) for chance in chances]
    clean, corrupted = (named(model.tokenizer, [row], [right], [wrong])[0] for row in rows)
    totals = {side: (_sum(chance, right), _sum(chance, wrong)) for side, chance in zip(SIDES, chances, strict=True)}
    return PairAnswers(pair_tokens(model, one.pairs)[0], clean, corrupted, (len(right), len(wrong)), totals)


def _sum(chance: Tensor, answers: Ids) -> float:
    return float(chance[list(answers)].sum())


def _with_best(row: Ranked, chance: Tensor, sides: Iterable[Ids]) -> Ranked:
    """The likeliest answer of each side added where none of its answers is listed."""
    more = list(row)
    for answers in sides:
        if answers and not {token for token, _ in row} & set(answers):
            best = max(answers, key=lambda token: float(chance[token]))
            more.append((best, float(chance[best])))
    return more


def prompt_ids(model: Model, text: str) -> list[int]:
    """Token ids of a prompt as the model reads it, its start token included."""
    tokenizer, prompting = model.tokenizer, model.prompting
    start = prompting.start(tokenizer, usual=model.prepend_bos)
    return [*start, *tokenise(prompting.written([text], tokenizer), tokenizer)[0]]


def likely_next(model: Model, text: str, n: int = TOP) -> tuple[Likely, ...]:
    """The n likeliest next tokens of a prompt. Errors: PromptError for no text, or one longer than the context."""
    ids = prompt_ids(model, text)
    if not text.strip() or not ids:
        raise PromptError("the prompt is empty: type the beginning of a sentence.")
    check_context(len(ids), model)
    return named(model.tokenizer, likeliest(next_chances(model, [ids]), n), [()], [()])[0]


def likely_at(model: Model, text: str, place: int, n: int) -> list[tuple[str, float]]:
    """The n likeliest tokens in place of a prompt's token (from 0), by what stands before it: text, probability.

    Texts as they are written, with the space before a word.
    """
    ids = prompt_ids(model, text)
    start = len(model.prompting.start(model.tokenizer, usual=model.prepend_bos))
    before = ids[: start + place]
    if not before:
        return []
    rows = likeliest(next_chances(model, [before]), n)[0]
    return [(str(model.tokenizer.decode([token])), chance) for token, chance in rows]


def next_chances(model: Model, rows: Sequence[Sequence[int]]) -> Tensor:
    """`[row, vocab]` probabilities of the next token after each row of token ids; one forward pass for all."""
    import torch

    from eapgp.engine.passes import Keep, Tokens, capture

    lengths = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), int(lengths.max())), dtype=np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    mask = np.arange(ids.shape[1])[None, :] < lengths[:, None]
    on_device = [torch.from_numpy(values).to(model.device) for values in (ids, mask, lengths - 1)]
    return capture(model, Tokens(*on_device), keep=Keep.NOTHING).logits.softmax(-1)


def likeliest(chances: Tensor, n: int = TOP) -> list[list[tuple[int, float]]]:
    """The n likeliest token ids of each row of probabilities `[row, vocab]`, likeliest first."""
    values, ids = chances.topk(min(n, chances.shape[-1]), dim=-1)
    return [list(zip(*both, strict=True)) for both in zip(ids.cpu().tolist(), values.cpu().tolist(), strict=True)]


def named(
    tokenizer: Any, rows: Sequence[Ranked], correct: Sequence[Ids], incorrect: Sequence[Ids]
) -> tuple[tuple[Likely, ...], ...]:
    """Rows of token ids with their texts, and whether they are among the right or the wrong answers of the row."""
    names = token_names(tokenizer, (token for row in rows for token, _ in row))
    kinds = [
        {**dict.fromkeys(wrong, "wrong"), **dict.fromkeys(right, "right")}
        for right, wrong in zip(correct, incorrect, strict=True)
    ]
    return tuple(
        tuple((names[token], float(chance), kind.get(token, "")) for token, chance in row)
        for row, kind in zip(rows, kinds, strict=True)
    )


def token_names(tokenizer: Any, ids: Iterable[int]) -> dict[int, str]:
    """Token id → its readable text."""
    distinct = list(dict.fromkeys(ids))
    return dict(zip(distinct, display_tokens(tokenizer, distinct), strict=True))


def pair_tokens(model: Any, pairs: Sequence[PromptPair]) -> tuple[tuple[Position, ...], ...]:
    """Both sides of each pair, position by position; the shorter one of an unequal pair ends in empty texts."""
    tokenizer, written = model.tokenizer, model.prompting.written
    clean = tokenise(written([pair.clean for pair in pairs], tokenizer), tokenizer)
    corrupted = tokenise(written([pair.corrupted for pair in pairs], tokenizer), tokenizer)
    names = token_names(tokenizer, (token for side in (clean, corrupted) for ids in side for token in ids))
    rows = []
    for left, right in zip(clean, corrupted, strict=True):
        both = itertools.zip_longest(left, right, fillvalue=-1)
        rows.append(tuple((names.get(a, ""), names.get(b, ""), a != b) for a, b in both))
    return tuple(rows)
