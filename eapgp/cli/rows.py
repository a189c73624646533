"""Flags made from the rows of the registries, and how their texts become options of a task and a method."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, get_type_hints

import typer

from eapgp.attribution.registry import METHODS
from eapgp.cli.output import Reply
from eapgp.errors import OptionError
from eapgp.options import Option, WholeNumber
from eapgp.tasks import TASKS, get_task

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
    flags: dict[str, inspect.Parameter] = {}
    for panel, same in rows.items():
        for row in same:
            if row.flag:
                flags.setdefault(row.name, _parameter(row, panel))
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


def _parameter(row: Option, panel: str) -> inspect.Parameter:
    def complete(incomplete: str) -> list[str]:
        return [value for value in row.values if value.startswith(incomplete)]

    kind: Any = list[str] if row.repeatable else str
    about = typer.Option(
        f"--{row.name}",
        help=row.summary + (" Repeatable." if row.repeatable else ""),
        rich_help_panel=panel,
        show_default=row.show(row.default) or False,
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
