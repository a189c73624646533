"""The request: everything that decides a run's numbers, and nothing else.

Not in it: when, where and how fast it was computed (time, device, batch size).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from eapgp.errors import OptionError
from eapgp.prompts.pairs import PromptSet
from eapgp.prompts.prompting import OWN_METRIC
from eapgp.runs.canonical import content_key, plain
from eapgp.runs.version import RESULT_VERSION

Request = dict[str, Any]
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
