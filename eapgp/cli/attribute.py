"""`eapgp attribute` and its shortcut `eapgp exact`: score the edges of a model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from eapgp.attribution.registry import METHODS
from eapgp.attribution.result import Attribution, PathRecord
from eapgp.cli import completion
from eapgp.cli.command import BatchOption, DeviceOption, HomeOption, command
from eapgp.cli.options import (
    METHOD,
    PROMPTS,
    STORE,
    ColumnsOption,
    DtypeOption,
    ExtraOption,
    InterventionOption,
    MetricOption,
    ModelOption,
    PairsOption,
    PromptsOption,
    RandomWeightsFlag,
    SeedOption,
    SplitOption,
    TaskOption,
    make_spec,
    method_rows,
    task_rows,
    with_flags,
    with_prompting,
)
from eapgp.cli.output import Output, Reply, check_file, check_folder, is_first, launched, number, stacked, table
from eapgp.errors import EapgpError, NotSavedError, one_line
from eapgp.formats import format_of, write_scores
from eapgp.prompts.prompting import Prompting
from eapgp.runs.compute import compute_run
from eapgp.runs.distributed import compute_together
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run, check_target, copy_run
from eapgp.runs.spec import RunSpec

PANEL = "Find circuits"
MethodOption = Annotated[
    str | None,
    typer.Option(
        help="See 'eapgp methods'.",
        rich_help_panel=METHOD,
        show_default="eap-gp",
        autocompletion=completion.methods,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Also write the run to this folder.", rich_help_panel=STORE, metavar="DIR"),
]
ExportOption = Annotated[
    Path | None,
    typer.Option(
        help="Also write the scores to this file; the suffix decides the format (.json is MIB's).",
        rich_help_panel=STORE,
        metavar="FILE",
    ),
]
NoCacheFlag = Annotated[
    bool, typer.Option("--no-cache", help="Compute even if the library has the run.", rich_help_panel=STORE)
]
KeepPairsFlag = Annotated[
    bool, typer.Option("--keep-pairs", help="Keep the scores of every pair.", rich_help_panel=STORE)
]
NodesFlag = Annotated[
    bool, typer.Option("--nodes", help="Also show the attribution of each node's output.", rich_help_panel=STORE)
]
TopOption = Annotated[
    int, typer.Option("--top", min=0, help="How many of the strongest edges to show.", rich_help_panel=STORE)
]


EXACT = "exact"
EXACT_EXAMPLES = (
    "eapgp exact --task ioi",
    "eapgp exact --model gpt2 --task ioi --edges 'a9.h9<q>' --edges 'm11->logits'",
)
EXAMPLES = (
    "eapgp attribute --model demo --task ioi",
    "eapgp attribute --task ioi --method eap-gp --step unit --pairs 64 --out DIR --json",
    "eapgp attribute --task ioi --corruption hard --method eap-ig --steps 10",
    "eapgp attribute --model smollm2-135m --task ioi --bos '<|endoftext|>' --only-correct",
    "eapgp attribute --model gpt2 --prompts pairs.csv --export scores.json",
    "eapgp attribute --prompts table.xlsx.csv --columns clean=Question,corrupted=Twin --metric kl",
    "torchrun --nproc-per-node 4 -m eapgp attribute --model gpt2-xl --task ioi --pairs 512",
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    score = with_flags(with_prompting(attribute), {PROMPTS: task_rows(), METHOD: method_rows()})
    command(app, "attribute", examples=EXAMPLES, panel=PANEL)(score)
    patch = with_flags(with_prompting(attribute), {PROMPTS: task_rows(), METHOD: METHODS[EXACT].options}, method=EXACT)
    patch.__doc__ = "Measure every edge by patching it alone: the ground truth of single edges, and slow."
    command(app, EXACT, examples=EXACT_EXAMPLES, panel=PANEL)(patch)


def attribute(
    out: Output,
    model: ModelOption = None,
    task: TaskOption = None,
    prompts: PromptsOption = None,
    columns: ColumnsOption = None,
    pairs: PairsOption = None,
    seed: SeedOption = None,
    split: SplitOption = None,
    prompted: Mapping[str, Any] | None = None,
    method: MethodOption = None,
    rows: Mapping[str, Any] | None = None,
    metric: MetricOption = None,
    intervention: InterventionOption = None,
    option: ExtraOption = None,
    batch_size: BatchOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    random_weights: RandomWeightsFlag = False,
    folder: OutOption = None,
    export: ExportOption = None,
    top: TopOption = 20,
    nodes: NodesFlag = False,
    no_cache: NoCacheFlag = False,
    keep_pairs: KeepPairsFlag = False,
    home: HomeOption = None,
) -> Reply:
    """Score every edge of a model on a task: how much the behaviour rests on it.

    A positive score means that the edge supports the behaviour. The run is stored in the
    library; the same request asked for again is answered from there.
    """
    spec = make_spec(
        model=model,
        task=task,
        prompts=prompts,
        columns=columns,
        rows=rows,
        extra=option,
        n_pairs=pairs,
        seed=seed,
        split=split,
        method=method,
        metric=metric,
        intervention=intervention,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        random_weights=random_weights,
        keep_pairs=keep_pairs,
        **(prompted or {}),
    )
    try:
        run = computed(out, spec, home, use_cache=not no_cache, folder=folder, export=export)
    except NotSavedError as error:
        return _unsaved_reply(error, top, nodes, folder, export)
    return reply_of(run, top, nodes=nodes)


def computed(
    out: Output,
    spec: RunSpec,
    home: Path | None,
    *,
    use_cache: bool = True,
    folder: Path | None = None,
    export: Path | None = None,
) -> Run:
    """Compute or find the run, copy it to `folder`, export its scores to `export`."""
    check_folder(home, "--home", write=False)  # a run that is stored is answered from there all the same
    check_folder(folder, "--out")
    check_file(export, "--export")
    if folder is not None:
        check_target(folder)
    if export is not None:
        format_of(export)
    run = _shared_run(out, spec, home, use_cache) if launched() else None
    if run is None:
        with out.progress() as progress:
            run = compute_run(spec, library=RunLibrary(home), progress=progress, use_cache=use_cache)
    if folder is not None:
        run = copy_run(run, folder)
    if export is not None:
        _export(run.attribution(), export)
    return run


def _export(result: Attribution, file: Path) -> None:
    write_scores(result.scores, file, node_scores=result.node_scores if format_of(file).node_scores else None)


def _unsaved_reply(error: NotSavedError, top: int, nodes: bool, folder: Path | None, export: Path | None) -> Reply:
    """The answer that the library could not take; what was to be written elsewhere is tried all the same."""
    unsaved, problems = error.unsaved, [str(error)]
    place = Place(unsaved.request, unsaved.device)
    for target, write in ((folder, unsaved.save_to), (export, partial(_export, unsaved.attribution))):
        if target is not None:
            try:
                write(target)
            except (OSError, EapgpError) as further:
                problems.append(f"{target}: {one_line(further)}")
            else:
                problems.append(f"{target}: written.")
    return _reply(unsaved.attribution, place, top, nodes=nodes, failed=" ".join(problems))


def _shared_run(out: Output, spec: RunSpec, home: Path | None, use_cache: bool) -> Run:
    """The run, computed together with the other processes of torchrun; only the first goes on from here."""
    first = is_first()
    with out.progress() if first else nullcontext() as progress:
        run = compute_together(spec, library=RunLibrary(home), progress=progress, use_cache=use_cache)
    if run is None:
        raise typer.Exit
    return run


def reply_of(run: Run, top: int, *, nodes: bool = False) -> Reply:
    """What `attribute` says about a run; nodes: the table of nodes too."""
    place = Place(run.request, run.record["device"], str(run.path), run.id, run.cached)
    return _reply(run.attribution(), place, top, nodes=nodes)


@dataclass(frozen=True)
class Place:
    """Where a result was asked for, computed and stored; run and id are empty where it could not be."""

    request: Mapping[str, Any]
    device: str
    run: str = ""
    id: str = ""
    cached: bool = False


def _reply(result: Attribution, place: Place, top: int, *, nodes: bool, failed: str = "") -> Reply:
    request = place.request
    payload: dict[str, Any] = {
        "model": request["model"]["id"],
        "task": request["task"],
        "method": result.method,
        "steps": result.options.get("steps"),
        "options": result.options,
        "intervention": request["intervention"],
        "metric": request["metric"],
        "seed": request["seed"],
        "n_pairs": request["prompts"]["n_pairs"],
        "n_edges": result.graph.n_edges,
        "prompting": request.get("prompting", {}),
        "selection": request.get("selection", {}),
        "right": None if result.right is None else int(result.right.sum()),
        "accuracy": None if result.right is None else float(result.right.mean()),
        "metric_clean": float(np.mean(result.metric_clean)),
        "metric_corrupted": float(np.mean(result.metric_corrupted)),
        "seconds": result.seconds,
        "forward_passes": result.forward_passes,
        "backward_passes": result.backward_passes,
        "completeness": {name: float(np.mean(values)) for name, values in result.completeness.items()},
        "completeness_by_pair": {name: [float(v) for v in values] for name, values in result.completeness.items()},
        "nodes": _nodes(result),
        "top_edges": [{"name": name, "score": score} for name, score in result.scores.top(top)],
        "path": path_steps(_followed(result)),
        "paths": {name: path_steps(record) for name, record in result.paths.items()},
        "descent": {name: descent(record) for name, record in result.paths.items()},
        "messages": list(result.messages),
        "device": place.device,
        "run": place.run or None,
        "id": place.id or None,
        "cached": place.cached,
        **({"problem": failed} if failed else {}),
    }
    return Reply(payload, _text(payload, nodes), failed=failed)


def _nodes(result: Attribution) -> list[dict[str, Any]]:
    """Attribution of each node's output, largest first; null where it is not known."""
    if result.node_scores is None:
        return []
    scored = zip(result.graph.sources, result.node_scores, strict=True)
    nodes = [{"name": name, "score": None if np.isnan(score) else float(score)} for name, score in scored]
    return sorted(nodes, key=lambda node: -abs(node["score"] or 0.0))


def _followed(result: Attribution) -> PathRecord | None:
    """The record of the path that the method followed."""
    return next(iter(result.paths.values()), None)


def descent(record: PathRecord) -> dict[str, Any]:
    """Whether a path came nearer to the corrupted output: the share of pairs, and ‖G − G(x′)‖² at both ends."""
    start, end = ([float(value) for value in record.output_distance[place]] for place in (0, -1))
    return {"nearer": float(record.descended().mean()), "start": start, "end": end}


def path_steps(record: PathRecord | None) -> list[dict[str, Any]]:
    """One entry per point γ_0 … γ_k, means over pairs; `rose` is the share of pairs whose distance grew."""
    if record is None:
        return []
    rose = np.concatenate([[0.0], record.rose().mean(axis=1)])
    fields = {
        "distance": record.output_distance,
        "metric": record.metric,
        "to_corrupted": record.to_corrupted,
        "to_clean": record.to_clean,
        "gradient_norm": record.gradient_norm,
    }
    return [
        {
            "step": point,
            **{name: float(np.mean(values[point])) for name, values in fields.items()},
            "rose": float(rose[point]),
            "used": bool(record.used[point]),
        }
        for point in range(record.n_points)
    ]


def _text(payload: dict[str, Any], nodes: bool) -> Any:
    clean, corrupted = number(payload["metric_clean"]), number(payload["metric_corrupted"])
    right = "" if payload["right"] is None else f"right on {payload['right']:,} of {payload['n_pairs']:,} pairs, "
    how = Prompting.from_dict(payload["prompting"]).conditions
    head = (
        f"{payload['method']} on {payload['model']}, {payload['task']}: "
        f"{', '.join((str(payload['n_pairs']) + ' pairs', *how))}, "
        f"{payload['n_edges']:,} edges\n"
        f"{right}{payload['metric']} clean {clean}, corrupted {corrupted}\n"
    )
    if payload["cached"]:
        head += "from the library"
    else:
        head += (
            f"{payload['seconds']:.2f} s, {payload['forward_passes']:g} forward and "
            f"{payload['backward_passes']:g} backward passes"
        )
    edges = [(edge["name"], edge["score"]) for edge in payload["top_edges"]]
    steps = [(entry["step"], entry["distance"], entry["metric"], f"{entry['rose']:.0%}") for entry in payload["path"]]
    return stacked(
        head,
        table(("edge", "score"), edges, right=("score",)) if edges else "",
        table(("node", "score"), [(n["name"], n["score"]) for n in payload["nodes"]], right=("score",))
        if nodes
        else "",
        table(("step", "distance", "metric", "rose"), steps, right=("distance", "metric", "rose")) if steps else "",
        "\n".join(payload["messages"]),
        f"run {payload['run']}" if payload["run"] else "not stored",
    )
