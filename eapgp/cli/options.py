"""Options that several commands share, and how they become a `RunSpec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from eapgp.cli import completion
from eapgp.cli.rows import split_options, texts_of
from eapgp.errors import OptionError
from eapgp.runs.spec import RunSpec
from eapgp.tasks import get_task

MODEL, PROMPTS, METHOD, STORE = "Model", "Prompts", "Method", "Result"

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
        help="logit-diff, prob-diff or log-prob.",
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


def make_spec(
    *,
    model: str | None = None,
    task: str | None = None,
    prompts: Path | None = None,
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
    usual = RunSpec()
    name = values.get("task", usual.task) if prompts is None else None
    task_options, options = split_options(name, values.get("method", usual.method), texts_of(rows, extra))
    if options and "method" not in flags:
        have = ", ".join(option.name for option in get_task(name).options) if name else ""
        raise OptionError(f"--option {next(iter(options))}: expected an option of the task ({have or 'it has none'}).")
    return RunSpec(**values, task_options=task_options, options=options)
