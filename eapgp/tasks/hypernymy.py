"""Hypernymy: which class a thing belongs to."""

from __future__ import annotations

import numpy as np

from eapgp.prompts.pairs import PromptPair
from eapgp.tasks.space import choose, grid, held_out
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


def generate(n: int, *, seed: int, split: str) -> tuple[PromptPair, ...]:
    """Members of two classes in one template.

    Combination: member and template. Both prompts of a test pair are held out. The facts
    themselves cannot be: a model only knows those it was trained on.
    """
    template, item, other = axes = grid(len(TEMPLATES), len(ITEMS), len(ITEMS))
    kinds = np.array([kind for _, kind in ITEMS])
    differ = kinds[item] != kinds[other]
    clean, corrupted = held_out(template, item), held_out(template, other)
    points, _ = choose(
        "hypernymy",
        axes,
        train=differ & ~clean & ~corrupted,
        test=differ & clean & corrupted,
        n=n,
        seed=seed,
        split=split,
    )
    pairs = []
    for t, i, j in points:
        (word, kind), (other_word, other_kind) = ITEMS[i], ITEMS[j]
        pairs.append(
            PromptPair(
                TEMPLATES[t].format(item=word),
                TEMPLATES[t].format(item=other_word),
                ANSWERS[kind],
                ANSWERS[other_kind],
                f"template {t + 1}; {word} against {other_word}",
            )
        )
    return tuple(pairs)


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    words = [f" {item}" for item, _ in ITEMS] + [answer for answers in ANSWERS for answer in answers]
    return [t.format(item=ITEMS[0][0]) for t in TEMPLATES] + words
