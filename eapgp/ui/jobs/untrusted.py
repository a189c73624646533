"""What strangers made, tried in a child process first: models that are not bundled, and uploads.

What a child has read to the end within its limits is then read by the server as well; what killed the child is an
error in one line, and the server never sees it. A model is tried once per state of its files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eapgp.errors import EapgpError
from eapgp.formats import read_file
from eapgp.models.catalogue import BUNDLED, find_model
from eapgp.models.packaged import PACKAGES
from eapgp.prompts.files import preview_prompts, read_prompts
from eapgp.prompts.rows import MAX_PAIRS
from eapgp.runs.compute import spec_tokenizer
from eapgp.runs.library import RunLibrary, default_home
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS, posable
from eapgp.types import Progress
from eapgp.ui.jobs.child import PARSING, Limits, in_child

SILENCE = 300.0  # seconds without progress after which loading a model is given up
PATIENCE = 60.0  # seconds that reading an upload may take
PLANTED = ("models", "planted")  # below a library: the model that the dashboard builds itself


def is_trusted(model: str, tokenizer: object = None) -> bool:
    """Whether a model is bundled, was fetched and held against a hash that stands here, or was built here."""
    if tokenizer is not None:
        return False
    entry = find_model(model)
    if entry is not None:
        return entry.source == BUNDLED or model in PACKAGES
    place = Path(model)
    return place.parts[-2:] == PLANTED and default_home() in place.parents


def try_model(name: str, options: dict[str, Any], progress: Progress | None) -> None:
    """Load a model in a child. Errors: as `load_model` and `in_child`."""
    values = {"name": name, "options": options}
    in_child(f"model {name!r}", load, values, Limits.now(seconds=SILENCE), progress=progress)


def load(name: str, options: dict[str, Any], progress: Progress) -> None:
    """In the child: load a model and drop it."""
    from eapgp.models import load_model  # brings torch

    load_model(name, progress=progress, **options)


def try_tokenizer(spec: RunSpec) -> None:
    """Read the tokenizer of a spec in a child. Errors: as `load_model` and `in_child`."""
    values = {"model": spec.model, "tokenizer": spec.tokenizer, "random_weights": spec.random_weights}
    in_child(f"the tokenizer of {spec.model!r}", read_tokenizer, values, _parsing())


def read_tokenizer(progress: Progress, **spec: Any) -> None:
    """In the child: read the tokenizer of a spec."""
    spec_tokenizer(RunSpec(**spec))


def tasks_refused(model: str, tokenizer: str | None, progress: Progress) -> dict[str, str]:
    """Tasks that a model's tokenizer cannot pose, with the reason; read in a child where it is a stranger's."""
    if is_trusted(model, tokenizer):
        return refused(model, tokenizer, progress)
    values = {"model": model, "tokenizer": tokenizer}
    what = f"the tokenizer of {model!r}"
    answer: dict[str, str] = in_child(what, refused, values, _parsing(), progress=progress)
    return answer


def refused(model: str, tokenizer: str | None, progress: Progress) -> dict[str, str]:
    """Tasks that a model's tokenizer cannot pose, with the reason."""
    progress("reading the tokenizer", 0.0)
    words = spec_tokenizer(RunSpec(model=model, tokenizer=tokenizer))
    return {task: reason for task in TASKS if (reason := posable(task, words))}


def try_scores(path: Path) -> None:
    """Read a file of edge scores in a child. Errors: FormatError, ComputationError."""
    in_child(path.name, read_scores_file, {"path": str(path)}, _parsing())


def read_scores_file(path: str, progress: Progress) -> None:
    """In the child: read a file of edge scores."""
    read_file(path).check_scored()


def try_prompts(path: Path, columns: Mapping[str, str] | None) -> None:
    """Read a file of pairs, or its first rows, in a child. Errors: FormatError, PromptError, ComputationError."""
    in_child(
        path.name,
        read_prompts_file,
        {"path": str(path), "columns": columns and dict(columns)},
        _parsing(),
    )


def read_prompts_file(path: str, columns: dict[str, str] | None, progress: Progress) -> None:
    """In the child: read a file of pairs as far as an upload may go."""
    with contextlib.suppress(EapgpError):
        preview_prompts(path)
    read_prompts(path, limit=MAX_PAIRS + 1, columns=columns)


def import_runs(path: Path, home: Path) -> list[tuple[str, bool]]:
    """Bring an archive's runs into a library, in a child: their ids, and whether they were there before.

    Errors: RunError, FormatError, ComputationError."""
    answer: list[tuple[str, bool]] = in_child(
        path.name, import_archive, {"path": str(path), "home": str(home)}, _parsing()
    )
    return answer


def import_archive(path: str, home: str, progress: Progress) -> list[tuple[str, bool]]:
    """In the child: bring an archive's runs into a library."""
    return [(run.id, run.cached) for run in RunLibrary(Path(home)).import_(Path(path))]


def _parsing() -> Limits:
    return Limits.now(memory=PARSING, seconds=PATIENCE)
