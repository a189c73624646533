"""Greater-than: a period ends later than it begins."""

from __future__ import annotations

import numpy as np

from eapgp.prompts.pairs import PromptPair
from eapgp.tasks.space import choose, grid, held_out
from eapgp.tasks.words import CENTURIES, EVENTS, UNSPLIT_YEARS

TEMPLATES = (
    "The {event} went on from the year {century}{year:02d} to the year {century}",
    "Records show that the {event} ran from the year {century}{year:02d} to the year {century}",
    "The famous {event} was dated from the year {century}{year:02d} to the year {century}",
    "In our book the {event} spans the years from {century}{year:02d} to {century}",
)
FIRST_YEAR, LAST_YEAR, CORRUPTED_YEAR = 2, 98, 1


def generate(n: int, *, seed: int, split: str) -> tuple[PromptPair, ...]:
    """Start years 02 … 98 of a century; the corrupted start year is 01.

    Combination: event, template and century, whatever the year.
    """
    size = LAST_YEAR - FIRST_YEAR + 1
    template, event, century, year = axes = grid(len(TEMPLATES), len(EVENTS), len(CENTURIES), size)
    unsplit = np.zeros((len(CENTURIES), size), dtype=bool)
    for row, number in enumerate(CENTURIES):
        unsplit[row, [y - FIRST_YEAR for y in UNSPLIT_YEARS[number] if FIRST_YEAR <= y <= LAST_YEAR]] = True
    valid, test = ~unsplit[century, year], held_out(template, event, century)
    points, _ = choose("greater-than", axes, train=valid & ~test, test=valid & test, n=n, seed=seed, split=split)
    pairs = []
    for t, e, c, y in points:
        start = y + FIRST_YEAR
        words = {"event": EVENTS[e], "century": CENTURIES[c]}
        pairs.append(
            PromptPair(
                TEMPLATES[t].format(year=start, **words),
                TEMPLATES[t].format(year=CORRUPTED_YEAR, **words),
                tuple(f"{end:02d}" for end in range(start + 1, 100)),
                tuple(f"{end:02d}" for end in range(start + 1)),
                f"template {t + 1}; {EVENTS[e]}, from {CENTURIES[c]}{start:02d}",
            )
        )
    return tuple(pairs)


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    filled = [t.format(event=EVENTS[0], century=c, year=50) for t in TEMPLATES for c in CENTURIES]
    return filled + [f" {event}" for event in EVENTS] + [f"{year:02d}" for year in range(100)]
