"""What a method is: its row in the registry, and what its options may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from eapgp.errors import OptionError, UnknownNameError

if TYPE_CHECKING:
    from eapgp.attribution.context import Context
    from eapgp.attribution.outcome import Outcome

MOST_STEPS = 10_000
ALL_INTERVENTIONS = ("patching", "zero", "mean", "mean-positional")


@dataclass(frozen=True)
class Option:
    """An option of a method: its default, what is allowed, and a sentence for the interface."""

    name: str
    default: Any
    choices: tuple[str, ...]
    help: str


STEPS = Option("steps", 5, (), "k: how many gradients are taken along the path (a whole number ≥ 1).")
STEP = Option(
    "step",
    "relative",
    ("relative", "unit"),
    "Length of one GradPath step: relative = ‖x − x′‖/k per pair, unit = 1 (the paper's), or a number.",
)
OBJECTIVE = Option(
    "objective",
    "all",
    ("all", "last"),
    "Which logits GradPath compares with the corrupted run's: every position, or the answer's alone.",
)
POINTS = Option(
    "points",
    "left",
    ("left", "right", "midpoint"),
    "Where on the straight line gradients are taken: from x′ on (left, the reference code), up to x (right), between.",
)


@dataclass(frozen=True)
class Method:
    """One row of the registry.

    run: scores one batch. cost: passes per prompt pair in words. interventions: where z′ may come from. path: whether a
    path record comes with the result. evidence: "paper", "second-hand" (the formula was read from
    re-implementations, since no reference code exists) or "ours". rounds: how often all pairs are gone
    through; a later round knows the earlier ones' mean scores, and `rounds` says how they are summed.
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
    passes: Callable[[int, int], tuple[float, float]] = field(
        default=lambda steps, layers: (1, 1), repr=False, compare=False
    )

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
            "options": [asdict(option) for option in self.options],
        }

    def settings(self, given: dict[str, Any]) -> dict[str, Any]:
        """Every option of this method with its value, checked.

        Errors: OptionError for an option that the method does not have or a value out of range.
        """
        known = {option.name: option for option in self.options}
        extra = sorted(set(given) - set(known))
        if extra:
            have = ", ".join(known) or "none"
            raise OptionError(f"method {self.name!r} has no option {extra[0]!r}: it has {have}. Leave it out.")
        return {name: _checked(option, given.get(name, option.default)) for name, option in known.items()}


def _checked(option: Option, value: Any) -> Any:
    from eapgp.attribution.gradpath import parse_step

    if option.name == "steps":
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OptionError(f"steps (k) must be a whole number of at least 1; got {value!r}.")
        if value > MOST_STEPS:
            raise OptionError(f"steps (k) must be at most {MOST_STEPS:,}; got {value:,}. More points change nothing.")
        return value
    if option.name == "step":
        return parse_step(value)
    if option.name == "edges":
        return _edge_names(value)
    if option.name == "seed" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise OptionError(f"seed must be a whole number of at least 0; got {value!r}.")
    if option.choices and value not in option.choices:
        raise UnknownNameError.of(option.name, value, option.choices)
    return value


def _edge_names(value: Any) -> list[str] | None:
    """Names of edges from a list, or from a text with commas; None stays None. Each name once, in order of name."""
    if value is None:
        return None
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise OptionError(f"edges: {_EDGES_EXPECTED}; got {value!r}.")
    names = {name.strip() for text in texts for name in text.split(",")} - {""}
    if not names and texts:
        raise OptionError(f"edges: {_EDGES_EXPECTED}; got none. Leave it out to patch all edges.")
    return sorted(names)


_EDGES_EXPECTED = "expected names of edges with commas between them, such as input->a0.h1<q>,m3->logits"
