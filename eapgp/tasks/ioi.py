"""Indirect object identification: who receives the object."""

from __future__ import annotations

from eapgp.prompts.pairs import PromptPair
from eapgp.tasks.space import choose, grid, held_out, pick
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


def generate(n: int, *, seed: int, split: str, corruption: str) -> tuple[PromptPair, ...]:
    """Pairs of two names; the repeated name is corrupted.

    Combination: the unordered pair of names. A held-out pair of names appears in no
    training prompt, in no order and no template.
    """
    _, first, second, _ = axes = grid(len(TEMPLATES), len(NAMES), len(NAMES), 2)
    valid, test = first != second, held_out(first, second)
    points, rng = choose("ioi", axes, train=valid & ~test, test=valid & test, n=n, seed=seed, split=split)
    pairs = []
    for t, i, j, which in points:
        a, b = NAMES[i], NAMES[j]
        repeated, receiver = (a, b) if which == 0 else (b, a)
        words = {"a": a, "b": b, "place": pick(rng, PLACES), "object": pick(rng, OBJECTS)}
        third = pick(rng, [name for name in NAMES if name not in (a, b)])
        replacement = receiver if corruption == "hard" else third
        pairs.append(
            PromptPair(
                TEMPLATES[t].format(s=repeated, **words),
                TEMPLATES[t].format(s=replacement, **words),
                (f" {receiver}",),
                (f" {repeated}",),
                f"template {t + 1}; {receiver} receives, {repeated} gives",
            )
        )
    return tuple(pairs)


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    filled = [t.format(a=NAMES[0], b=NAMES[1], s=NAMES[1], place=PLACES[0], object=OBJECTS[0]) for t in TEMPLATES]
    return filled + [f" {word}" for word in (*NAMES, *PLACES, *OBJECTS)]
