"""Country–capital: which country a capital belongs to."""

from __future__ import annotations

import numpy as np

from eapgp.prompts.pairs import PromptPair
from eapgp.tasks.recipe import Point, Recipe, Space, Vocabulary, grid, held_out
from eapgp.tasks.words import CAPITALS

TEMPLATES = (
    "They flew to {capital}, the capital of",
    "She was born in {capital}, the capital of",
    "He moved to {capital}, the capital of",
    "We spent a week in {capital}, the capital of",
    "The meeting was held in {capital}, the capital of",
    "Our train stopped in {capital}, the capital of",
    "My sister has never been to {capital}, the capital of",
    "Her letter came from {capital}, the capital of",
    "The team played in {capital}, the capital of",
    "Many people live in {capital}, the capital of",
)


def recipe(vocabulary: Vocabulary) -> Recipe:
    """Two capitals of equally many tokens in one template; their countries are one token.

    Combination: fact and template. Both prompts of a test pair are held out. The facts
    themselves cannot be: a model only knows those it was trained on.
    """
    template, fact, other = axes = grid(len(TEMPLATES), len(CAPITALS), len(CAPITALS))
    lengths = vocabulary.lengths([capital for capital, _ in CAPITALS])
    answers = vocabulary.one_token([country for _, country in CAPITALS])
    usable = answers & (lengths > 0)
    sample, _ = CAPITALS[usable.argmax()]
    valid = (fact != other) & usable[fact] & usable[other] & (lengths[fact] == lengths[other])
    valid &= vocabulary.reads([text.format(capital=sample) for text in TEMPLATES])[template]
    clean, corrupted = held_out(template, fact), held_out(template, other)

    def write(point: Point, rng: np.random.Generator) -> PromptPair:
        t, f, o = point
        (capital, country), (other_capital, other_country) = CAPITALS[f], CAPITALS[o]
        return PromptPair(
            TEMPLATES[t].format(capital=capital),
            TEMPLATES[t].format(capital=other_capital),
            (f" {country}",),
            (f" {other_country}",),
            f"template {t + 1}; {capital} against {other_capital}",
        )

    return Recipe(
        Space(axes, train=valid & ~clean & ~corrupted, test=valid & clean & corrupted),
        write,
        f"{answers.sum()} of the {len(answers)} countries are one token, as an answer has to be, and no two of their "
        "capitals have equally many tokens",
    )


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    words = [f" {word}" for fact in CAPITALS for word in fact]
    return [t.format(capital=CAPITALS[0][0]) for t in TEMPLATES] + words
