"""What an attention head can be measured to do on prompts: the roles, and the positions that each is about.

Every role is measured on the prompts that are given, for any model, and is a head's only where its number passes; no
head has a role by its name. Notation: A[q, k] is the attention that query position q pays to key position k on the
clean prompt, t the tokens from position 0 on, n their number, S_q the keys that a role counts at query q.

    attention roles    score = mean over pairs of mean over {q : S_q not empty} of Σ_{k in S_q} A[q, k]
    even attention     the same with A[q, k] = 1 / (q + 1)

The first position is in no S_q but its own role's: heads that have nothing to do rest there, whatever it holds
("attention sink", Xiao et al. 2024, arXiv:2309.17453), and would pass for looking at what happens to stand first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eapgp.numerals import percent, percent_with
from eapgp.types import Bools, Ints

SHARE, MOST, KEPT, AHEAD = 0.4, 0.5, 0.8, 0.9
"""Thresholds: of a head's attention; of that on the first position; of the attention that stays in place; of the tokens
that an attended one beats.
"""


@dataclass(frozen=True)
class Spans:
    """One clean prompt as roles see it, each `[pos]`.

    ids: tokens; changed: where the corrupted prompt has another one; right, wrong: where an answer stands.
    """

    ids: Ints
    changed: Bools
    right: Bools
    wrong: Bools

    @property
    def earlier(self) -> Bools:
        """`[query, key]` keys before the query, without the first position."""
        mask = np.tril(np.ones((len(self.ids),) * 2, dtype=np.bool_), -1)
        mask[:, 0] = False
        return mask

    def from_last(self, keys: Bools) -> Bools:
        """`[query, key]` some keys, for the last query alone."""
        mask = self.earlier & keys[None, :]
        mask[:-1] = False
        return mask


Targets = Callable[[Spans], Bools]


def previous_token(spans: Spans) -> Bools:
    """S_q = {q − 1}. Source: Elhage et al. 2021; Olsson et al. 2022, arXiv:2209.11895."""
    return np.eye(len(spans.ids), k=-1, dtype=np.bool_) & spans.earlier


def duplicate_token(spans: Spans) -> Bools:
    """S_q = {k < q : t_k = t_q}. Source: Wang et al. 2023, arXiv:2211.00593, section 3.1."""
    return (spans.ids[:, None] == spans.ids[None, :]) & spans.earlier


def induction(spans: Spans) -> Bools:
    """S_q = {k < q : t_{k−1} = t_q}. Source: Olsson et al. 2022, arXiv:2209.11895 (prefix matching score)."""
    after = np.zeros_like(spans.earlier)
    after[:, 1:] = duplicate_token(spans)[:, :-1]
    return after & spans.earlier


def right_answer(spans: Spans) -> Bools:
    """S_{n−1} = {k < n − 1 : t_k is the right answer}. Source: name movers, Wang et al. 2023, arXiv:2211.00593."""
    return spans.from_last(spans.right)


def wrong_answer(spans: Spans) -> Bools:
    """S_{n−1} = {k < n − 1 : t_k is the wrong answer}. Source: Wang et al. 2023, arXiv:2211.00593."""
    return spans.from_last(spans.wrong)


def deciding_word(spans: Spans) -> Bools:
    """S_{n−1} = {k < n − 1 : the corrupted prompt has another token at k}.

    In indirect object identification that is the second place of the subject, which S-inhibition heads attend to.
    Source: Wang et al. 2023, arXiv:2211.00593.
    """
    return spans.from_last(spans.changed)


def current_token(spans: Spans) -> Bools:
    """S_q = {q}, q > 0. Source: Elhage et al. 2021."""
    mask = np.eye(len(spans.ids), dtype=np.bool_)
    mask[0] = False
    return mask


def first_position(spans: Spans) -> Bools:
    """S_q = {0}, q > 0. Source: Xiao et al. 2024, arXiv:2309.17453."""
    mask = np.zeros_like(spans.earlier)
    mask[1:, 0] = True
    return mask


@dataclass(frozen=True)
class Role:
    """Something that a head can be measured to do.

    name: its id. title: what the head does, in words; short: the same within a box. number: what the score and its
    comparison are, `{value}` and `{even}`. about: one or two sentences. threshold: the least score. targets: S of an
    attention role, else None. kind: attention roles are `last` where the last position alone counts.
    """

    name: str
    title: str
    short: str
    number: str
    about: str
    threshold: float
    targets: Targets | None = None
    kind: Literal["last", "attention", "copying", "position"] = "attention"

    def told(self, value: float, low: float, high: float, even: float) -> str:
        """The number with its interval and what it is compared with, in words."""
        return self.number.format(value=percent_with(value, low, high), even=percent(even))


_OF_ATTENTION = "{value} of its attention; even attention would give {even}"
_OF_TOKENS = "{value} of the other tokens of these prompts; chance is {even}"

ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role(
            "answer",
            "attends to the right answer",
            "answer",
            _OF_ATTENTION,
            "From the last position it looks at where the right answer stands in the prompt.",
            SHARE,
            right_answer,
            "last",
        ),
        Role(
            "subject",
            "attends to the word that decides",
            "subject",
            _OF_ATTENTION,
            "From the last position it looks at the word that the corrupted prompt changes: the one that decides the "
            "answer, such as the repeated name, the subject.",
            SHARE,
            deciding_word,
            "last",
        ),
        Role(
            "distractor",
            "attends to the wrong answer",
            "distractor",
            _OF_ATTENTION,
            "From the last position it looks at where the wrong answer stands in the prompt.",
            SHARE,
            wrong_answer,
            "last",
        ),
        Role(
            "induction",
            "attends to the token after an earlier copy",
            "induction",
            _OF_ATTENTION,
            "Where a token comes again, it looks at what followed the token the first time.",
            SHARE,
            induction,
        ),
        Role(
            "duplicate-token",
            "attends to an earlier copy of the token",
            "duplicate",
            _OF_ATTENTION,
            "Where a token comes again, it looks at the place where the same token stood before.",
            SHARE,
            duplicate_token,
        ),
        Role(
            "previous-token",
            "attends to the previous token",
            "previous",
            _OF_ATTENTION,
            "From every position it looks at the one before.",
            SHARE,
            previous_token,
        ),
        Role(
            "current-token",
            "attends to the token itself",
            "itself",
            _OF_ATTENTION,
            "From every position it looks at that position and nowhere else.",
            SHARE,
            current_token,
        ),
        Role(
            "copying",
            "raises the tokens it attends to",
            "copies",
            f"by more than {_OF_TOKENS}",
            "At the last position its output raises the logits of the tokens it looks at above those of other tokens.",
            AHEAD,
            kind="copying",
        ),
        Role(
            "suppression",
            "lowers the tokens it attends to",
            "suppresses",
            f"by more than {_OF_TOKENS}",
            "At the last position its output lowers the logits of the tokens it looks at below those of other tokens.",
            AHEAD,
            kind="copying",
        ),
        Role(
            "position-only",
            "attends by position alone",
            "position",
            "{value} of its attention stays where it is when random words take the place of the prompts' own; even "
            "attention shares {even} with it",
            "What the words are hardly matters to where it looks.",
            KEPT,
            kind="position",
        ),
        Role(
            "first-position",
            "rests on the first position",
            "rests",
            _OF_ATTENTION,
            "Most of its attention is on the first position, where heads look that find nothing to do.",
            MOST,
            first_position,
            "position",
        ),
    )
}
"""By name."""
KINDS = ("last", "attention", "copying", "position")
"""What is said first of a head with several roles."""
NO_ROLE = "no role measured"
