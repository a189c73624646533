"""eapgp: find and see circuits in transformer language models.

    import eapgp

    model = eapgp.load_model("demo")
    prompts = eapgp.make_prompts("ioi", 64)
    result = eapgp.attribute(model, prompts, method="eap-gp")
    curve = eapgp.faithfulness_curve(eapgp.CircuitRunner(model, prompts), result.scores, name="eap-gp")
    eapgp.faithfulness_figure(curve)

`eapgp.show(result.scores, n=50)` draws the circuit; `eapgp.select` gives it as a value.

The names below are stable. Each is imported when it is first used, so `import eapgp` is quick and
needs neither torch nor TransformerLens.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eapgp.attribution.api import attribute
    from eapgp.attribution.registry import METHODS
    from eapgp.attribution.result import Attribution, EdgeScores, PathRecord
    from eapgp.circuits.circuit import Circuit
    from eapgp.circuits.prune import prune
    from eapgp.circuits.select import select
    from eapgp.errors import EapgpError
    from eapgp.evaluation.agreement import agreement
    from eapgp.evaluation.curves import faithfulness_curve, mib_curve
    from eapgp.evaluation.runner import CircuitRunner
    from eapgp.figures.notebook import faithfulness_figure, show
    from eapgp.formats import read_scores, write_scores
    from eapgp.graph import Graph
    from eapgp.ground_truth import ground_truth
    from eapgp.metrics import METRICS
    from eapgp.models import load_model
    from eapgp.prompts import PromptPair, PromptSet, read_prompts
    from eapgp.runs import RunLibrary, RunSpec, compute_run
    from eapgp.study.plan import read_study
    from eapgp.study.reproduce import reproduce
    from eapgp.study.sweep import sweep
    from eapgp.tasks import TASKS, make_prompts

__version__ = "0.1.0"

_PLACES = {
    "METHODS": "eapgp.attribution.registry",
    "METRICS": "eapgp.metrics",
    "TASKS": "eapgp.tasks",
    "Attribution": "eapgp.attribution.result",
    "Circuit": "eapgp.circuits",
    "CircuitRunner": "eapgp.evaluation.runner",
    "EapgpError": "eapgp.errors",
    "EdgeScores": "eapgp.attribution.result",
    "Graph": "eapgp.graph",
    "PathRecord": "eapgp.attribution.result",
    "PromptPair": "eapgp.prompts",
    "PromptSet": "eapgp.prompts",
    "RunLibrary": "eapgp.runs",
    "RunSpec": "eapgp.runs",
    "agreement": "eapgp.evaluation.agreement",
    "attribute": "eapgp.attribution.api",
    "compute_run": "eapgp.runs",
    "faithfulness_curve": "eapgp.evaluation.curves",
    "faithfulness_figure": "eapgp.figures.notebook",
    "ground_truth": "eapgp.ground_truth",
    "load_model": "eapgp.models",
    "make_prompts": "eapgp.tasks",
    "mib_curve": "eapgp.evaluation.curves",
    "prune": "eapgp.circuits",
    "read_prompts": "eapgp.prompts",
    "read_scores": "eapgp.formats",
    "read_study": "eapgp.study.plan",
    "reproduce": "eapgp.study.reproduce",
    "select": "eapgp.circuits",
    "show": "eapgp.figures.notebook",
    "sweep": "eapgp.study.sweep",
    "write_scores": "eapgp.formats",
}

__all__ = [
    "METHODS",
    "METRICS",
    "TASKS",
    "Attribution",
    "Circuit",
    "CircuitRunner",
    "EapgpError",
    "EdgeScores",
    "Graph",
    "PathRecord",
    "PromptPair",
    "PromptSet",
    "RunLibrary",
    "RunSpec",
    "__version__",
    "agreement",
    "attribute",
    "compute_run",
    "faithfulness_curve",
    "faithfulness_figure",
    "ground_truth",
    "load_model",
    "make_prompts",
    "mib_curve",
    "prune",
    "read_prompts",
    "read_scores",
    "read_study",
    "reproduce",
    "select",
    "show",
    "sweep",
    "write_scores",
]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'eapgp' has no name {name!r}; dir(eapgp) lists them.")
    module = importlib.import_module(place)
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
