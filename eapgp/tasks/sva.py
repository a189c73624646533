"""Subject–verb agreement: the verb takes the number of its subject."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eapgp.prompts.pairs import PromptPair
from eapgp.prompts.spans import Part, exchanged, words_in
from eapgp.tasks.recipe import Point, Recipe, Space, Vocabulary, fitting, grid, held_out, pick
from eapgp.tasks.words import PEOPLE, RELATIVE_VERBS, THINGS, VERBS
from eapgp.types import Bools, Ints

# {a} is the noun whose number decides and is flipped; {b} is another noun; {v} a verb that
# agrees with {b}, {w} one that agrees with {a}. The flag says whether {a} may be a thing.
TEMPLATES = (
    ("Every morning the {a}, like the {b},", False),
    ("In this town the {a} near the {b}", True),
    ("They say the {a} behind the {b}", True),
    ("I think the {a} that the {b} {v}", True),
    ("Perhaps the {a} the {b} {v}", True),
    ("Our {b} said that the {a}", True),
    ("Every year the {a} that {w} the {b}", False),
    ("We all know that the {a} beside the {b}", True),
    ("Maybe the {b} that the {a}", False),
)
NOUNS = (*PEOPLE, *THINGS)
SINGULAR, PLURAL = (tuple(f" {pair[number]}" for pair in VERBS) for number in (0, 1))


def recipe(vocabulary: Vocabulary) -> Recipe:
    """The deciding noun in one number against the other number, of equally many tokens.

    Combination: template, noun and other noun, whatever their numbers. Answers are the verbs
    whose two forms are one token each.
    """
    template, noun, _, other, _ = axes = grid(len(TEMPLATES), len(NOUNS), 2, len(PEOPLE), 2)
    nouns, others = _equal_forms(vocabulary, NOUNS), _forms(vocabulary, PEOPLE).min(axis=1) > 0
    flipped = fitting(RELATIVE_VERBS, _equal_forms(vocabulary, RELATIVE_VERBS))
    relative = fitting(RELATIVE_VERBS, _forms(vocabulary, RELATIVE_VERBS).min(axis=1) > 0)
    answers = vocabulary.one_token([form for pair in VERBS for form in pair]).reshape(-1, 2).min(axis=1)
    numbers = tuple(tuple(f" {pair[number]}" for pair in fitting(VERBS, answers)) for number in (0, 1))
    verbs = [flipped if "{w}" in text else relative for text, _ in TEMPLATES]
    may_be_thing = np.array([allowed for _, allowed in TEMPLATES])
    usable = np.array([bool(choice) for choice in verbs]) & vocabulary.reads(_filled(fitting(PEOPLE, others), relative))
    valid = (noun != other) & (may_be_thing[template] | (noun < len(PEOPLE)))
    valid &= nouns[noun] & others[other] & usable[template] & answers.any()
    test = held_out(template, noun, other)

    def write(point: Point, rng: np.random.Generator) -> PromptPair:
        t, i, k, j, m = point
        text, verb = TEMPLATES[t][0], pick(rng, verbs[t])
        fixed = {"b": PEOPLE[j][m], "v": verb[m]}
        return PromptPair(
            text.format(a=NOUNS[i][k], w=verb[k], **fixed),
            text.format(a=NOUNS[i][1 - k], w=verb[1 - k], **fixed),
            numbers[k],
            numbers[1 - k],
            f"template {t + 1}; {NOUNS[i][k]} decides ({('singular', 'plural')[k]})",
        )

    lacks = "no noun has equally many tokens in the singular and in the plural"
    return Recipe(
        Space(axes, train=valid & ~test, test=valid & test),
        write,
        lacks if answers.any() else f"none of the {len(VERBS)} verbs is one token in both forms, as answers have to be",
    )


def _forms(vocabulary: Vocabulary, words: Sequence[tuple[str, str]]) -> Ints:
    """`[word, form]` tokens of each."""
    return np.stack([vocabulary.lengths([pair[number] for pair in words]) for number in (0, 1)], axis=1)


def _equal_forms(vocabulary: Vocabulary, words: Sequence[tuple[str, str]]) -> Bools:
    """`[word]` whether both forms have equally many tokens."""
    singular, plural = _forms(vocabulary, words).T
    return (singular == plural) & (singular > 0)


def parts(pair: PromptPair) -> list[Part]:
    """The noun that decides, with a verb that agrees with it, and the other noun."""
    deciding = exchanged(pair, "deciding noun")
    taken = {start for _, start, _ in deciding}
    others = words_in(pair.clean, [form for noun in PEOPLE for form in noun], "other noun")
    return sorted([*deciding, *(part for part in others if part[1] not in taken)], key=lambda part: part[1])


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    words = [f" {word}" for pair in (*NOUNS, *RELATIVE_VERBS, *VERBS) for word in pair]
    return _filled(PEOPLE, RELATIVE_VERBS) + words


def _filled(people: Sequence[tuple[str, str]], verbs: Sequence[tuple[str, str]]) -> list[str]:
    """Every template with the first of the words."""
    (a, _), (b, _) = (*people, *PEOPLE)[:2]
    verb, _ = (*verbs, *RELATIVE_VERBS)[0]
    return [text.format(a=a, b=b, v=verb, w=verb) for text, _ in TEMPLATES]
