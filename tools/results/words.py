"""Words, numbers and tables of the results study's report. A difference whose interval includes 0 is a tie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.results.measure import Estimate


def number(estimate: Estimate, digits: int = 3, *, sign: bool = False) -> str:
    """`0.812 [0.790, 0.833]`."""
    plus = "+" if sign else ""
    value, low, high = (f"{round(x, digits) + 0.0:{plus}.{digits}f}" for x in (estimate.value, *estimate.interval))
    return f"{value} [{low}, {high}]"


def verdict(difference: Estimate) -> str:
    """`higher`, `lower` or `tie`."""
    if difference.tie:
        return "tie"
    return "higher" if difference.value > 0 else "lower"


def flips(difference: Estimate) -> str:
    """`3 %`, or `–` where the two are equal and there is no order."""
    share = difference.flips
    return "–" if np.isnan(share) else f"{share:.0%}" if share == 0 or share >= 0.01 else "< 1%"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---", *["---:"] * (len(head) - 1)]) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
