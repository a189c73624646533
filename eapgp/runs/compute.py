"""From a `RunSpec` to a stored run: the one way that the dashboard and the command line share.

1. load the model;  2. make or read the prompts;  3. fill in the method's options
→ request → 4. answer from the library, or 5. compute and 6. save

A request that is known is answered at once, without loading the model:

- A local model folder is recognised by the hash of its files; one that eapgp made itself from a file whose hash it
  keeps, by that hash and by the sizes and times of what it wrote. Hub models are not recognised; they are loaded.
- What `load_model` made of these files once (the hashes of weights and tokenizer) is kept in the
  library, together with the versions of the libraries that made it.

Where a spec leaves out pairs that do not fit the model or that it gets wrong, the pairs that remain are the
run's prompts; their origin says what they were taken of and what was left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapgp.attribution.registry import get_method
from eapgp.attribution.result import Attribution
from eapgp.errors import EapgpError, ModelError, OptionError, PromptError, UnknownNameError
from eapgp.evaluation.behaviour import behaviour
from eapgp.metrics import DEFAULT_METRIC, get_metric
from eapgp.models import load_model
from eapgp.models.catalogue import BUNDLED, demo_folder, find_model, is_gguf
from eapgp.models.checkpoint import ORIGIN_FILE, is_whole
from eapgp.models.load import load_tokenizer
from eapgp.models.packaged import folder_of
from eapgp.models.packaged import is_here as packaged_is_here
from eapgp.models.store import models_home
from eapgp.places import expanded
from eapgp.prompts import read_prompts
from eapgp.prompts.columns import CUSTOM
from eapgp.prompts.encode import encode, fit
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.prompts.prompting import USUAL, Prompting, needed_sides
from eapgp.runs.files import content_key, file_hash, read_json, write_json
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run
from eapgp.runs.spec import DEFAULT_PAIRS, ModelLike, Request, RunSpec, library_versions, make_request
from eapgp.strict_json import check_value
from eapgp.tasks import make_prompts
from eapgp.types import Progress

if TYPE_CHECKING:
    from eapgp.attribution.api import Pool


ModelLoader = Callable[..., Any]


@dataclass(frozen=True)
class Resolved:
    """A spec with the prompts and every option filled in; the model may still have to be loaded."""

    spec: RunSpec
    prompts: PromptSet
    options: Mapping[str, Any]
    metric: str

    def request(self, model: ModelLike) -> Request:
        """What decides the numbers, for the model given or its remembered identity."""
        request = make_request(
            model,
            self.prompts,
            method=self.spec.method,
            options=self.options,
            metric=self.metric,
            intervention=self.spec.intervention,
            seed=self.spec.seed,
            keep_pairs=self.spec.keep_pairs,
        )
        further = {"prompting": self.spec.prompting.to_dict(), "selection": selection_of(self.prompts)}
        return request | {name: values for name, values in further.items() if values}

    def for_model(self, model: Any, progress: Progress | None = None) -> Resolved:
        """With the pairs alone that the spec wants used on this model. Errors: PromptError where none is left."""
        if not self.spec.selection:
            return self
        return replace(self, prompts=selected(self.spec, self.prompts, model, metric=self.metric, progress=progress))


def compute_run(
    spec: RunSpec,
    *,
    library: RunLibrary,
    progress: Progress | None = None,
    use_cache: bool = True,
    model_loader: ModelLoader | None = None,
) -> Run:
    """The run that a spec asks for, from the library or computed and saved.

    `Run.cached` tells which. With `use_cache` false it is computed anew and replaces the stored
    one. `model_loader(name, device=…, dtype=…, progress=…)` defaults to `load_model`; pass one that keeps
    models. `progress(phase, fraction 0…1)` may raise `Cancelled`; nothing is stored then.

    Errors: InputError for what the spec asks wrongly; ComputationError if the numbers go wrong.
    """
    resolved = resolve(spec, model_loader)
    if use_cache and (stored := find_run(resolved, library)) is not None:
        return stored
    _report(progress, "loading the model", 0.0)
    model = load_for(spec, model_loader, progress)
    if model_loader is None:
        recognise(library.home, spec, model)
    remember(library.home, spec, model)
    resolved = resolved.for_model(model, progress)
    request = resolved.request(model)
    if use_cache and (stored := library.find(request)) is not None:
        return stored
    library.check_writable()
    attribution = run_attribution(resolved, model, progress=progress)
    _report(progress, "saving", 1.0)
    return library.save(
        attribution, request, resolved.prompts, device=str(model.device), spec=spec, replace=not use_cache
    )


def find_run(resolved: Resolved, library: RunLibrary) -> Run | None:
    """The stored run, if it can be told without loading the model; else None.

    Which pairs are left out only the model can say.
    """
    identity = None if resolved.spec.selection else recall(library.home, resolved.spec)
    return None if identity is None else library.find(resolved.request(identity))


def resolve(spec: RunSpec, model_loader: ModelLoader | None = None) -> Resolved:
    """Check the spec and bring in what it names; imports no torch for the bundled model.

    Errors: InputError of the kind that fits.
    """
    options = resolve_options(spec)
    prompts = make_prompt_set(spec, model_loader)
    return Resolved(spec, prompts, options, resolve_metric(spec, prompts))


SPLIT = "split"
"""The device of a model whose layers are spread over all GPUs of the machine."""


def load_for(spec: RunSpec, model_loader: ModelLoader | None = None, progress: Progress | None = None) -> Any:
    """The spec's model; random weights are drawn with the spec's seed.

    Device `split` spreads the layers over the GPUs there are (Accelerate's `device_map="auto"`); on a machine
    without one the model is where it always is.
    """
    loader = model_loader
    if loader is None:
        loader = load_model
    further: dict[str, Any] = {"random_weights": True, "seed": spec.seed} if spec.random_weights else {}
    further |= {"device": "auto", "device_map": "auto"} if spec.device == SPLIT else {"device": spec.device}
    further |= {} if progress is None else {"progress": progress}
    further |= {} if spec.tokenizer is None else {"tokenizer": spec.tokenizer}
    model = loader(spec.model, dtype=spec.dtype, **further)
    return model.with_prompting(spec.prompting) if spec.prompting != USUAL else model


def load_run_model(
    run: Run, *, device: str | None = None, progress: Progress | None = None, model_loader: ModelLoader | None = None
) -> Any:
    """The model that a run was made with; whatever is measured of a run is measured on it. device None: the run's.

    Errors: ModelError if the model of that name now has other weights or another tokenizer.
    """
    _report(progress, "loading the model", 0.0)
    wanted = run.request["model"]
    how = Prompting.from_dict(run.request.get("prompting", {}))
    spec = run.spec or RunSpec(model=wanted["id"], dtype=wanted["dtype"], seed=run.request["seed"], **how.to_dict())
    model = load_for(spec if device is None else replace(spec, device=device), model_loader, progress)
    for what in ("weights_hash", "tokenizer_hash"):
        if getattr(model, what) != wanted[what]:
            raise ModelError(
                f"model {wanted['id']!r}: expected {what} {wanted[what]} as in run {run.id[:12]}, "
                f"got {getattr(model, what)}; the model has changed: compute the run again."
            )
    return model


def make_prompt_set(spec: RunSpec, model_loader: ModelLoader | None = None) -> PromptSet:
    """The prompts of a spec: inline, from a file, or generated so that they fit the model's tokenizer.

    Errors: UnknownNameError, PromptError, OptionError, FormatError; ModelError where the tokenizer cannot be read.
    """
    if spec.prompts is not None:
        sides = needed_sides(spec.metric or DEFAULT_METRIC)
        pairs = tuple(_inline_pair(number, values, sides) for number, values in enumerate(spec.prompts, start=1))
        if not pairs:
            raise PromptError("prompts: expected at least one pair, got none; add a pair.")
        inline = PromptSet(spec.task or CUSTOM, pairs, DEFAULT_METRIC, {"kind": "inline"})
        return inline if spec.n_pairs is None else inline.take(spec.n_pairs)
    if spec.prompts_file is not None:
        return read_prompts(spec.prompts_file, task=spec.task, limit=spec.n_pairs, columns=spec.columns)

    assert spec.task is not None  # RunSpec asks for one of the three
    n_pairs = DEFAULT_PAIRS if spec.n_pairs is None else spec.n_pairs
    tokenizer = spec_tokenizer(spec, model_loader)
    return make_prompts(spec.task, n_pairs, seed=spec.seed, split=spec.split, tokenizer=tokenizer, **spec.task_options)


def reads_tokenizer(spec: RunSpec) -> bool:
    """Whether generated prompts have to fit a tokenizer: not the bundled model's, whose words the tasks are made of."""
    entry = find_model(spec.model)
    return entry is None or entry.source != BUNDLED or spec.tokenizer is not None


def spec_tokenizer(spec: RunSpec, model_loader: ModelLoader | None = None) -> Any | None:
    """The tokenizer that generated prompts have to fit; None where they need not (`reads_tokenizer`).

    The model itself is loaded only where it has a loader of its own and its name says no place of a tokenizer.
    Errors: UnknownNameError, ModelError.
    """
    if not reads_tokenizer(spec):
        return None
    try:
        return load_tokenizer(spec.model, tokenizer=spec.tokenizer, random_weights=spec.random_weights)
    except (UnknownNameError, ModelError):
        if model_loader is None:
            raise
        return load_for(spec, model_loader).tokenizer


def _inline_pair(number: int, values: Mapping[str, Any], sides: tuple[str, ...]) -> PromptPair:
    try:
        check_value(dict(values))
    except ValueError as error:
        raise PromptError(f"pair {number}: expected texts, got {error}; write it anew.") from None
    missing = [key for key in ("clean", "corrupted", *sides) if not values.get(key)]
    if missing:
        raise PromptError(f"pair {number}: expected {missing[0]!r}, got none; fill it in or drop the pair.")
    return PromptPair(
        str(values["clean"]),
        str(values["corrupted"]),
        _answers(values.get("correct")),
        _answers(values.get("incorrect")),
        str(values.get("note", "")),
    )


def _answers(value: Any) -> tuple[str | int, ...]:
    return (value,) if isinstance(value, str | int) else tuple(value or ())


def resolve_metric(spec: RunSpec, prompts: PromptSet) -> str:
    """Name of the metric: the spec's, else the prompts' own. Errors: UnknownNameError."""
    return get_metric(spec.metric or prompts.metric).name


def resolve_options(spec: RunSpec) -> dict[str, Any]:
    """The method's options with defaults filled in.

    A method that draws noise takes the spec's seed unless its own is given.

    Errors: UnknownNameError for a method, OptionError for an option or intervention that
    it does not take.
    """
    method = get_method(spec.method)
    if spec.intervention not in method.interventions:
        allowed = ", ".join(method.interventions)
        raise OptionError(f"method {spec.method!r}: expected intervention {allowed}, got {spec.intervention!r}.")
    followed = {option.name: getattr(spec, option.follows) for option in method.options if option.follows}
    return method.settings(followed | dict(spec.options))


def run_attribution(
    resolved: Resolved, model: Any, *, progress: Progress | None = None, pool: Pool | None = None
) -> Attribution:
    """Compute the scores of a resolved spec on the loaded model; with a pool, together with other processes."""
    from eapgp.attribution.api import attribute

    spec = resolved.spec
    result = attribute(
        model,
        resolved.prompts,
        method=spec.method,
        metric=resolved.metric,
        batch_size=spec.batch_size,
        progress=progress,
        intervention=spec.intervention,
        keep_pairs=spec.keep_pairs,
        pool=pool,
        **resolved.options,
    )
    return replace(result, messages=(*selection_remarks(resolved.prompts), *result.messages))


def _report(progress: Progress | None, phase: str, fraction: float) -> None:
    if progress is not None:
        progress(phase, fraction)


# ---- what a model is, without loading it ---------------------------------------------------------

MAX_HASHED_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class Identity:
    """What a request needs to know of a model."""

    id: str
    weights_hash: str
    tokenizer_hash: str
    dtype: str


def recall(home: Path, spec: RunSpec) -> Identity | None:
    """The identity of the spec's model if this library has seen it loaded, else None."""
    key = _fingerprint(spec)
    path = home / "models" / f"{key}.json"
    if key is None or not path.is_file():
        return None
    with contextlib.suppress(EapgpError, TypeError):
        return Identity(**read_json(path))
    return None


def recognise(home: Path, spec: RunSpec, model: Any) -> None:
    """Tell a model that was loaded just now the hash of its weights, where this library knows it of the same files."""
    identity = recall(home, spec)
    if identity is not None:
        model.cache.setdefault("weights_hash", identity.weights_hash)


def remember(home: Path, spec: RunSpec, model: ModelLike) -> None:
    """Keep the identity of a loaded model; a library that cannot be written is no error."""
    key = _fingerprint(spec)
    path = home / "models" / f"{key}.json"
    if key is None or path.is_file():
        return
    identity = Identity(model.id, model.weights_hash, model.tokenizer_hash, str(model.dtype).removeprefix("torch."))
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(identity))


def _fingerprint(spec: RunSpec) -> str | None:
    """Hash of the model's files and of how they would be loaded; None without such a folder, or with other words."""
    folder = _folder(spec.model)
    if folder is None or spec.tokenizer is not None:
        return None
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        if is_whole(folder) and folder.is_relative_to(models_home()):
            hashes = {ORIGIN_FILE: file_hash(folder / ORIGIN_FILE), **{path.name: _changed(path) for path in files}}
        elif sum(path.stat().st_size for path in files) > MAX_HASHED_BYTES:
            return None
        else:
            hashes = {path.name: file_hash(path) for path in files}
    except OSError:
        return None
    seed = spec.seed if spec.random_weights else None
    return content_key({"id": spec.model, "files": hashes, "dtype": spec.dtype, "seed": seed, **library_versions()})


def _changed(path: Path) -> str:
    """Size and times of a file: the last one moves with every change, whoever sets the other back."""
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def folder_stamp(name: str) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of every file of a local model; another stamp says that the model has changed.

    Empty for hub models, whose files are named by their content.
    """
    folder = _folder(name)
    with contextlib.suppress(OSError):
        if is_gguf(name):
            return _stamps([expanded(name)])
        return _stamps(folder.iterdir()) if folder is not None else ()
    return ()


def _stamps(files: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    stats = ((path.name, path.stat()) for path in files)
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def _folder(name: str) -> Path | None:
    entry = find_model(name)
    if entry is not None:
        with contextlib.suppress(EapgpError):
            return demo_folder() if entry.source == BUNDLED else _of_package(entry.name)
        return None
    folder = expanded(name)
    return folder if folder.is_dir() else None


def _of_package(name: str) -> Path | None:
    return folder_of(name) if packaged_is_here(name) else None


# ---- pairs left out ------------------------------------------------------------------------------

SELECTION = "selection"  # key of a prompt set's origin


def selected(
    spec: RunSpec, prompts: PromptSet, model: Any, *, metric: str, progress: Progress | None = None
) -> PromptSet:
    """The pairs of a set that a spec wants used on its model, which is loaded.

    Errors: PromptError where none is left, or, without `skip_unusable`, where a pair does not fit.
    """
    remarks, remaining = [], replace(prompts, metric=metric)
    if spec.skip_unusable:
        findings = fit(remaining, model)
        remaining = remaining.pick(findings.usable)
        if findings.problems:
            remarks.append(_left_out(findings.n_pairs, len(remaining), "do not fit this model", findings.summary()))
    if spec.only_correct and len(remaining):
        right = behaviour(model, encode(remaining, model, contrast=False), metric=metric, progress=progress).right
        n_before, remaining = len(remaining), remaining.pick(right.nonzero()[0].tolist())
        if len(remaining) < n_before:
            remarks.append(_left_out(n_before, len(remaining), "are answered wrongly by this model", ""))
    if not len(remaining):
        raise PromptError(f"no pair is left: {' '.join(remarks)} Use other prompts, or leave out fewer.")
    about = {**spec.selection, "of": prompts.hash, "n_pairs": len(prompts), "remarks": remarks}
    return replace(remaining, metric=prompts.metric, origin={**prompts.origin, SELECTION: about})


def _left_out(n_pairs: int, n_left: int, why: str, reasons: str) -> str:
    sentence = f"{n_pairs - n_left:,} of {n_pairs:,} pairs {why} and were left out; {n_left:,} remain."
    return f"{sentence} {reasons}".strip()


def selection_of(prompts: PromptSet) -> dict[str, Any]:
    """What decides a run beside the pairs that remain: by which rules, and of which set they were taken."""
    about = _about(prompts)
    return {name: value for name, value in about.items() if name not in ("n_pairs", "remarks")}


def selection_remarks(prompts: PromptSet) -> tuple[str, ...]:
    """What was left out of a set, and why."""
    return tuple(_about(prompts).get("remarks", ()))


def _about(prompts: PromptSet) -> Mapping[str, Any]:
    about = prompts.origin.get(SELECTION, {})
    return about if isinstance(about, Mapping) else {}
