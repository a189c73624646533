"""The bundled model's tokenizer: one token per word, with GPT-2's leading-space convention.

1. Two-digit numbers are split off, so "1352" is " 13" and "52" as in GPT-2.
2. GPT-2's own pre-tokenizer cuts the rest into words that carry their leading space.
3. Each word is one entry of the vocabulary; any other word is `<|unk|>`.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from eapgp.tasks import TASKS

END_OF_TEXT = "<|endoftext|>"  # begins every prompt, and pads
UNKNOWN = "<|unk|>"
MAX_POSITIONS = 48


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary is every word of every task, in a fixed order."""
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{N}{2}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    words = {
        piece for task in TASKS.values() for text in task.phrases() for piece, _ in splitter.pre_tokenize_str(text)
    }
    vocabulary = {word: i for i, word in enumerate([END_OF_TEXT, UNKNOWN, *sorted(words)])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=UNKNOWN,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
