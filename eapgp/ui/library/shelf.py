"""The runs that can be shown without computing: the bundled examples and the user's library.

A `RunInfo` is one run as the pages list it, from its run.json alone. The shelf reads a run once, holds its scores
against their hash, and looks for new and changed folders each time it is asked: runs made by the command line or by
another tab appear by themselves, and altered ones are set aside.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eapgp.attribution.names import variant
from eapgp.attribution.result import PATH_REMARK
from eapgp.errors import EapgpError, RunError
from eapgp.graph import Graph
from eapgp.runs.arrays import SCORES_FILE
from eapgp.runs.canonical import content_key
from eapgp.runs.describe import PATCHING, prompt_conditions, usual_task_options
from eapgp.runs.files import file_stamp
from eapgp.runs.imported import METHOD
from eapgp.runs.library import RunLibrary, open_sound
from eapgp.runs.run import RUN_FILE, Run
from eapgp.runs.spec import DEFAULT_PAIRS, RunSpec
from eapgp.runs.summary import summarise
from eapgp.ui.library.own_prompts import PromptStore

_USUAL = RunSpec()


@dataclass(frozen=True)
class RunInfo:
    """One stored run. `asked` names what it answers (see `asked_key`)."""

    run: Run
    example: bool
    asked: str

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def record(self) -> Mapping[str, Any]:
        """run.json."""
        return self.run.record

    @property
    def graph(self) -> Graph:
        """The graph of the model that was scored."""
        return Graph.from_dict(self.record["graph"])

    @property
    def model(self) -> str:
        """Name of the model as it was asked for."""
        spec = self.record.get("spec")
        return str(spec["model"] if spec else self.record["request"]["model"]["id"])

    @property
    def model_title(self) -> str:
        """The model as pages call it: a folder by its own name, and an untrained twin as such."""
        name = Path(self.model).name if Path(self.model).is_absolute() else self.model
        return f"{name}, untrained" if self.untrained else name

    @property
    def imported(self) -> bool:
        """Whether the scores came in a file: prompts, metric and passes are not known."""
        return self.method == METHOD

    @property
    def untrained(self) -> bool:
        """Whether the model's weights were drawn at random."""
        return self.run.spec is not None and self.run.spec.random_weights

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.record["request"]["task"])

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.record["method"])

    @property
    def options(self) -> Mapping[str, Any]:
        """The method's options, defaults filled in."""
        return dict(self.record["options"])

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return str(self.record["request"]["metric"])

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was said while the run was computed, about its prompts, model and memory; not about its path."""
        return tuple(str(one) for one in self.record.get("messages", ()) if not str(one).startswith(PATH_REMARK))

    @property
    def n_pairs(self) -> int:
        """Number of prompt pairs."""
        return int(self.record["request"]["prompts"]["n_pairs"])

    @property
    def prompts_hash(self) -> str:
        """Hash of the prompts: runs that share it saw the same pairs."""
        return str(self.record["request"]["prompts"]["hash"])

    @property
    def intervention(self) -> str:
        """What cut edges carry, in the scores and in what is measured of their circuits."""
        return str(self.record["request"].get("intervention", PATCHING))

    @property
    def dtype(self) -> str:
        """The model's number format."""
        return str(self.record["request"]["model"]["dtype"])

    @property
    def conditions(self) -> tuple[str, ...]:
        """What is not usual about how it was scored: the intervention, the number format."""
        if self.imported:
            return ()
        cut = (f"{self.intervention} intervention", self.intervention != PATCHING)
        return tuple(text for text, unusual in (cut, (self.dtype, self.dtype != _USUAL.dtype)) if unusual)

    @property
    def told(self) -> tuple[str, ...]:
        """The variant of the method, and what is not usual about how it was scored."""
        return (variant(self.method, self.options), *self.conditions)

    @property
    def prompt_conditions(self) -> tuple[str, ...]:
        """What is not usual about its prompts, the seed apart: the task's options, the split."""
        return prompt_conditions(self.run.spec)

    @property
    def pairs_told(self) -> str:
        """How many prompt pairs, and what is not usual about them."""
        seed = (f"seed {self.record['request']['seed']}",) if self.record["request"]["seed"] else ()
        counted = f"{self.n_pairs:,} prompt pair{'s' if self.n_pairs != 1 else ''}"
        return ", ".join((counted, *self.prompt_conditions, *seed))

    @property
    def has_path(self) -> bool:
        """Whether the run recorded a path."""
        return bool(self.record.get("paths"))


def asked_key(spec: RunSpec, *, metric: str, options: Mapping[str, Any], prompts: str = "") -> str:
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
            **({"dtype": spec.dtype} if spec.dtype != _USUAL.dtype else {}),
        }
    )


def _asked_prompts(spec: RunSpec, known: str) -> dict[str, Any]:
    if spec.prompts or spec.prompts_file:
        kept = PromptStore().at(spec.prompts_file) if spec.prompts_file and not known else None
        with contextlib.suppress(EapgpError):
            known = kept.read().hash if kept is not None else known
        if known:
            return {"pairs": known}
    return {
        "task": spec.task,
        "task_options": usual_task_options(spec.task) | dict(spec.task_options),
        "prompts": spec.prompts,
        "prompts_file": spec.prompts_file,
        "n_pairs": DEFAULT_PAIRS if spec.n_pairs is None else spec.n_pairs,
        "split": spec.split,
    }


@dataclass(frozen=True)
class _Entry:
    """A run folder as it was when it was read; `problem` says why there is no card."""

    stamp: tuple[tuple[int, ...], ...]
    card: RunInfo | None
    problem: str = ""


class Shelf:
    """Examples first, then the library. A run that cannot be read or was altered is set aside, the others go on."""

    def __init__(self, library: RunLibrary, examples: Path | None) -> None:
        self.library = library
        self._examples = examples
        self._entries: dict[Path, _Entry] = {}
        self._lock = threading.Lock()

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
        """The run that answers a question (see `asked_key`), the user's own before an example, or None."""
        found = [card for card in self.cards() if card.asked == key]
        return next((card for card in found if not card.example), found[0] if found else None)

    def get(self, run_id: str) -> RunInfo | None:
        """The run of this id, or of the only id that starts so, the user's own before an example; else None."""
        found = sorted((card for card in self.cards() if card.id.startswith(run_id)), key=lambda card: card.example)
        exact = [card for card in found if card.id == run_id]
        return exact[0] if exact else (found[0] if len({card.id for card in found}) == 1 else None)

    def _refreshed(self) -> Mapping[Path, _Entry]:
        with self._lock:
            entries = {}
            for folder, example in self._folders():
                stamp = file_stamp(folder / RUN_FILE), file_stamp(folder / SCORES_FILE)
                entry = self._entries.get(folder)
                entries[folder] = entry if entry and entry.stamp == stamp else _read(folder, example, stamp)
            self._entries = entries
            return entries

    def _folders(self) -> Iterator[tuple[Path, bool]]:
        if self._examples is not None and self._examples.is_dir():
            yield from ((file.parent, True) for file in self._examples.glob(f"*/{RUN_FILE}"))
        yield from ((folder, False) for folder in self.library.folders())


def _read(folder: Path, example: bool, stamp: tuple[tuple[int, ...], ...]) -> _Entry:
    try:
        return _Entry(stamp, _card(open_sound(folder), example))
    except RunError as error:
        return _Entry(stamp, None, str(error))


def _card(run: Run, example: bool) -> RunInfo:
    summarise(run.path)  # a record that lacks something is told here, not on a page
    spec = run.spec or RunSpec(task=str(run.request.get("task") or "custom"))
    metric, options = str(run.request["metric"]), dict(run.record["options"])
    known = str(run.request["prompts"]["hash"])
    asked = asked_key(spec, metric=metric, options=options, prompts=known) if run.spec else f"id:{run.id}"
    return RunInfo(run, example, asked)
