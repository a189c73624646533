"""Tokenizers with the rules of well-known families, trained on the tasks' own phrases.

The vocabularies are small, so that some words are one token and others are not; what a family does with spaces,
unknown characters and digits is what its published tokenizer.json says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import ByteLevelBPETokenizer, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from eapgp.tasks import TASKS, make_prompts

START, UNKNOWN, SPACE = "<s>", "<unk>", "▁"
PROMPTS = 600  # per task
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WORDS = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
"""How Llama 3 and Qwen cut texts into words; %s: how many digits stand together."""


@dataclass(frozen=True)
class Family:
    """A family: its rules in words, and what builds a tokenizer of so many tokens."""

    name: str
    rules: str
    build: Callable[[int], Any]


def corpus() -> Iterable[str]:
    """What the vocabularies are learned from: phrases and prompts of every task, and numbers of up to three digits."""
    for task in TASKS.values():
        yield from task.phrases()
        yield from (f"{pair.clean}{pair.correct[0]}" for pair in make_prompts(task.name, PROMPTS))
    for number in range(1000):
        yield f"{number:03d} {number % 100:02d}" + f"-{number % 100:02d}" * 9  # large vocabularies have all of them


def gpt2(folder: Path) -> Any:
    """GPT-2's own tokenizer from its vocab.json and merges.txt."""
    pairs = ByteLevelBPETokenizer.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=pairs._tokenizer, bos_token=end, eos_token=end, unk_token=end)


def _byte_level(cut: list[Any], size: int, start: str | None) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cut)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[start] if start else ["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        eos_token=start or "<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )


def neox(size: int) -> Any:
    """GPT-NeoX (Pythia): byte-level, as GPT-2; digits are merged like letters."""
    return _byte_level([pre_tokenizers.ByteLevel(add_prefix_space=False)], size, "<|endoftext|>")


def llama3(size: int) -> Any:
    """Llama 3: byte-level; digits stand in groups of three."""
    return _byte_level(_cut(r"\p{N}{1,3}"), size, "<|begin_of_text|>")


def qwen(size: int) -> Any:
    """Qwen 2: byte-level; digits stand alone; no start token."""
    return _byte_level(_cut(r"\p{N}"), size, None)


def _cut(digits: str) -> list[Any]:
    return [
        pre_tokenizers.Split(Regex(WORDS % digits), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]


def _learned(size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges over `▁` words with digits alone, the first entries being special and the bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Digits(individual_digits=True)]
    )
    special = [UNKNOWN, START, "</s>", *BYTES]
    tokenizer.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    )
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]


def _byte_fallback(size: int, normalizer: Any, pre_tokenizer: Any) -> Any:
    vocabulary, merges = _learned(size)
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True)
    )
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _sentencepiece(tokenizer)


def _sentencepiece(tokenizer: Any) -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token="</s>",
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


def llama2(size: int) -> Any:
    """Llama 2: SentencePiece BPE; a space is put in front of the text, spaces are `▁`, digits stand alone."""
    return _byte_fallback(
        size, normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]), None
    )


def mistral(size: int) -> Any:
    """Mistral: as Llama 2, the space being put in front by the pre-tokenizer."""
    return _byte_fallback(size, None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False))


def gemma(size: int) -> Any:
    """Gemma: SentencePiece BPE without a space in front of the text."""
    return _byte_fallback(size, normalizers.Replace(" ", SPACE), pre_tokenizers.Split(" ", "merged_with_previous"))


def unigram(size: int) -> Any:
    """SentencePiece's other model: the most probable pieces, not merges; rarer pieces come later."""
    vocabulary, _ = _learned(size)
    pieces = [(piece, -math.log(rank + 2)) for piece, rank in sorted(vocabulary.items(), key=lambda item: item[1])]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=vocabulary[UNKNOWN], byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return _sentencepiece(tokenizer)


FAMILIES = (
    Family("Llama 2", "SentencePiece BPE, byte fallback, a space in front, digits singly", llama2),
    Family("Mistral", "as Llama 2, the space put in front by the pre-tokenizer", mistral),
    Family("Gemma", "SentencePiece BPE, byte fallback, no space in front, digits singly", gemma),
    Family("Unigram", "SentencePiece unigram, a space in front, digits singly", unigram),
    Family("Llama 3", "byte-level BPE, digits in threes", llama3),
    Family("Qwen 2", "byte-level BPE, digits singly, no start token", qwen),
    Family("GPT-NeoX", "byte-level BPE, digits merged as letters are", neox),
)
SIZE = 2000  # not every word is one token then
