"""The six tasks, and the one function that makes prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eapgp.errors import UnknownNameError
from eapgp.options import Choice, OneOf, Option, settle
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.tasks import country_capital, gender_bias, greater_than, hypernymy, ioi, sva


@dataclass(frozen=True)
class Task:
    """A behaviour to explain, with a generator of prompt pairs.

    metric: name of the default metric. generate(n, seed=, split=, **options) gives pairs;
    phrases() gives texts that together hold every word the task uses.
    """

    name: str
    title: str
    metric: str
    explanation: str
    example: PromptPair
    generate: Callable[..., tuple[PromptPair, ...]] = field(repr=False, compare=False)
    phrases: Callable[[], list[str]] = field(repr=False, compare=False)
    options: tuple[Option, ...] = ()

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Every option of this task with its value, checked. Errors: OptionError, UnknownNameError."""
        return settle(self.options, values, f"task {self.name!r}")


_ALL = (
    Task(
        name="ioi",
        title="Indirect object identification",
        metric="logit-diff",
        explanation=(
            "Two people are named, one of them is named again as the giver, and the sentence asks who receives. "
            "To answer, a model has to notice which name came twice and give the other one. In the corrupted "
            "prompt the second mention is another name, so nothing tells the two apart any more. Heads that find "
            "the repetition, heads that hold it back and heads that copy the remaining name are what a circuit of "
            "this task shows."
        ),
        example=PromptPair(
            "When Mary and John went to the store, John gave a drink to",
            "When Mary and John went to the store, Paul gave a drink to",
            (" Mary",),
            (" John",),
        ),
        generate=ioi.generate,
        phrases=ioi.phrases,
        options=(
            OneOf(
                name="corruption",
                default="third-name",
                help="What replaces the repeated name: third-name (no name is repeated any more) or hard. hard: the "
                "other name, so that the roles swap and the corrupted prompt asks for the wrong answer.",
                label="Corruption",
                choices=(Choice("third-name", "Third name"), Choice("hard", "Names swapped", "names swapped")),
            ),
        ),
    ),
    Task(
        name="greater-than",
        title="Greater-than",
        metric="prob-diff",
        explanation=(
            "A period begins in a given year and ends in a year of which only the century is written. It can only "
            "end later, so the model should favour two-digit numbers above the start year. The corrupted prompt "
            "begins in year 01, after which nearly every number is possible. A circuit shows how the start year "
            "is carried to the last position and turned into a preference for larger numbers."
        ),
        example=PromptPair(
            "The war went on from the year 1652 to the year 16",
            "The war went on from the year 1601 to the year 16",
            tuple(f"{year:02d}" for year in range(53, 100)),
            tuple(f"{year:02d}" for year in range(53)),
        ),
        generate=greater_than.generate,
        phrases=greater_than.phrases,
    ),
    Task(
        name="gender-bias",
        title="Gender bias",
        metric="logit-diff",
        explanation=(
            "A job that texts tie to one gender is the subject, and the next word is a pronoun. Nothing in the "
            "sentence gives the gender: a preference for “he” or “she” comes from the stereotype the model "
            "learned. The corrupted prompt names a person of the other gender, where the pronoun is certain. A "
            "circuit shows where in the network the stereotype enters. The task studies a bias; it does not "
            "endorse one."
        ),
        example=PromptPair(
            "Yesterday the nurse smiled because", "Yesterday the man smiled because", (" she",), (" he",)
        ),
        generate=gender_bias.generate,
        phrases=gender_bias.phrases,
    ),
    Task(
        name="country-capital",
        title="Country and capital",
        metric="logit-diff",
        explanation=(
            "A capital is named and the sentence asks for its country. The model has to recall a fact rather than "
            "copy a word. The corrupted prompt names another capital. Circuits of this task usually begin with "
            "the early MLPs at the capital's position, where the fact is looked up, and end with heads that bring "
            "it to the last position."
        ),
        example=PromptPair(
            "They flew to Paris, the capital of", "They flew to Rome, the capital of", (" France",), (" Italy",)
        ),
        generate=country_capital.generate,
        phrases=country_capital.phrases,
    ),
    Task(
        name="sva",
        title="Subject–verb agreement",
        metric="prob-diff",
        explanation=(
            "The next word is a verb and must have the number of its subject, with another noun in between that "
            "may have the other number. The model has to find the right noun and ignore the near one. The "
            "corrupted prompt has the subject in the other number. The metric compares all verbs of the right "
            "number with all of the wrong one."
        ),
        example=PromptPair(
            "In this town the pilots near the teacher",
            "In this town the pilot near the teacher",
            sva.PLURAL,
            sva.SINGULAR,
        ),
        generate=sva.generate,
        phrases=sva.phrases,
    ),
    Task(
        name="hypernymy",
        title="Hypernymy",
        metric="prob-diff",
        explanation=(
            "A thing is named and the words “and other” ask for the class it belongs to: apples and other … "
            "fruits. The model has to recall the class; several words may be right. The corrupted prompt names a "
            "member of another class. The metric compares the probability of the right words with that of the "
            "words that fit the corrupted prompt."
        ),
        example=PromptPair(
            "They talked about apples and other",
            "They talked about horses and other",
            (" fruit", " fruits"),
            (" animal", " animals"),
        ),
        generate=hypernymy.generate,
        phrases=hypernymy.phrases,
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def get_task(name: str) -> Task:
    """A task by its name. Errors: UnknownNameError."""
    if name not in TASKS:
        raise UnknownNameError.of("task", name, TASKS)
    return TASKS[name]


def make_prompts(task: str, n: int, *, seed: int = 0, split: str = "all", **options: Any) -> PromptSet:
    """n distinct prompt pairs of a task; equal arguments give equal pairs.

    split: "train" (what the bundled model was trained on), "test" (combinations held out from
    that training) or "all" (both). options: those of the task, e.g. corruption="hard" for ioi.
    A smaller n gives a prefix of a larger one.

    Errors: UnknownNameError (task, split, option, choice); OptionError if n is below 1 or
    above what exists.
    """
    row = get_task(task)
    filled = row.settings(options)
    pairs = row.generate(n, seed=seed, split=split, **filled)
    origin: dict[str, object] = {"kind": "generated", "n": int(n), "seed": int(seed), "split": split, **filled}
    return PromptSet(task, pairs, row.metric, origin)
