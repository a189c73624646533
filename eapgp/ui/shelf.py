"""The runs that can be shown without computing: the bundled examples and the user's library.

A `Card` is one run as the pages list it, from its run.json alone. The shelf reads every run.json
once and looks for new folders each time it is asked, so runs made by the command line or by
another tab appear by themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eapgp.errors import RunError
from eapgp.graph import Graph
from eapgp.runs.canonical import content_key
from eapgp.runs.imported import METHOD
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import RUN_FILE, Run, open_run
from eapgp.runs.spec import DEFAULT_PAIRS, RunSpec


@dataclass(frozen=True)
class Card:
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
    def n_pairs(self) -> int:
        """Number of prompt pairs."""
        return int(self.record["request"]["prompts"]["n_pairs"])

    @property
    def prompts_hash(self) -> str:
        """Hash of the prompts: runs that share it saw the same pairs."""
        return str(self.record["request"]["prompts"]["hash"])

    @property
    def has_path(self) -> bool:
        """Whether the run recorded a path."""
        return bool(self.record.get("paths"))


def asked_key(spec: RunSpec, *, metric: str, options: Mapping[str, Any]) -> str:
    """Hash of what a spec asks for, its metric and options (the task's too) in full; equal for equal questions.

    Prompts given by a file are not identified by this (the file may change): such a run is found
    by its id only.
    """
    from eapgp.tasks import TASKS

    usual = {option.name: option.default for option in TASKS[spec.task].options} if spec.task in TASKS else {}
    return content_key(
        {
            "model": spec.model,
            "task": spec.task,
            "task_options": usual | dict(spec.task_options),
            "prompts": spec.prompts,
            "prompts_file": spec.prompts_file,
            "n_pairs": DEFAULT_PAIRS if spec.n_pairs is None else spec.n_pairs,
            "seed": spec.seed,
            "split": spec.split,
            "metric": metric,
            "method": spec.method,
            "options": {name: value for name, value in options.items() if name != "keep_points"},
            "intervention": spec.intervention,
            **({"random_weights": True} if spec.random_weights else {}),
            **({"dtype": spec.dtype} if spec.dtype != RunSpec().dtype else {}),
        }
    )


class Shelf:
    """Examples first, then the library."""

    def __init__(self, library: RunLibrary, examples: Path | None) -> None:
        self.library = library
        self._examples = examples
        self._cards: dict[Path, Card] = {}
        self._broken: set[Path] = set()
        self._lock = threading.Lock()

    def cards(self) -> list[Card]:
        """All readable runs: the examples by name, then the library's, newest first."""
        with self._lock:
            self._refresh()
            cards = list(self._cards.values())
        examples = sorted((card for card in cards if card.example), key=lambda card: card.run.path.name)
        own = [card for card in cards if not card.example]
        return examples + sorted(own, key=lambda card: str(card.record["created"]), reverse=True)

    def find(self, key: str) -> Card | None:
        """The run that answers a question (see `asked_key`), the user's own before an example, or None."""
        found = [card for card in self.cards() if card.asked == key]
        return next((card for card in found if not card.example), found[0] if found else None)

    def get(self, run_id: str) -> Card | None:
        """The run of this id, or of the only id that starts so, the user's own before an example; else None."""
        found = sorted((card for card in self.cards() if card.id.startswith(run_id)), key=lambda card: card.example)
        exact = [card for card in found if card.id == run_id]
        return exact[0] if exact else (found[0] if len({card.id for card in found}) == 1 else None)

    def _refresh(self) -> None:
        present = {}
        for root, example in ((self._examples, True), (self.library.runs, False)):
            if root is None or not root.is_dir():
                continue
            for folder in root.iterdir():
                if folder not in self._broken and (folder / RUN_FILE).is_file():
                    present[folder] = example
        self._cards = {folder: card for folder, card in self._cards.items() if folder in present}
        for folder, example in present.items():
            if folder not in self._cards:
                try:
                    self._cards[folder] = _card(open_run(folder), example)
                except RunError:
                    self._broken.add(folder)


def _card(run: Run, example: bool) -> Card:
    spec = run.spec or RunSpec(task=str(run.request.get("task") or "custom"))
    metric, options = str(run.request["metric"]), dict(run.record["options"])
    asked = asked_key(spec, metric=metric, options=options) if run.spec else f"id:{run.id}"
    return Card(run, example, asked)
