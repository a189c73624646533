"""Options of methods and tasks: a row holds everything that an interface needs to offer one.

From the row follow the command line's flag, the field of the link, the control in the sidebar, what a
variant is called and what a snippet writes. Four kinds: `WholeNumber`, `OneOf`, `OneOfOrNumber`, `EdgeNames`.
"""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from eapgp.errors import OptionError, UnknownNameError


@dataclass(frozen=True)
class Choice:
    """One value of an option. label: in lists; short: in a variant's name, "" where it goes without saying."""

    value: str
    label: str
    short: str = ""


@dataclass(frozen=True, kw_only=True)
class Option(ABC):
    """A setting of a method or a task; the subclasses say what it may be.

    help: sentences for the reader; the first alone stands beside a flag. label: of the control.
    changes_scores: whether a method's scores depend on it. follows: the field of `RunSpec` that gives its value
    where nothing else does. flag: whether commands have a flag of its name (else it is given as
    `--option name=value`). repeatable: whether that flag may be given several times.
    own_field: its field in links, where another method has an option of its name with other values.
    later: it came after runs that are named without it, so it is left out of what is written where it is as usual.
    seldom: pages draw it among the settings that are seldom changed.
    needs: the name and the value of another option without which it means nothing.
    """

    name: str
    default: Any
    help: str
    label: str
    changes_scores: bool = True
    follows: str = ""
    flag: bool = True
    repeatable: bool = False
    own_field: str = ""
    later: bool = False
    seldom: bool = False
    needs: tuple[str, Any] | None = None

    @property
    def field(self) -> str:
        """Name of its field in links; options of one field have the same kind, values and label."""
        return self.own_field or self.name

    @property
    def title(self) -> str:
        """How messages call it."""
        return self.name

    @property
    def summary(self) -> str:
        """The first sentence of the help."""
        return self.help.split(". ")[0].rstrip(".") + "."

    @property
    @abstractmethod
    def expected(self) -> str:
        """What its value may be, in words."""

    @property
    def values(self) -> tuple[str, ...]:
        """The names it chooses among; none where it takes other values."""
        return ()

    @abstractmethod
    def check(self, value: Any) -> Any:
        """A Python value, as methods and tasks take it. Errors: OptionError, UnknownNameError."""

    def parse(self, text: str) -> Any:
        """The value that a text means. Errors: OptionError, UnknownNameError."""
        return self.check(text)

    def show(self, value: Any) -> str:
        """The text that means a value; inverse of `parse`."""
        return str(value)

    def short(self, value: Any) -> str:
        """What the name of a variant says of a value, "" where it goes without saying."""
        return ""

    def mark(self, value: Any) -> str:
        """The same as one word, for links."""
        return self.short(value)

    def for_pages(self) -> Option:
        """The option as a page offers it."""
        return self

    def refuse(self, value: Any, expected: str = "") -> NoReturn:
        """Raise OptionError: what was expected, and what came."""
        raise OptionError(f"{self.title} must be {expected or self.expected}; got {value!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {"name": self.name, "default": self.default, "choices": list(self.values), "help": self.help}


@dataclass(frozen=True, kw_only=True)
class WholeNumber(Option):
    """A whole number within bounds. symbol: its letter in the papers; usual: what no name says.

    page_high: the largest that a page offers, where more is possible but takes long.
    """

    low: int = 0
    high: int = 2**31 - 1
    page_high: int | None = None
    symbol: str = ""
    usual: int | None = None

    @property
    def title(self) -> str:
        """Its name with the symbol."""
        return f"{self.name} ({self.symbol})" if self.symbol else self.name

    @property
    def expected(self) -> str:
        """The bounds."""
        return f"a whole number of at least {self.low:,} and at most {self.high:,}"

    def check(self, value: Any) -> int:
        """An integer; True and 3.0 are none."""
        if isinstance(value, bool) or not isinstance(value, int) or value < self.low:
            self.refuse(value, f"a whole number of at least {self.low:,}")
        if value > self.high:
            self.refuse(value, f"at most {self.high:,}")
        return value

    def parse(self, text: str) -> int:
        """Decimal digits."""
        try:
            value = int(text)
        except ValueError:
            self.refuse(text, f"a whole number of at least {self.low:,}")
        return self.check(value)

    def phrase(self, value: Any) -> str:
        """`k = 5`."""
        return f"{self.symbol or self.name} = {value}"

    def short(self, value: Any) -> str:
        """`k = 10`, but for the usual value."""
        return "" if value == self._usual else self.phrase(value)

    def mark(self, value: Any) -> str:
        """`k10`, but for the usual value."""
        return "" if value == self._usual else f"{self.symbol or self.name}{value}"

    def for_pages(self) -> WholeNumber:
        """With the bound that pages have."""
        return self if self.page_high is None else replace(self, high=self.page_high)

    @property
    def _usual(self) -> int:
        return int(self.default if self.usual is None else self.usual)


@dataclass(frozen=True, kw_only=True)
class OneOf(Option):
    """One of some names. in_links: whether links say the default too."""

    choices: tuple[Choice, ...]
    in_links: bool = False

    @property
    def expected(self) -> str:
        """The names."""
        return f"one of {', '.join(self.values)}"

    @property
    def values(self) -> tuple[str, ...]:
        """The names it chooses among."""
        return tuple(choice.value for choice in self.choices)

    def label_of(self, value: Any) -> str:
        """How lists show a value."""
        return next((choice.label for choice in self.choices if choice.value == value), str(value))

    def check(self, value: Any) -> Any:
        """One of the names."""
        if value not in self.values:
            raise UnknownNameError.of(self.name, value, self.values)
        return value

    def short(self, value: Any) -> str:
        """The choice's short form; what is no choice is said as it is."""
        return next((choice.short for choice in self.choices if choice.value == value), str(value))

    def mark(self, value: Any) -> str:
        """The value itself."""
        return str(value) if self.in_links or value != self.default else ""


@dataclass(frozen=True, kw_only=True)
class OneOfOrNumber(OneOf):
    """One of some names, or a positive number."""

    choices: tuple[Choice, ...] = ()

    @property
    def expected(self) -> str:
        """The names, and a number."""
        return " or ".join(part for part in (", ".join(map(repr, self.values)), "a positive number") if part)

    def check(self, value: Any) -> Any:
        """One of the names, or a float above 0; a text that reads as one is taken."""
        if isinstance(value, str) and value in self.values:
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not 0 < number < math.inf:
            self.refuse(value)
        return number

    def show(self, value: Any) -> str:
        """The name, or as many digits as the number needs."""
        if isinstance(value, str):
            return value
        return brief if float(brief := f"{value:g}") == value else repr(value)


@dataclass(frozen=True, kw_only=True)
class EdgeNames(Option):
    """Names of edges with commas between them; None is every edge."""

    repeatable: bool = True

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.name} (left out: every edge)"

    @property
    def expected(self) -> str:
        """The form, with an example."""
        return "names of edges with commas between them, such as input->a0.h1<q>,m3->logits"

    def check(self, value: Any) -> list[str] | None:
        """From a list or a text with commas; each name once, in order of name."""
        if value is None:
            return None
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            self.refuse(value)
        names = {name.strip() for text in texts for name in text.split(",")} - {""}
        if not all("->" in name for name in names) or (texts and not names):
            self.refuse(value)
        return sorted(names)

    def parse(self, text: str) -> list[str] | None:
        """Nothing is every edge."""
        return self.check(text) if text.strip() else None

    def show(self, value: Any) -> str:
        """The names with commas between."""
        return ", ".join(value or ())

    def short(self, value: Any) -> str:
        """How many, where not every edge is meant."""
        n = len(self.check(value) or ())
        return f"{n:,} edge{'s' if n > 1 else ''} only" if n else ""


def settle(options: Sequence[Option], values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Every option with its value, checked; the default where none is given.

    owner: whose options they are, for messages. Errors: OptionError for an option that it does not have or a
    value out of range, UnknownNameError for a name that is none of the choices.
    """
    names = [option.name for option in options]
    extra = sorted(set(values) - set(names))
    if extra:
        near = difflib.get_close_matches(extra[0], names, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else " Leave it out."
        raise OptionError(f"{owner} has no option {extra[0]!r}: it has {', '.join(names) or 'none'}.{guess}")
    return {option.name: option.check(values.get(option.name, option.default)) for option in options}


def written(options: Sequence[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of every option's value: all but what came later and is as usual, and what has no meaning."""

    def counts(option: Option) -> bool:
        as_before = option.later and values[option.name] == option.default
        return not as_before and (option.needs is None or values[option.needs[0]] == option.needs[1])

    return {option.name: values[option.name] for option in options if counts(option)}
