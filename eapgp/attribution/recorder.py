"""Writes down what happens along a path, batch by batch, and joins the batches in pair order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from eapgp.attribution.gradpath import pair_norm
from eapgp.attribution.result import PathRecord
from eapgp.models.adapter import widen


@dataclass
class PathPart:
    """The record of one batch, as `PathRecord` has it for all. Lists hold one tensor per point."""

    kind: str
    clean: Float[Tensor, "pair pos d_model"]
    corrupted: Float[Tensor, "pair pos d_model"]
    n_destinations: int
    keep_points: bool
    output_distance: list[Float[Tensor, " pair"]] = field(default_factory=list)
    metric: list[Float[Tensor, " pair"]] = field(default_factory=list)
    to_corrupted: list[Float[Tensor, " pair"]] = field(default_factory=list)
    to_clean: list[Float[Tensor, " pair"]] = field(default_factory=list)
    gradient_norm: list[Float[Tensor, " pair"]] = field(default_factory=list)
    destination_gradient: list[Float[Tensor, "pair dst"]] = field(default_factory=list)
    used: list[bool] = field(default_factory=list)
    points: list[Float[Tensor, "pair pos d_model"]] = field(default_factory=list)

    def add(
        self,
        value: Float[Tensor, "pair pos d_model"],
        metric: Float[Tensor, " pair"],
        distance: Float[Tensor, " pair"],
        *,
        input_gradient: Float[Tensor, "pair pos d_model"] | None = None,
        norms: Float[Tensor, "pair dst"] | None = None,
        used: bool = True,
    ) -> None:
        """Write one point down; gradients that were not taken are NaN."""
        value = widen(value)
        pairs = value.shape[0]
        self.output_distance.append(_rows(distance))
        self.metric.append(_rows(metric))
        self.to_corrupted.append(_rows(pair_norm(value - self.corrupted)))
        self.to_clean.append(_rows(pair_norm(value - self.clean)))
        nan = torch.full((pairs,), float("nan"))
        self.gradient_norm.append(nan if input_gradient is None else _rows(pair_norm(input_gradient)))
        empty = torch.full((pairs, self.n_destinations), float("nan"))
        self.destination_gradient.append(empty if norms is None else _rows(norms))
        self.used.append(used)
        if self.keep_points:
            self.points.append(_rows(value))

    def reverse(self) -> None:
        """Turn the record round: the first point becomes the last."""
        for name in ("output_distance", "metric", "to_corrupted", "to_clean", "gradient_norm"):
            getattr(self, name).reverse()
        for values in (self.destination_gradient, self.used, self.points):
            values.reverse()  # type: ignore[attr-defined]


def join_parts(
    parts: Sequence[tuple[Int[np.ndarray, " _"], PathPart]], lengths: Int[np.ndarray, " pair"], longest: int
) -> PathRecord:
    """One record of all pairs, in the order of the prompt set."""
    first = parts[0][1]
    order = np.argsort(np.concatenate([index for index, _ in parts]))

    def joined(name: str) -> Float[np.ndarray, "point pair *axes"]:
        stacks = [torch.stack(getattr(part, name)).numpy() for _, part in parts]
        return np.concatenate(stacks, axis=1)[:, order]

    points = None
    if first.keep_points:
        padded = [_pad(torch.stack(part.points).numpy(), longest) for _, part in parts]
        points = np.concatenate(padded, axis=1)[:, order]
    return PathRecord(
        kind=first.kind,
        output_distance=joined("output_distance"),
        metric=joined("metric"),
        to_corrupted=joined("to_corrupted"),
        to_clean=joined("to_clean"),
        gradient_norm=joined("gradient_norm"),
        destination_gradient=joined("destination_gradient"),
        used=np.array(first.used),
        lengths=lengths,
        points=points,
    )


def _pad(
    points: Float[np.ndarray, "point pair pos d_model"], length: int
) -> Float[np.ndarray, "point pair length d_model"]:
    """The points filled with zeros up to `length` positions."""
    missing = length - points.shape[2]
    return np.pad(points, ((0, 0), (0, 0), (0, missing), (0, 0))) if missing else points


def _rows(values: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Per-pair numbers on the CPU, float32 or wider."""
    return widen(values.detach()).cpu()
