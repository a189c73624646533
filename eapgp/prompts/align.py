"""Tokens as people can read them, and clean beside corrupted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SPACE = "␣"  # shown where a token begins with a space
_NEWLINE = "⏎"


def _byte_of() -> dict[str, int]:
    """Byte-level BPE writes each byte as one printable character; this is the way back.

    Source: GPT-2's encoder.py, `bytes_to_unicode`: printable Latin-1 stays itself, the
    other bytes take the code points from 256 on, in order.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in set(printable)]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTE_OF = _byte_of()


def display_tokens(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Readable text of each token; `␣` marks a leading space, `⏎` a line break.

    Byte-level (`Ġ`) and sentencepiece (`▁`) vocabularies are understood; special tokens stay
    as they are.
    """
    special = set(tokenizer.all_special_tokens)
    names = tokenizer.convert_ids_to_tokens([int(i) for i in ids])
    byte_level = _is_byte_level(tokenizer)
    return [str(n) if n in special else _readable(str(n), byte_level) for n in names]


def align(tokenizer: Any, clean: Sequence[int], corrupted: Sequence[int]) -> list[tuple[str, str, bool]]:
    """(clean token, corrupted token, whether they differ) at each position.

    Works for unequal lengths too, so that an unusable pair can be shown: the shorter side
    has empty texts at its end.
    """
    left, right = display_tokens(tokenizer, clean), display_tokens(tokenizer, corrupted)
    width = max(len(left), len(right))
    rows = []
    for pos in range(width):
        a = left[pos] if pos < len(left) else ""
        b = right[pos] if pos < len(right) else ""
        same = pos < min(len(clean), len(corrupted)) and clean[pos] == corrupted[pos]
        rows.append((a, b, not same))
    return rows


def _is_byte_level(tokenizer: Any) -> bool:
    """Whether a space is written `Ġ`, as byte-level vocabularies do."""
    ids = tokenizer("a a", add_special_tokens=False)["input_ids"]
    return any(str(token).startswith("Ġ") for token in tokenizer.convert_ids_to_tokens(ids))


def _readable(token: str, byte_level: bool) -> str:
    if byte_level and all(char in _BYTE_OF for char in token):
        token = bytes(_BYTE_OF[char] for char in token).decode("utf-8", errors="replace")
    token = token.replace("▁", " ").replace("\n", _NEWLINE)
    return SPACE + token[1:] if token.startswith(" ") else token
