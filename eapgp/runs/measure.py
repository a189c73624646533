"""Measuring circuits of a run: the one way that the dashboard and the command line share, and where results are kept.

A run's evaluation.json holds, by name (each with a hash of the conditions: prompts, metric, intervention)

    circuits-…     metric, right answers and KL per pair of every circuit that was run, by the hash of its edges
    random-…       one draw of random circuits
    minimality-…   what each kept edge of one circuit contributes
    outside-…      what edges outside one circuit add

What is there is read; what is not is run and added. Bundled runs, and those whose folder cannot be written, stay as
they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select_many
from eapgp.errors import RunError
from eapgp.evaluation import evidence
from eapgp.evaluation.evidence import SAMPLE, Minimality, Outside, RandomBaseline, random_circuits
from eapgp.evaluation.runner import CircuitRuns, Measured, exact, read_exact
from eapgp.runs.arrays import RESULT_VERSION
from eapgp.runs.bundled import MEASURED, is_bundled
from eapgp.runs.files import content_key, file_stamp
from eapgp.runs.run import EVALUATION_FILE, Run, open_run, read_evaluation
from eapgp.runs.spec import PATCHING
from eapgp.types import Progress

if TYPE_CHECKING:
    from eapgp.evaluation.runner import CircuitRunner

Values = Mapping[str, Any]


class Kept(Protocol):
    """What can be stored: plain values out, and back by `from_dict`."""

    def to_dict(self) -> dict[str, Any]: ...
    @classmethod
    def from_dict(cls, values: Values) -> Any: ...


K = TypeVar("K", bound=Kept)


@dataclass(frozen=True)
class Conditions:
    """How circuits are run: on which prompts (their hash), by which metric, and what edges outside them carry."""

    prompts: str
    metric: str
    intervention: str

    @classmethod
    def of(cls, run: Run) -> Conditions:
        """Those that the run's scores were made under."""
        request = run.request
        return cls(str(request["prompts"]["hash"]), str(request["metric"]), request.get("intervention", PATCHING))

    def to_dict(self) -> dict[str, Any]:
        """Plain values; they name what is kept."""
        return {**vars(self), "result_version": RESULT_VERSION}

    def name(self, what: str, **of: Any) -> str:
        """Name of an evaluation of `what` under these conditions."""
        return f"{what}-{content_key({**self.to_dict(), **of})[:10]}"


@dataclass(frozen=True)
class Rows:
    """Measured circuits by the hash of their edges, the metric of the whole and the empty graph per pair, remarks."""

    circuits: Mapping[str, Values]
    metric_clean: Any = ()
    metric_corrupted: Any = ()
    messages: tuple[str, ...] = ()

    @classmethod
    def of(cls, circuits: Sequence[Circuit], runs: CircuitRuns, messages: Iterable[str] = ()) -> Rows:
        """What a runner gave, and its remarks."""
        metric, kl, correct = exact(runs.metric), exact(runs.kl), runs.correct.astype(int).tolist()
        rows = {
            circuit.key: {"kept": circuit.n_kept, "metric": metric[at], "correct": correct[at], "kl": kl[at]}
            for at, circuit in enumerate(circuits)
        }
        return cls(rows, exact(runs.metric_clean), exact(runs.metric_corrupted), tuple(messages))

    def __or__(self, other: Rows) -> Rows:
        """Both; a circuit of both as in the other, the ends as here: what was told once is told again."""
        circuits, messages = {**self.circuits, **other.circuits}, _distinct(self.messages, other.messages)
        return replace(self if self.circuits else other, circuits=circuits, messages=messages)

    def has(self, circuit: Circuit, *, whole: bool) -> bool:
        """Whether a circuit was measured; `whole` asks for accuracy and KL too."""
        row = self.circuits.get(circuit.key)
        return row is not None and (not whole or "kl" in row)

    def measured(self, circuits: Sequence[Circuit]) -> Measured:
        """These circuits, all of which were measured; accuracy and KL where every one has them."""
        rows = [self.circuits[circuit.key] for circuit in circuits]
        whole = all("kl" in row for row in rows)
        shape = (len(rows), len(self.metric_clean) if whole else 0)
        kl = read_exact([row["kl"] for row in rows] if whole else []).reshape(shape)
        correct = np.array([row["correct"] for row in rows] if whole else [], dtype=bool).reshape(shape)
        metric = read_exact([row["metric"] for row in rows]).reshape(len(rows), len(self.metric_clean))
        ends = (read_exact(values) for values in (self.metric_clean, self.metric_corrupted))
        return Measured.of(circuits, CircuitRuns(metric, correct, kl, *ends))


_PARTS = ("circuits", "metric_clean", "metric_corrupted", "messages")


def _rows_of(stored: Values | None) -> Rows:
    return Rows(**{name: stored[name] for name in _PARTS}) if stored else Rows({})


def _distinct(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(message for group in groups for message in group))


def stored_circuits(run: Run, conditions: Conditions) -> Rows:
    """What a run's folder knows of circuits under some conditions; a bundled one knows its own best by |score|."""
    stored = stored_evaluation(run)
    about = stored.get(conditions.name("circuits"))
    rows = _rows_of(about)
    if MEASURED in stored and conditions == Conditions.of(run):
        return _bundled_rows(run.path, file_stamp(run.path / EVALUATION_FILE)) | rows
    return rows


def stored_evaluation(run: Run) -> Values:
    """The run's evaluation.json, read again when it has changed."""
    stamp = file_stamp(run.path / EVALUATION_FILE)
    return _read_evaluation(run.path / EVALUATION_FILE, stamp) if stamp else {}


@lru_cache(maxsize=64)
def _read_evaluation(path: Path, stamp: tuple[int, ...]) -> Values:
    return read_evaluation(path)


@lru_cache(maxsize=64)
def _bundled_rows(path: Path, stamp: tuple[int, ...]) -> Rows:
    run = open_run(path)
    stored = run.evaluation()[MEASURED]
    rows = stored["circuits"]
    circuits = select_many(run.scores(), [int(row["n"]) for row in rows])
    named = {
        circuit.key: {"kept": circuit.n_kept, "metric": row["metric"]}
        for circuit, row in zip(circuits, rows, strict=True)
        if circuit.n_kept == row["kept"]
    }
    return Rows(named, stored["metric_clean"], stored["metric_corrupted"])


class Measurer:
    """Measures circuits under some conditions: what the run's folder knows is read, the rest is run and kept there.

    make_runner is called once, when something must be run. run None (scores of a file): nothing is kept.
    use_cache: false runs everything anew. ran: whether anything was run; lost: whether something that was run could
    not be kept; messages: what is to be said of the circuits that were asked for.
    """

    def __init__(
        self,
        conditions: Conditions,
        make_runner: Callable[[], CircuitRunner],
        *,
        run: Run | None = None,
        use_cache: bool = True,
        save: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.conditions = conditions
        self.run = run
        self.ran = self.lost = False
        self.messages: tuple[str, ...] = ()
        self._make_runner = make_runner
        self._runner: CircuitRunner | None = None
        self._use_cache, self._save = use_cache, save and run is not None and not is_bundled(run.path)
        self._progress = progress
        self._fresh = Rows({})

    def circuits(self, circuits: Sequence[Circuit], *, whole: bool = True) -> Measured:
        """What circuits do; `whole` asks for accuracy and KL too.

        Errors: as `CircuitRunner.run`; ModelError where the run's model has changed.
        """
        rows = self._rows()
        missing = {circuit.key: circuit for circuit in circuits if not rows.has(circuit, whole=whole)}
        if missing:
            runner, todo = self.runner(), list(missing.values())
            runs = runner.run(todo, progress=self._progress)
            fresh = Rows.of(todo, runs, runner.messages)
            self._fresh |= fresh
            self._keep(self.conditions.name("circuits"), lambda stored: self._merged(stored, fresh))
            rows |= fresh
        self.messages = _distinct(self.messages, rows.messages)
        return rows.measured(circuits)

    def baseline(self, sizes: Sequence[int], seeds: int = evidence.SEEDS) -> RandomBaseline:
        """Random circuits of these sizes, one draw per seed."""
        return RandomBaseline(tuple(self._draw(sizes, seed, seeds) for seed in range(seeds)))

    def minimality(self, circuit: Circuit, *, seed: int = 0) -> Minimality:
        """What each kept edge of a circuit contributes; seed: of the sample that is taken of a large one."""
        sampled = {"seed": seed} if circuit.n_kept > SAMPLE else {}
        name = minimality_name(self.conditions, circuit, **sampled)
        progress = self._phase("each kept edge taken away")
        return self._answer(
            name, Minimality, lambda: evidence.minimality(self.runner(), circuit, seed=seed, progress=progress)
        )

    def outside(self, circuit: Circuit) -> Outside:
        """What edges outside a circuit add to it."""
        progress = self._phase("edges outside added")
        name = outside_name(self.conditions, circuit)
        return self._answer(name, Outside, lambda: evidence.outside(self.runner(), circuit, progress=progress))

    def runner(self) -> CircuitRunner:
        """The circuit runner, made when it is first needed."""
        self.ran = True
        if self._runner is None:
            self._runner = self._make_runner()
        return self._runner

    def _draw(self, sizes: Sequence[int], seed: int, seeds: int) -> Measured:
        def run() -> Measured:
            runner = self.runner()
            circuits = random_circuits(runner.graph, sizes, seed)
            progress = self._phase(f"random circuits, draw {seed + 1} of {seeds}")
            return Measured.of(circuits, runner.run(circuits, progress=progress))

        return self._answer(random_name(self.conditions, sizes, seed), Measured, run)

    def _rows(self) -> Rows:
        if self.run is None or not self._use_cache:
            return self._fresh
        return stored_circuits(self.run, self.conditions) | self._fresh

    def _answer(self, name: str, kind: type[K], compute: Callable[[], K]) -> K:
        stored = stored_evaluation(self.run).get(name) if self.run is not None and self._use_cache else None
        if stored is None:
            stored = compute().to_dict()
            self._keep(name, lambda _: stored)
        answer: K = kind.from_dict(stored)
        return answer

    def _keep(self, name: str, change: Callable[[Values], Values]) -> None:
        if self.run is not None and self._save:
            with contextlib.suppress(OSError, RunError):
                self.run.change_evaluation(name, change)
                return
        self.lost = True

    def _merged(self, stored: Values, fresh: Rows) -> Values:
        rows = _rows_of(stored) | fresh
        return {**self.conditions.to_dict(), **{name: getattr(rows, name) for name in _PARTS}}

    def _phase(self, phase: str) -> Progress | None:
        progress = self._progress
        return None if progress is None else lambda _, fraction: progress(phase, fraction)


def random_name(conditions: Conditions, sizes: Iterable[int], seed: int) -> str:
    """Name of one draw of random circuits."""
    return conditions.name("random", sizes=list(sizes), seed=seed)


def minimality_name(conditions: Conditions, circuit: Circuit, **sampled: int) -> str:
    """Name of what the kept edges of a circuit contribute."""
    return conditions.name("minimality", circuit=circuit.key, **sampled)


def outside_name(conditions: Conditions, circuit: Circuit) -> str:
    """Name of what edges outside a circuit add."""
    return conditions.name("outside", circuit=circuit.key)


def is_stored(run: Run, names: Iterable[str]) -> bool:
    """Whether a run's folder holds all of these evaluations."""
    stored = stored_evaluation(run)
    return all(name in stored for name in names)
