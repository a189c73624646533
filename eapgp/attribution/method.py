"""What a method is: its row in the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from eapgp.options import Option, settle

if TYPE_CHECKING:
    from eapgp.attribution.context import Context
    from eapgp.attribution.outcome import Outcome

INTERVENTIONS: Mapping[str, str] = MappingProxyType(
    {
        "patching": "the corrupted run's activation",
        "zero": "zero",
        "mean": "its mean over the corrupted prompts",
        "mean-positional": "its mean over the corrupted prompts, position by position",
    }
)
"""What an edge carries that is cut, in words."""
ALL_INTERVENTIONS = tuple(INTERVENTIONS)


@dataclass(frozen=True)
class Method:
    """One row of the registry.

    run: scores one batch. short: its title in lists and legends, which starts with the name so that figures
    know its colour. cost: passes per prompt pair in words. interventions: where z′ may come from. path: whether a
    path record comes with the result. evidence: "paper", "second-hand" (the formula was read from
    re-implementations, since no reference code exists) or "ours". rounds: how often all pairs are gone
    through; a later round knows the earlier ones' mean scores, and `rounds` says how they are summed.
    reads_corrupted: whether the scores depend on the corrupted prompts.
    """

    name: str
    title: str
    paper: str
    cost: str
    explanation: str
    run: Callable[[Context], Outcome]
    interventions: tuple[str, ...] = ("patching",)
    options: tuple[Option, ...] = ()
    path: bool = False
    evidence: str = "paper"
    rounds: int = 1
    short: str = ""
    reads_corrupted: bool = True
    passes: Callable[[int, int], tuple[float, float]] = field(
        default=lambda steps, layers: (1, 1), repr=False, compare=False
    )

    def needs_contrast(self, intervention: str) -> bool:
        """Whether clean and corrupted prompts must differ for the scores to be other than 0."""
        return self.reads_corrupted and intervention == "patching"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the command line and the interface."""
        return {
            "name": self.name,
            "title": self.title,
            "paper": self.paper,
            "cost": self.cost,
            "interventions": list(self.interventions),
            "explanation": self.explanation,
            "evidence": self.evidence,
            "path": self.path,
            "options": [option.to_dict() for option in self.options],
        }

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Every option of this method with its value, checked.

        Errors: OptionError for an option that the method does not have or a value out of range.
        """
        return settle(self.options, values, f"method {self.name!r}")

    @property
    def own_options(self) -> tuple[Option, ...]:
        """The options that are set for it and change its scores; names, links and controls are made of these."""
        return tuple(option for option in self.options if option.changes_scores and not option.follows)

    @property
    def draws_noise(self) -> bool:
        """Whether its scores depend on the run's seed beyond the prompts."""
        return any(option.follows for option in self.options)

    def variant(self, options: Mapping[str, Any]) -> str:
        """Short name with what tells variants apart: `EAP-GP · unit (paper)`, `EAP-IG · k = 10`."""
        rows = [option for option in self.own_options if option.name in options]
        rows.sort(key=lambda option: not option.short(option.default))  # what is said of the default too comes first
        forms = (option.short(options[option.name]) for option in rows)
        return " · ".join((self.short or self.title, *(part for part in forms if part)))
