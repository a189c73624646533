"""What the model does on the plane in which a path is drawn. Runs in a job's thread.

1. The plane's grid points are inputs `[point, pos, d_model]` of one prompt pair.
2. They run through the model in batches, without gradient.
3. Each gives the metric and ‖G − G(x′)‖² over the positions of the path's objective.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from eapgp.figures.inputs import Background
from eapgp.figures.projection import Projection
from eapgp.runs.run import Run
from eapgp.ui.jobs import Progress
from eapgp.ui.work import Workshop, with_gradients

GRID = 25
BATCH = 125


def plane_work(
    shop: Workshop, lane: str, run: Run, projection: Projection, pair: int, *, objective: str
) -> Callable[[Progress], dict[str, Background]]:
    """Metric and distance to the corrupted output on a grid of a projection's plane."""

    def work(progress: Progress) -> dict[str, Background]:
        progress("loading the model", 0.0)
        model = shop.model_of(lane, run)
        x, y = projection.grid(GRID)
        points = projection.to_space(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).astype(np.float32)
        metric, distance = _evaluate(model, run, pair, points, objective, progress)
        shape = (len(y), len(x))
        return {
            "metric": Background(x, y, metric.reshape(shape), "M (units of the metric)"),
            "distance": Background(x, y, distance.reshape(shape), "‖G − G(x′)‖² (logits²)"),
        }

    return with_gradients(work)


def _evaluate(model: Any, run: Run, pair: int, points: Any, objective: str, progress: Progress) -> tuple[Any, Any]:
    import torch

    from eapgp.attribution.api import prepare
    from eapgp.engine.batches import make_batch
    from eapgp.engine.distance import output_distance, position_mask
    from eapgp.engine.passes import capture
    from eapgp.metrics import get_metric

    encoded, name = prepare(model, run.prompts(), str(run.request["metric"]))
    batch = make_batch(model, encoded, np.array([pair]))
    metric = get_metric(name)
    metrics, distances = [], []
    with torch.no_grad():
        reference = capture(model, batch.corrupted).hidden
        for start in range(0, len(points), BATCH):
            progress("running the grid", start / len(points))
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


def tokens_work(shop: Workshop, lane: str, run: Run, pair: int) -> Callable[[Progress], list[str]]:
    """The clean prompt's tokens of one pair, as text pieces."""

    def work(progress: Progress) -> list[str]:
        from eapgp.prompts.encode import encode

        progress("loading the model", 0.0)
        model = shop.model_of(lane, run)
        prompts = run.prompts()
        encoded = encode(prompts, model.tokenizer, prepend_bos=model.prepend_bos)
        ids = encoded.clean[pair, : int(encoded.lengths[pair])].tolist()
        return [str(token) for token in model.tokenizer.convert_ids_to_tokens(ids)]

    return with_gradients(work)
