"""How commands are declared: shared options, examples in the help, one way to reply.

@command(app, "name", examples=("eapgp name --json",))
def name(out: Output, thing: Annotated[str, typer.Option(help="…")] = "x") -> Reply:
    '''What it does.'''
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from eapgp.cli.output import Output, Reply
from eapgp.errors import Cancelled

FAILED, REFUSED = 1, 2
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.", rich_help_panel="Output")
]
QuietFlag = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no messages.", rich_help_panel="Output")
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", envvar="EAPGP_HOME", help="Folder of the run library.", show_default="the user's data folder"
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda, cuda:N, mps, or split: one model over all GPUs.", show_default="auto"),
]
BatchOption = Annotated[
    int | None, typer.Option("--batch-size", help="Pairs at a time; decides memory, not results.", show_default="fits")
]

_CONTEXT = "ctx"
_OF_GROUP = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def command(
    app: typer.Typer, name: str, *, examples: Sequence[str] = (), panel: str | None = None
) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    """Register `function(out, …options) -> Reply` as a command with --json and --quiet.

    An empty name: what a group of commands does when none of them is given.
    """

    def register(function: Callable[..., Reply]) -> Callable[..., Reply]:
        def run(**values: Any) -> None:
            if not name and values.pop(_CONTEXT).invoked_subcommand is not None:
                return
            out = Output(as_json=values.pop("json_"), quiet=values.pop("quiet"))
            try:
                with out.guarded():
                    reply = function(out, **values)
            except KeyboardInterrupt:
                raise Cancelled("interrupted.") from None
            out.emit(reply)
            for reason, code in ((reply.refused, REFUSED), (reply.failed, FAILED)):
                if reason:
                    out.refuse(reason)
                    raise typer.Exit(code)

        signature, hints = _with_shared_options(function, () if name else (_OF_GROUP,))
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = hints
        run.__name__ = function.__name__
        text = _help(function.__doc__ or "", examples)
        if name:
            app.command(name, help=text, rich_help_panel=panel)(run)
        else:
            app.callback(invoke_without_command=True, help=text, rich_help_panel=panel)(run)
        return function

    return register


def _with_shared_options(
    function: Callable[..., Reply], before: Sequence[inspect.Parameter]
) -> tuple[inspect.Signature, dict[str, Any]]:
    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = {"json_": JsonFlag, "quiet": QuietFlag}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = list(before) + [
        inspect.Parameter(entry.name, keyword, default=entry.default, annotation=hints[entry.name]) for entry in own
    ]
    parameters += [
        inspect.Parameter(name, keyword, default=False, annotation=annotation) for name, annotation in shared.items()
    ]
    annotations = {entry.name: entry.annotation for entry in parameters}
    return inspect.Signature(parameters), annotations


def _help(docstring: str, examples: Sequence[str]) -> str:
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    if examples:
        text += "\n\n\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
    return text
