"""Gender bias: which pronoun follows a job with a stereotype."""

from __future__ import annotations

from eapgp.prompts.pairs import PromptPair
from eapgp.tasks.space import choose, grid, held_out, pick
from eapgp.tasks.words import ACTIONS, HE_JOBS, HE_PERSONS, SHE_JOBS, SHE_PERSONS, STATEMENTS

OPENERS = ("This morning the", "Yesterday the", "In the end the", "After lunch the", "Later that day the")
LINKS = ("because", "when", "before", "after", "while")
CONTEXTS = (
    *(f"{verb} {link}" for verb in ACTIONS for link in LINKS),
    *(f"{verb} that" for verb in STATEMENTS),
)
JOBS = (*SHE_JOBS, *HE_JOBS)


def generate(n: int, *, seed: int, split: str) -> tuple[PromptPair, ...]:
    """A job against a person of the other gender.

    Combination: opener, verb and conjunction; held-out contexts appear in no training
    prompt, with no subject.
    """
    opener, context, _ = axes = grid(len(OPENERS), len(CONTEXTS), len(JOBS))
    test = held_out(opener, context)
    points, rng = choose("gender-bias", axes, train=~test, test=test, n=n, seed=seed, split=split)
    pairs = []
    for o, c, j in points:
        she = j < len(SHE_JOBS)
        other = pick(rng, HE_PERSONS if she else SHE_PERSONS)
        answers = ((" she",), (" he",)) if she else ((" he",), (" she",))
        pairs.append(
            PromptPair(
                f"{OPENERS[o]} {JOBS[j]} {CONTEXTS[c]}",
                f"{OPENERS[o]} {other} {CONTEXTS[c]}",
                *answers,
                f"{JOBS[j]} (stereotype:{answers[0][0]}) against {other}",
            )
        )
    return tuple(pairs)


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    subjects = (*JOBS, *SHE_PERSONS, *HE_PERSONS)
    return [*OPENERS, *(f" {text}" for text in (*CONTEXTS, *subjects, "he", "she"))]
