"""What jobs do: the only part of the dashboard that loads models. Runs in the job manager's threads.

A `Workshop` keeps the models and circuit runners last used, per lane, because two lanes must never
share a model (hooks belong to the thread that set them).
"""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from eapgp.circuits.circuit import Circuit
from eapgp.errors import ModelError
from eapgp.evaluation.runner import Measured
from eapgp.models.load import bridge_class
from eapgp.prompts.prompting import USUAL
from eapgp.runs.compute import compute_run, folder_stamp, load_for, load_run_model, reads_tokenizer
from eapgp.runs.files import content_key
from eapgp.runs.library import RunLibrary
from eapgp.runs.measure import Conditions, Measurer
from eapgp.runs.run import Run
from eapgp.runs.spec import RunSpec
from eapgp.types import Progress
from eapgp.ui.base.policy import policy
from eapgp.ui.jobs.untrusted import is_trusted, try_model, try_tokenizer

Work = Callable[[Progress], Any]

# Threads that import transformers for the first time at the same moment find it half imported; imports belong to the
# process, and so does this lock.
_IMPORTING = threading.Lock()


RUNNERS_BYTES = 2**29
"""What circuit runners of one lane may hold beyond the most recent ones: a class looks at several tasks at a time."""


class Workshop:
    """Models and circuit runners, the most recent `keep` of each; of runners more, while they are small."""

    def __init__(self, *, keep: int = 2) -> None:
        self._keep = keep
        self._models: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._runners: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._tried: set[tuple[Any, ...]] = set()

    def model(self, lane: str, name: str, *, progress: Progress | None = None, **options: Any) -> Any:
        """The loaded model, kept for the next job of this lane until a file of its folder changes.

        One that is not bundled is loaded in a child process first (see `eapgp.ui.jobs.untrusted`).
        """

        def load() -> Any:
            self.try_model(name, progress=progress, **options)
            import_libraries()
            from eapgp.models import load_model

            return load_model(name, progress=progress, **options)  # one at a time, but for what is fetched before

        return self._kept(self._models, (lane, *_state(name, options)), load)

    def try_model(self, name: str, *, progress: Progress | None = None, **options: Any) -> None:
        """See that a model can be loaded without harm: once per state of its files, unless it is trusted.

        Errors: as `load_model`; ComputationError where loading it died or took more than there is.
        """
        if is_trusted(name, tokenizer := options.get("tokenizer")):
            return
        _allow(name, tokenizer)
        if _state(name, options) in self._tried:
            return
        try_model(name, options, progress)
        self._tried.add(_state(name, options))  # as it is now: what was fetched has come

    def try_spec(self, spec: RunSpec, progress: Progress | None = None) -> None:
        """As `try_model`, before anything of a spec's model is read, its tokenizer too."""
        bare = replace(spec, bos=USUAL.bos, chat=USUAL.chat, answers=USUAL.answers)  # no model comes that could take it
        load_for(bare, self.try_model, progress)

    def try_tokenizer(self, spec: RunSpec) -> None:
        """As `try_spec`, for the tokenizer alone; nothing but its own files is fetched.

        What reads it, in this process too, is imported then.
        """
        if not is_trusted(spec.model, spec.tokenizer):
            _allow(spec.model, spec.tokenizer)
        key = "tokenizer", spec.random_weights, *_state(spec.model, {"tokenizer": spec.tokenizer})
        if not is_trusted(spec.model, spec.tokenizer) and key not in self._tried:
            try_tokenizer(spec)
            self._tried.add(key)
        if reads_tokenizer(spec):
            import_libraries()

    def runner(self, lane: str, run: Run, progress: Progress) -> Any:
        """A circuit runner on the model and prompts of a run; runs of other methods on the same share it."""

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

        asked = {name: run.request.get(name) for name in ("model", "prompting")}
        return self._kept(
            self._runners, (lane, content_key({**asked, **Conditions.of(run).to_dict()})), build, spare=RUNNERS_BYTES
        )

    def model_of(self, lane: str, run: Run, progress: Progress | None = None) -> Any:
        """The model that a run was made with. Errors: ModelError where it has changed since."""
        return load_run_model(run, progress=progress, model_loader=partial(self.model, lane))

    def measurer(self, lane: str, run: Run, progress: Progress, *, keep: bool = True) -> Measurer:
        """What measures circuits as the run's scores were made; keep: what is run is added to the run's folder."""
        runner = partial(self.runner, lane, run, progress)
        return Measurer(Conditions.of(run), runner, run=run, save=keep, progress=progress)

    def _kept(
        self, store: OrderedDict[tuple[Any, ...], Any], key: tuple[Any, ...], make: Callable[[], Any], *, spare: int = 0
    ) -> Any:
        """What is kept under a key, made where it is not; spare: bytes that those beyond the newest may hold."""
        if key not in store:
            store[key] = make()
            for other in [other for other in store if other[0] == key[0]][-self._keep - 1 :: -1]:
                spare -= store[other].nbytes if spare else 0
                if spare <= 0:
                    del store[other]
        store.move_to_end(key)
        return store[key]


def _allow(name: str, tokenizer: object) -> None:
    """Errors: ModelError where the server's limits refuse a model; runs that were imported name any."""
    if reason := policy().refuses_model(name, tokenizer):
        raise ModelError(f"model {name!r}: {reason}.")


def _state(name: str, options: dict[str, Any]) -> tuple[Any, ...]:
    """A model as it lies there, and how it is loaded."""
    words = options.get("tokenizer")
    stamps = folder_stamp(name), () if words is None else folder_stamp(str(words))
    return name, stamps, *sorted(options.items())


def import_libraries() -> None:
    """Import what models and tokenizers need, once and by one thread; every job that touches them does this first."""
    with _IMPORTING:
        import_for_good()


@cache
def import_for_good() -> None:
    """Import what models need, and let the garbage collector pass over it from now on.

    Streamlit collects after every run of a script. Half a million objects of these libraries made that 0.28 s of
    computing each time, and so for each look at a job's progress; passed over, it is 0.02 s. Models come
    later and are collected as ever.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: F401

    bridge_class()
    gc.collect()
    gc.freeze()


@cache
def all_threads() -> int:
    """How many threads torch uses where nothing was said; asked for before anything is."""
    import torch

    return int(torch.get_num_threads())


def with_gradients(work: Work, *, quick: bool = False) -> Work:
    """The work with its libraries imported and torch's grad mode on, whatever the thread's was.

    quick: it takes a moment, and the browser (often of the same machine) draws meanwhile. With a thread on each core
    every operation would wait for the one that shares its core: half of the cores are quicker then.
    """

    def run(progress: Progress) -> Any:
        progress("starting", 0.0)
        import_libraries()
        import torch

        every = all_threads()
        torch.set_num_threads(max(1, every // 2) if quick else every)  # of this thread
        with torch.inference_mode(False), torch.enable_grad():
            return work(progress)

    return run


def attribution_work(shop: Workshop, lane: str, spec: RunSpec, library: RunLibrary) -> Work:
    """Compute and store a run; the result is its id."""

    def work(progress: Progress) -> str:
        shop.try_spec(spec, progress)
        return compute_run(spec, library=library, progress=progress, model_loader=partial(shop.model, lane)).id

    return with_gradients(work)


def circuits_work(shop: Workshop, lane: str, run: Run, circuits: Sequence[Circuit], *, keep: bool = False) -> Work:
    """Run circuits on the model and prompts of a run; the result is a `Measured`. keep: beside the run."""

    def work(progress: Progress) -> Measured:
        return shop.measurer(lane, run, progress, keep=keep).circuits(circuits, whole=keep)

    return with_gradients(work, quick=len(circuits) <= 2)
