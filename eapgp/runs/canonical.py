"""One JSON text per value, and its hash.

Equal values give equal texts in every process: keys are sorted, floats are written by their
shortest exact form, tuples become lists, NaN and infinities become null.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from eapgp.errors import OptionError

KEY_LENGTH = 20


def plain(value: Any, *, where: str = "value") -> Any:
    """The value as JSON types: NaN and ±inf become None, arrays and tuples become lists.

    Errors: OptionError for what has no JSON form, naming `where`.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
        if isinstance(value, bool | str):
            return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), where=where)
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value), where=where)
    if isinstance(value, Mapping):
        return {str(key): plain(item, where=f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, where=f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, where=where) for item in value), key=str)
    if isinstance(value, PurePath):
        return str(value)
    raise OptionError(
        f"{where}: expected a number, text, list or mapping, got {type(value).__name__}; it cannot be stored."
    )


def canonical(value: Any) -> str:
    """The one text of a value; independent of the order of its keys."""
    return json.dumps(plain(value), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def content_key(value: Any) -> str:
    """Hash of the canonical text; 20 hex digits (80 bits)."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:KEY_LENGTH]
