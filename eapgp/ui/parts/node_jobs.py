"""Jobs that read single nodes off the model: attention patterns, roles and their checks, direct contributions,
promoted tokens.

A job's result is a value of `eapgp.readings`; asked for twice it is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eapgp.readings import (
    attention_terms,
    check_role,
    direct_contributions,
    head_pattern,
    head_roles,
    promoted_tokens,
)
from eapgp.runs.info import RunInfo
from eapgp.runs.spec import RunSpec
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import Progress
from eapgp.ui.jobs.workshop import with_gradients
from eapgp.ui.library import consent
from eapgp.ui.library.circuits import roles_key

Read = Callable[[Any, Any, Progress], Any]


def submit_pattern(card: RunInfo, node: str, pair: int) -> str:
    """Start (or join) the reading of a head's attention on one pair (from 0); result: `HeadPattern`."""

    def read(model: Any, prompts: Any, progress: Progress) -> Any:
        return head_pattern(model, prompts, pair, node)

    return _submit(card, f"pattern-{card.id}-{pair}-{node}", f"attention of {node}", read)


def submit_terms(card: RunInfo, node: str, pair: int, query: int, key: int, *, check: bool = False) -> str:
    """Start (or join) the taking apart of one attention logit of a head; result: `AttentionTerms`."""

    def read(model: Any, prompts: Any, progress: Progress) -> Any:
        return attention_terms(model, prompts, pair, node, query, key, check=check)

    name = f"terms-{card.id}-{pair}-{node}-{query}-{key}-{check:d}"
    return _submit(card, name, f"attention logit of {node}", read)


def submit_direct(card: RunInfo) -> str:
    """Start (or join) the reading of every node's direct contribution; result: `DirectContributions`."""

    def read(model: Any, prompts: Any, progress: Progress) -> Any:
        return direct_contributions(model, prompts, progress=progress)

    return _submit(card, f"direct-{card.id}", f"direct contributions on {card.task}", read)


def submit_promoted(card: RunInfo, node: str, pair: int | None) -> str:
    """Start (or join) the reading of the tokens that a node writes for and against; result: `PromotedTokens`."""

    def read(model: Any, prompts: Any, progress: Progress) -> Any:
        return promoted_tokens(model, prompts, node, pair=pair, progress=progress)

    return _submit(card, f"promoted-{card.id}-{pair}-{node}", f"tokens of {node}", read)


def submit_roles(card: RunInfo) -> str:
    """Start (or join) the measuring of every head's roles; result: `HeadRoles`."""

    def read(model: Any, prompts: Any, progress: Progress) -> Any:
        return head_roles(model, prompts, progress=progress)

    return _submit(card, roles_key(card), f"roles of heads on {card.task}", read)


def submit_checks(card: RunInfo, node: str, roles: Sequence[str]) -> str:
    """Start (or join) the checks of a head's roles; result: a `RoleCheck` for each."""

    def read(model: Any, prompts: Any, progress: Progress) -> Any:
        return [check_role(model, prompts, node, role, metric=card.metric, progress=progress) for role in roles]

    return _submit(card, f"role-checks-{card.id}-{node}-{','.join(roles)}", f"check of {node}", read)


def _submit(card: RunInfo, key: str, label: str, read: Read) -> str:
    shop, lane = server.workshop(), consent.live_lane(card.model, card.run.spec or RunSpec())

    def work(progress: Progress) -> Any:
        progress("loading the model", 0.0)
        model = shop.model_of(lane, card.run, progress)
        progress("running the prompts", 0.0)
        return read(model, card.run.prompts(), progress)

    return server.manager().submit(key, label, with_gradients(work), lane=lane)
