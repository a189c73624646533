"""Greater-than: a period ends later than it begins."""

from __future__ import annotations

import re

import numpy as np

from eapgp.prompts.pairs import PromptPair
from eapgp.prompts.spans import Part, words_in
from eapgp.tasks.recipe import Point, Recipe, Space, Vocabulary, grid, held_out
from eapgp.tasks.words import CENTURIES, EVENTS
from eapgp.tasks.years import written_years

TEMPLATES = (
    "The {event} went on from the year {century}{year:02d} to the year {century}",
    "Records show that the {event} ran from the year {century}{year:02d} to the year {century}",
    "The famous {event} was dated from the year {century}{year:02d} to the year {century}",
    "In our book the {event} spans the years from {century}{year:02d} to {century}",
)
FIRST_YEAR, LAST_YEAR = 2, 98


def recipe(vocabulary: Vocabulary) -> Recipe:
    """Start years of a century; the corrupted start year is 01. What the next token holds decides: two digits or one.

    Combination: event, template and century, whatever the year.
    """
    years = np.arange(FIRST_YEAR, LAST_YEAR + 1)
    template, event, century, year = axes = grid(len(TEMPLATES), len(EVENTS), len(CENTURIES), len(years))
    written = written_years(vocabulary)
    valid = written.starts[century, years[year]] & (vocabulary.lengths(EVENTS) > 0)[event]
    valid &= vocabulary.reads(_filled(vocabulary.known(EVENTS)))[template]
    test = held_out(template, event, century)

    def write(point: Point, rng: np.random.Generator) -> PromptPair:
        t, e, c, y = point
        start = y + FIRST_YEAR
        words = {"event": EVENTS[e], "century": CENTURIES[c]}
        return PromptPair(
            TEMPLATES[t].format(year=start, **words),
            TEMPLATES[t].format(year=written.corrupted[c], **words),
            *written.sides(start),
            f"template {t + 1}; {EVENTS[e]}, from {CENTURIES[c]}{start:02d}",
        )

    return Recipe(Space(axes, train=valid & ~test, test=valid & test), write, written.why_not)


def parts(pair: PromptPair) -> list[Part]:
    """The event, and the century and the year in which it begins."""
    years = re.search(r"(\d\d)(\d\d)\D", pair.clean)
    assert years is not None, "a prompt of this task holds the year in which a period begins"
    names = ("century", "start year")
    return [*words_in(pair.clean, EVENTS, "event"), *((name, *years.span(i + 1)) for i, name in enumerate(names))]


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    filled = [t.format(event=EVENTS[0], century=c, year=50) for t in TEMPLATES for c in CENTURIES]
    return filled + [f" {event}" for event in EVENTS] + [f"{year:02d}" for year in range(100)]


def _filled(events: tuple[str, ...]) -> list[str]:
    """Every template with the first of the events."""
    return [t.format(event=(*events, *EVENTS)[0], century=CENTURIES[-1], year=50) for t in TEMPLATES]
