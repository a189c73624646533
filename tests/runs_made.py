"""Hand-made results for the tests of the run library: no model, every field filled."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from eapgp.attribution.result import Attribution, EdgeScores, PathRecord
from eapgp.graph import Graph
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.runs.spec import make_request

GRAPH = Graph(2, 2, d_model=6)
STEPS, PAIRS, POSITIONS = 3, 4, 5


class FakeModel:
    """What a request asks of a model."""

    id = "tiny"
    weights_hash = "00ff00ff00ff00ff"
    tokenizer_hash = "aa11aa11aa11aa11"
    dtype = "float32"
    device = "cpu"


def made_prompts(n: int = PAIRS) -> PromptSet:
    """Pairs with text answers, id answers, several answers and non-ASCII text."""
    pairs = tuple(
        PromptPair(f"Zoë saw {i}", f"Max saw {i}", (" she", 7), (" he",), note=f"template {i}") for i in range(n)
    )
    return PromptSet("ioi", pairs, "logit-diff", {"kind": "generated", "seed": 3, "n": n})


def _path(kind: str, rng: np.random.Generator, *, points: bool) -> PathRecord:
    shape = (STEPS + 1, PAIRS)
    gradient = rng.random(shape).astype(np.float32)
    gradient[0] = np.nan
    return PathRecord(
        kind=kind,
        output_distance=rng.random(shape),
        metric=rng.random(shape).astype(np.float32),
        to_corrupted=rng.random(shape),
        to_clean=rng.random(shape),
        gradient_norm=gradient,
        destination_gradient=rng.random((*shape, GRAPH.n_destinations)).astype(np.float16),
        used=np.array([False, True, True, True]),
        lengths=np.array([5, 4, 5, 3]),
        points=rng.random((*shape, POSITIONS, GRAPH.d_model)).astype(np.float32) if points else None,
    )


def made_attribution(seed: int = 0, *, paths: bool = True, pairs: bool = True) -> Attribution:
    """A result of a path method; NaN where an edge was not scored."""
    rng = np.random.default_rng(seed)
    shape = (GRAPH.n_sources, GRAPH.n_destinations)
    values = np.where(GRAPH.mask, rng.normal(size=shape), 0).astype(np.float32)
    values[0, 0] = np.nan
    values[0, 1] = -0.0
    return Attribution(
        method="eap-gp",
        options={"steps": STEPS, "step": "relative", "objective": "all"},
        scores=EdgeScores(GRAPH, values, {"model": "tiny", "prepend_bos": True}),
        metric_clean=rng.normal(size=PAIRS),
        metric_corrupted=rng.normal(size=PAIRS).astype(np.float32),
        forward_passes=STEPS + 1,
        backward_passes=2 * STEPS,
        seconds=0.25,
        paths={"gradpath": _path("gradpath", rng, points=True), "straight": _path("straight", rng, points=False)}
        if paths
        else {},
        pair_scores=rng.normal(size=(PAIRS, *shape)).astype(np.float32) if pairs else None,
        node_scores=rng.normal(size=GRAPH.n_sources),
        completeness={"sum": rng.normal(size=PAIRS), "gap": rng.normal(size=PAIRS)},
        messages=("pair 2: the first step raised the distance to the corrupted output.",),
    )


def made_request(prompts: PromptSet, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """The request of `made_attribution`."""
    given: dict[str, Any] = {
        "method": "eap-gp",
        "options": {"steps": STEPS, "step": "relative", "objective": "all"},
        "metric": "logit-diff",
        "seed": seed,
        **changes,
    }
    return make_request(FakeModel(), prompts, **given)


def same_bits(left: Any, right: Any) -> bool:
    """Equal dtype, shape and bytes (NaN equals NaN, -0.0 differs from 0.0), or both None."""
    if left is None or right is None:
        return left is right
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def assert_same(left: Attribution, right: Attribution) -> None:
    """Two results are the same, bit for bit."""
    for entry in fields(Attribution):
        one, other = getattr(left, entry.name), getattr(right, entry.name)
        if entry.name == "scores":
            assert one.graph == other.graph
            assert one.graph.d_model == other.graph.d_model
            assert one.provenance == other.provenance
            assert same_bits(one.values, other.values)
        elif entry.name == "paths":
            assert one.keys() == other.keys()
            for name in one:
                for field in fields(PathRecord):
                    a, b = getattr(one[name], field.name), getattr(other[name], field.name)
                    assert a == b if field.name == "kind" else same_bits(a, b), (name, field.name)
        elif entry.name == "completeness":
            assert one.keys() == other.keys()
            assert all(same_bits(one[name], other[name]) for name in one)
        elif isinstance(one, np.ndarray) or one is None:
            assert same_bits(one, other), entry.name
        else:
            assert one == other, entry.name
