"""The runs that can be shown without computing: the bundled examples and the user's library.

A `RunInfo` is one run as the pages list it, from its run.json alone. The shelf reads every run.json
once and looks for new folders each time it is asked, so runs made by the command line or by
another tab appear by themselves.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eapgp.errors import EapgpError, RunError
from eapgp.graph import Graph
from eapgp.runs.canonical import content_key
from eapgp.runs.describe import PATCHING, prompt_conditions, usual_task_options
from eapgp.runs.imported import METHOD
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import RUN_FILE, Run, open_run
from eapgp.runs.spec import DEFAULT_PAIRS, RunSpec
from eapgp.ui.base.names import variant
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


class Shelf:
    """Examples first, then the library."""

    def __init__(self, library: RunLibrary, examples: Path | None) -> None:
        self.library = library
        self._examples = examples
        self._cards: dict[Path, RunInfo] = {}
        self._broken: set[Path] = set()
        self._lock = threading.Lock()

    def cards(self) -> list[RunInfo]:
        """All readable runs: the examples by name, then the library's, newest first."""
        with self._lock:
            self._refresh()
            cards = list(self._cards.values())
        examples = sorted((card for card in cards if card.example), key=lambda card: card.run.path.name)
        own = [card for card in cards if not card.example]
        return examples + sorted(own, key=lambda card: str(card.record["created"]), reverse=True)

    def find(self, key: str) -> RunInfo | None:
        """The run that answers a question (see `asked_key`), the user's own before an example, or None."""
        found = [card for card in self.cards() if card.asked == key]
        return next((card for card in found if not card.example), found[0] if found else None)

    def get(self, run_id: str) -> RunInfo | None:
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


def _card(run: Run, example: bool) -> RunInfo:
    spec = run.spec or RunSpec(task=str(run.request.get("task") or "custom"))
    metric, options = str(run.request["metric"]), dict(run.record["options"])
    known = str(run.request["prompts"]["hash"])
    asked = asked_key(spec, metric=metric, options=options, prompts=known) if run.spec else f"id:{run.id}"
    return RunInfo(run, example, asked)
