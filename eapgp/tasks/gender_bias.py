"""Gender bias: which pronoun follows a job with a stereotype."""

from __future__ import annotations

import numpy as np

from eapgp.prompts.pairs import PromptPair
from eapgp.tasks.recipe import Point, Recipe, Space, Vocabulary, fitting, grid, held_out, pick
from eapgp.tasks.words import ACTIONS, HE_JOBS, HE_PERSONS, SHE_JOBS, SHE_PERSONS, STATEMENTS

OPENERS = ("This morning the", "Yesterday the", "In the end the", "After lunch the", "Later that day the")
LINKS = ("because", "when", "before", "after", "while")
CONTEXTS = (
    *(f"{verb} {link}" for verb in ACTIONS for link in LINKS),
    *(f"{verb} that" for verb in STATEMENTS),
)
JOBS = (*SHE_JOBS, *HE_JOBS)


def recipe(vocabulary: Vocabulary) -> Recipe:
    """A job against a person of the other gender, of equally many tokens.

    Combination: opener, verb and conjunction; held-out contexts appear in no training
    prompt, with no subject.
    """
    opener, context, job = axes = grid(len(OPENERS), len(CONTEXTS), len(JOBS))
    others, lengths = _others(vocabulary), vocabulary.lengths(JOBS)
    pronouns = bool(vocabulary.one_token(("she", "he")).all())
    usable = np.array([pronouns and bool(others[_is_she(j)].get(int(n))) for j, n in enumerate(lengths)])
    valid = usable[job] & vocabulary.reads(OPENERS)[opener] & (vocabulary.lengths(CONTEXTS) > 0)[context]
    test = held_out(opener, context)

    def write(point: Point, rng: np.random.Generator) -> PromptPair:
        o, c, j = point
        other = pick(rng, others[_is_she(j)][int(lengths[j])])
        answers = ((" she",), (" he",)) if _is_she(j) else ((" he",), (" she",))
        return PromptPair(
            f"{OPENERS[o]} {JOBS[j]} {CONTEXTS[c]}",
            f"{OPENERS[o]} {other} {CONTEXTS[c]}",
            *answers,
            f"{JOBS[j]} (stereotype:{answers[0][0]}) against {other}",
        )

    lacks = "no job has as many tokens as a person of the other gender"
    return Recipe(
        Space(axes, train=valid & ~test, test=valid & test),
        write,
        lacks if pronouns else "“he” and “she” are not one token each, as an answer has to be",
    )


def _is_she(job: int) -> bool:
    return job < len(SHE_JOBS)


def _others(vocabulary: Vocabulary) -> dict[bool, dict[int, tuple[str, ...]]]:
    """Persons of the other gender, by that of the job and by their number of tokens."""
    out: dict[bool, dict[int, tuple[str, ...]]] = {}
    for she, persons in ((True, HE_PERSONS), (False, SHE_PERSONS)):
        lengths = vocabulary.lengths(persons)
        out[she] = {int(n): fitting(persons, lengths == n) for n in set(lengths.tolist()) - {0}}
    return out


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    return [*OPENERS, *(f" {text}" for text in (*CONTEXTS, *JOBS, *SHE_PERSONS, *HE_PERSONS, "he", "she"))]
