"""What comes with a bundled GradPath run so that its path can be drawn without its points, and without the model.

1. The picture of the average: both paths of all pairs in their planes, over what the model does there.
2. One edge: what each point of both paths adds to its score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eapgp.figures.inputs import Background
from eapgp.figures.projection import MeanProjection
from eapgp.runs.measure import stored_evaluation
from eapgp.runs.run import Run
from eapgp.types import Floats

PICTURE, EDGE = "path-picture", "path-edge"
"""Names in evaluation.json."""


@dataclass(frozen=True)
class Picture:
    """The paths of all pairs in their planes, and by window what the model does there."""

    projection: MeanProjection
    backgrounds: dict[str, dict[str, Background]]


@dataclass(frozen=True)
class EdgeAlongPath:
    """The edge with the run's largest score. adds: by path `[point]` what each point adds to its score, mean over
    pairs; 0 where a point is not used."""

    name: str
    adds: Mapping[str, Floats]

    def so_far(self, kind: str) -> Floats:
        """`[point]` the score of the points up to each one; the last is the method's score."""
        return np.cumsum(self.adds[kind])


def backgrounds(x: Floats, y: Floats, metric: Floats, distance: Floats, *, n_pairs: int) -> dict[str, Background]:
    """What can be drawn behind a path; n_pairs: of how many pairs it is the mean, 0 for a pair in its own plane."""
    down, across = np.gradient(metric, y, x)
    unit = f"‖x − x′‖), mean of {n_pairs} pairs" if n_pairs else "embedding unit)"
    over = f", mean of {n_pairs} pairs" if n_pairs else ""
    return {
        "metric": Background(x, y, metric, f"metric M{over}"),
        "distance": Background(x, y, distance, f"‖G − G(x′)‖² (logits²){over}"),
        "slope": Background(x, y, np.hypot(across, down), f"slope of M (per {unit}"),
    }


def stored_picture(run: Run) -> Picture | None:
    """The picture that came with a bundled run, or None."""
    values = stored_evaluation(run).get(PICTURE)
    if values is None:
        return None
    drawn = {}
    for name, one in values["windows"].items():
        grid = (np.asarray(one[key], dtype=np.float64) for key in ("x", "y", "metric", "distance"))
        drawn[name] = backgrounds(*grid, n_pairs=one["pairs"])
    return Picture(MeanProjection.from_dict(values), drawn)


def stored_edge(run: Run) -> EdgeAlongPath | None:
    """The edge that came with a bundled run, or None."""
    values = stored_evaluation(run).get(EDGE)
    if values is None:
        return None
    return EdgeAlongPath(values["name"], {kind: np.asarray(adds) for kind, adds in values["adds"].items()})
