"""JSON of anybody: the number of its values is counted before it is decoded, its nesting and its texts after it.

Python's own decoder takes NaN, infinities, halves of characters (lone surrogates) and whole numbers of any size, none
of which a table or a page can show, and a few megabytes of brackets fill gigabytes of memory.
"""

from __future__ import annotations

import json
import math
from typing import Any

DEPTH = 64
"""Objects and lists within each other; what this project writes needs ten."""
MAX_VALUES = 10_000_000
_LARGEST = 2**63


def check_amount(text: str | bytes, most: int = MAX_VALUES) -> None:
    """Raise ValueError for a JSON text of more values than `most`, without decoding it (marks in texts count too)."""
    amount = sum(text.count(mark if isinstance(text, str) else mark.encode()) for mark in ",[{")  # type: ignore[arg-type,misc]
    if amount > most:
        raise ValueError(f"about {amount:,} values, more than the {most:,} that are read")


def check_value(value: Any) -> None:
    """Raise ValueError for a decoded value that is nested too deep, or a text that is not Unicode."""
    level, waiting = 0, [value]
    while waiting:
        level += 1
        inner: list[Any] = []
        for one in waiting:
            if isinstance(one, dict):
                inner += one.values()
                _check_texts(one)
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, str):
                _check_texts((one,))
        waiting = inner
        if level > DEPTH + 1:
            raise ValueError(f"objects or lists within each other, deeper than {DEPTH}")


def _check_texts(texts: Any) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"a text with half a character (surrogate): {text[:40]!a}") from None


def decode(text: str | bytes, *, nan: bool = False) -> Any:
    """The value of a JSON text whose numbers tables can hold. nan: and NaN, which pandas writes for what is missing.

    Errors: ValueError (`json.JSONDecodeError` where it is no JSON); RecursionError.
    """
    constant = _missing if nan else _no_number
    return json.loads(text, parse_constant=constant, parse_float=_finite, parse_int=_whole)


def loads(text: str | bytes, *, most: int = MAX_VALUES) -> Any:
    """The value of a JSON text. Errors: ValueError, in one line, for whatever is wrong with it."""
    check_amount(text, most)
    try:
        value = decode(text)
    except RecursionError:
        raise ValueError(f"objects or lists within each other, deeper than {DEPTH}") from None
    check_value(value)
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text}, which is no JSON number")


def _missing(text: str) -> float:
    return math.nan if text == "NaN" else _no_number(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]}, which is no finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > 20 or not -_LARGEST <= (value := int(text)) < _LARGEST:
        raise ValueError(f"a whole number of {len(text)} digits")
    return value
