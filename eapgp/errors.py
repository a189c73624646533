"""Errors that a user of the library, the command line or the dashboard can cause.

    EapgpError
    ├── InputError                 what was supplied is wrong; the command line exits 2
    │   ├── UnknownNameError       a model, task, method, metric, edge … that does not exist
    │   ├── WrongTypeError         a value of another kind, such as a name for a loaded model
    │   ├── ModelError             a model cannot be loaded, or its architecture is not supported
    │   ├── PromptError            a prompt pair or prompt file cannot be used
    │   │   └── PairLengthError    clean and corrupted differ in token length
    │   ├── OptionError            an option is out of its range or does not fit the others
    │   ├── FormatError            a file is not in the format it claims, or is unsafe to read
    │   │   ├── HeaderError        the columns of a prompt file are not recognised
    │   │   └── GraphNeededError   a table lists some edges only and does not say of which graph
    │   └── RunError               a run folder is missing, incomplete or of another version
    ├── ComputationError           the computation went wrong (out of memory); exit 1
    │   ├── NotSavedError          a result that could not be stored and can be saved again; also a RunError
    │   └── NotFiniteError         NaN in the metric: also an InputError, since model and prompts decide it
    └── Cancelled                  the user stopped the work; exit 130

Every message is one line: which item, what was expected, what came, what to do.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk, or a user's share of it, is full."""


class EapgpError(Exception):
    """Base of every error that this project raises on purpose.

    details: plain values beyond the one-line message, which the command line adds to its JSON.
    """

    details: Mapping[str, Any] = MappingProxyType({})

    def __str__(self) -> str:
        """The message as one line that any terminal can show, whatever names of files and texts it quotes."""
        return legible(super().__str__())


class InputError(EapgpError, ValueError):
    """What the user supplied cannot be used."""


class UnknownNameError(InputError):
    """A name that is not among those known."""

    @classmethod
    def of(cls, kind: str, name: object, choices: Iterable[str], *, hint: str = "") -> UnknownNameError:
        """Message that lists the known names and the nearest one."""
        names = list(choices)
        near = difflib.get_close_matches(str(name), names, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
        tail = f" {hint}" if hint else ""
        return cls(f"unknown {kind} {str(name)!r}: expected one of {listed}.{guess}{tail}")


class WrongTypeError(InputError, TypeError):
    """A value is of another kind than what was asked for."""

    @classmethod
    def check(cls, what: str, value: object, kind: type | tuple[type, ...], hint: str) -> None:
        """Raise unless the value is of that kind; hint: what to do."""
        if not isinstance(value, kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            wanted = " or ".join(one.__name__ for one in kinds)
            raise cls(f"{what}: expected {wanted}, got {type(value).__name__}; {hint}.")


class ModelError(InputError):
    """A model cannot be loaded or is not supported."""


class PromptError(InputError):
    """A prompt pair or prompt file cannot be used."""


class PairLengthError(PromptError):
    """Clean and corrupted prompt differ in token length."""


class OptionError(InputError):
    """An option is out of range, or does not fit the others."""


class FormatError(InputError):
    """A file is malformed or unsafe."""


class HeaderError(FormatError):
    """The columns of a prompt file are not recognised; it can be read once somebody says which is which."""


class GraphNeededError(FormatError):
    """A table lists some edges only and does not say of which graph; it can be read with one."""


class RunError(InputError):
    """A run folder is missing, incomplete or of another version."""


class ComputationError(EapgpError, RuntimeError):
    """The computation failed (NaN, out of memory)."""


class NotFiniteError(ComputationError, InputError):
    """The metric of this model on these prompts is NaN or infinite."""


class NotSavedError(ComputationError, RunError):
    """A result was computed and could not be stored: no space, or a folder that cannot be written.

    unsaved: the result (`eapgp.runs.library.Unsaved`), which can be stored once there is space. errno: the system's
    reason, None where it is none of the system's.
    """

    def __init__(self, message: str, unsaved: Any, errno: int | None = None) -> None:
        super().__init__(message)
        self.unsaved, self.errno = unsaved, errno


class Cancelled(EapgpError):
    """The user stopped the work."""


MAX_MESSAGE = 1_500
_ODD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of what follows, and halves of characters."""


def readable(text: str) -> str:
    """A text that can be shown: line ends are spaces; other control characters, marks of direction and halves of
    characters are escapes.
    """
    return _ODD.sub(_escaped, text.replace("\n", " "))


def _escaped(odd: re.Match[str]) -> str:
    return _escape(odd.group())


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


def legible(text: str) -> str:
    """A text with all that no terminal shows as escapes, cut in its middle where it is very long."""
    if len(text) > MAX_MESSAGE:
        text = f"{text[: MAX_MESSAGE * 2 // 3]} … {text[-MAX_MESSAGE // 3 :]}"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else _escape(char) for char in text)


def one_line(error: BaseException) -> str:
    """The first line of an error's text, at most 400 characters."""
    text = str(error).strip().splitlines()
    return text[0][:400] if text else type(error).__name__


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust panicked: pyo3 raises a BaseException, whose class cannot be imported."""
    return type(error).__name__ == "PanicException"
