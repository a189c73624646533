"""Indirect object identification: who receives the object."""

from __future__ import annotations

import numpy as np

from eapgp.prompts.pairs import PromptPair
from eapgp.prompts.spans import Part, exchanged, words_in
from eapgp.tasks.recipe import Point, Recipe, Space, Vocabulary, fitting, grid, held_out, pick
from eapgp.tasks.words import NAMES, OBJECTS, PLACES

TEMPLATES = (
    "When {a} and {b} went to the {place}, {s} gave a {object} to",
    "After {a} and {b} met at the {place}, {s} handed a {object} to",
    "While {a} and {b} were waiting at the {place}, {s} offered a {object} to",
    "Yesterday {a} and {b} walked to the {place}, and {s} brought a {object} to",
    "Once {a} and {b} had reached the {place}, {s} passed a {object} to",
    "Today {a} and {b} sat together near the {place}. Later {s} showed a {object} to",
    "Because {a} and {b} had to leave the {place} early, {s} lent a {object} to",
    "As soon as {a} and {b} came back from the {place}, {s} sent a {object} to",
    "Before {a} and {b} left for the {place}, {s} threw a {object} to",
    "Last night {a} and {b} cleaned the {place}, so {s} sold a {object} to",
    "Since {a} and {b} work at the {place}, {s} carried a {object} to",
    "On Sunday {a} and {b} argued about the {place}, but {s} still gave a {object} to",
)
N_NAMES = 3  # a pair has two, and a third replaces the repeated one


def recipe(vocabulary: Vocabulary, *, corruption: str) -> Recipe:
    """Pairs of two names of one token; the repeated name is corrupted.

    Combination: the unordered pair of names. A held-out pair of names appears in no
    training prompt, in no order and no template.
    """
    template, first, second, _ = axes = grid(len(TEMPLATES), len(NAMES), len(NAMES), 2)
    usable = vocabulary.one_token(NAMES)
    names, places, objects = fitting(NAMES, usable), vocabulary.known(PLACES), vocabulary.known(OBJECTS)
    valid = (first != second) & usable[first] & usable[second]
    valid &= len(names) >= N_NAMES and bool(places) and bool(objects)
    valid &= vocabulary.reads(_filled(names, places, objects))[template]
    test = held_out(first, second)

    def write(point: Point, rng: np.random.Generator) -> PromptPair:
        t, i, j, which = point
        a, b = NAMES[i], NAMES[j]
        repeated, receiver = (a, b) if which == 0 else (b, a)
        words = {"a": a, "b": b, "place": pick(rng, places), "object": pick(rng, objects)}
        third = pick(rng, [name for name in names if name not in (a, b)])
        replacement = receiver if corruption == "hard" else third
        return PromptPair(
            TEMPLATES[t].format(s=repeated, **words),
            TEMPLATES[t].format(s=replacement, **words),
            (f" {receiver}",),
            (f" {repeated}",),
            f"template {t + 1}; {receiver} receives, {repeated} gives",
        )

    return Recipe(
        Space(axes, train=valid & ~test, test=valid & test),
        write,
        f"{len(names)} of the {len(NAMES)} names are one token, as an answer has to be; {N_NAMES} are needed",
    )


def parts(pair: PromptPair) -> list[Part]:
    """The two names, and the one that is repeated."""
    names = [str(side[0]).strip() for side in (pair.correct, pair.incorrect)]
    mentions = [(start, stop) for _, start, stop in words_in(pair.clean, names, "name")]
    return [("first name", *mentions[0]), ("second name", *mentions[1]), *exchanged(pair, "repeated name")]


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    return _filled(NAMES, PLACES, OBJECTS) + [f" {word}" for word in (*NAMES, *PLACES, *OBJECTS)]


def _filled(names: tuple[str, ...], places: tuple[str, ...], objects: tuple[str, ...]) -> list[str]:
    """Every template with the first of the words."""
    a, b = (*names, *NAMES)[:2]
    words = {"a": a, "b": b, "s": b, "place": (*places, *PLACES)[0], "object": (*objects, *OBJECTS)[0]}
    return [template.format(**words) for template in TEMPLATES]
