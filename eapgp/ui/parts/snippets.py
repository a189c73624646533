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
from eapgp.circuits.circuit import Circuit
from eapgp.models.catalogue import BUNDLED, find_model
from eapgp.options import Option
from eapgp.prompts.aliases import write_by_hand
from eapgp.runs.files import plain as plain_values
from eapgp.runs.spec import DEFAULT_PAIRS, PATCHING, RunSpec
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


def _fields(spec: RunSpec) -> str:
    """A line for each field that was asked for, as they stand in a call."""
    return "".join(f"    {name}={value!r},\n" for name, value in asked(spec).items())


def run_python(spec: RunSpec) -> str:
    """Python that computes a run again."""
    return (
        "from eapgp.runs import RunLibrary, RunSpec, compute_run\n\n"
        f"spec = RunSpec(\n{_fields(spec)})\n"
        "run = compute_run(spec, library=RunLibrary())\n"
        "for edge, score in run.scores().top(20):\n"
        '    print(f"{score:+.5f}  {edge}")\n'
    )


def circuit_python(spec: RunSpec, circuit: Circuit, title: str, stem: str, *, edited: bool) -> str:
    """Python that makes the circuit on screen, its faithfulness and its figure, in the words of the README.

    What `load_model`, `make_prompts` and `attribute` cannot be asked for goes by way of the run's request. edited: the
    circuit is not that of the strongest edges, so its edges are named.
    """
    extra = arguments({} if spec.metric is None else {"metric": spec.metric})
    extra += arguments({} if spec.intervention == PATCHING else {"intervention": spec.intervention})
    chosen = f"circuit = eapgp.select(result.scores, n={circuit.n_selected})\n"
    if edited:
        names = "".join(f"    {name!r},\n" for name in circuit.edge_names())
        chosen = f"edges = [\n{names}]\ncircuit = eapgp.Circuit.of_names(result.scores.graph, edges)\n"
    return (
        f"import eapgp\n{_plain_start(spec, extra) or _request_start(spec)}"
        f"{chosen}"
        f"runner = eapgp.CircuitRunner(model, prompts{extra})\n"
        "print(circuit.n_kept, runner.faithfulness(circuit))\n"
        f"figure = eapgp.circuit_figure(result.scores, circuit, title={title!r})\n"
        f'eapgp.save_figure(figure, "{stem}.pdf")\n'
    )


def _plain_start(spec: RunSpec, extra: str) -> str:
    """Model, prompts and scores by the three functions of the README; empty where they are not enough."""
    usual = RunSpec(task=spec.task, seed=spec.seed)
    names = ("prompts", "prompts_file", "random_weights", "tokenizer", "device", "batch_size")
    if any(getattr(spec, name) != getattr(usual, name) for name in names) or spec.selection or spec.task not in TASKS:
        return ""
    if spec.prompting != usual.prompting:
        return ""
    entry = find_model(spec.model)
    bundled = entry is not None and entry.source == BUNDLED
    task: dict[str, Any] = {} if spec.seed == 0 else {"seed": spec.seed}
    task |= {} if spec.split == usual.split else {"split": spec.split}
    dtype = {} if spec.dtype == usual.dtype else {"dtype": spec.dtype}
    words = "" if bundled else ", tokenizer=model.tokenizer"
    pairs = spec.n_pairs or DEFAULT_PAIRS
    return (
        f"\nmodel = eapgp.load_model({spec.model!r}{arguments(dtype)})\n"
        f"prompts = eapgp.make_prompts({spec.task!r}, {pairs}{words}{arguments({**task, **spec.task_options})})\n"
        f"result = eapgp.attribute(model, prompts, method={spec.method!r}{extra}{arguments(spec.options)})\n"
    )


def _request_start(spec: RunSpec) -> str:
    return (
        "from eapgp.runs.compute import load_run_model\n\n"
        f"spec = eapgp.RunSpec(\n{_fields(spec)})\n"
        "run = eapgp.compute_run(spec, library=eapgp.RunLibrary())\n"
        "model, prompts, result = load_run_model(run), run.prompts(), run.attribution()\n"
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
