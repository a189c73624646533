"""`eapgp roles`: what attention heads do on the prompts, as measured there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from eapgp.circuits.select import select
from eapgp.cli.command import BatchOption, DeviceOption, HomeOption, command
from eapgp.cli.options import (
    ColumnsOption,
    DtypeOption,
    ExtraOption,
    MetricOption,
    ModelOption,
    PairsOption,
    PromptsOption,
    SeedOption,
    SplitOption,
    TaskOption,
    make_spec,
    with_prompting,
)
from eapgp.cli.output import Output, Reply, stacked, table
from eapgp.cli.sources import RunOption
from eapgp.errors import OptionError
from eapgp.readings import HeadRoles, RoleCheck, check_role, head_roles
from eapgp.readings.role_table import NO_ROLE
from eapgp.runs.compute import load_for, load_run_model, resolve
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run

WHICH = "Which heads"
EdgesOption = Annotated[
    int | None,
    typer.Option(
        "--edges",
        "-e",
        min=1,
        help="Heads of the circuit of this many strongest edges of the run.",
        rich_help_panel=WHICH,
        show_default="all heads",
    ),
]
NodeOption = Annotated[
    list[str] | None,
    typer.Option("--node", help="This head alone, such as a3.h1. Repeatable.", rich_help_panel=WHICH),
]
CheckFlag = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Also change each role's attention and run the model again; takes a few passes per role.",
        rich_help_panel=WHICH,
    ),
]
EXAMPLES = (
    "eapgp roles --model demo --task ioi",
    "eapgp roles --model smollm2-135m --task ioi --node a23.h0 --check",
    "eapgp roles --run 042028bc --edges 50 --check --json",
    "eapgp roles --model gpt2 --prompts mine.csv",
)
Checks = Mapping[str, Sequence[RoleCheck]]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    command(app, "roles", examples=EXAMPLES, panel="Weigh the evidence")(with_prompting(roles))


def roles(
    out: Output,
    run: RunOption = None,
    edges: EdgesOption = None,
    node: NodeOption = None,
    check: CheckFlag = False,
    metric: MetricOption = None,
    model: ModelOption = None,
    task: TaskOption = None,
    prompts: PromptsOption = None,
    columns: ColumnsOption = None,
    pairs: PairsOption = None,
    seed: SeedOption = None,
    split: SplitOption = None,
    prompted: Mapping[str, Any] | None = None,
    option: ExtraOption = None,
    batch_size: BatchOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    home: HomeOption = None,
) -> Reply:
    """Say what attention heads do: where they attend and whether they copy, each with its number and interval.

    Roles are measured on the prompts, for any model; none is taken from a list of heads. Either a run of the library
    (its model and its prompts) or a model and a task. --check holds each role against what happens without it.
    """
    flags: dict[str, Any] = {"model": model, "task": task, "prompts": prompts, "columns": columns, "extra": option}
    flags |= {"n_pairs": pairs, "seed": seed, "split": split, "dtype": dtype, **(prompted or {})}
    said = [name for name, value in flags.items() if value not in (None, [])]
    if run and (len(run) > 1 or said):
        raise OptionError("--run: expected once and alone: a run knows its model and its prompts.")
    if edges is not None and not run:
        raise OptionError("--edges: expected with --run; scores decide which heads are in a circuit.")
    with out.progress() as progress:
        stored = RunLibrary(home).open(run[0]) if run else None
        if stored is not None:
            loaded, asked = load_run_model(stored, device=device, progress=progress), stored.prompts()
        else:
            spec = make_spec(device=device or "auto", **flags)
            loaded = load_for(spec, progress=progress)
            asked = resolve(spec).for_model(loaded).prompts
        measured = head_roles(loaded, asked, batch_size=batch_size, progress=progress)
        heads = _heads(measured, stored, edges, node or ())
        use = metric or (stored.request["metric"] if stored is not None else None)
        checks: Checks = {}
        if check:
            every = [(head, one.role.name) for head in heads for one in measured.of(head)]
            how: dict[str, Any] = {"metric": use, "batch_size": batch_size}
            checks = _checks(lambda head, role: check_role(loaded, asked, head, role, **how), every, progress)
    about = {"model": loaded.id, "task": asked.task, **measured.to_dict(heads)}
    told = {"checks": [one.to_dict() for ones in checks.values() for one in ones]} if check else {}
    return Reply({**about, **told}, _text(measured, heads, checks))


def _heads(measured: HeadRoles, run: Run | None, edges: int | None, nodes: Sequence[str]) -> list[str]:
    """The heads that were asked for. Errors: OptionError for a node that is no head."""
    for node in nodes:
        measured.of(node)
    heads = [head for head in measured.heads if not nodes or head in nodes]
    if run is None or edges is None:
        return heads
    inside = set(select(run.scores(), n=edges).node_names())
    return [head for head in heads if head in inside]


def _checks(check: Any, every: Sequence[tuple[str, str]], progress: Any) -> Checks:
    checks: dict[str, list[RoleCheck]] = {}
    for place, (head, role) in enumerate(every):
        progress("checking roles", place / len(every))
        checks.setdefault(head, []).append(check(head, role))
    return checks


def _text(measured: HeadRoles, heads: Sequence[str], checks: Checks) -> Any:
    rows = []
    for head in heads:
        texts = {one.role.name: one.text for one in checks.get(head, ())}
        for place, measure in enumerate(measured.of(head)):
            rows.append((head if place == 0 else "", measure.text, texts.get(measure.role.name, "")))
    n_with = sum(bool(measured.of(head)) for head in heads)
    rest = len(heads) - n_with
    line = f"{n_with} of {len(heads)} heads have a role on {measured.n_pairs} pairs"
    line += f"; {rest} without ({NO_ROLE})." if rest else "."
    columns = ("head", "role", "check") if checks else ("head", "role")
    return stacked(line, table(columns, [row[: len(columns)] for row in rows]) if rows else "")
