"""What a user asks for, before any model is loaded, and the request that names the run.

A `RunSpec` holds plain JSON values only, so that the dashboard, the command line, study files and
other processes can pass it on. `compute_run` turns it into a request (with the hashes of the
loaded weights, tokenizer and prompts): everything that decides the numbers, and nothing else. Not in it: when,
where and how fast it was computed (time, device, batch size).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib import metadata
from typing import Any, Protocol

from eapgp import __version__
from eapgp.errors import OptionError
from eapgp.prompts.pairs import PromptSet
from eapgp.prompts.prompting import ONE_TOKEN, OWN_METRIC, Prompting
from eapgp.runs.arrays import RESULT_VERSION
from eapgp.runs.files import content_key, plain

DEFAULT_PAIRS = 64
LIBRARIES = ("torch", "transformer_lens", "transformers", "numpy", "safetensors")
PATCHING = "patching"
# What a run is computed with, but not what is computed.
PLACE_FIELDS = ("batch_size", "device")
# What decides the prompts, inline ones apart; of the model its tokenizer.
PROMPT_FIELDS = (
    "model",
    "tokenizer",
    "random_weights",
    "task",
    "task_options",
    "prompts_file",
    "columns",
    "n_pairs",
    "seed",
    "split",
)
PROMPTING_FIELDS: tuple[str, ...] = ("tokenizer", "bos", "chat", "answers")
SELECTION_FIELDS: tuple[str, ...] = ("only_correct", "skip_unusable")
# Left out of what is written where they are as usual: they came later, and names of earlier runs stay what they were.
LATER_FIELDS = ("columns", *PROMPTING_FIELDS, *SELECTION_FIELDS)


@dataclass(frozen=True)
class RunSpec:
    """One attribution run, as asked for.

    Prompts come from `prompts` (inline: mappings with clean, corrupted, correct, incorrect),
    else from `prompts_file`, else from the generator of `task` with `task_options`, `seed` and
    `split`. n_pairs None means 64 generated pairs, or all of a file. metric None means the
    prompts' own. `options` are the method's (steps, step, objective, points, …).
    `random_weights` builds the model's architecture with weights drawn from `seed`. `tokenizer` (a name or folder)
    replaces the model's own; `bos`, `chat` and `answers` say how prompts are put to the model (see `Prompting`).
    Of the pairs, `skip_unusable` leaves out those that do not fit the model, `only_correct` those it gets wrong.
    columns: which of the file's columns is clean, corrupted, correct, …, where it does not say so itself.
    """

    model: str = "demo"
    task: str | None = "ioi"
    task_options: Mapping[str, Any] = field(default_factory=dict)
    prompts_file: str | None = None
    prompts: tuple[Mapping[str, Any], ...] | None = None
    n_pairs: int | None = None
    seed: int = 0
    split: str = "all"
    metric: str | None = None
    method: str = "eap-gp"
    options: Mapping[str, Any] = field(default_factory=dict)
    intervention: str = PATCHING
    batch_size: int | None = None
    device: str = "auto"
    dtype: str = "float32"
    keep_pairs: bool = False
    random_weights: bool = False
    tokenizer: str | None = None
    bos: str | None = None
    chat: bool = False
    answers: str = ONE_TOKEN
    only_correct: bool = False
    skip_unusable: bool = False
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.n_pairs is not None and self.n_pairs < 1:
            raise OptionError(f"pairs: expected at least 1, got {self.n_pairs}.")
        if self.batch_size is not None and self.batch_size < 1:
            raise OptionError(f"batch size: expected at least 1, got {self.batch_size}.")
        if self.prompts is not None and self.prompts_file is not None:
            raise OptionError("prompts: expected inline pairs or a file, got both; leave one out.")
        if self.columns and self.prompts_file is None:
            raise OptionError("columns: expected with a file of prompts only; name the file or leave them out.")
        if self.prompts is None and self.prompts_file is None and self.task is None:
            raise OptionError("task: expected a task name, a prompts file or inline pairs, got none; give one.")
        _ = self.prompting  # its own checks

    @property
    def prompting(self) -> Prompting:
        """How prompts are put to the model."""
        return Prompting(self.bos, self.chat, self.answers)

    @property
    def selection(self) -> dict[str, bool]:
        """Which pairs are left out, as flags that are on; none where all are to be used."""
        return {name: True for name in SELECTION_FIELDS if getattr(self, name)}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        usual = {entry.name: entry.default for entry in fields(self)}
        return {
            key: plain(value, where=key)
            for key, value in asdict(self).items()
            if key not in LATER_FIELDS or value != usual[key]
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """Inverse of `to_dict`; absent fields take their defaults.

        Errors: OptionError for a field that does not exist.
        """
        names = {entry.name for entry in fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise OptionError(f"run: unknown field {unknown[0]!r}; expected some of {', '.join(sorted(names))}.")
        pairs = values.get("prompts")
        return cls(**{**values, "prompts": None if pairs is None else tuple(dict(pair) for pair in pairs)})

    def job_key(self) -> str:
        """Hash of what is asked for, whatever the device and batch size: it names the job that computes it.

        Equal keys ask for the same computation, as far as can be told without loading the model
        or reading the prompts file; a run's own name comes from its request.
        """
        return content_key({key: value for key, value in self.to_dict().items() if key not in PLACE_FIELDS})


Request = dict[str, Any]
# ---- the request ---------------------------------------------------------------------------------

UNKNOWN = "unknown"
"""What a request says of what nobody told: scores from a file."""


class ModelLike(Protocol):
    """What a request needs to know of a model."""

    @property
    def id(self) -> str: ...
    @property
    def weights_hash(self) -> str: ...
    @property
    def tokenizer_hash(self) -> str: ...
    @property
    def dtype(self) -> Any: ...


def make_request(
    model: ModelLike,
    prompts: PromptSet,
    *,
    method: str,
    options: Mapping[str, Any],
    metric: str,
    intervention: str = "patching",
    seed: int = 0,
    keep_pairs: bool = False,
) -> Request:
    """The request of one run, as plain JSON values.

    `options` are the method's, with defaults filled in: an option left out and the same option
    given at its default are different texts, so the caller resolves them first.
    Errors: OptionError for a metric of one's own, since two such functions can have one name.
    """
    if metric.startswith(OWN_METRIC):
        raise OptionError(
            f"metric {metric}: expected a named metric, got a function of one's own, which the library cannot "
            "tell from another of that name. Keep the scores as a file: write_scores."
        )
    return {
        "result_version": RESULT_VERSION,
        "model": {
            "id": model.id,
            "weights_hash": model.weights_hash,
            "tokenizer_hash": model.tokenizer_hash,
            "dtype": str(model.dtype).removeprefix("torch."),
        },
        "prompts": {"hash": prompts.hash, "n_pairs": len(prompts)},
        "task": prompts.task,
        "metric": metric,
        "method": method,
        "options": plain(options, where="options"),
        "intervention": intervention,
        "seed": seed,
        "keep_pairs": keep_pairs,
    }


def request_key(request: Mapping[str, Any]) -> str:
    """The id of the run that answers a request: the hash that names its folder; the same in every process."""
    return content_key(request)


# ---- the libraries -------------------------------------------------------------------------------


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the numbers; "absent" where not installed."""
    return dict(_library_versions())


@cache
def _library_versions() -> dict[str, str]:
    versions = {"eapgp": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions
