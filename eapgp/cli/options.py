"""Options that several commands share, those made from the rows of the registries, and how they become a `RunSpec`."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from eapgp.attribution.registry import ELSEWHERE, METHODS
from eapgp.cli import completion
from eapgp.cli.output import Reply
from eapgp.errors import OptionError
from eapgp.metrics import METRICS
from eapgp.options import Option, WholeNumber
from eapgp.prompts.aliases import read_by_hand
from eapgp.prompts.prompting import NONE, ONE_TOKEN, OWN
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS, get_task

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
        help=f"What replaces an edge: patching, zero, mean, mean-positional. {ELSEWHERE}",
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


# ---- options of tasks and methods ----------------------------------------------------------------

ROWS = "rows"  # the parameter of a command that takes the texts of such flags, by name


def method_rows() -> list[Option]:
    """The options of every method."""
    return [row for method in METHODS.values() for row in method.options]


def task_rows() -> list[Option]:
    """The options of every task."""
    return [row for task in TASKS.values() for row in task.options]


def with_flags(
    function: Callable[..., Reply], rows: Mapping[str, Iterable[Option]], **preset: Any
) -> Callable[..., Reply]:
    """A command's function with a flag per row in place of its parameter `rows`, and what is preset left out.

    rows: those of each panel of the help. Rows that share a name share a flag.
    """
    by_flag: dict[tuple[str, str], dict[str, Option]] = {}
    for panel, options in rows.items():
        for row in options:
            if row.flag:
                by_flag.setdefault((panel, row.name), {}).setdefault(row.field, row)
    flags = {name: _parameter(tuple(same.values()), panel) for (panel, name), same in by_flag.items()}
    hints = get_type_hints(function, include_extras=True)

    @functools.wraps(function)
    def run(*args: Any, **values: Any) -> Reply:
        texts = {name: values.pop(name) for name in flags}
        return function(*args, **values, **preset, rows={name: text for name, text in texts.items() if text})

    parameters: list[inspect.Parameter] = []
    for entry in inspect.signature(function).parameters.values():
        if entry.name == ROWS:
            parameters += flags.values()
        elif entry.name not in preset:
            parameters.append(entry.replace(annotation=hints[entry.name]))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {entry.name: entry.annotation for entry in parameters}
    return run


def _parameter(rows: Sequence[Option], panel: str) -> inspect.Parameter:
    """The flag of the rows of one name; several where methods have other values for it."""
    row = rows[0]

    def complete(incomplete: str) -> list[str]:
        return [value for one in rows for value in one.values if value.startswith(incomplete)]

    kind: Any = list[str] if row.repeatable else str
    about = typer.Option(
        f"--{row.name}",
        help=" ".join(one.summary for one in rows) + (" Repeatable." if row.repeatable else ""),
        rich_help_panel=panel,
        show_default=", ".join(one.show(one.default) for one in rows) or False,
        metavar="<int>" if isinstance(row, WholeNumber) else None,
        autocompletion=complete,
    )
    how = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(row.name, how, default=None, annotation=Annotated[kind | None, about])


def key_values(texts: Sequence[str] | None) -> dict[str, str]:
    """`key=value` texts as a mapping.

    Errors: OptionError for a text without "=" or a key given twice.
    """
    values: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise OptionError(
                f"--option {text!r}: expected key=value, got no '='; write e.g. --option corruption=hard."
            )
        if key in values:
            raise OptionError(f"--option {key}: expected once, got twice; keep one.")
        values[key] = value
    return values


def texts_of(rows: Mapping[str, str | Sequence[str]] | None, extra: Sequence[str] | None) -> dict[str, str]:
    """What flags and `--option`s say, by name. Errors: OptionError for what both say."""
    texts = {name: said if isinstance(said, str) else ",".join(said) for name, said in (rows or {}).items()}
    others = key_values(extra)
    if both := sorted(set(texts) & set(others)):
        raise OptionError(f"--option {both[0]}: expected once, got --{both[0]} too; keep one.")
    return texts | others


def task_values(task: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Texts as options of a task; what it does not have is left to the task to refuse."""
    rows = {row.name: row for row in get_task(task).options}
    return {name: _value(rows.get(name), text) for name, text in texts.items()}


def split_options(task: str | None, method: str, texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Texts as options of the task and of the method: what the task has is the task's, the rest the method's.

    What another task has and the method has not is the task's to refuse.
    """
    rows = {row.name: row for row in METHODS[method].options} if method in METHODS else {}
    of_task = (
        {row.name for row in get_task(task).options} | ({row.name for row in task_rows()} - set(rows))
        if task
        else set()
    )
    own = {name: text for name, text in texts.items() if name in of_task}
    others = {name: _value(rows.get(name), text) for name, text in texts.items() if name not in of_task}
    return task_values(task, own) if task else {}, others


def _value(row: Option | None, text: str) -> Any:
    """The value of a text; lists and numbers may be written as JSON. Without a row it is what JSON makes of it."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if row is None or value is None or isinstance(value, list):
        return value if row is None else row.check(value)
    return row.parse(value if isinstance(value, str) else text)
