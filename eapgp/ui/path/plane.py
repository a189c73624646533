"""What the model does on the plane in which a path is drawn. Runs in a job's thread.

1. `plane_of` lays a grid over the picture: in the plane of one pair, or (averaged) in the planes of
   several pairs, each in units of its own ‖x − x′‖.
2. The grid's points are inputs `[point, pos, d_model]`; they run through the model in batches,
   without gradient.
3. Each gives the metric and ‖G − G(x′)‖² over the positions of the path's objective; the slope of the
   metric within the plane follows from its values on the grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eapgp.attribution.result import PathRecord
from eapgp.figures.inputs import Background
from eapgp.figures.projection import (
    WIDE,
    Projection,
    grid_of,
    mean_projection,
    project_record,
)
from eapgp.prompts.encode import encode
from eapgp.runs.run import Run
from eapgp.types import Floats
from eapgp.ui.jobs.manager import Progress
from eapgp.ui.jobs.workshop import Workshop, with_gradients
from eapgp.ui.library.landscape import backgrounds

GRID, MEAN_GRID = 25, 17  # points along one side, for one pair and for the average
MEAN_PAIRS = 8  # pairs over which the background of the average is taken
BATCH = 125


@dataclass(frozen=True)
class Plane:
    """A grid to be evaluated. x `[nx]`, y `[ny]` in the picture's units; parts: (pair, its plane, its unit)."""

    x: Floats
    y: Floats
    parts: tuple[tuple[int, Projection, float], ...]

    @property
    def key(self) -> str:
        """Hash of where the grid lies."""
        digest = hashlib.sha256(self.x.tobytes() + self.y.tobytes())
        for pair, projection, unit in self.parts:
            digest.update(f"{pair}:{unit!r}".encode() + projection.origin.tobytes() + projection.axes.tobytes())
        return digest.hexdigest()[:20]


def plane_of(records: Mapping[str, PathRecord], pair: int | None, focus: str | None) -> Plane:
    """The grid behind one pair's picture, or behind the average; `focus` names a path that fills it.

    Errors: OptionError as in `project_record`.
    """
    if pair is not None:
        projection = project_record(records, pair)
        x, y = projection.grid(GRID, kinds=[focus], margin=0.3) if focus else projection.grid(GRID)
        return Plane(x, y, ((pair, projection, 1.0),))
    n_pairs = min(record.output_distance.shape[1] for record in records.values())
    planes = [project_record(records, i) for i in range(n_pairs)]
    mean = mean_projection(planes).mean
    ends = [] if focus else [np.zeros((1, 2)), np.array([[1.0, 0.0]])]
    drawn = np.concatenate([*ends, *([mean[focus]] if focus else mean.values())])
    x, y = grid_of(drawn, MEAN_GRID, margin=0.3 if focus else 0.15, wide=WIDE if focus else 0.0)
    usable = [(i, plane, plane.distance) for i, plane in enumerate(planes) if plane.distance > 0]
    return Plane(x, y, tuple(usable[:MEAN_PAIRS]))


def plane_work(
    shop: Workshop, lane: str, run: Run, plane: Plane, *, objective: str
) -> Callable[[Progress], dict[str, Background]]:
    """Metric, its slope, and the distance to the corrupted output on a grid, mean over the plane's pairs."""

    def work(progress: Progress) -> dict[str, Background]:
        progress("loading the model", 0.0)
        model = shop.model_of(lane, run, progress)
        values = evaluate_plane(model, run, plane, objective=objective, progress=progress)
        single = len(plane.parts) == 1 and plane.parts[0][2] == 1.0
        return backgrounds(plane.x, plane.y, *values, n_pairs=0 if single else len(plane.parts))

    return with_gradients(work)


def evaluate_plane(
    model: Any, run: Run, plane: Plane, *, objective: str, progress: Progress | None = None
) -> tuple[Floats, Floats]:
    """`[y, x]` the metric and the distance to the corrupted output on a grid, mean over the plane's pairs."""
    grid = np.stack(np.meshgrid(plane.x, plane.y), axis=-1).reshape(-1, 2)
    shape = (len(plane.y), len(plane.x))
    metric, distance = np.zeros(shape), np.zeros(shape)
    for done, (pair, projection, unit) in enumerate(plane.parts):

        def inside(phase: str, fraction: float, done: int = done) -> None:
            if progress is not None:
                progress(phase, (done + fraction) / len(plane.parts))

        points = projection.to_space(grid * unit).astype(np.float32)
        values = _evaluate(model, run, pair, points, objective, inside)
        metric += values[0].reshape(shape) / len(plane.parts)
        distance += values[1].reshape(shape) / len(plane.parts)
    return metric, distance


_WINDOWS = {"all": None, "gradpath": "gradpath"}


def picture_values(model: Any, run: Run, records: Mapping[str, PathRecord], *, objective: str) -> dict[str, Any]:
    """A run's picture as plain values: what `stored_picture` reads. records: of both paths, with their points."""
    n_pairs = min(record.output_distance.shape[1] for record in records.values())
    averaged = mean_projection([project_record(records, pair) for pair in range(n_pairs)])
    windows = {}
    for name, focus in _WINDOWS.items():
        plane = plane_of(records, None, focus)
        metric, distance = evaluate_plane(model, run, plane, objective=objective)
        grid = {"x": plane.x, "y": plane.y, "metric": metric, "distance": distance}
        windows[name] = {key: np.vectorize(_short)(values).tolist() for key, values in grid.items()}
        windows[name]["pairs"] = len(plane.parts)
    return {**averaged.to_dict(), "windows": windows}


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _evaluate(
    model: Any, run: Run, pair: int, points: Floats, objective: str, progress: Progress
) -> tuple[Floats, Floats]:
    """`[point]` metric and distance of inputs `[point, pos, d_model]` of one pair."""
    import torch

    from eapgp.attribution.api import prepare
    from eapgp.engine.batches import make_batch
    from eapgp.engine.differences import output_distance, position_mask
    from eapgp.engine.passes import capture

    encoded, metric = prepare(model, run.prompts(), str(run.request["metric"]))
    batch = make_batch(model, encoded, np.array([pair]), metric)
    metrics, distances = [], []
    with torch.no_grad():
        reference = capture(model, batch.corrupted).hidden
        for start in range(0, len(points), BATCH):
            progress("running the model on the plane", start / len(points))
            value = torch.from_numpy(points[start : start + BATCH]).to(model.device, reference.dtype)
            size = len(value)
            tokens = batch.clean.repeat(size)
            seen = capture(model, tokens, value=value)
            mask = position_mask(tokens, objective)  # type: ignore[arg-type]
            metrics.append(metric.compute(seen.logits, batch.targets.repeat(size)).float().cpu().numpy())
            distances.append(
                output_distance(model, seen.hidden, reference.expand(size, -1, -1), mask).float().cpu().numpy()
            )
    return np.concatenate(metrics), np.concatenate(distances)


def point_work(
    shop: Workshop, lane: str, run: Run, record: PathRecord, pair: int | None, destination: int | None
) -> Callable[[Progress], Floats]:
    """`[point, src, dst]` what each point of a run's path adds to the scores; NaN where it is not used.

    destination: keep this column alone, `[point, src, 1]` (large graphs).
    """

    def work(progress: Progress) -> Floats:
        from eapgp.attribution.per_point import point_scores

        progress("loading the model", 0.0)
        model = shop.model_of(lane, run, progress)
        options = {name: value for name, value in run.record["options"].items() if name != "keep_points"}
        metric, method = str(run.request["metric"]), str(run.record["method"])
        parts = point_scores(
            model, run.prompts(), method=method, metric=metric, pair=pair, progress=progress, **options
        )
        columns = parts if destination is None else parts[:, :, destination : destination + 1]
        full = np.full((record.n_points, *columns.shape[1:]), np.nan, dtype=np.float32)
        full[record.used] = columns
        return full

    return with_gradients(work)


def tokens_work(shop: Workshop, lane: str, run: Run, pair: int) -> Callable[[Progress], list[str]]:
    """The clean prompt's tokens of one pair, as text pieces."""

    def work(progress: Progress) -> list[str]:
        progress("loading the model", 0.0)
        model = shop.model_of(lane, run, progress)
        prompts = run.prompts()
        encoded = encode(prompts, model, contrast=False)
        ids = encoded.clean[pair, : int(encoded.lengths[pair])].tolist()
        return [str(token) for token in model.tokenizer.convert_ids_to_tokens(ids)]

    return with_gradients(work)
