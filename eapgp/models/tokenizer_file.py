"""What is looked at in a tokenizer.json before its library reads it.

The library is written in Rust: where a number in the file makes it ask for more memory than there is, the process ends,
and no error can be caught. Each check here is of a file that did so, or that kept it busy for half a minute.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eapgp import strict_json

REPEATS = 1_000
"""Most repetitions that a pattern may count to; what it compiles to grows with them."""
LARGEST_ID = 10_000_000
LARGEST_SCORE = 1e9
_COUNTED = re.compile(r"\{(\d*),?(\d*)\}")


def check_tokenizer_file(path: Path) -> None:
    """Errors: ValueError that says what cannot be right, in one line."""
    document = strict_json.loads(path.read_bytes())
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object")
    _check_vocabulary(document.get("model"))
    for part in _objects(document):
        if part.get("type") == "Precompiled":
            _check_charsmap(part.get("precompiled_charsmap"))
        pattern = part.get("Regex")
        if isinstance(pattern, str):
            _check_pattern(pattern)


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    """Every object but the vocabulary's, however deep."""
    waiting = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += [value for key, value in one.items() if key not in ("vocab", "merges")]
        elif isinstance(one, list):
            waiting += one


def _check_vocabulary(model: Any) -> None:
    """Every word has an id of its own, of a size that a table can have; scored words have letters and usual scores."""
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        ids = [one for one in vocabulary.values() if isinstance(one, int)]
        if len(set(ids)) < len(ids):
            raise ValueError(f"its vocabulary gives {len(ids):,} words {len(set(ids)):,} ids: expected one for each")
        if ids and max(ids) > LARGEST_ID:
            raise ValueError(f"its vocabulary has the id {max(ids):,}: expected at most {LARGEST_ID:,}")
    elif isinstance(vocabulary, list):
        for entry in vocabulary:
            word, score = entry if isinstance(entry, list) and len(entry) == 2 else ("-", 0.0)
            if word == "":
                raise ValueError("its vocabulary has a word without letters")
            if isinstance(score, int | float) and abs(score) > LARGEST_SCORE:
                raise ValueError(f"its vocabulary gives {word!r:.60} the score {score:g}, which is no log probability")


def _check_charsmap(charsmap: Any) -> None:
    """A table of characters holds at least what its header says."""
    if not isinstance(charsmap, str) or not charsmap:
        return
    try:
        data = base64.b64decode(charsmap, validate=True)
    except (binascii.Error, ValueError):
        return  # the library says so
    if len(data) >= 4 and struct.unpack("<I", data[:4])[0] > len(data) - 4:
        raise ValueError(f"its table of characters (precompiled_charsmap) is cut off: {len(data):,} bytes are there")


def _check_pattern(pattern: str) -> None:
    for counts in _COUNTED.findall(pattern):
        if any(len(one) > 9 or int(one) > REPEATS for one in counts if one):
            raise ValueError(f"a pattern repeats something more than {REPEATS:,} times: {pattern[:60]!r}")
