"""`eapgp evaluate`: run circuits and say how faithful they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Annotated, Any

import typer

from eapgp.cli.command import BatchOption, DeviceOption, HomeOption, command
from eapgp.cli.evaluate_text import evaluation_text
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
from eapgp.cli.output import Output, Reply
from eapgp.cli.sources import RunOption, ScoresOption, Source, catalogue_graph, one_source
from eapgp.errors import OptionError
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.compute import load_for, load_run_model, resolve, selection_remarks
from eapgp.runs.evaluate import Question, Running, evaluate_circuits, evaluate_run
from eapgp.runs.run import Run
from eapgp.runs.spec import PROMPTING_FIELDS, SELECTION_FIELDS, RunSpec

PANEL = "Weigh the evidence"
CIRCUITS, RUNNING = "Circuits", "Running them"

EdgesOption = Annotated[
    list[int] | None,
    typer.Option("--edges", "-e", help="Circuit of this many edges. Repeatable.", rich_help_panel=CIRCUITS),
]
NodesOption = Annotated[
    list[int] | None,
    typer.Option(
        "--nodes", "-n", help="Circuit of all edges among this many best nodes. Repeatable.", rich_help_panel=CIRCUITS
    ),
]
ByOption = Annotated[
    str,
    typer.Option(
        help="What --grid and --threshold select: edges, or nodes with every edge between them.",
        rich_help_panel=CIRCUITS,
    ),
]
ThresholdOption = Annotated[
    list[float] | None,
    typer.Option(help="Circuit of what scores at least this. Repeatable.", rich_help_panel=CIRCUITS),
]
GridOption = Annotated[str, typer.Option(help="Sizes to run: default or mib.", rich_help_panel=CIRCUITS)]
RuleOption = Annotated[str, typer.Option(help="top-n or greedy.", rich_help_panel=CIRCUITS)]
SignedFlag = Annotated[bool, typer.Option("--signed", help="Rank by score, not by |score|.", rich_help_panel=CIRCUITS)]
NoPruneFlag = Annotated[
    bool, typer.Option("--no-prune", help="Keep edges on no input→logits path.", rich_help_panel=CIRCUITS)
]
OutsideOption = Annotated[
    str | None,
    typer.Option(
        help="What edges outside the circuit carry: patching, zero, mean, mean-positional.",
        rich_help_panel=RUNNING,
        show_default="the run's; patching for --scores",
    ),
]
BootstrapOption = Annotated[
    int, typer.Option(min=1, help="Resamples of the pairs for the intervals.", rich_help_panel=RUNNING)
]
LevelOption = Annotated[float, typer.Option(help="Level of the intervals.", rich_help_panel=RUNNING)]
BaselineOption = Annotated[
    int, typer.Option(min=0, help="Also run random circuits of this many seeds.", rich_help_panel=RUNNING)
]
CompletenessFlag = Annotated[
    bool, typer.Option("--completeness", help="Also run the complements.", rich_help_panel=RUNNING)
]
MinimalityFlag = Annotated[
    bool, typer.Option("--minimality", help="Also run each circuit without each edge.", rich_help_panel=RUNNING)
]
StabilityFlag = Annotated[
    bool,
    typer.Option(
        "--stability",
        help="Also say how often each edge is in the top n over resamples of the run's pairs.",
        rich_help_panel=RUNNING,
    ),
]
NoCacheFlag = Annotated[
    bool, typer.Option("--no-cache", help="Run even if it was run before.", rich_help_panel=RUNNING)
]
EXAMPLES = (
    "eapgp evaluate --run DIR --edges 20 --edges 50",
    "eapgp evaluate --run 042028bc --grid mib --baseline 5 --json",
    "eapgp evaluate --run DIR --nodes 5 --nodes 10",
    "eapgp evaluate --run DIR --by nodes --grid mib",
    "eapgp evaluate --scores nodes.json --model gpt2 --task ioi   (a file that scores nodes alone)",
    "eapgp evaluate --run DIR --seed 7 --pairs 200   (other prompts)",
    "eapgp evaluate --run DIR --edges 50 --stability   (a run made with --keep-pairs)",
    "eapgp evaluate --scores scores.json --model gpt2 --task ioi --grid mib",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    command(app, "evaluate", examples=EXAMPLES, panel=PANEL)(with_prompting(evaluate))


def evaluate(
    out: Output,
    run: RunOption = None,
    scores: ScoresOption = None,
    edges: EdgesOption = None,
    nodes: NodesOption = None,
    threshold: ThresholdOption = None,
    by: ByOption = "edges",
    grid: GridOption = "default",
    rule: RuleOption = "top-n",
    signed: SignedFlag = False,
    no_prune: NoPruneFlag = False,
    metric: MetricOption = None,
    intervention: OutsideOption = None,
    bootstrap: BootstrapOption = 1000,
    level: LevelOption = 0.95,
    baseline: BaselineOption = 0,
    completeness: CompletenessFlag = False,
    minimality: MinimalityFlag = False,
    stability: StabilityFlag = False,
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
    no_cache: NoCacheFlag = False,
    home: HomeOption = None,
) -> Reply:
    """Run the circuits of a run's strongest edges (or nodes), and say how much of the behaviour each keeps.

    Faithfulness is (M(circuit) - M(corrupted)) / (M(clean) - M(corrupted)): 1 for the whole
    graph, 0 for none of it. The prompts are the run's own unless others are asked for.
    """
    asked: dict[str, Any] = {"by": by, "grid": grid, "rule": rule, "absolute": not signed, "prune": not no_prune}
    asked |= {name: tuple(v or ()) for name, v in (("sizes", edges), ("nodes", nodes), ("thresholds", threshold))}
    asked |= {"metric": metric, "intervention": intervention, "resamples": bootstrap, "level": level}
    asked |= {"baseline": baseline, "completeness": completeness, "minimality": minimality, "stability": stability}
    question = Question(**asked)
    prompt_flags: dict[str, Any] = {"task": task, "prompts": prompts, "columns": columns, "extra": option}
    prompt_flags |= {"n_pairs": pairs, "seed": seed, "split": split, **(prompted or {})}
    named: dict[str, Any] = {"model": model, "dtype": dtype}
    with out.progress() as progress:
        how = Running(device or "auto", batch_size, progress)
        loaded = cache(lambda: load_for(make_spec(**named, device=how.device, **prompt_flags), progress=progress))
        source = one_source(run, scores, home, graph_of=lambda: catalogue_graph(model) or loaded().graph)
        if source.run is None:
            answer = _of_scores(source, make_spec(**named, **prompt_flags), question, loaded, how)
        elif model is not None or dtype is not None:
            raise OptionError("--model and --dtype: expected with --scores only; a run knows its model.")
        else:
            answer = _of_run(source.run, prompt_flags, question, how, use_cache=not no_cache)
    return Reply(payload := {**_origin(source), **answer}, evaluation_text(payload))


def other_prompts(run: Run, flags: dict[str, Any], how: Running) -> PromptSet | None:
    """The prompts that were asked for in place of the run's, else None; the run's model says which are left out."""
    spec = other_spec(run, flags)
    if spec is None:
        return None
    resolved = resolve(spec)
    if not spec.selection:
        return resolved.prompts
    return resolved.for_model(load_run_model(run, device=how.device, progress=how.progress)).prompts


def other_spec(run: Run, flags: dict[str, Any]) -> RunSpec | None:
    """The spec of prompts that were asked for in place of the run's, else None.

    What was not said is as in the run: `--seed 7` alone gives other pairs of the same task.
    """
    asked = {key: value for key, value in flags.items() if value is not None and value != []}
    told = next((name for name in PROMPTING_FIELDS if name in asked), None)
    if told is not None:
        raise OptionError(f"--{told}: expected with --scores only; a run knows how prompts are put to its model.")
    spec = run.spec or RunSpec(model=run.request["model"]["id"], task=run.request["task"])
    if not asked:
        return None
    if "task" in asked or "prompts" in asked:
        same = {name: getattr(spec, name) for name in ("random_weights", *PROMPTING_FIELDS)}
        return replace(make_spec(**asked), model=spec.model, **same)
    if spec.prompts is not None or spec.prompts_file is not None:
        if not set(asked) <= {"n_pairs", *SELECTION_FIELDS}:
            raise OptionError("the run's prompts are from a file: expected --pairs, --prompts or --task with it.")
    elif "extra" in asked:
        asked["task_options"] = make_spec(task=spec.task, extra=asked.pop("extra")).task_options
    return replace(spec, **asked)


def _of_run(run: Run, flags: dict[str, Any], question: Question, how: Running, *, use_cache: bool) -> dict[str, Any]:
    others = other_prompts(run, flags, how)
    answer = evaluate_run(run, question, prompts=others, how=how, use_cache=use_cache)
    return answer if others is None else _with_remarks(answer, others)


def _of_scores(
    source: Source, spec: RunSpec, question: Question, loaded: Callable[[], Any], how: Running
) -> dict[str, Any]:
    if question.stability:
        raise OptionError("--stability: expected a run made with --keep-pairs; a file has no scores of single pairs.")
    circuits, resolved = question.circuits(source.scores, source.node_scores), resolve(spec)
    prompts = resolved.for_model(loaded()).prompts if spec.selection else resolved.prompts
    answer = evaluate_circuits(loaded(), prompts, circuits, question, how=how)
    return {**_with_remarks(answer, prompts), "model": spec.model, "task": prompts.task, "cached": False}


def _with_remarks(answer: dict[str, Any], prompts: PromptSet) -> dict[str, Any]:
    """An answer that also says which pairs were left out."""
    messages = [*selection_remarks(prompts), *answer.get("messages", ())]
    return {**answer, "messages": messages} if messages else answer


def _origin(source: Source) -> dict[str, Any]:
    if source.run is None:
        return {"scores": source.label}
    request = source.run.request
    return {
        "run": str(source.run.path),
        "id": source.run.id,
        "model": request["model"]["id"],
        "method": request["method"],
    }
