"""How numbers are written wherever people read them: one form for pages, figures and sentences.

A true minus sign (U+2212), thousands separators, as many decimals as an interval leaves.
"""

from __future__ import annotations

import math
import re

MINUS = "\u2212"
UNDEFINED = "undefined"
_NOISE = 5e-5  # a change below this is float noise
_NARROW = 2.0  # percent: an interval narrower than this is told with a decimal


def number(value: float, digits: int = 3) -> str:
    """A number of `digits` significant digits."""
    return _set(f"{value:.{digits}g}")


def _set(text: str) -> str:
    """Python's spelling of a number with a true minus sign and no needless zeros in its power of ten: `1.2e−5`."""
    return re.sub(r"e\+?(-?)0*(\d)", r"e\1\2", text).replace("-", MINUS)


def count(n: int) -> str:
    """A whole number with thousands separators."""
    return f"{n:,}".replace("-", MINUS)


def decimal(value: float, digits: int = 3) -> str:
    """A number with so many decimals, such as a metric or a faithfulness."""
    return UNDEFINED if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def decimal_with(value: float, low: float, high: float, digits: int = 3) -> str:
    """A number with so many decimals and its interval: `0.943 [0.921, 0.962]`."""
    return f"{decimal(value, digits)} {ends(low, high, digits)}".rstrip()


def ends(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval as `[0.921, 0.962]`; nothing where there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{decimal(low, digits)}, {decimal(high, digits)}]"


def score(value: float) -> str:
    """A score or an effect with its sign, four significant digits, as circuits show it."""
    return UNDEFINED if math.isnan(value) else _set(f"{value:+.4g}")


def signed(value: float) -> str:
    """A change with its sign: three decimals, small ones with two digits, and what is float noise as such."""
    if math.isnan(value):
        return UNDEFINED
    if abs(value) < _NOISE:
        return "≈ 0"
    return _set(f"{value:+.3f}" if abs(value) >= 0.0995 else f"{value:+.2g}")


def signed_with(value: float, low: float, high: float) -> str:
    """A change and its interval, three decimals: `+0.039 [+0.021, +0.058]`; without one where there is none."""
    if math.isnan(value):
        return UNDEFINED
    interval = "" if math.isnan(low) or math.isnan(high) else f" [{low:+.3f}, {high:+.3f}]"
    return f"{value:+.3f}{interval}".replace("-", MINUS)


def percent(value: float, digits: int = 0) -> str:
    """A share as `94 %`; with a decimal next to nothing and next to all, which a rounded one would say."""
    if math.isnan(value):
        return UNDEFINED
    share = 100 * value
    return f"{share:.{max(digits, int(0.05 <= abs(share) < 1 or 99 < share < 99.95))}f} %".replace("-", MINUS)


def percent_with(value: float, low: float, high: float) -> str:
    """A share and its interval, `94 % [92, 96]`, with a decimal where the interval is narrow."""
    if math.isnan(value) or math.isnan(low) or math.isnan(high):
        return percent(value)
    whole = all(math.isclose(100 * one, round(100 * one), abs_tol=0.05) for one in (value, low, high))
    digits = int(100 * (high - low) < _NARROW and not whole)
    return f"{percent(value, digits)} {ends(100 * low, 100 * high, digits)}"


def duration(seconds: float) -> str:
    """A time in a few characters: 1 s, 47 s, 12 min, 2.5 h."""
    if seconds < 1:
        return "1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
