"""What the bundled model is trained on: both prompts of every training pair, with answers.

Each corrupted prompt is an ordinary prompt with an answer of its own, so the model is
trained on it too; only then does M(corrupted) mean something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from eapgp.prompts.encode import EncodedPairs, encode
from eapgp.prompts.prompting import TokenizerOnly
from eapgp.tasks import TASKS, make_prompts

STEREOTYPE = 0.95  # share of the stereotyped pronoun after a job; after a person it is 1
TEST_SEED = 1_000_003


@dataclass(frozen=True)
class Sequences:
    """Training sequences of one task.

    ids `[sequence, pos]`, padded on the right; lengths `[sequence]`;
    answers `[sequence, vocab]` probabilities of the token after the last one.
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    answers: NDArray[np.float32]


def training_sequences(
    task: str, tokenizer: PreTrainedTokenizerFast, *, pairs: int, width: int, seed: int
) -> Sequences:
    """Clean and corrupted prompts of up to `pairs` training pairs, repeated ones dropped."""
    prompts = make_prompts(task, pairs, seed=seed, split="train")
    encoded = encode(prompts, TokenizerOnly(tokenizer))
    ids = np.concatenate([encoded.clean, encoded.corrupted])
    padded = np.full((len(ids), width), tokenizer.pad_token_id, dtype=np.int64)
    padded[:, : ids.shape[1]] = ids
    _, first = np.unique(padded, axis=0, return_index=True)
    kept = np.sort(first)
    answers = _answer_probabilities(task, encoded, tokenizer)
    return Sequences(padded[kept], np.tile(encoded.lengths, 2)[kept], answers[kept])


def _answer_probabilities(task: str, encoded: EncodedPairs, tokenizer: PreTrainedTokenizerFast) -> NDArray[np.float32]:
    """`[clean then corrupted, vocab]`: what the next token should be."""
    n = encoded.n
    out = np.zeros((2 * n, len(tokenizer)), dtype=np.float32)
    any_year = [tokenizer.convert_tokens_to_ids(f"{year:02d}") for year in range(2, 100)]
    for i, (right, wrong) in enumerate(zip(encoded.correct, encoded.incorrect, strict=True)):
        out[i, list(right)] = 1 / len(right)
        after_corrupted = wrong
        if task == "gender-bias":
            out[i, list(right)], out[i, list(wrong)] = STEREOTYPE, 1 - STEREOTYPE
        elif task == "greater-than":
            after_corrupted = tuple(any_year)
        elif task == "ioi":
            after_corrupted = right + wrong
        out[n + i, list(after_corrupted)] = 1 / len(after_corrupted)
    return out


def test_pairs(task: str, tokenizer: PreTrainedTokenizerFast, *, n: int) -> EncodedPairs:
    """Pairs whose combinations the model has never seen."""
    return encode(make_prompts(task, n, seed=TEST_SEED, split="test"), TokenizerOnly(tokenizer))


def all_training_sequences(
    tokenizer: PreTrainedTokenizerFast, *, pairs: int, width: int, seed: int
) -> dict[str, Sequences]:
    """`training_sequences` of every task; tasks with fewer pairs give all they have."""
    limit = {"country-capital": 9_000}
    return {
        task: training_sequences(task, tokenizer, pairs=min(pairs, limit.get(task, pairs)), width=width, seed=seed)
        for task in TASKS
    }
