"""Subject–verb agreement: the verb takes the number of its subject."""

from __future__ import annotations

import numpy as np

from eapgp.prompts.pairs import PromptPair
from eapgp.tasks.space import choose, grid, held_out, pick
from eapgp.tasks.words import PEOPLE, RELATIVE_VERBS, THINGS, VERBS

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


def generate(n: int, *, seed: int, split: str) -> tuple[PromptPair, ...]:
    """The deciding noun in one number against the other number.

    Combination: template, noun and other noun, whatever their numbers.
    """
    template, noun, _, other, _ = axes = grid(len(TEMPLATES), len(NOUNS), 2, len(PEOPLE), 2)
    may_be_thing = np.array([allowed for _, allowed in TEMPLATES])
    valid = (noun != other) & (may_be_thing[template] | (noun < len(PEOPLE)))
    test = held_out(template, noun, other)
    points, rng = choose("sva", axes, train=valid & ~test, test=valid & test, n=n, seed=seed, split=split)
    pairs = []
    for t, i, k, j, m in points:
        text, verb = TEMPLATES[t][0], pick(rng, RELATIVE_VERBS)
        fixed = {"b": PEOPLE[j][m], "v": verb[m]}
        pairs.append(
            PromptPair(
                text.format(a=NOUNS[i][k], w=verb[k], **fixed),
                text.format(a=NOUNS[i][1 - k], w=verb[1 - k], **fixed),
                (SINGULAR, PLURAL)[k],
                (SINGULAR, PLURAL)[1 - k],
                f"template {t + 1}; {NOUNS[i][k]} decides ({('singular', 'plural')[k]})",
            )
        )
    return tuple(pairs)


def phrases() -> list[str]:
    """Texts that together hold every word this task uses."""
    words = {"a": PEOPLE[0][0], "b": PEOPLE[1][0], "v": RELATIVE_VERBS[0][0], "w": RELATIVE_VERBS[0][0]}
    filled = [text.format(**words) for text, _ in TEMPLATES]
    return filled + [f" {word}" for pair in (*NOUNS, *RELATIVE_VERBS, *VERBS) for word in pair]
