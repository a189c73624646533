"""From a study file to its cells: models × tasks × methods × options × seeds, each with its evaluations."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eapgp.attribution.registry import get_method
from eapgp.errors import FormatError, InputError, OptionError
from eapgp.metrics import get_metric
from eapgp.models.catalogue import model_shape
from eapgp.models.load import DTYPES
from eapgp.places import expanded
from eapgp.runs.arrays import RESULT_VERSION
from eapgp.runs.compute import resolve_options
from eapgp.runs.evaluate import Question
from eapgp.runs.files import content_key, plain
from eapgp.runs.info import prompting_conditions
from eapgp.runs.spec import PLACE_FIELDS, PROMPTING_FIELDS, SELECTION_FIELDS, RunSpec
from eapgp.study.schema import check_mapping, place, read_mapping
from eapgp.tasks import make_prompts

_ELSEWHERE = ("name", "pairs", "seed", "split", "manual")
_PROMPTED = (*PROMPTING_FIELDS, *SELECTION_FIELDS)
DEFAULT_WORKERS = 1
MAX_CELLS = 10_000
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What is asked about the scores of a cell.

    pairs, seed, split: prompts of the cell's task other than those it was scored on; None means as
    scored. manual: also precision and recall against the manual circuits, where the graph has one.
    """

    name: str = "faithfulness"
    question: Question = field(default_factory=Question)
    pairs: int | None = None
    seed: int | None = None
    split: str | None = None
    manual: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        return {**plain(self), "question": plain(self.question.to_dict())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """Inverse of `to_dict`."""
        fields = dict(values)
        question = dict(fields.pop("question"))
        for name in ("sizes", "nodes", "thresholds"):
            question[name] = tuple(question.get(name, ()))
        return cls(question=Question(**question), **fields)


@dataclass(frozen=True)
class Cell:
    """One run of a study with its evaluations; named by the hash of what it asks for."""

    spec: RunSpec
    evaluations: tuple[Evaluation, ...] = ()
    label: str = ""

    @cached_property
    def key(self) -> str:
        """Hash of what is computed, whatever the device, batch size and place in the study."""
        asked = {name: value for name, value in self.spec.to_dict().items() if name not in PLACE_FIELDS}
        evaluations = [entry.to_dict() for entry in self.evaluations]
        return content_key({"version": RESULT_VERSION, "spec": asked, "evaluations": evaluations})

    @property
    def title(self) -> str:
        """`demo ioi eap-gp steps=5 seed 0`."""
        options = " ".join(f"{key}={value}" for key, value in self.spec.options.items())
        task = self.spec.task or Path(self.spec.prompts_file or "").name
        how = ", ".join(prompting_conditions(self.spec))
        parts = (self.spec.model, task, self.label, options, how, f"seed {self.spec.seed}")
        return " ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        return {
            "spec": self.spec.to_dict(),
            "evaluations": [entry.to_dict() for entry in self.evaluations],
            "label": self.label,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cell:
        """Inverse of `to_dict`."""
        evaluations = tuple(Evaluation.from_dict(entry) for entry in values["evaluations"])
        return cls(RunSpec.from_dict(values["spec"]), evaluations, str(values["label"]))


@dataclass(frozen=True)
class Execution:
    """Where and how the cells are computed.

    workers: processes (local) or array jobs at a time (slurm). cells_per_job: of a slurm job; None
    spreads the cells evenly. threads: of each worker; None shares out the processors.
    """

    executor: str = "local"
    workers: int = DEFAULT_WORKERS
    cells_per_job: int | None = None
    threads: int | None = None
    timeout_min: int = 60 * 24
    slurm: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study, expanded. The cells are distinct and in the order of the file."""

    name: str
    description: str
    cells: tuple[Cell, ...]
    execution: Execution
    source: Mapping[str, Any] = field(repr=False)

    def limited(self, n: int | None) -> Study:
        """The same study with the first n cells."""
        return self if n is None else replace(self, cells=self.cells[:n])


def read_study(path: str | Path) -> Study:
    """Read, check and expand a study file.

    Prompt files are looked for beside the study file. Errors: FormatError naming the place.
    """
    file = Path(path)
    return make_study(read_mapping(file), where=str(file), folder=file.absolute().parent)


def make_study(mapping: Mapping[str, Any], *, where: str = "study", folder: Path | None = None) -> Study:
    """Check and expand a study that is already read. Errors: FormatError naming the place."""
    check_mapping(mapping, where)
    execution = dict(mapping.get("execution", {}))
    shared = {key: execution.pop(key) for key in ("device", "batch_size") if key in execution}
    evaluations = tuple(_evaluations(mapping, where))
    _check_sizes(mapping, evaluations, where)
    cells: dict[str, Cell] = {}
    for spec, label in _specs(mapping, where, folder or Path.cwd(), shared):
        cell = Cell(spec, tuple(_as_scored(entry, spec) for entry in evaluations), label)
        cells.setdefault(cell.key, cell)
    return Study(
        name=mapping["name"],
        description=mapping.get("description", ""),
        cells=tuple(cells.values()),
        execution=Execution(**execution),
        source=dict(mapping),
    )


def _evaluations(mapping: Mapping[str, Any], where: str) -> Iterator[Evaluation]:
    seen: set[str] = set()
    for index, entry in enumerate(mapping.get("evaluations", ())):
        question: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        own = {key: question.pop(key) for key in _ELSEWHERE if key in question}
        own.setdefault("name", "faithfulness" if index == 0 else f"evaluation-{index + 1}")
        at = place(("evaluations", index))
        if own["name"] in seen:
            raise FormatError(f"{where}: {at}.name: {own['name']!r} is there twice; give each evaluation its own name.")
        seen.add(own["name"])
        try:
            yield Evaluation(question=Question(**question), **own)
        except InputError as error:
            raise FormatError(f"{where}: {at}: {error}") from None


def _check_sizes(mapping: Mapping[str, Any], evaluations: Sequence[Evaluation], where: str) -> None:
    """Circuits larger than a model whose size is known without loading it. Errors: FormatError."""
    for model, (index, evaluation) in itertools.product(_entries(mapping["models"]), enumerate(evaluations)):
        shape = model_shape(model["name"])
        largest = max(evaluation.question.sizes, default=0)
        if shape is not None and largest > shape.graph.n_edges:
            raise FormatError(
                f"{where}: {place(('evaluations', index))}.sizes: expected at most {shape.graph.n_edges:,}, the edges "
                f"of {model['name']}, got {largest:,}."
            )


def _as_scored(entry: Evaluation, spec: RunSpec) -> Evaluation:
    """The evaluation with the intervention of the scores where it names none."""
    question = entry.question
    return replace(entry, question=replace(question, intervention=question.intervention or spec.intervention))


def _specs(
    mapping: Mapping[str, Any], where: str, folder: Path, shared: Mapping[str, Any]
) -> Iterator[tuple[RunSpec, str]]:
    models, tasks, methods = (_entries(mapping[key]) for key in ("models", "tasks", "methods"))
    seeds: Sequence[int] = mapping.get("seeds", [0])
    _check_amount(len(tasks) * len(seeds), models, methods, where)
    variants = [_variants(method, where, index) for index, method in enumerate(methods)]
    posed: list[Posed] = []
    for (_, model), (task_index, task), (method_index, method) in itertools.product(
        enumerate(models), enumerate(tasks), enumerate(methods)
    ):
        for options, prompted, seed in itertools.product(variants[method_index], _prompted(model, method), seeds):
            fields = _fields(mapping, model, task, method, folder) | prompted
            fields |= {"options": options, "seed": seed, **shared}
            at = place(("methods", method_index)) if "prompts_file" in fields else place(("tasks", task_index))
            try:
                spec = RunSpec(**fields)
                _check(spec, posed)
            except InputError as error:
                raise FormatError(f"{where}: {at}, {method['name']}: {error}") from None
            yield spec, method.get("label", method["name"])


def _check_amount(each: int, models: Sequence[Values], methods: Sequence[Values], where: str) -> None:
    """Errors: FormatError where a study has more cells than are computed; each: cells per model and variant."""
    varied = [[_varied(entry) for entry in entries] for entries in (models, methods)]
    variants = [math.prod(map(len, _varied(method, prompted=False).values())) for method in methods]
    n_cells = each * sum(
        n * math.prod(map(len, (model | method).values()))
        for model in varied[0]
        for method, n in zip(varied[1], variants, strict=True)
    )
    if n_cells > MAX_CELLS:
        amount = f"{n_cells:,}" if n_cells < 10**15 else "more than 10^15"
        raise FormatError(
            f"{where}: models × tasks × methods × options × seeds are {amount} cells, expected at most {MAX_CELLS:,}; "
            "vary less, or write several studies."
        )


def _entries(values: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"name": value} if isinstance(value, str) else dict(value) for value in values]


def _prompted(model: Mapping[str, Any], method: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of how prompts reach a model: what its entry says, and what it or the method varies."""
    fixed = {name: model[name] for name in _PROMPTED if name in model}
    varied = _varied(model) | _varied(method)
    return [fixed | dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())]


def _varied(entry: Mapping[str, Any], *, prompted: bool = True) -> dict[str, list[Any]]:
    """What an entry varies of how prompts reach the model, or else of the rest."""
    return {name: values for name, values in entry.get("vary", {}).items() if (name in _PROMPTED) == prompted}


def _variants(method: Mapping[str, Any], where: str, index: int) -> list[dict[str, Any]]:
    """Every combination of the varied options with the fixed ones, checked and with defaults filled in."""

    fixed, varied = method.get("options", {}), _varied(method, prompted=False)
    both = sorted(set(fixed) & set(varied))
    at = place(("methods", index))
    if both:
        raise FormatError(f"{where}: {at}: option {both[0]!r} is fixed and varied; leave it out of one.")
    variants: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*varied.values()):
        asked = {**fixed, **dict(zip(varied, values, strict=True))}
        try:
            row = get_method(method["name"])
            settings = row.settings(asked)
        except InputError as error:
            raise FormatError(f"{where}: {at}: {error}") from None
        follow = {option.name for option in row.options if option.follows} - set(asked)
        named = {key: value for key, value in settings.items() if key not in follow}
        variants.setdefault(content_key(named), named)
    return list(variants.values())


def _fields(
    mapping: Mapping[str, Any],
    model: Mapping[str, Any],
    task: Mapping[str, Any],
    method: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    fields: dict[str, Any] = {"model": model["name"], "task": task["name"], "method": method["name"]}
    fields |= {key: model[key] for key in ("dtype", "random_weights") if key in model}
    fields |= {key: method[key] for key in ("intervention", "keep_pairs") if key in method}
    pairs = task.get("pairs", mapping.get("pairs"))
    fields |= {"n_pairs": pairs, "split": task.get("split", mapping.get("split", "all"))}
    fields |= {"metric": task.get("metric"), "task_options": task.get("options", {})}
    if "prompts" in task:
        fields["prompts_file"] = str((folder / expanded(task["prompts"])).resolve())
        fields["columns"] = task.get("columns")
    return fields


Posed = tuple[str, str, Values]
"""A task with its split and options."""


def _check(spec: RunSpec, posed: list[Posed]) -> None:
    """Names that a typing mistake can spoil, before anything is computed; posed: tasks that were tried, which grows.

    Errors: InputError.
    """
    resolve_options(spec)
    if spec.dtype not in DTYPES:
        raise OptionError(f"unknown dtype {spec.dtype!r}: expected one of {', '.join(DTYPES)}.")
    if spec.metric is not None:
        get_metric(spec.metric)
    if spec.prompts_file is None:
        assert spec.task is not None
        if (asked := (spec.task, spec.split, spec.task_options)) not in posed:
            make_prompts(spec.task, 1, split=spec.split, **spec.task_options)
            posed.append(asked)
    elif not os.path.isfile(spec.prompts_file):  # noqa: PTH113  (False, too, for a name that no file can have)
        raise OptionError(f"prompts {spec.prompts_file}: expected a file, found none.")
