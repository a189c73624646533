"""The run library: one folder per run, named by the hash of what was computed.

    files → arrays, version → run (one folder) → library (all of them) → compute (from a `RunSpec`), evaluate

Reading runs needs NumPy and safetensors only; `compute_run` and `evaluate_run` import the engine when they are called.
"""

from eapgp.runs.compute import compute_run, load_run_model
from eapgp.runs.evaluate import Question, evaluate_run
from eapgp.runs.info import RunInfo
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run, copy_run, open_run, write_run
from eapgp.runs.spec import DEFAULT_PAIRS, RunSpec, make_request, request_key

__all__ = [
    "DEFAULT_PAIRS",
    "Question",
    "Run",
    "RunInfo",
    "RunLibrary",
    "RunSpec",
    "compute_run",
    "copy_run",
    "evaluate_run",
    "load_run_model",
    "make_request",
    "open_run",
    "request_key",
    "write_run",
]
