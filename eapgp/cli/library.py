"""`eapgp runs …`: the run library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eapgp.attribution.registry import IMPORTED
from eapgp.cli.command import HomeOption, command
from eapgp.cli.output import Output, Reply, number, size, stacked, table
from eapgp.runs.info import RunInfo, info_of, prompt_conditions
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run, copy_run
from eapgp.runs.spec import PATCHING, UNKNOWN

RunArgument = Annotated[str, typer.Argument(help="Id, beginning of an id, name or folder of a run.", metavar="RUN")]
SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    runs = typer.Typer(no_args_is_help=True, help="The run library: list, show, keep and remove runs.")
    app.add_typer(runs, name="runs")
    for add in (_list, _show, _open, _remove, _restore, _rename, _note, _export, _import, _gc):
        add(runs)


def _list(runs: typer.Typer) -> None:
    @command(runs, "list", examples=("eapgp runs list", "eapgp runs list 'ioi method=eap-gp' --json"))
    def list_(
        out: Output,
        query: Annotated[str, typer.Argument(help="Words to look for, or field=value.")] = "",
        home: HomeOption = None,
    ) -> Reply:
        """List the runs, newest first."""
        library = RunLibrary(home)
        summaries = library.list(query)
        for folder, problem in library.problems():
            out.message(f"{folder.name} cannot be read: {problem}")
        payload = {"home": str(library.home), "runs": [summary.to_dict() for summary in summaries]}
        if not summaries:
            return Reply(payload, f"no runs in {library.runs}" + (f" match {query!r}." if query else "."))
        columns = ("id", "name", "model", "task", "method", "steps", "pairs", "seed", "metric", "created", "size")
        return Reply(
            payload, table(columns, [_row(summary) for summary in summaries], right=("steps", "pairs", "size"))
        )


def _row(summary: RunInfo) -> tuple[Any, ...]:
    metric = f"{number(summary.metric_clean)} / {number(summary.metric_corrupted)}"
    asides = (summary.intervention, "patching", UNKNOWN), (summary.dtype, "float32", UNKNOWN)
    method = ", ".join((summary.method, *(value for value, *usual in asides if value not in usual)))
    head = (summary.id[:SHOWN], summary.name, summary.model, summary.task, method)
    sampling = (summary.n_pairs, summary.seed) if not summary.imported else (None, None)
    return (*head, summary.steps, *sampling, metric, summary.created[:16], size(summary.bytes))


def _show(runs: typer.Typer) -> None:
    @command(runs, "show", examples=("eapgp runs show 042028bc", "eapgp runs show DIR --json"))
    def show(
        out: Output,
        run: RunArgument,
        top: Annotated[int, typer.Option(min=0, help="How many of the strongest edges.")] = 10,
        home: HomeOption = None,
    ) -> Reply:
        """Show everything about a run: what was computed, how, and its strongest edges."""
        opened = RunLibrary(home).open(run)
        edges = [{"name": name, "score": score} for name, score in opened.scores().top(top)]
        payload = {
            **opened.provenance,
            "run": str(opened.path),
            **opened.meta,
            "size": opened.size(),
            "top_edges": edges,
            "evaluations": opened.evaluation(),
        }
        return Reply(payload, stacked(table(("", ""), _facts(opened)), _edges(edges)))


def _facts(run: Run) -> list[tuple[str, Any]]:
    record, request, spec = run.record, run.request, run.spec
    if record["method"] == IMPORTED:
        return _imported_facts(run)
    model, options = request["model"], ", ".join(f"{key}={value}" for key, value in record["options"].items())
    drawn = f", drawn from seed {spec.seed}" if spec is not None and spec.random_weights else ""
    prompts = (f"{request['prompts']['n_pairs']} pairs", *prompt_conditions(spec), f"seed {request['seed']}")
    return [
        ("run", str(run.path)),
        *((key, value) for key, value in run.meta.items() if value),
        ("model", f"{model['id']} ({model['dtype']}, weights {model['weights_hash']}{drawn})"),
        ("prompts", ", ".join((request["task"], *prompts))),
        ("method", f"{record['method']} {options}".strip()),
        ("intervention", request.get("intervention", PATCHING)),
        (f"{request['metric']} clean / corrupted", " / ".join(number(record[key]["mean"]) for key in METRIC_KEYS)),
        ("passes", f"{record['forward_passes']:g} forward, {record['backward_passes']:g} backward"),
        ("time", f"{record['seconds']:.2f} s on {info_of(run).machine}, {record['created']}"),
        ("evaluations", ", ".join(run.evaluation()) or "none"),
        *(("note", message) for message in record["messages"]),
    ]


def _imported_facts(run: Run) -> list[tuple[str, Any]]:
    """What is known of scores that came in a file."""
    record, request = run.record, run.request
    about = {"model": request["model"]["id"], "task": request["task"]}
    statements = {key: f"{value}, as told at the import" for key, value in about.items() if value != UNKNOWN}
    return [
        ("run", str(run.path)),
        *((key, value) for key, value in run.meta.items() if value),
        *record["options"].items(),
        *((key, statements.get(key, "not told at the import")) for key in about),
        ("imported", record["created"]),
    ]


METRIC_KEYS = ("metric_clean", "metric_corrupted")


def _edges(edges: list[dict[str, Any]]) -> Any:
    return table(("edge", "score"), [(edge["name"], edge["score"]) for edge in edges], right=("score",))


def _open(runs: typer.Typer) -> None:
    @command(runs, "open", examples=("eapgp runs open 042028bc", 'cd "$(eapgp runs open 042028bc)"'))
    def open_(out: Output, run: RunArgument, home: HomeOption = None) -> Reply:
        """Print the folder of a run."""
        path = str(RunLibrary(home).open(run).path.absolute())
        return Reply({"run": path}, path)


def _remove(runs: typer.Typer) -> None:
    @command(runs, "rm", examples=("eapgp runs rm 042028bc", "eapgp runs rm 042028bc 77aa01ff"))
    def remove(
        out: Output,
        run: Annotated[list[str], typer.Argument(help="Ids, beginnings of ids or names.", metavar="RUN…")],
        home: HomeOption = None,
    ) -> Reply:
        """Move runs to the trash; `runs restore` brings them back until `runs gc`."""
        library = RunLibrary(home)
        removed = [library.delete(text) for text in run]
        return Reply({"removed": removed}, "\n".join(f"{key} is in the trash." for key in removed))


def _restore(runs: typer.Typer) -> None:
    @command(runs, "restore", examples=("eapgp runs restore", "eapgp runs restore 042028bc"))
    def restore(
        out: Output,
        run: Annotated[str, typer.Argument(help="Id or its beginning; left out, the trash is listed.")] = "",
        home: HomeOption = None,
    ) -> Reply:
        """Bring a run back from the trash."""
        library = RunLibrary(home)
        if not run:
            trash = library.deleted()
            return Reply({"trash": trash}, "\n".join(trash) or "the trash is empty.")
        folder = library.undelete(run)
        problem = library.problem(folder)
        remark = f", but it cannot be read: {problem}" if problem else "."
        return Reply(
            {"restored": folder.name, "run": str(folder), "problem": problem}, f"{folder.name} is back{remark}"
        )


def _rename(runs: typer.Typer) -> None:
    @command(runs, "rename", examples=("eapgp runs rename 042028bc 'ioi, unit step'",))
    def rename(
        out: Output,
        run: RunArgument,
        name: Annotated[str, typer.Argument(help='The new name; "" takes it away.')],
        home: HomeOption = None,
    ) -> Reply:
        """Give a run a name."""
        renamed = RunLibrary(home).rename(run, name)
        return Reply({"run": renamed.id, **renamed.meta}, f"{renamed.id} is named {name!r}.")


def _note(runs: typer.Typer) -> None:
    @command(runs, "note", examples=("eapgp runs note 042028bc 'the name movers are gone'",))
    def note(
        out: Output,
        run: RunArgument,
        text: Annotated[str, typer.Argument(help='The note; "" takes it away.')],
        home: HomeOption = None,
    ) -> Reply:
        """Write a note beside a run."""
        noted = RunLibrary(home).note(run, text)
        return Reply({"run": noted.id, **noted.meta}, f"{noted.id}: {text}")


def _export(runs: typer.Typer) -> None:
    @command(runs, "export", examples=("eapgp runs export 042028bc run.zip", "eapgp runs export 042028bc folder"))
    def export(
        out: Output,
        run: RunArgument,
        target: Annotated[Path, typer.Argument(help="A .zip file, or a folder to copy the run to.")],
        home: HomeOption = None,
    ) -> Reply:
        """Write a run, with its evaluations, to a zip file or another folder."""
        library = RunLibrary(home)
        if target.suffix.lower() == ".zip":
            library.export(run, target)
        else:
            copy_run(library.open(run), target)
        return Reply({"run": library.open(run).id, "file": str(target)}, f"written to {target}")


def _import(runs: typer.Typer) -> None:
    @command(runs, "import", examples=("eapgp runs import run.zip",))
    def import_(
        out: Output,
        source: Annotated[Path, typer.Argument(help="A zip file that `runs export` wrote.")],
        home: HomeOption = None,
    ) -> Reply:
        """Add the runs of a zip file to the library; every hash is checked."""
        runs = RunLibrary(home).import_(source)
        present = [run.id for run in runs if run.cached]
        for key in present:
            out.message(f"{key} is in the library already, and stays as it is there; the file's was not imported.")
        text = "\n".join(f"{run.id} {run.path}" for run in runs if not run.cached)
        return Reply({"runs": [run.id for run in runs], "present": present}, text or "nothing was imported.")


def _gc(runs: typer.Typer) -> None:
    @command(runs, "gc", examples=("eapgp runs gc", "eapgp runs gc --hours 0"))
    def gc(
        out: Output,
        hours: Annotated[
            float, typer.Option(min=0, help="Age from which unfinished runs of unknown processes are removed.")
        ] = 24.0,
        home: HomeOption = None,
    ) -> Reply:
        """Empty the trash, remove what killed processes left, and say what the library takes."""
        library = RunLibrary(home)
        done = library.gc(older_than=hours * 3600)
        use = library.disk_use()
        text = (
            f"removed {done['removed']} folders ({size(done['bytes'])}); "
            f"{use['runs']} runs take {size(use['bytes'])} in {library.home}"
        )
        return Reply({**done, "home": str(library.home), "disk": use}, text)
