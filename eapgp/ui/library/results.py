"""Stored results as the pages read them: the shelf of the server, and what was read once and is kept."""

from __future__ import annotations

import streamlit as st

from eapgp.attribution.names import rank
from eapgp.attribution.result import Attribution, PathRecord
from eapgp.errors import RunError
from eapgp.figures import numbers
from eapgp.runs.bundled import examples_folder
from eapgp.runs.info import RunInfo
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import open_run
from eapgp.ui.library.own_prompts import KeptPrompts, PromptStore
from eapgp.ui.library.shelf import Shelf


@st.cache_resource(max_entries=1, show_spinner=False)
def shelf() -> Shelf:
    """The bundled examples and the user's library."""
    return Shelf(RunLibrary(), examples_folder())


@st.cache_resource(max_entries=32, show_spinner=False)
def _attribution(path: str, run_id: str) -> Attribution:
    return open_run(path).attribution()


def attribution(card: RunInfo) -> Attribution:
    """The result of a run, read once and kept (32 at most).

    Errors: RunError where it is damaged or was altered; the run is set aside then.
    """
    try:
        return _attribution(str(card.run.path), card.id)
    except RunError as error:
        shelf().set_aside(card, str(error))
        raise


@st.cache_data(max_entries=64, show_spinner=False)
def _correlations(a: tuple[str, str], b: tuple[str, str]) -> tuple[float, float, int]:
    first, second = (_attribution(path, run_id).scores for run_id, path in (a, b))
    return numbers.correlations(numbers.edge_values(first), numbers.edge_values(second))


def correlations(a: RunInfo, b: RunInfo) -> tuple[float, float, int]:
    """Pearson's and Spearman's correlation of two runs' scores and over how many edges, taken once (64 at most)."""
    return _correlations((a.id, str(a.run.path)), (b.id, str(b.run.path)))


def kept_prompts(card: RunInfo) -> KeptPrompts:
    """The prompts of a run as a kept file, for runs whose prompts no task makes.

    Errors: RunError, PromptError or FormatError where they cannot be read or kept.
    """
    store, spec = PromptStore(shelf().library.home), card.run.spec
    known = store.at(spec.prompts_file) if spec is not None and spec.prompts_file else None
    return known or store.add(card.run.prompts())


def weights_of(card: RunInfo) -> str:
    """Hash of the weights that a run was made with."""
    return str(card.run.request["model"].get("weights_hash", ""))


def comparable(card: RunInfo) -> list[RunInfo]:
    """Runs of the same model, prompts, metric and intervention (this one included), one per variant of a method."""
    found: dict[tuple[str, str], RunInfo] = {}
    for other in [card, *sorted(shelf().cards(), key=lambda one: one.example)]:
        same = other.prompts_hash == card.prompts_hash and other.metric == card.metric and other.graph == card.graph
        same = same and other.intervention == card.intervention and other.prompting == card.prompting
        if same and other.model == card.model and weights_of(other) == weights_of(card):
            found.setdefault((other.method, str(sorted(other.options.items()))), other)
    return sorted(found.values(), key=lambda one: (rank(one.method), str(one.options)))


def path_sources(card: RunInfo) -> dict[str, RunInfo]:
    """Which run each path comes from: the run itself, and one of the other kind on the same prompts.

    The other run is one of the same number of steps; GradPath is the one by the relative step.
    """
    found = dict.fromkeys(attribution(card).paths, card)
    for kind, method in {"straight": "eap-ig", "gradpath": "eap-gp"}.items():
        for other in comparable(card) if kind not in found else ():
            fits = other.options.get("steps") == card.options.get("steps") and other.method == method
            fits = fits and other.options.get("step", "relative") == "relative"
            if fits and other.has_path and kind in attribution(other).paths:
                found.setdefault(kind, other)
    return {kind: found[kind] for kind in ("gradpath", "straight") if kind in found}


def paths(card: RunInfo) -> dict[str, PathRecord]:
    """The paths of a run, with the straight line or GradPath of a run on the same prompts beside it."""
    return {kind: attribution(source).paths[kind] for kind, source in path_sources(card).items()}
