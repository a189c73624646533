"""Which of a spec's pairs are left out on a model: those that do not fit it, those that it gets wrong.

The pairs that remain are the run's prompts; their origin says what they were taken of and what was left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eapgp.errors import PromptError
from eapgp.evaluation.behaviour import behaviour
from eapgp.prompts.encode import encode, fit
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.spec import RunSpec
from eapgp.types import Progress

SELECTION = "selection"  # key of a prompt set's origin


def selected(
    spec: RunSpec, prompts: PromptSet, model: Any, *, metric: str, progress: Progress | None = None
) -> PromptSet:
    """The pairs of a set that a spec wants used on its model, which is loaded.

    Errors: PromptError where none is left, or, without `skip_unusable`, where a pair does not fit.
    """
    remarks, remaining = [], replace(prompts, metric=metric)
    if spec.skip_unusable:
        findings = fit(remaining, model)
        remaining = remaining.pick(findings.usable)
        if findings.problems:
            remarks.append(_left_out(findings.n_pairs, len(remaining), "do not fit this model", findings.summary()))
    if spec.only_correct and len(remaining):
        right = behaviour(model, encode(remaining, model, contrast=False), metric=metric, progress=progress).right
        n_before, remaining = len(remaining), remaining.pick(right.nonzero()[0].tolist())
        if len(remaining) < n_before:
            remarks.append(_left_out(n_before, len(remaining), "are answered wrongly by this model", ""))
    if not len(remaining):
        raise PromptError(f"no pair is left: {' '.join(remarks)} Use other prompts, or leave out fewer.")
    about = {**spec.selection, "of": prompts.hash, "n_pairs": len(prompts), "remarks": remarks}
    return replace(remaining, metric=prompts.metric, origin={**prompts.origin, SELECTION: about})


def _left_out(n_pairs: int, n_left: int, why: str, reasons: str) -> str:
    told = f"{n_pairs - n_left:,} of {n_pairs:,} pairs {why} and were left out; {n_left:,} remain."
    return f"{told} {reasons}".strip()


def selection_of(prompts: PromptSet) -> dict[str, Any]:
    """What decides a run beside the pairs that remain: by which rules, and of which set they were taken."""
    about = _about(prompts)
    return {name: value for name, value in about.items() if name not in ("n_pairs", "remarks")}


def selection_remarks(prompts: PromptSet) -> tuple[str, ...]:
    """What was left out of a set, and why."""
    return tuple(_about(prompts).get("remarks", ()))


def _about(prompts: PromptSet) -> Mapping[str, Any]:
    about = prompts.origin.get(SELECTION, {})
    return about if isinstance(about, Mapping) else {}
