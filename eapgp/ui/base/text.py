"""Words and characters as pages show them."""

from __future__ import annotations

import unicodedata


def counted(n: int, noun: str) -> str:
    """A number and its noun: `1 pair`, `1,200 pairs`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def visible(text: str) -> str:
    """Text in which control characters and marks that turn the writing direction can be seen."""
    return text if text.isprintable() else "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    kind = unicodedata.category(char)
    if kind == "Cc":
        return chr(0x2400 + ord(char)) if ord(char) < 0x20 else "␡"
    return f"[U+{ord(char):04X}]" if kind == "Cf" else char
