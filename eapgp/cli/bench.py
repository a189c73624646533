"""`eapgp bench`: for those who work on the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eapgp.bench.report import write_report
from eapgp.cli.command import command
from eapgp.cli.output import Output, Reply, number, table
from eapgp.errors import UnknownNameError

PANEL = "Make"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    examples = (
        "eapgp bench",
        "eapgp bench --json",
        "eapgp bench --full --report docs/benchmarks.md",
        "eapgp bench --only growth --device cuda",
    )

    @command(app, "bench", examples=examples, panel=PANEL)
    def bench(
        out: Output,
        full: Annotated[
            bool, typer.Option("--full", help="Every section: growth and GPT-2 XL (10 GB of memory) too.")
        ] = False,
        only: Annotated[list[str] | None, typer.Option(help="A section to run; may be given more than once.")] = None,
        shape: Annotated[str, typer.Option(help="Catalogue model whose shape is taken, with random weights.")] = "gpt2",
        pairs: Annotated[int, typer.Option(min=1, help="Prompt pairs.")] = 8,
        tokens: Annotated[int, typer.Option(min=2, help="Tokens per prompt.")] = 17,
        repeats: Annotated[int, typer.Option(min=1, help="Measured runs of each, after a warm-up.")] = 3,
        device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")] = "cpu",
        report: Annotated[
            Path | None, typer.Option(help="Markdown page to write; its figures are kept beside it as JSON.")
        ] = None,
    ) -> Reply:
        """Measure what attribution costs beside the bare passes, on random weights of a model's true shape."""
        from eapgp.bench.suite import QUICK, SECTIONS, run_bench

        unknown = sorted(set(only or ()) - set(SECTIONS))
        if unknown:
            raise UnknownNameError.of("section", unknown[0], SECTIONS)
        sections = tuple(only) if only else (SECTIONS if full else QUICK)
        with out.progress() as progress:
            figures = run_bench(
                sections=sections,
                shape=shape,
                pairs=pairs,
                length=tokens,
                repeats=repeats,
                device=device,
                progress=progress,
            )
        if report is not None:
            write_report(figures, report)
        totals = {name: value for name, value in figures.items() if name != "sections"}
        return Reply(figures, table(("figure", "value"), _flat(totals), right=("value",)))


def _flat(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """One row per number, nested ones under their path of names."""
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += [(f"{name} {inner}", held) for inner, held in _flat(value)]
        else:
            rows.append((name, ", ".join(map(number, value)) if isinstance(value, list) else value))
    return rows
