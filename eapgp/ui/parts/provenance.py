"""How a result was made, and how to make it again: facts, Python, command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from eapgp.attribution.names import short_name
from eapgp.runs.canonical import plain as plain_values
from eapgp.runs.imported import UNKNOWN
from eapgp.runs.run import library_versions
from eapgp.runs.spec import RunSpec
from eapgp.ui.base.draw import plain
from eapgp.ui.base.names import metric_title
from eapgp.ui.library.shelf import RunInfo
from eapgp.ui.sidebar.panel import spec_to_ask_again

_PLAIN_OPTIONS = ("steps", "step", "objective", "points")
_DEFAULTS = RunSpec()


def facts(card: RunInfo) -> list[tuple[str, str]]:
    """What decided the numbers of a run, and where and when they were computed."""
    if card.imported:
        return _imported_facts(card)
    record, request = card.record, card.record["request"]
    libraries = record.get("libraries", {})
    options = ", ".join(f"{name} = {value}" for name, value in card.options.items()) or "none"
    drawn = f" with weights drawn from seed {request['seed']}" if card.untrained else ""
    weights = f"weights {str(request['model']['weights_hash'])[:12]}"
    pairs = (card.task, f"{card.n_pairs} pairs", *card.prompt_conditions, f"seed {request['seed']}")
    return [
        ("Run", card.id),
        ("Model", f"{card.model}{drawn}, {request['model']['dtype']}, {weights}"),
        ("Graph", f"{card.graph.n_layers} layers × {card.graph.n_heads} heads, {record['n_edges']:,} edges"),
        ("Task and prompts", ", ".join((*pairs, f"hash {card.prompts_hash}"))),
        ("Metric", metric_title(card.metric)),
        ("Method", f"{short_name(card.method)} ({card.method}); {options}"),
        ("Intervention", card.intervention),
        ("Passes", f"{record['forward_passes']:g} forward, {record['backward_passes']:g} backward"),
        ("Computed", f"{record['created']} on {record.get('device') or 'cpu'} in {record['seconds']:.2f} s"),
        ("Versions", versions(libraries)),
        ("Platform", str(libraries.get("platform", ""))),
        *(("Remark", str(message)) for message in record.get("messages", ())),
    ]


def _imported_facts(card: RunInfo) -> list[tuple[str, str]]:
    """What is known of scores that came in a file."""
    turned = "all signs turned" if card.options.get("negated") else "signs as in the file"
    return [
        ("Run", card.id),
        ("File", f"{card.options['file']}, sha256 {card.options['sha256']}, {turned}"),
        ("Model", _told(card.model)),
        ("Graph", f"{card.graph.n_layers} layers × {card.graph.n_heads} heads, {card.record['n_edges']:,} edges"),
        ("Task", _told(card.task)),
        ("Imported", str(card.record["created"])),
    ]


def _told(name: str) -> str:
    return "not told at the import" if name == UNKNOWN else f"{name}, as told at the import"


def import_snippets(card: RunInfo) -> tuple[str, str]:
    """Python, and a command line, that import the file of an imported run again."""
    told = {name: value for name, value in (("task", card.task), ("model", card.model)) if value != UNKNOWN}
    negated, file = bool(card.options.get("negated")), str(card.options["file"])
    arguments = {**told, **({"negate": True} if negated else {})}
    given = "".join(f", {name}={value!r}" for name, value in arguments.items())
    python = (
        "from eapgp.runs import RunLibrary\nfrom eapgp.runs.imported import keep_scores\n\n"
        f"run = keep_scores(RunLibrary(), {file!r}{given})\n"
        "for edge, score in run.scores().top(20):\n"
        '    print(f"{score:+.5f}  {edge}")\n'
    )
    words = ["eapgp", "import", file, "--keep", *(word for name in told for word in (f"--{name}", told[name]))]
    words += ["--negate"] if negated else []
    return python, " ".join(shlex.quote(word) for word in words) + " --json"


def versions(libraries: Mapping[str, Any] | None = None) -> str:
    """The versions that decide numbers, in one line; those of this server where none are given."""
    known = library_versions() if libraries is None else libraries
    return ", ".join(f"{name} {known[name]}" for name in ("eapgp", "torch", "transformer_lens") if name in known)


def python_snippet(spec: RunSpec) -> str:
    """Python that computes the run again."""
    arguments = "".join(f"    {name}={value!r},\n" for name, value in _given(spec).items())
    return (
        "from eapgp.runs import RunLibrary, RunSpec, compute_run\n\n"
        f"spec = RunSpec(\n{arguments})\n"
        "run = compute_run(spec, library=RunLibrary())\n"
        "for edge, score in run.scores().top(20):\n"
        '    print(f"{score:+.5f}  {edge}")\n'
    )


def shell_snippet(spec: RunSpec) -> str:
    """The command that computes the run again."""
    words = ["eapgp", "attribute", "--model", spec.model]
    if spec.task:
        words += ["--task", spec.task]
    if spec.prompts_file:
        words += ["--prompts", spec.prompts_file]
    words += ["--method", spec.method]
    for name, value in spec.options.items():
        written = value if isinstance(value, str) else json.dumps(plain_values(value, where=name))
        words += [f"--{name}", written] if name in _PLAIN_OPTIONS else ["--option", f"{name}={written}"]
    for name, value in spec.task_options.items():
        words += ["--option", f"{name}={value}"]
    if spec.n_pairs is not None:
        words += ["--pairs", str(spec.n_pairs)]
    words += ["--seed", str(spec.seed)]
    for flag, value, usual in (
        ("--split", spec.split, _DEFAULTS.split),
        ("--metric", spec.metric, None),
        ("--intervention", spec.intervention, _DEFAULTS.intervention),
        ("--dtype", spec.dtype, _DEFAULTS.dtype),
    ):
        if value != usual and value is not None:
            words += [flag, str(value)]
    words += [flag for flag, on in (("--random-weights", spec.random_weights), ("--keep-pairs", spec.keep_pairs)) if on]
    return " ".join(shlex.quote(word) for word in words) + " --json"


def _given(spec: RunSpec) -> dict[str, Any]:
    values = spec.to_dict()
    usual = _DEFAULTS.to_dict()
    always = ("model", "task", "n_pairs", "seed", "method", "options")
    return {name: value for name, value in values.items() if name in always or value != usual[name]}


def block(card: RunInfo) -> None:
    """The facts and the snippets, as a page shows them."""
    left, right = st.columns([1, 1], gap="large")
    with left:
        st.markdown("**What decided these numbers**")
        table = pd.DataFrame([(name, plain(value)) for name, value in facts(card)], columns=["", "value"]).set_index("")
        st.table(table, border="horizontal", hide_header=True)
    with right:
        spec = spec_to_ask_again(card)
        if card.imported:
            python, shell = import_snippets(card)
        elif spec is not None:
            python, shell = python_snippet(spec), shell_snippet(spec)
        else:
            st.caption("This run was imported; what it was asked with is not known.")
            return
        st.markdown(f"**{'Import' if card.imported else 'Compute'} it again in Python**")
        st.code(python, language="python")
        st.markdown("**… or on the command line**")
        st.code(shell, language="bash", wrap_lines=True)
