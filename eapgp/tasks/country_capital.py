"""Country–capital: which country a capital belongs to."""

from __future__ import annotations

from eapgp.prompts.pairs import PromptPair
from eapgp.tasks.space import choose, grid, held_out
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


def generate(n: int, *, seed: int, split: str) -> tuple[PromptPair, ...]:
    """Two capitals in one template.

    Combination: fact and template. Both prompts of a test pair are held out. The facts
    themselves cannot be: a model only knows those it was trained on.
    """
    template, fact, other = axes = grid(len(TEMPLATES), len(CAPITALS), len(CAPITALS))
    differ = fact != other
    clean, corrupted = held_out(template, fact), held_out(template, other)
    points, _ = choose(
        "country-capital",
        axes,
        train=differ & ~clean & ~corrupted,
        test=differ & clean & corrupted,
        n=n,
        seed=seed,
        split=split,
    )
    pairs = []
    for t, f, o in points:
        (capital, country), (other_capital, other_country) = CAPITALS[f], CAPITALS[o]
        pairs.append(
            PromptPair(
                TEMPLATES[t].format(capital=capital),
                TEMPLATES[t].format(capital=other_capital),
                (f" {country}",),
                (f" {other_country}",),
                f"template {t + 1}; {capital} against {other_capital}",
            )
        )
    return tuple(pairs)


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    words = [f" {word}" for fact in CAPITALS for word in fact]
    return [t.format(capital=CAPITALS[0][0]) for t in TEMPLATES] + words
