"""Stored results as the pages read them: runs that can be shown without computing, and what was read once and is kept.

The shelf (the bundled examples and the user's library) reads a run once, holds its scores
against their hash, and looks for new and changed folders each time it is asked: runs made by the command line or by
another tab appear by themselves, and altered ones are set aside.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st

from eapgp.attribution.registry import rank
from eapgp.attribution.result import Attribution, PathRecord
from eapgp.errors import EapgpError, RunError
from eapgp.figures import numbers
from eapgp.runs.arrays import SCORES_FILE
from eapgp.runs.bundled import examples_folder
from eapgp.runs.files import content_key, file_stamp
from eapgp.runs.info import USUAL, RunInfo, info_of, usual_task_options
from eapgp.runs.library import RunLibrary, open_sound
from eapgp.runs.run import RUN_FILE, Run, open_run
from eapgp.runs.spec import DEFAULT_PAIRS, LATER_FIELDS, RunSpec
from eapgp.ui.base import visitor
from eapgp.ui.base.policy import policy, published
from eapgp.ui.library.own_prompts import KeptPrompts, PromptStore


def question_key(spec: RunSpec, *, metric: str, options: Mapping[str, Any], prompts: str = "") -> str:
    """Hash of what a spec asks for, its metric and options (the task's too) in full; equal for equal questions.

    prompts: content hash of the pairs, for those that no task makes. Without it, pairs kept by the dashboard are
    known by their content; other files are not read (they may have changed), and found by their place.
    """
    return content_key(
        {
            "model": spec.model,
            **_asked_prompts(spec, prompts),
            "seed": spec.seed,
            "metric": metric,
            "method": spec.method,
            "options": {name: value for name, value in options.items() if name != "keep_points"},
            "intervention": spec.intervention,
            **({"random_weights": True} if spec.random_weights else {}),
            **({"dtype": spec.dtype} if spec.dtype != USUAL.dtype else {}),
            **{name: value for name, value in spec.to_dict().items() if name in LATER_FIELDS},
        }
    )


def _asked_prompts(spec: RunSpec, prompts_hash: str) -> dict[str, Any]:
    if spec.prompts or spec.prompts_file:
        own = PromptStore(visitor.home()).at(spec.prompts_file) if spec.prompts_file and not prompts_hash else None
        with contextlib.suppress(EapgpError):
            prompts_hash = own.read().hash if own is not None else prompts_hash
        if prompts_hash:
            return {"pairs": prompts_hash}
    return {
        "task": spec.task,
        "task_options": usual_task_options(spec.task) | dict(spec.task_options),
        "prompts": spec.prompts,
        "prompts_file": spec.prompts_file,
        "n_pairs": DEFAULT_PAIRS if spec.n_pairs is None else spec.n_pairs,
        "split": spec.split,
        **({"columns": dict(spec.columns)} if spec.columns else {}),
    }


@dataclass(frozen=True)
class _Entry:
    """A run folder as it was when it was read; `problem` says why there is no card."""

    stamp: tuple[tuple[int, ...], ...]
    card: RunInfo | None
    question: str = ""
    problem: str = ""


LOOK_AGAIN = 2.0
"""Seconds after which the files of all runs are looked at anew, whether one came or not."""


class Shelf:
    """Examples first, then the library. A run that cannot be read or was altered is set aside, the others go on."""

    def __init__(self, library: RunLibrary, *examples: Path | None) -> None:
        self.library = library
        self._examples = [folder for folder in examples if folder is not None]
        self._entries: dict[Path, _Entry] = {}
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, ...], ...] = ()
        self._until = 0.0

    def cards(self) -> list[RunInfo]:
        """All readable runs: the examples by name, then the library's, newest first."""
        cards = [entry.card for entry in self._refreshed().values() if entry.card is not None]
        examples = sorted((card for card in cards if card.example), key=lambda card: card.run.path.name)
        own = [card for card in cards if not card.example]
        return examples + sorted(own, key=lambda card: str(card.record["created"]), reverse=True)

    def problems(self) -> list[tuple[Path, str]]:
        """The folders that were set aside, with the reason."""
        return sorted((folder, entry.problem) for folder, entry in self._refreshed().items() if entry.card is None)

    def absence(self, run_id: str) -> str:
        """Why there is no run of this id, to follow its name."""
        aside = (problem for folder, problem in self.problems() if folder.name.startswith(run_id))
        problem = next(aside, "")
        return f"which was set aside: {problem}" if problem else "which is not in this library."

    def set_aside(self, card: RunInfo, problem: str) -> None:
        """List a run as unreadable until its files change."""
        with self._lock:
            entry = self._entries.get(card.run.path)
            if entry is not None:
                self._entries[card.run.path] = replace(entry, card=None, problem=problem)

    def find(self, key: str) -> RunInfo | None:
        """The run that answers a question (see `question_key`), or None."""
        return self.answers().get(key)

    def answers(self) -> dict[str, RunInfo]:
        """The runs by the questions that they answer (see `question_key`), the user's own before an example."""
        answers: dict[str, RunInfo] = {}
        for entry in self._refreshed().values():
            if entry.card is not None and entry.question:
                answer = answers.setdefault(entry.question, entry.card)
                if answer.example and not entry.card.example:
                    answers[entry.question] = entry.card
        return answers

    def get(self, run_id: str) -> RunInfo | None:
        """The run of this id, or of the only id that starts so, the user's own before an example; else None."""
        matches = sorted((card for card in self.cards() if card.id.startswith(run_id)), key=lambda card: card.example)
        exact = [card for card in matches if card.id == run_id]
        return exact[0] if exact else (matches[0] if len({card.id for card in matches}) == 1 else None)

    def _refreshed(self) -> Mapping[Path, _Entry]:
        """The entries as they are: a run that comes or goes is seen at once, a changed file within `LOOK_AGAIN` s.

        Of a class of fifty, four tenths of all scripts' time was spent looking at every file at every question.
        """
        seen = tuple(file_stamp(folder) for folder in (*self._examples, self.library.runs))
        if seen == self._seen and time.monotonic() < self._until:
            return self._entries
        with self._lock:
            if seen != self._seen or time.monotonic() >= self._until:
                self._until = time.monotonic() + LOOK_AGAIN  # before: meanwhile others go on with what is there
                self._entries, self._seen = self._looked_at(), seen
            return self._entries

    def _looked_at(self) -> dict[Path, _Entry]:
        entries = {}
        for folder, example in self._folders():
            stamp = file_stamp(f"{folder}/{RUN_FILE}"), file_stamp(f"{folder}/{SCORES_FILE}")
            entry = self._entries.get(folder)
            if stamp[0] or not example:
                entries[folder] = entry if entry and entry.stamp == stamp else _read(folder, example, stamp)
        return entries

    def _folders(self) -> Iterator[tuple[Path, bool]]:
        for examples in self._examples:
            with contextlib.suppress(FileNotFoundError):
                yield from ((folder, True) for folder in examples.iterdir())
        yield from ((folder, False) for folder in self.library.folders())


def _read(folder: Path, example: bool, stamp: tuple[tuple[int, ...], ...]) -> _Entry:
    try:
        info = info_of(open_sound(folder, bundled=example), example=example)
        return _Entry(stamp, info, _question_of(info))
    except RunError as error:
        return _Entry(stamp, None, problem=str(error))


def _question_of(info: RunInfo) -> str:
    """What a run answers; imported scores answer nothing that could be asked."""
    if info.run.spec is None:
        return ""
    prompts = info.record["request"].get("selection", {}).get("of", info.prompts_hash)  # as they were asked for
    return question_key(info.run.spec, metric=info.metric, options=info.options, prompts=prompts)


def shelf() -> Shelf:
    """The bundled examples and the user's library; on a public server the visitor's, and what was published for all."""
    return _shelf(str(visitor.home()), policy().public)


@st.cache_resource(max_entries=256, show_spinner=False)
def _shelf(home: str, public: bool) -> Shelf:
    return Shelf(RunLibrary(Path(home)), examples_folder(), *((published(),) if public else ()))


@st.cache_resource(max_entries=32, show_spinner=False)
def _attribution(content: str, _run: Run) -> Attribution:
    return open_run(_run.path).attribution()


def attribution(card: RunInfo) -> Attribution:
    """The result of a run, read once and kept (32 at most).

    Errors: RunError where it is damaged or was altered; the run is set aside then.
    """
    try:
        return _attribution(card.run.content, card.run)
    except RunError as error:
        shelf().set_aside(card, str(error))
        raise


@st.cache_data(max_entries=64, show_spinner=False)
def _correlations(a: str, b: str, _runs: tuple[Run, Run]) -> tuple[float, float, int]:
    first, second = (_attribution(content, run).scores for content, run in zip((a, b), _runs, strict=True))
    return numbers.correlations(numbers.edge_values(first), numbers.edge_values(second))


def correlations(a: RunInfo, b: RunInfo) -> tuple[float, float, int]:
    """Pearson's and Spearman's correlation of two runs' scores and over how many edges, taken once (64 at most)."""
    return _correlations(a.run.content, b.run.content, (a.run, b.run))


def kept_prompts(card: RunInfo) -> KeptPrompts:
    """The prompts of a run as a kept file, for runs whose prompts no task makes.

    Errors: RunError, PromptError or FormatError where they cannot be read or kept.
    """
    store, spec = PromptStore(shelf().library.home), card.run.spec
    own = store.at(spec.prompts_file) if spec is not None and spec.prompts_file else None
    return own or store.add(card.run.prompts())


def weights_of(card: RunInfo) -> str:
    """Hash of the weights that a run was made with."""
    return str(card.run.request["model"].get("weights_hash", ""))


def comparable(card: RunInfo) -> list[RunInfo]:
    """Runs of the same model, prompts, metric and intervention (this one included), one per variant of a method."""
    runs: dict[tuple[str, str], RunInfo] = {}
    for other in [card, *sorted(shelf().cards(), key=lambda one: one.example)]:
        same = other.prompts_hash == card.prompts_hash and other.metric == card.metric and other.graph == card.graph
        same = same and other.intervention == card.intervention and other.prompting == card.prompting
        if same and other.model == card.model and weights_of(other) == weights_of(card):
            runs.setdefault((other.method, str(sorted(other.options.items()))), other)
    return sorted(runs.values(), key=lambda one: (rank(one.method), str(one.options)))


def path_sources(card: RunInfo) -> dict[str, RunInfo]:
    """Which run each path comes from: the run itself, and one of the other kind on the same prompts.

    The other run is one of the same number of steps; GradPath is the one by the relative step.
    """
    sources = dict.fromkeys(attribution(card).paths, card)
    for kind, method in {"straight": "eap-ig", "gradpath": "eap-gp"}.items():
        for other in comparable(card) if kind not in sources else ():
            fits = other.options.get("steps") == card.options.get("steps") and other.method == method
            fits = fits and other.options.get("step", "relative") == "relative"
            if fits and other.has_path and kind in attribution(other).paths:
                sources.setdefault(kind, other)
    return {kind: sources[kind] for kind in ("gradpath", "straight") if kind in sources}


def paths(card: RunInfo) -> dict[str, PathRecord]:
    """The paths of a run, with the straight line or GradPath of a run on the same prompts beside it."""
    return {kind: attribution(source).paths[kind] for kind, source in path_sources(card).items()}


def path_contents(card: RunInfo) -> tuple[tuple[str, str], ...]:
    """What `paths` come from: what a figure of them is kept by."""
    return tuple((kind, source.run.content) for kind, source in path_sources(card).items())
