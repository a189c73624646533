"""Scores from a file as a run of the library, so that everything that shows runs can show them.

Such a run has no prompts and no spec: nothing can be run on a model from it, and it cannot be
computed again. Its options name the file and its hash, so the same file is one run; with the sign of
all scores turned it is another.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.attribution.registry import IMPORTED
from eapgp.attribution.result import Attribution
from eapgp.formats import Imported, read_with
from eapgp.models.catalogue import find_model
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.arrays import RESULT_VERSION
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run
from eapgp.runs.spec import UNKNOWN


def read_of_model(path: str | Path, *, model: str = "", format: str | None = None) -> Imported:
    """A file of scores; one that does not say its graph has that of the named model of the catalogue.

    Errors: FormatError for what cannot be read, and where the graph is known from neither.
    """
    entry = find_model(model)
    return read_with(path, lambda: entry.graph if entry else None, format=format)


def keep_scores(
    library: RunLibrary,
    file: str | Path,
    *,
    task: str = "",
    model: str = "",
    format: str | None = None,
    negate: bool = False,
    name: str = "",
) -> Run:
    """Store the edge scores of a file in the library; the run it became (or already was).

    task, model: what they belong to, as far as it is known: a manual circuit's roles are shown where
    the model is `gpt2` and the task `ioi` or `greater-than`. negate: turn the sign of all scores, for files
    in which negative means helpful. name: what the file was called, where it now lies under another name.
    Errors: FormatError for what cannot be read or scores no edge, RunError where the library cannot be written.
    """
    path, called = Path(file), name or Path(file).name
    read = read_of_model(path, model=model, format=format)
    read.check_scored(edges=True)
    options: dict[str, Any] = {"file": called, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
    if negate:
        read = read.negated()
        options["negated"] = True
    nothing = np.zeros(0)
    attribution = Attribution(IMPORTED, options, read.scores, nothing, nothing, 0, 0, 0.0, node_scores=read.node_scores)
    prompts = PromptSet(task or UNKNOWN, (), UNKNOWN, {"kind": IMPORTED, "file": called})
    named = {"id": model or UNKNOWN, "weights_hash": UNKNOWN, "tokenizer_hash": UNKNOWN, "dtype": UNKNOWN}
    request = {
        "result_version": RESULT_VERSION,
        "model": named,
        "prompts": {"hash": prompts.hash, "n_pairs": 0},
        "task": prompts.task,
        "metric": UNKNOWN,
        "method": IMPORTED,
        "options": options,
        "intervention": UNKNOWN,
        "seed": 0,
        "keep_pairs": False,
    }
    run = library.save(attribution, request, prompts)
    if not run.name:
        stem = Path(called).stem
        run.set_meta(name=f"{stem}, negated" if negate else stem)
    return run
