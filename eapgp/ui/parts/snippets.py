"""Python and command lines that make a result again, from what was asked for.

Flags of a method's and a task's options follow from their rows, the others from the fields of `RunSpec`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from eapgp.attribution.registry import METHODS
from eapgp.options import Option
from eapgp.prompts.aliases import write_by_hand
from eapgp.runs.files import plain as plain_values
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS
from eapgp.ui.base.draw import code

_USUAL = RunSpec().to_dict()
_ALWAYS = ("model", "task", "n_pairs", "seed", "method")
_FLAGS = {"n_pairs": "pairs", "prompts_file": "prompts"}  # fields of RunSpec whose flag has another name
_NO_FLAG = ("options", "task_options", "prompts")


def shell_line(*words: str, **flags: Any) -> str:
    """A command: words, then a flag per value. True is the flag alone, False `--no-…`, None nothing, a list repeats."""
    for name, value in flags.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words += (f"--{flag}" if value else f"--no-{flag}",)
        else:
            values = value if isinstance(value, list | tuple) else () if value is None else (value,)
            words += tuple(word for one in values for word in (f"--{flag}", str(one)))
    return " ".join(map(shlex.quote, words))


def arguments(values: Mapping[str, Any]) -> str:
    """`, name=value` for each value, as they stand after the first argument of a call."""
    return "".join(f", {name}={value!r}" for name, value in values.items())


def place(path: Path) -> str:
    """A path, short where it lies below the working folder."""
    full, here = path.resolve(), Path.cwd()
    return os.fspath(full.relative_to(here) if full.is_relative_to(here) else full)


def asked(spec: RunSpec) -> dict[str, Any]:
    """What a run was asked with: the fields that every request names, and those that are not usual."""
    return {name: value for name, value in spec.to_dict().items() if name in _ALWAYS or value != _USUAL.get(name)}


def run_python(spec: RunSpec) -> str:
    """Python that computes a run again."""
    lines = "".join(f"    {name}={value!r},\n" for name, value in asked(spec).items())
    return (
        "from eapgp.runs import RunLibrary, RunSpec, compute_run\n\n"
        f"spec = RunSpec(\n{lines})\n"
        "run = compute_run(spec, library=RunLibrary())\n"
        "for edge, score in run.scores().top(20):\n"
        '    print(f"{score:+.5f}  {edge}")\n'
    )


def run_shell(spec: RunSpec) -> str:
    """The command that computes a run again."""
    fields = {_FLAGS.get(name, name): value for name, value in asked(spec).items() if name not in _NO_FLAG}
    if spec.columns:
        fields["columns"] = write_by_hand(spec.columns)
    task = TASKS[spec.task].options if spec.task in TASKS else ()
    method = METHODS[spec.method].options if spec.method in METHODS else ()
    rows = _options(task, spec.task_options), _options(method, spec.options)
    texts = {name: text for flags, _ in rows for name, text in flags.items()}
    others = [text for _, texts in rows for text in texts]
    return shell_line("eapgp", "attribute", **fields, **texts, option=others, json=True)


def _options(rows: Iterable[Option], values: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Options as texts of flags, and as `name=value` where commands have no flag of the name."""
    by_name = {row.name: row for row in rows}
    texts = {
        name: by_name[name].show(value) if name in by_name else str(plain_values(value, where=name))
        for name, value in values.items()
        if value is not None
    }
    flags = {name: text for name, text in texts.items() if name in by_name and by_name[name].flag}
    return flags, [f"{name}={text}" for name, text in texts.items() if name not in flags]


def import_lines(file: str, names: Mapping[str, str], *, negate: bool) -> tuple[str, str]:
    """Python, and a command line, that import a file of scores again; names: its task and model, as far as said."""
    turned = {"negate": True} if negate else {}
    python = (
        "from eapgp.runs import RunLibrary\nfrom eapgp.runs.imported import keep_scores\n\n"
        f"run = keep_scores(RunLibrary(), {file!r}{arguments({**names, **turned})})\n"
        "for edge, score in run.scores().top(20):\n"
        '    print(f"{score:+.5f}  {edge}")\n'
    )
    return python, shell_line("eapgp", "import", file, keep=True, **names, **turned, json=True)


def reproduce_lines(model: str, question: Mapping[str, Any]) -> tuple[str, str]:
    """Python, and a command line, that run the paper's protocol again."""
    python = (
        "import eapgp\n\n"
        f"result = eapgp.reproduce({model!r}{arguments(question)})\n"
        "print(result.verdicts())\n"
        'result.table().to_csv("paper.csv", index=False)\n'
        "for title, figure in result.figures():\n"
        "    figure.show()\n"
    )
    return python, shell_line("eapgp", "reproduce", model=model, **question, out="report", json=True)


def draw(python: str, shell: str, *, title: str = "Compute it again in Python") -> None:
    """Both, one below the other."""
    st.markdown(f"**{title}**")
    code(python, language="python")
    st.markdown("**… or on the command line**")
    code(shell, language="bash", wrap_lines=True)
