"""What jobs do: the only part of the dashboard that loads models. Runs in the job manager's threads.

A `Workshop` keeps the models and circuit runners last used, per lane, because two lanes must never
share a model (hooks belong to the thread that set them).
"""

from __future__ import annotations

import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.circuits.circuit import Circuit
from eapgp.runs.compute import compute_run, load_run_model
from eapgp.runs.identity import folder_stamp
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run
from eapgp.runs.spec import RunSpec
from eapgp.ui.jobs.manager import Progress

if TYPE_CHECKING:
    from eapgp.evaluation.runner import CircuitRuns


@dataclass(frozen=True)
class Measured:
    """What circuits do when they are run: the runner's result and the circuits' edge counts.

    kept, selected: `[circuit]`.
    """

    runs: CircuitRuns
    selected: tuple[int, ...]
    kept: tuple[int, ...]
    seconds: float

    @property
    def faithfulness(self) -> tuple[float, ...]:
        """`[circuit]` normalised faithfulness; NaN where M(clean) and M(corrupted) are too close."""
        return tuple(float(value) for value in self.runs.faithfulness)

    @property
    def metric(self) -> tuple[float, ...]:
        """`[circuit]` the metric, mean over pairs."""
        return tuple(float(value) for value in self.runs.metric.mean(axis=1))

    @property
    def clean(self) -> float:
        """M(clean), mean over pairs."""
        return float(self.runs.metric_clean.mean())

    @property
    def corrupted(self) -> float:
        """M(corrupted), mean over pairs."""
        return float(self.runs.metric_corrupted.mean())


# Threads that import transformers for the first time at the same moment find it half imported; imports belong to the
# process, and so does this lock.
_IMPORTING = threading.Lock()


class Workshop:
    """Models and circuit runners, the most recent `keep` of each."""

    def __init__(self, *, keep: int = 2) -> None:
        self._keep = keep
        self._imported = False
        self._models: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._runners: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def model(self, lane: str, name: str, *, progress: Progress | None = None, **options: Any) -> Any:
        """The loaded model, kept for the next job of this lane until a file of its folder changes."""

        def load() -> Any:
            with _IMPORTING:
                if not self._imported:
                    import_for_good()
                    self._imported = True
            from eapgp.models import load_model

            return load_model(name, progress=progress, **options)  # one at a time, but for what is fetched before

        return self._kept(self._models, (lane, name, folder_stamp(name), *sorted(options.items())), load)

    def runner(self, lane: str, run: Run, progress: Progress) -> Any:
        """A circuit runner on the model and prompts of a run."""

        def build() -> Any:
            from eapgp.evaluation.runner import CircuitRunner

            progress("loading the model", 0.0)
            model = self.model_of(lane, run, progress)
            request = run.request
            return CircuitRunner(
                model,
                run.prompts(),
                metric=request["metric"],
                intervention=request.get("intervention", "patching"),
                progress=progress,
            )

        return self._kept(self._runners, (lane, run.id), build)

    def model_of(self, lane: str, run: Run, progress: Progress | None = None) -> Any:
        """The model that a run was made with. Errors: ModelError where it has changed since."""
        return load_run_model(run, progress=progress, model_loader=partial(self.model, lane))

    def _kept(self, kept: OrderedDict[tuple[Any, ...], Any], key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in kept:
            kept[key] = make()
            while sum(other[0] == key[0] for other in kept) > self._keep:
                del kept[next(other for other in kept if other[0] == key[0])]
        kept.move_to_end(key)
        return kept[key]


def import_for_good() -> None:
    """Import what models need, and let the garbage collector pass over it from now on.

    Streamlit collects after every run of a script. Half a million objects of these libraries made that 0.28 s of
    computing each time, and so for each look at a job's progress; passed over, it is 0.02 s. Models come
    later and are collected as ever.
    """
    from transformer_lens.model_bridge import TransformerBridge  # noqa: F401
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: F401

    gc.collect()
    gc.freeze()


@cache
def all_threads() -> int:
    """How many threads torch uses where nothing was said; asked for before anything is."""
    import torch

    return int(torch.get_num_threads())


def with_gradients(work: Callable[[Progress], Any], *, quick: bool = False) -> Callable[[Progress], Any]:
    """The work with torch's grad mode on, whatever the thread's was.

    quick: it takes a moment, and the browser (often of the same machine) draws meanwhile. With a thread on each core
    every operation would wait for the one that shares its core: half of the cores are quicker then.
    """

    def run(progress: Progress) -> Any:
        progress("starting", 0.0)
        import torch

        every = all_threads()
        torch.set_num_threads(max(1, every // 2) if quick else every)  # of this thread
        with torch.inference_mode(False), torch.enable_grad():
            return work(progress)

    return run


def attribution_work(shop: Workshop, lane: str, spec: RunSpec, library: RunLibrary) -> Callable[[Progress], str]:
    """Compute and store a run; the result is its id."""

    def work(progress: Progress) -> str:
        return compute_run(spec, library=library, progress=progress, model_loader=partial(shop.model, lane)).id

    return with_gradients(work)


def measure_work(shop: Workshop, lane: str, run: Run, circuits: Sequence[Circuit]) -> Callable[[Progress], Measured]:
    """Run circuits on the model and prompts of a run."""

    def work(progress: Progress) -> Measured:
        runner = shop.runner(lane, run, progress)
        started = time.perf_counter()
        runs = runner.run(circuits, progress=progress)
        selected = tuple(circuit.n_selected for circuit in circuits)
        kept = tuple(circuit.n_kept for circuit in circuits)
        return Measured(runs, selected, kept, time.perf_counter() - started)

    return with_gradients(work, quick=len(circuits) <= 2)


def measured_before(
    metric: Sequence[Sequence[float]],
    clean: Sequence[float],
    corrupted: Sequence[float],
    circuits: Sequence[Circuit],
) -> Measured:
    """A stored measurement: metric `[circuit, pair]`, clean and corrupted `[pair]`.

    Accuracy and KL divergence were not stored, and their arrays are empty.
    """
    from eapgp.evaluation.runner import CircuitRuns

    values = np.asarray(metric, dtype=np.float64)
    nothing = np.zeros((len(values), 0))
    runs = CircuitRuns(values, nothing.astype(bool), nothing, np.asarray(clean), np.asarray(corrupted))
    selected = tuple(circuit.n_selected for circuit in circuits)
    return Measured(runs, selected, tuple(circuit.n_kept for circuit in circuits), 0.0)


def without_edge(full: Circuit, names: Sequence[str]) -> list[Circuit]:
    """For each name the full circuit with that one edge corrupted."""
    circuits = []
    for name in names:
        edges = full.edges.copy()
        edges[full.graph.edge_index(name)] = False
        circuits.append(Circuit(full.graph, edges, int(edges.sum()), f"all but {name}"))
    return circuits
