"""Hypernymy: which class a thing belongs to."""

from __future__ import annotations

import numpy as np

from eapgp.prompts.pairs import PromptPair
from eapgp.tasks.recipe import Point, Recipe, Space, Vocabulary, fitting, grid, held_out
from eapgp.tasks.words import KINDS

TEMPLATES = (
    "They talked about {item} and other",
    "She wrote a book about {item} and other",
    "He asked us about {item} and other",
    "We learned a lot about {item} and other",
    "My brother often thinks of {item} and other",
    "The speaker mentioned {item} and other",
    "People argue about {item} and other",
    "The children made pictures of {item} and other",
    "I have heard enough about {item} and other",
    "This page is about {item} and other",
)
ITEMS = tuple((item, kind) for kind, answers in enumerate(KINDS) for item in KINDS[answers])
ANSWERS = tuple(tuple(f" {word}" for word in answers) for answers in KINDS)


def recipe(vocabulary: Vocabulary) -> Recipe:
    """Members of two classes in one template, of equally many tokens; answers are the classes' words of one token.

    Combination: member and template. Both prompts of a test pair are held out. The facts
    themselves cannot be: a model only knows those it was trained on.
    """
    template, item, other = axes = grid(len(TEMPLATES), len(ITEMS), len(ITEMS))
    answers = tuple(fitting(words, vocabulary.one_token(names)) for names, words in zip(KINDS, ANSWERS, strict=True))
    kinds, lengths = np.array([kind for _, kind in ITEMS]), vocabulary.lengths([word for word, _ in ITEMS])
    usable = np.array([bool(words) for words in answers])[kinds] & (lengths > 0)
    sample, _ = ITEMS[usable.argmax()]
    valid = (kinds[item] != kinds[other]) & usable[item] & usable[other] & (lengths[item] == lengths[other])
    valid &= vocabulary.reads([text.format(item=sample) for text in TEMPLATES])[template]
    clean, corrupted = held_out(template, item), held_out(template, other)

    def write(point: Point, rng: np.random.Generator) -> PromptPair:
        t, i, j = point
        (word, kind), (other_word, other_kind) = ITEMS[i], ITEMS[j]
        return PromptPair(
            TEMPLATES[t].format(item=word),
            TEMPLATES[t].format(item=other_word),
            answers[kind],
            answers[other_kind],
            f"template {t + 1}; {word} against {other_word}",
        )

    return Recipe(
        Space(axes, train=valid & ~clean & ~corrupted, test=valid & clean & corrupted),
        write,
        f"{sum(map(bool, answers))} of the {len(KINDS)} classes have a name of one token, as an answer has to be, and "
        "no members of two of them have equally many tokens",
    )


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    words = [f" {item}" for item, _ in ITEMS] + [answer for answers in ANSWERS for answer in answers]
    return [t.format(item=ITEMS[0][0]) for t in TEMPLATES] + words
