"""What is told of stored runs: one line of a list, what pages say, what is not usual, what two runs differ in."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eapgp.attribution.registry import IMPORTED, variant
from eapgp.attribution.result import PATH_REMARKS
from eapgp.errors import RunError
from eapgp.graph import Graph
from eapgp.models.store import titles
from eapgp.prompts.columns import CUSTOM
from eapgp.prompts.prompting import Prompting
from eapgp.runs.files import REPAIR
from eapgp.runs.run import EVALUATION_FILE, RUN_FILE, Run
from eapgp.runs.spec import PATCHING, UNKNOWN, RunSpec
from eapgp.tasks import TASKS

_SELECTIONS = {"skip_unusable": "only pairs that fit", "only_correct": "only pairs it gets right"}
_SPLITS = {"train": "trained-on prompts", "test": "held-out prompts"}


def usual_task_options(task: str | None) -> dict[str, Any]:
    """A task's options at their defaults; none for prompts of one's own."""
    return {option.name: option.default for option in TASKS[task].options} if task in TASKS else {}


def prompt_conditions(spec: RunSpec | None) -> tuple[str, ...]:
    """What is not usual about prompts, their number and seed apart: the task's options, the split, how they are put."""
    if spec is None:
        return ()
    if spec.prompts or spec.prompts_file:
        return prompting_conditions(spec)
    usual = usual_task_options(spec.task)
    options = [f"{name} {value}" for name, value in spec.task_options.items() if value != usual.get(name)]
    split = (_SPLITS[spec.split],) if spec.split in _SPLITS else ()
    return (*options, *split, *prompting_conditions(spec))


def prompting_conditions(spec: RunSpec) -> tuple[str, ...]:
    """What is not usual about how prompts reach the model, and which of them do."""
    words = () if spec.tokenizer is None else (f"tokenizer {spec.tokenizer}",)
    return (*words, *spec.prompting.conditions, *(_SELECTIONS[name] for name in spec.selection))


def differences(requests: Sequence[Mapping[str, Any]]) -> list[str]:
    """What some requests differ in, in words. Imported scores come without an intervention, and differ in none."""

    def distinct(value: Callable[[Mapping[str, Any]], Any]) -> bool:
        return len({str(value(request)) for request in requests}) > 1

    cuts = {str(request.get("intervention", PATCHING)) for request in requests}
    methods = distinct(lambda request: request["method"])
    aspects = {
        "method": methods,
        "step settings": distinct(lambda request: request["options"]) and not methods,
        "task": distinct(lambda request: request["task"]),
        "prompts": distinct(lambda request: request["prompts"]["hash"]),
        "metric": distinct(lambda request: request["metric"]),
        "intervention": len(cuts - {UNKNOWN}) > 1,
        "model": distinct(lambda request: request["model"].get("weights_hash", "")),
        "start token or chat template": distinct(lambda request: request.get("prompting", {})),
        "tokenizer": distinct(lambda request: request["model"].get("tokenizer_hash", "")),
    }
    aspects["tokenizer"] = aspects["tokenizer"] and not aspects["model"]
    return [name for name, differs in aspects.items() if differs]


def model_title(model: str) -> str:
    """What pages call a model: one in a folder or file by the name that somebody gave it, else by the folder's."""
    return titles().get(model) or Path(model).name if Path(model).is_absolute() else model


USUAL = RunSpec()
LISTED = (
    *("id", "path", "model", "task", "method", "options", "metric", "n_pairs", "seed", "dtype", "intervention"),
    *("n_edges", "metric_clean", "metric_corrupted", "accuracy", "created", "seconds", "bytes", "evaluated", "steps"),
)
"""The fields of a list, beside the user's name and note."""


@dataclass(frozen=True)
class RunInfo:
    """One stored run, told from run.json and meta.json without its arrays. example: whether it is a bundled one."""

    run: Run
    example: bool = False

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.run.path

    @property
    def name(self) -> str:
        """The user's name for the run, or ""."""
        return self.run.name

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
        """The model as pages call it: a folder by the name that somebody gave it, and an untrained twin as such."""
        name = model_title(self.model)
        return f"{name}, untrained" if self.untrained else name

    @property
    def imported(self) -> bool:
        """Whether the scores came in a file: prompts, metric and passes are not known."""
        return self.method == IMPORTED

    @property
    def untrained(self) -> bool:
        """Whether the model's weights were drawn at random."""
        return self.run.spec is not None and self.run.spec.random_weights

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.record["request"]["task"])

    @property
    def task_title(self) -> str:
        """What pages call it: the name that somebody gave the run, else the task's title or its pairs' name.

        A single pair of one's own is called by its prompt, pairs without a name *Own pairs*.
        """
        if self.name or self.task in TASKS:
            return self.name or TASKS[self.task].title
        if self.task not in (CUSTOM, UNKNOWN):
            return self.task
        pairs = self.run.spec.prompts if self.run.spec is not None else None
        if pairs and len(pairs) == 1:
            return f"“{textwrap.shorten(str(pairs[0]['clean']), 60, placeholder=' …')}”"
        return "Imported scores" if self.imported else "Own pairs"

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
        return tuple(str(one) for one in self.record.get("messages", ()) if not str(one).startswith(PATH_REMARKS))

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
        return tuple(text for text, unusual in (cut, (self.dtype, self.dtype != USUAL.dtype)) if unusual)

    @property
    def title(self) -> str:
        """The variant of the method, and what is not usual about how it was scored."""
        return " · ".join((variant(self.method, self.options), *self.conditions))

    @property
    def prompt_conditions(self) -> tuple[str, ...]:
        """What is not usual about its prompts, the seed apart: the task's options, the split, how they are put."""
        return prompt_conditions(self.run.spec)

    @property
    def prompting(self) -> Prompting:
        """How the prompts were put to the model."""
        return Prompting.from_dict(self.record["request"].get("prompting", {}))

    @property
    def accuracy(self) -> float | None:
        """Share of its pairs on which the model is right; None for runs that were stored without it."""
        return self.record.get("accuracy")

    @property
    def pairs_title(self) -> str:
        """How many prompt pairs, and what is not usual about them."""
        seed = (f"seed {self.record['request']['seed']}",) if self.record["request"]["seed"] else ()
        counted = f"{self.n_pairs:,} prompt pair{'s' if self.n_pairs != 1 else ''}"
        return ", ".join((counted, *self.prompt_conditions, *seed))

    @property
    def has_path(self) -> bool:
        """Whether the run recorded a path."""
        return bool(self.record.get("paths"))

    @property
    def steps(self) -> int | None:
        """Number of path steps, for path methods."""
        return self.options.get("steps")

    @property
    def seed(self) -> int:
        """The seed of its prompts."""
        return int(self.record["request"]["seed"])

    @property
    def n_edges(self) -> int:
        """Edges of the graph."""
        return int(self.record["n_edges"])

    @property
    def metric_clean(self) -> float | None:
        """M(clean), mean over pairs; None for imported scores."""
        mean: float | None = self.record["metric_clean"]["mean"]
        return mean

    @property
    def metric_corrupted(self) -> float | None:
        """M(corrupted), mean over pairs; None for imported scores."""
        mean: float | None = self.record["metric_corrupted"]["mean"]
        return mean

    @property
    def created(self) -> str:
        """When it was computed, UTC."""
        return str(self.record["created"])

    @property
    def seconds(self) -> float:
        """Time of scoring."""
        return float(self.record["seconds"])

    @property
    def machine(self) -> str:
        """Where it was computed: the device, and how many threads and processes where that is recorded.

        On the same machine the same request gives the same scores bit for bit in a fresh process of as many threads.
        """
        how = self.record.get("provenance") or {}
        counts = (("thread", how.get("threads")), ("process", how.get("processes")))
        said = (f"{n} {noun}{'' if n == 1 else 'es' if noun.endswith('s') else 's'}" for noun, n in counts if _whole(n))
        return ", ".join((str(self.record.get("device") or "an unknown device"), *said))

    @property
    def bytes(self) -> int:
        """Size of what never changes, and of run.json."""
        sizes = (int(about["bytes"]) for about in self.record["files"].values())
        return sum(sizes) + (self.path / RUN_FILE).stat().st_size

    @property
    def evaluated(self) -> bool:
        """Whether something of it was measured and kept."""
        return (self.path / EVALUATION_FILE).is_file()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `eapgp runs list --json` gives them."""
        return {name: getattr(self, name) for name in LISTED} | self.run.meta

    def matches(self, query: str) -> bool:
        """True if every word occurs in what is told; `key=value` asks one field or option for that value."""
        fields = {**self.to_dict(), **self.options}
        text = " ".join(str(fields[key]) for key in ("id", "name", "note", "model", "task", "method", "metric")).lower()
        for word in query.lower().split():
            key, equals, value = word.partition("=")
            if equals and key in fields:
                if str(fields[key]).lower() != value:
                    return False
            elif word not in text:
                return False
        return True


_TOLD = tuple(name for name, member in vars(RunInfo).items() if isinstance(member, property))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def info_of(run: Run, *, example: bool = False) -> RunInfo:
    """What is told of a run. Errors: RunError where its record lacks something."""
    info = RunInfo(run, example)
    try:
        for name in _TOLD:
            getattr(info, name)
    except RunError:
        raise
    except Exception as error:  # whatever a page would meet there, it would meet for all runs beside it
        path = run.path / RUN_FILE
        raise RunError(f"{path}: expected a run's record, got {error!r}; {REPAIR}") from None
    return info
