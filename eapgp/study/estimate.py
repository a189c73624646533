"""What a study will cost, before anything is computed: passes and memory per cell.

Passes follow from the registry of methods and are exact but for `exact` patching (about half a
forward pass per edge). Memory is a rough upper bound: the weights, the activation difference
`[pair, src, pos, d_model]` of one batch, and the activations that one backward pass keeps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from eapgp.attribution.registry import get_method
from eapgp.graph import Graph
from eapgp.models.catalogue import DIFFERENCE_BYTES, Shape, default_batch_size, model_shape
from eapgp.runs.evaluate import Question
from eapgp.runs.spec import DEFAULT_PAIRS, RunSpec
from eapgp.study.plan import Cell

TOKENS = 20
"""Length of a prompt that estimates assume."""
DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
KEPT_PER_LAYER = 20
"""Activations of one layer that a backward pass keeps, in units of pair × pos × d_model."""
EXACT_SHARE = 0.5


@dataclass(frozen=True)
class Estimate:
    """forward, backward: passes over one pair, in all pairs; memory in bytes. None where the model is unknown."""

    forward: float | None
    backward: float | None
    memory: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def weight(self) -> float:
        """Relative time: a backward pass counts two; unknown counts one."""
        return 1.0 if self.forward is None or self.backward is None else self.forward + 2 * self.backward


def estimate(cell: Cell) -> Estimate:
    """Passes and memory of a cell."""
    spec = cell.spec
    shape = model_shape(spec.model)
    if shape is None:
        return Estimate(None, None, None)
    pairs = spec.n_pairs or (len(spec.prompts) if spec.prompts else DEFAULT_PAIRS)
    forward, backward = method_passes(spec, shape.graph)
    evaluated = sum(
        _circuits(entry.question, shape.graph.n_edges) * (entry.pairs or pairs) for entry in cell.evaluations
    )
    return Estimate(pairs * forward + evaluated, pairs * backward, _memory(shape, spec.dtype, pairs, spec.batch_size))


def method_passes(spec: RunSpec, graph: Graph) -> tuple[float, float]:
    """Forward and backward passes per pair, the two reference runs included."""
    if spec.method == "exact":
        edges = spec.options.get("edges")
        return 2 + EXACT_SHARE * (len(edges) if edges else graph.n_edges), 0.0
    forward, backward = get_method(spec.method).passes(int(spec.options.get("steps", 1)), graph.n_layers)
    return 2 + forward, backward


def _circuits(question: Question, n_edges: int) -> int:
    """How many circuits a question runs, the clean and corrupted run included."""
    sizes = question.nodes or question.thresholds or question.edges(n_edges)
    return 2 + len(sizes) * (1 + question.baseline + question.completeness)


def _memory(shape: Shape, dtype: str, pairs: int, batch_size: int | None) -> float:
    width, graph = max(shape.graph.d_model, 1), shape.graph
    difference = graph.n_sources * TOKENS * width * DIFFERENCE_BYTES
    batch = min(batch_size or default_batch_size(graph.n_sources, TOKENS, width), pairs)
    activations = KEPT_PER_LAYER * graph.n_layers * TOKENS * width * DTYPE_BYTES.get(dtype, 4)
    scores = graph.n_sources * graph.n_destinations * 4
    return shape.parameters * DTYPE_BYTES.get(dtype, 4) + batch * (difference + activations + scores) + 2 * scores
