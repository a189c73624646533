"""Two dimensions in which a path of input activations is drawn, without distorting the plane.

1. The origin is the clean input x, the first axis the direction x′ − x.
2. The second axis is the main direction in which GradPath leaves that line: the first right
   singular vector of the deviations γ_j − x with their share along the first axis removed.
3. Both axes have unit length and are orthogonal, so distances inside the plane are true
   distances; the share of the path's squared length that lies in the plane says what is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eapgp.attribution.result import PathRecord
from eapgp.errors import OptionError
from eapgp.types import Floats

WIDE = 2.0  # width over height of the grid around one path: about that of the picture which it fills


@dataclass(frozen=True)
class Projection:
    """A plane through the clean input and the paths seen in it.

    origin `[pos, d_model]`, axes `[2, pos, d_model]` orthonormal, coordinates: kind → `[point, 2]`,
    corrupted `[2]`; the clean input is (0, 0). explained: kind → share of Σ_j ‖γ_j − x‖² that the
    plane shows (1 where the path does not move).
    """

    origin: Floats
    axes: Floats
    coordinates: dict[str, Floats]
    corrupted: Floats
    explained: dict[str, float]

    @property
    def distance(self) -> float:
        """‖x − x′‖."""
        return float(np.linalg.norm(self.corrupted))

    def to_space(self, xy: Floats) -> Floats:
        """Inputs `[..., pos, d_model]` at plane coordinates `[..., 2]`."""
        result: Floats = self.origin + np.tensordot(np.asarray(xy), self.axes, axes=(-1, 0))
        return result

    def grid(self, n: int = 25, *, margin: float = 0.15, kinds: Sequence[str] | None = None) -> tuple[Floats, Floats]:
        """Grid coordinates x `[n]`, y `[n]` that cover both ends and all paths, or the named paths alone."""
        paths = self.coordinates.values() if kinds is None else [self.coordinates[kind] for kind in kinds]
        ends = [np.zeros((1, 2)), self.corrupted[None]] if kinds is None else []
        return grid_of(np.concatenate([*ends, *paths]), n, margin=margin, wide=WIDE if kinds else 0.0)


def grid_of(
    points: Floats, n: int, *, margin: float = 0.15, least: float = 0.4, wide: float = 0.0
) -> tuple[Floats, Floats]:
    """Evenly spaced x `[n]` and y `[n]` around points `[point, 2]`; no side below `least` × the longer extent.

    wide: smallest width over height.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    span = float(max(high - low)) or 1.0
    low, high = low - margin * span, high + margin * span
    missing = np.maximum(0.0, least * span - (high - low)) / 2
    low, high = low - missing, high + missing
    narrow = max(0.0, wide * (high[1] - low[1]) - (high[0] - low[0])) / 2
    low[0], high[0] = low[0] - narrow, high[0] + narrow
    return np.linspace(low[0], high[0], n), np.linspace(low[1], high[1], n)


def project_paths(points_by_kind: Mapping[str, Floats], clean: Floats, corrupted: Floats) -> Projection:
    """The plane of x, x′ and the main deviation of GradPath, and all paths in it.

    points_by_kind: kind → `[point, pos, d_model]`; clean, corrupted `[pos, d_model]`. The second
    axis follows "gradpath" where it is given, else all paths together.
    Errors: OptionError where the shapes do not fit.
    """
    clean, corrupted = np.asarray(clean, dtype=np.float64), np.asarray(corrupted, dtype=np.float64)
    for kind, points in points_by_kind.items():
        if np.shape(points)[1:] != clean.shape or clean.shape != corrupted.shape:
            raise OptionError(
                f"path {kind!r} has points of shape {np.shape(points)[1:]}, clean {clean.shape}, corrupted "
                f"{corrupted.shape}; all three must be the same [pos, d_model]. Cut the padding off all of them."
            )
    moves = {
        kind: np.asarray(points, np.float64).reshape(len(points), -1) - clean.ravel()
        for kind, points in points_by_kind.items()
    }
    leading = moves["gradpath"] if "gradpath" in moves else np.concatenate(list(moves.values()))
    axes = _axes((corrupted - clean).ravel(), leading)
    coordinates: dict[str, Floats] = {kind: move @ axes.T for kind, move in moves.items()}
    explained = {kind: _share(coordinates[kind], move) for kind, move in moves.items()}
    return Projection(
        origin=clean,
        axes=axes.reshape(2, *clean.shape),
        coordinates=coordinates,
        corrupted=axes @ (corrupted - clean).ravel(),
        explained=explained,
    )


def _share(inside: Floats, whole: Floats) -> float:
    total = float((whole**2).sum())
    return float((inside**2).sum()) / total if total > 0 else 1.0


def _axes(direction: Floats, moves: Floats) -> Floats:
    """Two orthonormal rows: `direction`, then the main direction of what is left of `moves`."""
    scale = max(float(np.linalg.norm(direction)), float(np.linalg.norm(moves)), 1e-300)
    length = float(np.linalg.norm(direction))
    first = direction / length if length > 1e-9 * scale else _main_direction(moves, scale)
    rest = moves - np.outer(moves @ first, first)
    second = _main_direction(rest, scale, avoid=first)
    if float(moves[-1] @ second) < 0:  # the end of the path is drawn above the line
        second = -second
    return np.stack([first, second])


def _main_direction(moves: Floats, scale: float, *, avoid: Floats | None = None) -> Floats:
    """First right singular vector, or any unit vector orthogonal to `avoid` if nothing moves."""
    _, sizes, rows = np.linalg.svd(moves, full_matrices=False)
    vector = rows[0]
    if sizes[0] <= 1e-7 * scale:
        vector = np.zeros(moves.shape[1])
        vector[0 if avoid is None else int(np.argmin(np.abs(avoid)))] = 1.0
    if avoid is not None:
        vector = vector - (vector @ avoid) * avoid
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def path_ends(records: Mapping[str, PathRecord], pair: int) -> tuple[Floats, Floats]:
    """Clean and corrupted input `[pos, d_model]` of one pair, found among the kept points.

    Errors: OptionError where the points were not kept, or no record reaches both ends.
    """
    ends: list[Floats | None] = [None, None]
    for kind, record in records.items():
        if record.points is None:
            raise OptionError(f"the {kind} record kept no points; run the attribution again with its path points kept.")
        length = int(record.lengths[pair])
        for which, distance in enumerate((record.to_clean[:, pair], record.to_corrupted[:, pair])):
            nearest = int(np.argmin(distance))
            if ends[which] is None and distance[nearest] <= 1e-4 * float(np.max(distance)):
                ends[which] = record.points[nearest, pair, :length]
    clean, corrupted = ends
    if clean is None or corrupted is None:
        missing = "clean" if clean is None else "corrupted"
        raise OptionError(
            f"no path record reaches the {missing} input of pair {pair}: expected the straight line from clean to "
            f"corrupted, got {', '.join(records) or 'none'}. Add the straight line's record or call project_paths."
        )
    return clean, corrupted


def project_record(records: Mapping[str, PathRecord], pair: int) -> Projection:
    """The projection of one pair's paths; padding is cut off.

    Errors: OptionError for a pair that does not exist and as in `path_ends`.
    """
    n_pairs = min((record.output_distance.shape[1] for record in records.values()), default=0)
    if not 0 <= pair < n_pairs:
        raise OptionError(f"pair {pair} does not exist: expected 0 … {n_pairs - 1}.")
    clean, corrupted = path_ends(records, pair)
    points = {
        kind: record.points[:, pair, : clean.shape[0]] for kind, record in records.items() if record.points is not None
    }
    return project_paths(points, clean, corrupted)


@dataclass(frozen=True)
class MeanProjection:
    """Many pairs in one picture: each in its own plane, in units of its own ‖x − x′‖.

    coordinates: kind → `[pair, point, 2]`; mean: kind → `[point, 2]`; explained: kind → mean share.
    """

    coordinates: dict[str, Floats]
    mean: dict[str, Floats]
    explained: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, to four decimals."""
        coordinates = {kind: np.round(values, 4).tolist() for kind, values in self.coordinates.items()}
        return {"coordinates": coordinates, "explained": self.explained}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MeanProjection:
        """From `to_dict`."""
        coordinates: dict[str, Floats] = {kind: np.asarray(one, float) for kind, one in values["coordinates"].items()}
        mean: dict[str, Floats] = {kind: one.mean(axis=0) for kind, one in coordinates.items()}
        return cls(coordinates, mean, {kind: float(share) for kind, share in values["explained"].items()})


def mean_projection(projections: Sequence[Projection]) -> MeanProjection:
    """Average several pairs' projections; pairs with x = x′ are left out.

    Errors: OptionError where no pair is left.
    """
    usable = [p for p in projections if p.distance > 0]
    if not usable:
        raise OptionError("no pair has clean and corrupted inputs that differ: nothing to average. Pick other pairs.")
    kinds = list(usable[0].coordinates)
    coordinates = {kind: np.stack([p.coordinates[kind] / p.distance for p in usable]) for kind in kinds}
    return MeanProjection(
        coordinates=coordinates,
        mean={kind: values.mean(axis=0) for kind, values in coordinates.items()},
        explained={kind: float(np.mean([p.explained[kind] for p in usable])) for kind in kinds},
    )
