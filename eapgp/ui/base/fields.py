"""The state of a page is its URL.

1. Every control is a `Field`: a name in the URL, a default and what values it takes.
2. `read_url` turns query parameters into values before any widget is drawn. What does not fit is
   named in a message and replaced by the default; a name that is no field is named too.
3. `write_url` gives the parameters that are not defaults; opened elsewhere, they restore the view.

This module knows no Streamlit; `eapgp.ui.base.session` binds the fields to widgets.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

_NAME = re.compile(r"[\w.\-+<>:/ ]{1,200}")


@dataclass(frozen=True)
class Field:
    """One control that lives in the URL.

    parse turns text into a value or raises ValueError saying what was expected; show is its
    inverse. help is the control's tooltip, label what stands above it, and how() gives what its widget is drawn
    with: the options and their titles, or the bounds of a number.
    """

    name: str
    default: Any
    parse: Callable[[str], Any]
    help: str
    show: Callable[[Any], str] = str
    label: str = ""
    how: Callable[[], dict[str, Any]] = dict


def choice(
    name: str,
    default: str | None,
    options: Callable[[], Iterable[str]] | Iterable[str],
    help: str,
    *,
    label: str = "",
    titles: Callable[[str], str] | None = None,
    earlier: Mapping[str, str] = MappingProxyType({}),
) -> Field:
    """One of some names; the options may be computed when they are needed.

    titles: how lists show a name; a mapping as options holds them. earlier: names in old links, and what they are now.
    """
    title = titles or (options.__getitem__ if isinstance(options, Mapping) else str)

    def parse(text: str) -> str:
        text, values = earlier.get(text, text), list(options() if callable(options) else options)
        if text not in values:
            listed = ", ".join(values[:12]) + (", …" if len(values) > 12 else "")
            raise ValueError(f"expected one of {listed}{near(text, values)}")
        return text

    def how() -> dict[str, Any]:
        return {"options": list(options() if callable(options) else options), "format_func": title}

    return Field(name, default, parse, help, label=label, how=how)


def near(text: str, names: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest of some names, "" where none is near."""
    guess = difflib.get_close_matches(text, list(names), n=1)
    return f" (did you mean {guess[0]!r}?)" if guess else ""


def integer(name: str, default: int, low: int, high: int, help: str, *, label: str = "") -> Field:
    """A whole number between two bounds, both allowed."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"expected a whole number from {low:,} to {high:,}") from None
        if not low <= value <= high:
            raise ValueError(f"expected a whole number from {low:,} to {high:,}")
        return value

    bounds = {"min_value": low, "max_value": high, "step": 1}
    return Field(name, default, parse, help, label=label, how=bounds.copy)


def number(name: str, default: float, low: float, high: float, help: str) -> Field:
    """A number between two bounds, both allowed."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return value

    return Field(name, default, parse, help, lambda value: f"{value:g}")


def flag(name: str, default: bool, help: str, *, label: str = "") -> Field:
    """Yes or no, written 1 or 0."""

    def parse(text: str) -> bool:
        if text not in ("0", "1"):
            raise ValueError("expected 0 or 1")
        return text == "1"

    return Field(name, default, parse, help, lambda value: "1" if value else "0", label)


def text(
    name: str,
    default: str,
    help: str,
    *,
    pattern: str = r".{0,400}",
    expected: str = "a short text",
    label: str = "",
) -> Field:
    """Free text that matches a pattern as a whole."""
    form = re.compile(pattern, re.DOTALL)

    def parse(value: str) -> str:
        if not form.fullmatch(value):
            raise ValueError(f"expected {expected}")
        return value

    return Field(name, default, parse, help, label=label)


def names(name: str, default: tuple[str, ...], help: str, *, most: int, label: str = "") -> Field:
    """Several names joined by commas."""

    def parse(value: str) -> tuple[str, ...]:
        parts = tuple(part for part in value.split(",") if part)
        if not parts or len(parts) > most or not all(_NAME.fullmatch(part) for part in parts):
            raise ValueError(f"expected 1 to {most} names joined by commas")
        return parts

    return Field(name, default, parse, help, ",".join, label)


PRESENT = (
    "Presenter mode (P): no sidebar and larger text; a graph that fills the screen (F) holds title, prompt and result."
)
ON_EVERY_PAGE = (flag("present", False, PRESENT),)


def read_url(params: Mapping[str, str], fields: Sequence[Field]) -> tuple[dict[str, Any], list[str]]:
    """Values of the fields that the URL gives, and one message per parameter that cannot be used."""
    by_name = {field.name: field for field in fields}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, written in params.items():
        field = by_name.get(name)
        if field is None:
            near = difflib.get_close_matches(name, by_name, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else "."
            problems.append(f"The link has a parameter {name!r} that this page does not know{guess} It was ignored.")
            continue
        try:
            written.encode()  # halves of characters could not be written back into a link
            values[name] = field.parse(written)
        except UnicodeEncodeError:
            problems.append(refusal(field, written, "expected text, got half a character", field.default))
        except ValueError as error:
            problems.append(refusal(field, written, str(error), field.default))
    return values, problems


def refusal(field: Field, written: str, problem: str, value: Any) -> str:
    """What is said of a link that asks for what a field cannot take; value: what it becomes."""
    used = field.show(value) if value not in (None, "", ()) else "the default"
    return f"The link says {field.name} = {_short(written)!r}: {problem}. Used {used} instead."


def _short(written: str) -> str:
    return written if len(written) <= 60 else written[:57] + "…"


def write_url(values: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, str]:
    """Query parameters of the fields that differ from their defaults, in the fields' order."""
    params = {}
    for field in fields:
        value = values.get(field.name, field.default)
        if value is not None and value != field.default:
            params[field.name] = field.show(value)
    return params
