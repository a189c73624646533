"""What strangers write: texts, names and values that were trouble elsewhere, and ways to bend what is sound.

All of it is drawn from a `random.Random`, so that an input is the same whenever its number is tried again.
"""

from __future__ import annotations

import copy
import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCRIPT = "<script>document.title='eapgp-canary'</script>"
"""Must never reach a page as it stands."""
IMAGE = "<img src=x onerror=\"document.title='eapgp-canary'\">"
TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\n",
    "\t\r\n",
    "\0",
    "a\0b",
    "\x1b[31mred\x1b[0m\x07",
    "\u202eevil\u202c",
    "\u200b\ufeff\u2060",
    "\u2028\u2029\x85",
    "e\u0301" * 40,
    "𝕌𝕟𝕚\U0001f9d1\u200d\U0001f680",
    "\ud800",
    "a\udfffb",
    "\uffff\ufffe",
    SCRIPT,
    IMAGE,
    "# h\n[a](javascript:alert(1)) `x` $x^2$ ![i](http://127.0.0.1:9/x)",
    ":material/delete: :red[x] <b>",
    "'; DROP TABLE runs; --",
    "$(touch eapgp-canary) `touch eapgp-canary`; touch eapgp-canary |",
    "{{7*7}}{% for x in ().__class__.__base__.__subclasses__() %}x{% endfor %}",
    "%s%n%x{0.__class__}",
    "=cmd|'/C calc'!A0",
    "../../../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\system32",
    "\\\\host\\share",
    "~root",
    "file:///etc/passwd",
    "-",
    "--help",
    "-1",
    "NaN",
    "Infinity",
    "1e999",
    "9" * 400,
    "0x7fffffff",
    "1_000",
    "٣",
    "true",
    "null",
    "None",
    "[]",
    "{}",
    "__proto__",
    "__class__",
    "a" * 300,
    "y" * 5_000,
    "|" * 200,
    '"' * 99,
    "," * 700,
)
NAMES: tuple[str, ...] = (
    "",
    ".",
    "..",
    "...",
    " ",
    "../up",
    "../../../tmp/eapgp-escaped",
    "/tmp/eapgp-escaped",
    "a/b",
    "a\\b",
    "..\\..\\up",
    "C:up",
    "\0",
    "a\0.csv",
    "\n",
    "a\r\nb",
    "\x1b[2J",
    "\u202egnp.exe",
    "\ud800",
    "a\udcff",
    "名前",
    "e\u0301",
    "x" * 4_096,
    "é" * 200,
    "CON",
    "nul.txt",
    "com1",
    "a.",
    "a ",
    ".hidden",
    "-rf",
    "--out",
    "~",
    "$HOME",
    "*",
    "?",
    "a:b",
    "a|b",
    '"',
    "'",
    SCRIPT,
    IMAGE,
    "{}",
    "%2e%2e%2f",
    "sva_verbs",
    ".removed",
    "run.json",
)


def nested(depth: int) -> Any:
    """Lists within each other."""
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def values() -> tuple[Any, ...]:
    """Values that a decoded JSON or YAML document can hold where something else was meant."""
    return (
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        -(2**63) - 1,
        10**40,
        1.5,
        -0.0,
        1e-320,
        1e308,
        float("nan"),
        float("inf"),
        float("-inf"),
        [],
        {},
        [[]],
        [None],
        ["x"],
        {"x": 1},
        {"": {}},
        nested(30),
        nested(200),
        list(range(3_000)),
        *TEXTS,
    )


VALUES = values()


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a decoded document: of long lists the first three entries."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*place, key)
        yield from places(one, (*place, key))


def bend(document: Any, rng: random.Random, *, times: int | None = None) -> tuple[Any, str]:
    """A copy with some values changed, dropped, doubled, renamed or put elsewhere, and what was done to it."""
    document = copy.deepcopy(document)
    done = []
    for _ in range(times or rng.choice((1, 1, 1, 2, 3))):
        spots = list(places(document))
        if not spots:
            return rng.choice(VALUES), "replaced whole"
        place = rng.choice(spots)
        done.append(_bend_at(document, place, spots, rng))
    return document, "; ".join(done)


def _bend_at(document: Any, place: tuple[Any, ...], spots: list[tuple[Any, ...]], rng: random.Random) -> str:
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    key, how = place[-1], rng.random()
    label = "/".join(str(part)[:20] for part in place)
    if how < 0.62:
        value = copy.deepcopy(rng.choice(VALUES))
        holder[key] = value
        return f"{label} = {value!r:.40}"
    if how < 0.74:
        del holder[key]
        return f"{label} dropped"
    if how < 0.84 and isinstance(holder, dict):
        holder[rng.choice(TEXTS)] = holder.pop(key)
        return f"{label} renamed"
    if how < 0.92:
        holder[key] = [holder[key]] * rng.choice((1, 2, 50))
        return f"{label} in a list"
    other: Any = document
    for part in rng.choice(spots):
        try:
            other = other[part]
        except (KeyError, IndexError, TypeError):
            break
    holder[key] = copy.deepcopy(other)
    return f"{label} from elsewhere"


def json_of(document: Any, rng: random.Random) -> bytes:
    """A document as JSON as somebody might write it: surrogates escaped or raw, NaN as Python writes it."""
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, None, 1)))
    return text.encode("utf-8", "surrogatepass")


def garble(data: bytes, rng: random.Random, other: bytes = b"") -> tuple[bytes, str]:
    """Bytes with some flipped, cut off, doubled, dropped, or nasty ones put in."""
    done, out = [], bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, how = rng.randrange(len(out) + 1), rng.randrange(7)
        length = rng.choice((1, 2, 8, 100))
        if how == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif how == 1:
            out[at:] = b""
        elif how == 2:
            del out[at : at + length]
        elif how == 3:
            out[at:at] = out[at : at + length] * rng.choice((1, 3, 500))
        elif how == 4:
            out[at:at] = rng.choice(TEXTS).encode("utf-8", "surrogatepass")
        elif how == 5:
            out[at : at + length] = rng.randbytes(length)
        else:
            start = rng.randrange(len(other) + 1)
            out[at:at] = other[start : start + 200]
        done.append(f"{('flip', 'cut', 'drop', 'double', 'text', 'noise', 'splice')[how]}@{at}")
    return bytes(out), " ".join(done)


ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift_jis", "utf-7")


class Touch:
    """Pickled, it makes a file when it is read: whoever unpickles it has run a stranger's code."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (Path.touch, (self.canary,))


def pickled(canary: Path, protocol: int, *, within: Any = None) -> bytes:
    """A pickle that makes the canary."""
    payload = Touch(canary) if within is None else {**within, "x": Touch(canary)}
    return pickle.dumps(payload, protocol=protocol)
