"""`eapgp prompts …`: make prompt files and check them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from eapgp.cli import completion
from eapgp.cli.command import command
from eapgp.cli.options import (
    ColumnsOption,
    ExtraOption,
    ModelOption,
    PairsOption,
    RandomWeightsFlag,
    SeedOption,
    SplitOption,
    key_values,
    task_values,
    with_prompting,
)
from eapgp.cli.output import Output, Reply, stacked, table
from eapgp.errors import OptionError
from eapgp.prompts import PromptSet, fit, read_prompts, write_prompts
from eapgp.prompts.aliases import read_by_hand
from eapgp.runs.compute import load_for, make_prompt_set
from eapgp.runs.spec import DEFAULT_PAIRS, RunSpec
from eapgp.tasks.sentence import PAIRS as ALIKE
from eapgp.tasks.sentence import make_alike, slots

COLUMNS = ("clean", "corrupted", "correct", "incorrect")
SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    prompts = typer.Typer(no_args_is_help=True, help="Prompt pairs: generate them, check a file of them.")
    app.add_typer(prompts, name="prompts")
    _generate(prompts)
    _check(prompts)
    _alike(prompts)


def _generate(prompts: typer.Typer) -> None:
    examples = (
        "eapgp prompts generate ioi --pairs 100 --out ioi.csv",
        "eapgp prompts generate ioi --option corruption=hard --split test --json",
        "eapgp prompts generate greater-than --model smollm2-135m",
    )

    def generate(
        out: Output,
        task: Annotated[str, typer.Argument(help="See 'eapgp tasks'.", autocompletion=completion.tasks)],
        pairs: PairsOption = None,
        seed: SeedOption = None,
        split: SplitOption = None,
        option: ExtraOption = None,
        model: ModelOption = None,
        random_weights: RandomWeightsFlag = False,
        prompted: Mapping[str, Any] | None = None,
        file: Annotated[
            Path | None, typer.Option("--out", help="Write them to this .csv file.", metavar="FILE")
        ] = None,
    ) -> Reply:
        """Generate prompt pairs of a task that fit a model's tokenizer; the same seed gives the same pairs."""
        spec = RunSpec(
            model=model or "demo",
            random_weights=random_weights,
            task=task,
            task_options=task_values(task, key_values(option)),
            n_pairs=DEFAULT_PAIRS if pairs is None else pairs,
            seed=seed or 0,
            split=split or "all",
            **(prompted or {}),
        )
        prompt_set = make_prompt_set(spec)
        if file is not None:
            save_prompts(prompt_set, file)
        payload = {**_payload(prompt_set), "model": spec.model, "file": str(file) if file else None}
        payload["pairs"] = [asdict(pair) for pair in prompt_set]
        where = (
            f"{len(prompt_set)} pairs written to {file}" if file else f"{len(prompt_set)} pairs; --out FILE writes them"
        )
        return Reply(payload, stacked(_table(prompt_set, SHOWN if file else len(prompt_set)), where))

    others = ("bos", "no_bos", "chat", "answers", "only_correct", "skip_unusable")
    command(prompts, "generate", examples=examples)(with_prompting(generate, *others))


def _check(prompts: typer.Typer) -> None:
    examples = (
        "eapgp prompts check pairs.csv",
        "eapgp prompts check pairs.csv --model gpt2 --json",
        "eapgp prompts check table.csv --columns clean=Question,corrupted=Twin,correct=Reply",
    )

    def check(
        out: Output,
        file: Annotated[Path, typer.Argument(help="File of prompt pairs.")],
        model: ModelOption = None,
        task: Annotated[str | None, typer.Option("--task", "-t", help="Task the file belongs to.")] = None,
        columns: ColumnsOption = None,
        pairs: PairsOption = None,
        prompted: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Check that a model can take every pair of a file: equal lengths, context, known words, one-token answers.

        Pairs that do not fit are listed, and the command exits with 2.
        """
        read = read_prompts(file, task=task, limit=pairs, columns=read_by_hand(columns))
        with out.progress() as progress:
            spec = RunSpec(model=model or "demo", device="cpu", **(prompted or {}))
            loaded = load_for(spec, progress=progress)
        findings = fit(read, loaded)
        payload = {**_payload(read), "model": loaded.id, **findings.to_dict()}
        if not findings.problems:
            text = f"all {len(read)} pairs fit {loaded.id}."
            return Reply(payload, stacked(_table(read, SHOWN), "\n".join(findings.remarks), text))
        refused = f"{file}: {len(findings.usable)} of {len(read)} pairs fit {loaded.id}. {findings.summary()}"
        rows = [(problem.pair + 1, problem.reason) for problem in findings.problems]
        listed = table(("pair", "why it cannot be used, and what to do"), rows, right=("pair",))
        payload["error"] = {"type": "PromptError", "message": refused}
        return Reply(payload, stacked(listed, "\n".join(findings.remarks)), refused=refused)

    command(prompts, "check", examples=examples)(with_prompting(check, "only_correct", "skip_unusable"))


def _alike(prompts: typer.Typer) -> None:
    examples = ("eapgp prompts alike pair.csv --pairs 32 --out task.csv", "eapgp prompts alike pair.csv --json")

    def alike(
        out: Output,
        file: Annotated[Path, typer.Argument(help="File whose first pair is the form.")],
        model: ModelOption = None,
        pairs: PairsOption = None,
        seed: SeedOption = None,
        target: Annotated[
            Path | None, typer.Option("--out", help="Write them to this .csv file.", metavar="FILE")
        ] = None,
    ) -> Reply:
        """Make many pairs of one: other names, places, nouns or countries in the same places."""
        (pair,) = read_prompts(file, limit=1).pairs
        with out.progress() as progress:
            loaded = load_for(RunSpec(model=model or "demo", device="cpu"), progress=progress)
        made = make_alike(pair, loaded, n=ALIKE if pairs is None else pairs, seed=seed or 0)
        if target is not None:
            save_prompts(made, target)
        payload = {**_payload(made), "model": loaded.id, "slots": slots(pair), "file": str(target) if target else None}
        payload["pairs"] = [asdict(one) for one in made]
        return Reply(payload, _table(made, SHOWN if target else len(made)))

    command(prompts, "alike", examples=examples)(alike)


def save_prompts(prompts: PromptSet, file: Path) -> None:
    """Write pairs as CSV.

    Errors: OptionError for another suffix or a file that cannot be written.
    """
    if file.suffix.lower() != ".csv":
        raise OptionError(f"{file}: expected a .csv file, got suffix {file.suffix!r}; name another.")
    try:
        write_prompts(prompts, file)
    except OSError as error:
        raise OptionError(f"{file}: expected a file that can be written, got {error.strerror}; name another.") from None


def _payload(prompts: PromptSet) -> dict[str, Any]:
    return {
        "task": prompts.task,
        "metric": prompts.metric,
        "n_pairs": len(prompts),
        "hash": prompts.hash,
        "origin": prompts.origin,
    }


def _table(prompts: PromptSet, n_rows: int) -> Any:
    rows = [(p.clean, p.corrupted, _short(p.correct), _short(p.incorrect)) for p in prompts.pairs[:n_rows]]
    return table(COLUMNS, rows)


def _short(answers: tuple[str | int, ...]) -> str:
    return " | ".join(map(str, answers[:4])) + (" …" if len(answers) > 4 else "")
