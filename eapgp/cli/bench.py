"""`eapgp bench` and `eapgp train-demo`: for those who work on the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eapgp.cli.command import command
from eapgp.cli.output import Output, Reply, table

PANEL = "Make"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    _train(app)


def _train(app: typer.Typer) -> None:
    examples = ("eapgp train-demo", "eapgp train-demo --out my-model --steps 500 --seed 1")

    @command(app, "train-demo", examples=examples, panel=PANEL)
    def train(
        out: Output,
        folder: Annotated[Path, typer.Option("--out", help="Folder to write the model to.")] = Path("demo-model"),
        steps: Annotated[int | None, typer.Option(help="Optimiser steps.", show_default="2000")] = None,
        seed: Annotated[int, typer.Option(help="Seed of weights and data.")] = 0,
        threads: Annotated[int | None, typer.Option(help="CPU threads.", show_default="all")] = None,
    ) -> Reply:
        """Train the bundled model from scratch on prompts of all six tasks."""
        from eapgp.training.demo import DEFAULT_STEPS, train_demo

        with out.progress() as progress:
            figures = train_demo(
                folder,
                steps=DEFAULT_STEPS if steps is None else steps,
                seed=seed,
                threads=threads,
                progress=progress,
            )
        payload = {"folder": str(folder), **figures}
        tasks = figures.get("tasks", {})
        names = sorted({key for values in tasks.values() for key in values})
        rows = [(task, *(values.get(name) for name in names)) for task, values in tasks.items()]
        return Reply(payload, table(("task", *names), rows, right=names))
