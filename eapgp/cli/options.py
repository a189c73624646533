"""Options that several commands share, and how they become a `RunSpec`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from eapgp.cli import completion
from eapgp.cli.output import Reply
from eapgp.cli.rows import split_options, texts_of
from eapgp.errors import OptionError
from eapgp.metrics import METRICS
from eapgp.prompts.aliases import read_by_hand
from eapgp.prompts.prompting import NONE, ONE_TOKEN, OWN
from eapgp.runs.spec import RunSpec
from eapgp.tasks import get_task

MODEL, PROMPTS, METHOD, STORE = "Model", "Prompts", "Method", "Result"
BOS = "--bos"

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Name, Hugging Face id or folder.",
        rich_help_panel=MODEL,
        show_default="demo",
        autocompletion=completion.models,
    ),
]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        help="float32, bfloat16, float16 or float64; scores are float32 or wider.",
        rich_help_panel=MODEL,
        show_default="float32",
    ),
]
RandomWeightsFlag = Annotated[
    bool,
    typer.Option(
        "--random-weights", help="The model's shape with random weights, without network.", rich_help_panel=MODEL
    ),
]
TokenizerOption = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        help="Tokenizer in place of the model's own: name, Hugging Face id or folder.",
        rich_help_panel=MODEL,
        show_default="the model's",
    ),
]
BosOption = Annotated[
    str | None,
    typer.Option(
        BOS,
        help="Put a start token before each prompt: the tokenizer's own, or the one named, e.g. '<|endoftext|>'.",
        metavar="[TOKEN]",
        rich_help_panel=PROMPTS,
        show_default="as the model has it",
    ),
]
NoBosFlag = Annotated[
    bool, typer.Option("--no-bos", help="Put no start token before the prompts.", rich_help_panel=PROMPTS)
]
ChatFlag = Annotated[
    bool,
    typer.Option(
        "--chat",
        help="Put each prompt into the tokenizer's chat template, the answer after it.",
        rich_help_panel=PROMPTS,
    ),
]
AnswersOption = Annotated[
    str | None,
    typer.Option(
        "--answers",
        help="one-token (answers of several tokens are refused) or first-token (the first counts).",
        rich_help_panel=PROMPTS,
        show_default=ONE_TOKEN,
    ),
]
OnlyCorrectFlag = Annotated[
    bool, typer.Option("--only-correct", help="Keep only pairs that the model gets right.", rich_help_panel=PROMPTS)
]
SkipUnusableFlag = Annotated[
    bool, typer.Option("--skip-unusable", help="Leave out pairs that do not fit the model.", rich_help_panel=PROMPTS)
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        "-t",
        help="Task that makes the prompts.",
        rich_help_panel=PROMPTS,
        show_default="ioi",
        autocompletion=completion.tasks,
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option("--prompts", help="File of prompt pairs in place of generated ones.", rich_help_panel=PROMPTS),
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        help="Which of the file's columns is which, e.g. clean=prompt,corrupted='Other text'. Repeatable.",
        metavar="NAME=COLUMN,…",
        rich_help_panel=PROMPTS,
    ),
]
PairsOption = Annotated[
    int | None,
    typer.Option("--pairs", "-n", help="How many pairs.", rich_help_panel=PROMPTS, show_default="64, or all of a file"),
]
SeedOption = Annotated[
    int | None, typer.Option(help="Seed of prompts and noise.", rich_help_panel=PROMPTS, show_default="0")
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        help="all, train or test (held out from the demo model's training).",
        rich_help_panel=PROMPTS,
        show_default="all",
    ),
]
ExtraOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        help="An option of the task or method, e.g. corruption=hard. Repeatable.",
        metavar="KEY=VALUE",
        rich_help_panel=METHOD,
    ),
]
MetricOption = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(METRICS)}.",
        rich_help_panel=METHOD,
        show_default="the task's own",
        autocompletion=completion.metrics,
    ),
]
InterventionOption = Annotated[
    str | None,
    typer.Option(
        help="What replaces an edge: patching, zero, mean, mean-positional.",
        rich_help_panel=METHOD,
        show_default="patching",
    ),
]


PROMPTED = "prompted"  # the parameter of a command that takes what such flags say, as fields of `RunSpec`
_PROMPTED: Mapping[str, Any] = {
    "tokenizer": TokenizerOption,
    "bos": BosOption,
    "no_bos": NoBosFlag,
    "chat": ChatFlag,
    "answers": AnswersOption,
    "only_correct": OnlyCorrectFlag,
    "skip_unusable": SkipUnusableFlag,
}

_YES_NO = (NoBosFlag, ChatFlag, OnlyCorrectFlag, SkipUnusableFlag)


def with_prompting(function: Callable[..., Reply], *but: str) -> Callable[..., Reply]:
    """A command's function with the flags that say how prompts reach a model, in place of its parameter `prompted`.

    but: the flags that this command does not have.
    """
    flags = {
        name: inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False if kind in _YES_NO else None, annotation=kind
        )
        for name, kind in _PROMPTED.items()
        if name not in but
    }
    hints = get_type_hints(function, include_extras=True)

    @functools.wraps(function)
    def run(*args: Any, **given: Any) -> Reply:
        said = {name: value for name in flags if (value := given.pop(name)) not in (None, False)}
        if said.pop("no_bos", False) and said.setdefault("bos", NONE) != NONE:
            raise OptionError("--no-bos: expected without --bos, got both; leave one out.")
        return function(*args, **given, prompted=said)

    parameters: list[inspect.Parameter] = []
    for entry in inspect.signature(function).parameters.values():
        parameters += flags.values() if entry.name == PROMPTED else [entry.replace(annotation=hints[entry.name])]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {entry.name: entry.annotation for entry in parameters}
    return run


def make_spec(
    *,
    model: str | None = None,
    task: str | None = None,
    prompts: Path | None = None,
    columns: Sequence[str] | None = None,
    extra: Sequence[str] | None = None,
    rows: Mapping[str, str | Sequence[str]] | None = None,
    **flags: Any,
) -> RunSpec:
    """A `RunSpec` of what was given; what was left out takes the spec's defaults.

    rows: texts of the flags of options; extra: key=value texts of `--option`. A command that has no method takes
    options of the task alone.
    """
    values = {key: value for key, value in flags.items() if value is not None}
    if model is not None:
        values["model"] = model
    if prompts is not None:
        values |= {"prompts_file": str(prompts), "task": task}
    elif task is not None:
        values["task"] = task
    if columns:
        values["columns"] = read_by_hand(columns)
    usual = RunSpec()
    name = values.get("task", usual.task) if prompts is None else None
    task_options, options = split_options(name, values.get("method", usual.method), texts_of(rows, extra))
    if options and "method" not in flags:
        have = ", ".join(option.name for option in get_task(name).options) if name else ""
        raise OptionError(f"--option {next(iter(options))}: expected an option of the task ({have or 'it has none'}).")
    return RunSpec(**values, task_options=task_options, options=options)


def with_bare_bos(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--bos` alone as `--bos own`: typer knows no option whose value may be left out."""
    words = []
    for place, word in enumerate(arguments):
        after = arguments[place + 1 : place + 2]
        words += [word, OWN] if word == BOS and (not after or after[0].startswith("-")) else [word]
    return words
