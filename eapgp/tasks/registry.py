"""The six tasks, and the one function that makes prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from eapgp.errors import OptionError, PromptError, UnknownNameError
from eapgp.options import Choice, OneOf, Option, settle
from eapgp.prompts.encode import fit
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.prompts.prompting import PromptReader, TokenizerOnly
from eapgp.prompts.spans import Marks, Part, Spans, by_part, by_token, exchanged, words_in
from eapgp.tasks import country_capital, gender_bias, greater_than, hypernymy, ioi, sva
from eapgp.tasks.recipe import Recipe, Vocabulary

CHECKED_AT_ONCE = 64
UNEVEN = "its words are of the right numbers of tokens one by one, but no two prompts are"
IN_VAIN = 4_096
"""So many pairs after one another that a tokenizer cannot use, and no further ones are tried."""


@dataclass(frozen=True)
class Task:
    """A behaviour to explain, with a generator of prompt pairs.

    metric: name of the default metric. recipe(vocabulary, **options) says how a tokenizer's words pose it;
    phrases() gives texts that together hold every word the task uses; parts(pair) names what stands where.
    """

    name: str
    title: str
    metric: str
    explanation: str
    example: PromptPair
    recipe: Callable[..., Recipe] = field(repr=False, compare=False)
    phrases: Callable[[], list[str]] = field(repr=False, compare=False)
    options: tuple[Option, ...] = ()
    parts: Callable[[PromptPair], Sequence[Part]] = field(default=exchanged, repr=False, compare=False)

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
        recipe=ioi.recipe,
        phrases=ioi.phrases,
        parts=ioi.parts,
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
        recipe=greater_than.recipe,
        phrases=greater_than.phrases,
        parts=greater_than.parts,
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
        recipe=gender_bias.recipe,
        phrases=gender_bias.phrases,
        parts=partial(exchanged, name="person"),
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
        recipe=country_capital.recipe,
        phrases=country_capital.phrases,
        parts=partial(exchanged, name="capital"),
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
        recipe=sva.recipe,
        phrases=sva.phrases,
        parts=sva.parts,
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
        recipe=hypernymy.recipe,
        phrases=hypernymy.phrases,
        parts=partial(exchanged, name="item"),
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def get_task(name: str) -> Task:
    """A task by its name. Errors: UnknownNameError."""
    if name not in TASKS:
        raise UnknownNameError.of("task", name, TASKS)
    return TASKS[name]


def make_prompts(
    task: str, n: int, *, seed: int = 0, split: str = "all", tokenizer: Any | None = None, **options: Any
) -> PromptSet:
    """n distinct prompt pairs of a task; equal arguments give equal pairs.

    split: "train" (what the bundled model was trained on), "test" (combinations held out from
    that training) or "all" (both). tokenizer: a model's; its words are chosen so that every pair fits it. Without
    one they are those of the bundled model and of GPT-2, whose tokenizers give the same pairs. options: those of
    the task, e.g. corruption="hard" for ioi. A smaller n gives a prefix of a larger one.

    Errors: UnknownNameError (task, split, option, choice); OptionError if n is below 1 or
    above what exists; PromptError if the tokenizer's words cannot pose the task.
    """
    posed = get_task(task)
    settings = posed.settings(options)
    _check_numbers(task, n, seed)
    pairs = _pairs(posed, n, seed, split, tokenizer, settings)
    origin: dict[str, object] = {"kind": "generated", "n": int(n), "seed": int(seed), "split": split, **settings}
    return PromptSet(task, pairs, posed.metric, origin)


def posable(task: str, tokenizer: Any | None) -> str:
    """Why a tokenizer's words cannot pose a task; empty where they can. Errors: UnknownNameError."""
    posed = get_task(task)
    recipe = posed.recipe(Vocabulary(tokenizer), **posed.settings({}))
    if not len(recipe.space.allowed("all")):
        return recipe.why_not
    pairs = recipe.pairs(seed=0, split="all")
    if tokenizer is not None and next(_fitting(posed, pairs, tokenizer), None) is None:
        return UNEVEN
    return ""


def _check_numbers(task: str, n: int, seed: int) -> None:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise OptionError(f"task {task}: the number of pairs must be a whole number of at least 1; got {n!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise OptionError(f"task {task}: the seed must be a whole number of at least 0; got {seed!r}.")


def _pairs(
    task: Task, n: int, seed: int, split: str, tokenizer: Any | None, settings: Mapping[str, Any]
) -> tuple[PromptPair, ...]:
    recipe = task.recipe(Vocabulary(tokenizer), **settings)
    n_pairs = len(recipe.space.allowed(split))
    if not len(recipe.space.allowed("all")):
        raise _unposable(task, recipe.why_not)
    drawn: tuple[PromptPair, ...] = ()
    if fewer := n <= n_pairs:
        stream = recipe.pairs(seed=seed, split=split)
        drawn = tuple(islice(stream if tokenizer is None else _fitting(task, stream, tokenizer), n))
        n_pairs = len(drawn)
        if not drawn:
            raise _unposable(task, UNEVEN)
    if n > n_pairs:
        found = "were found that fit" if fewer else "exist"
        raise OptionError(
            f"task {task.name}: {n:,} pairs were asked for, but only {n_pairs:,} distinct ones {found} "
            f"(split {split!r}{' with this tokenizer' if tokenizer is not None else ''}). Ask for at most {n_pairs:,}."
        )
    return drawn


def _unposable(task: Task, reason: str) -> PromptError:
    return PromptError(
        f"task {task.name} cannot be posed with this model's tokenizer: {reason}. Choose another task or model."
    )


def _fitting(task: Task, pairs: Iterator[PromptPair], tokenizer: Any) -> Iterator[PromptPair]:
    """The pairs that a tokenizer can use, in order, until too many after one another cannot be used.

    Words were chosen one by one, and here whole prompts count.
    """
    reader, in_vain = TokenizerOnly(tokenizer, prepend_bos=False), 0
    while in_vain < IN_VAIN and (some := tuple(islice(pairs, CHECKED_AT_ONCE))):
        prompts = PromptSet(task.name, some, task.metric)
        usable = fit(prompts, reader).usable
        in_vain = 0 if usable else in_vain + len(some)
        yield from prompts.pick(usable)


def prompt_spans(prompts: PromptSet, model: PromptReader, *, marks: Marks | None = None) -> Spans:
    """The parts of these prompts that all pairs share: those that their task names, or what is exchanged.

    marks: parts of one's own, by name the words that stand for them; or "tokens": every position for itself, of one
    pair or of prompts of equal length.
    Errors: OptionError for a mark whose words stand in no prompt; as `by_part` and `by_token`.
    """
    if isinstance(marks, str):
        return by_token(prompts, model)
    if marks:
        return by_part(prompts, model, _marked(prompts, marks))
    task = TASKS.get(prompts.task)
    return by_part(prompts, model, exchanged if task is None else task.parts)


def _marked(prompts: PromptSet, marks: Mapping[str, Sequence[str]]) -> Callable[[PromptPair], list[Part]]:
    """Parts by one's own words, in the order of the prompt. Errors: OptionError for words that stand nowhere."""

    def parts(pair: PromptPair) -> list[Part]:
        found = [part for name, words in marks.items() for part in words_in(pair.clean, words, name)]
        return sorted(found, key=lambda part: part[1])

    seen = {name for pair in prompts for name, _, _ in parts(pair)}
    for name, words in marks.items():
        if name not in seen:
            raise OptionError(f"mark {name!r}: {' and '.join(words) or 'no word'} stands in no clean prompt.")
    return parts
