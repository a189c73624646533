"""An `Attribution` as named arrays, and back, bit for bit; and how runs of an older format are read.

A run's files are never rewritten: a migration changes what was read, in memory, one version up.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import Attribution, EdgeScores, PathRecord
from eapgp.errors import RunError
from eapgp.graph import Graph
from eapgp.runs.files import REPAIR, sync_file

FORMAT_VERSION = 1
# Raised when the same request would give other numbers than before, so that old runs no longer answer.
RESULT_VERSION = 1

Record = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Migration:
    """From one version to the next: run.json, and the arrays of a safetensors file by its name."""

    record: Callable[[Record], Record] = lambda record: record
    arrays: Callable[[str, Arrays], Arrays] = lambda _file, arrays: arrays


# {version: the step from it to version + 1}
MIGRATIONS: dict[int, Migration] = {}


def _steps(
    version: object, path: Path, migrations: Mapping[int, Migration], current: int
) -> list[tuple[int, Migration]]:
    if not isinstance(version, int) or isinstance(version, bool):
        raise RunError(
            f"{path}: expected a whole number under format_version, got {repr(version)[:60]}; this is no run."
        )
    if version > current:
        raise RunError(
            f"{path}: expected format version {current} or older, got {version}; "
            "a newer eapgp wrote this run: update eapgp to read it."
        )
    missing = [step for step in range(version, current) if step not in migrations]
    if missing:
        raise RunError(
            f"{path}: expected format version {current}, got {version}; "
            "this eapgp can no longer read it: compute the run again."
        )
    return [(step, migrations[step]) for step in range(version, current)]


def migrate_record(
    record: Record, path: Path, *, migrations: Mapping[int, Migration] | None = None, current: int = FORMAT_VERSION
) -> Record:
    """run.json at the current version; `read_version` keeps the version on disk.

    Errors: RunError if a newer eapgp wrote it, or no migration leads from its version.
    """
    version = record.get("format_version")
    steps = MIGRATIONS if migrations is None else migrations
    for step, migration in _steps(version, path, steps, current):
        record = {**migration.record(dict(record)), "format_version": step + 1}
    return {**record, "read_version": version}


def migrate_arrays(
    arrays: Arrays,
    file: str,
    version: int,
    path: Path,
    *,
    migrations: Mapping[int, Migration] | None = None,
    current: int = FORMAT_VERSION,
) -> Arrays:
    """The arrays of one file at the current version."""
    steps = MIGRATIONS if migrations is None else migrations
    for _, migration in _steps(version, path, steps, current):
        arrays = migration.arrays(file, dict(arrays))
    return arrays


SCORES_FILE = "scores.safetensors"
PATH_FILE = "path.safetensors"
ARRAY_FIELDS = tuple(entry.name for entry in fields(PathRecord) if entry.name != "kind")
OPTIONAL_PATH_FIELDS = ("points", "step_length", "destination_gradient")
OPTIONAL_ARRAYS = ("pair_scores", "node_scores", "right")
EDGES_ALONE = 100_000
"""Entries of a score matrix above which a run's file holds those of edges alone, row by row: half the bytes."""


def score_arrays(attribution: Attribution) -> Arrays:
    """What scores.safetensors holds."""
    graph, values = attribution.scores.graph, attribution.scores.values
    arrays: Arrays = {
        "scores": values[graph.mask] if values.size > EDGES_ALONE else values,
        "metric_clean": attribution.metric_clean,
        "metric_corrupted": attribution.metric_corrupted,
    }
    for name in OPTIONAL_ARRAYS:
        if getattr(attribution, name) is not None:
            arrays[name] = getattr(attribution, name)
    return arrays | {f"completeness/{name}": values for name, values in attribution.completeness.items()}


def path_arrays(attribution: Attribution) -> Arrays:
    """What path.safetensors holds: `name/field` for every path."""
    arrays: Arrays = {}
    for name, record in attribution.paths.items():
        for field in ARRAY_FIELDS:
            values = getattr(record, field)
            if values is not None:
                arrays[f"{name}/{field}"] = values
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a safetensors file and make it durable."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file({name: _contiguous(values) for name, values in arrays.items()}, path)
    except SafetensorError as error:  # which is how it tells of a full disk
        code = errno.ENOSPC if f"code: {errno.ENOSPC}" in str(error) else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from None
    path.chmod(0o644)  # safetensors makes files that only their owner can read; a library may be shared
    sync_file(path)


def _contiguous(values: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(values)
    return values if values.flags.c_contiguous else np.ascontiguousarray(values)


def read_arrays(path: Path) -> Arrays:
    """All arrays of a safetensors file.

    Errors: RunError naming the file if it is absent or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise RunError(f"{path}: expected this file of a run, found none; {REPAIR}") from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        detail = " ".join(str(error).split())[:160]
        raise RunError(f"{path}: expected a whole safetensors file, got {detail}; {REPAIR}") from None


def graph_of(record: Mapping[str, Any], path: Path) -> Graph:
    """The graph that run.json describes; RunError if it describes none."""
    try:
        return Graph.from_dict(record["graph"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: expected the graph's sizes under graph, got {error!r}; {REPAIR}") from None


def edge_scores(record: Mapping[str, Any], arrays: Arrays, path: Path) -> EdgeScores:
    """The edge scores of a run; RunError if their shape is not the graph's."""
    graph = graph_of(record, path)
    expected = (graph.n_sources, graph.n_destinations)
    values = arrays.get("scores")
    if values is not None and values.shape == (graph.n_edges,):
        edges, values = values, np.zeros(expected, values.dtype)
        values[graph.mask] = edges
    if values is None or values.shape != expected:
        came = "no scores" if values is None else f"shape {values.shape}"
        raise RunError(f"{path}: expected scores of shape {expected} or ({graph.n_edges},), got {came}; {REPAIR}")
    if values.dtype.kind != "f" or np.isinf(values).any():
        raise RunError(f"{path}: expected scores that are finite numbers or NaN, got others; {REPAIR}")
    return EdgeScores(graph, values, dict(record.get("provenance", {})))


def _check_shapes(arrays: Arrays, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Errors: RunError naming the first array that is not of numbers, or not of its shape; absent ones are passed."""
    for name, shape in shapes.items():
        values = arrays.get(name)
        if values is not None and (values.dtype.kind not in "fiub" or values.shape != shape):
            raise RunError(
                f"{path}: {name}: expected numbers of shape {shape}, got {values.dtype} of {values.shape}; {REPAIR}"
            )


def _score_shapes(record: Mapping[str, Any], arrays: Arrays, graph: Graph) -> dict[str, tuple[int, ...]]:
    pairs = (record["request"]["prompts"]["n_pairs"],)
    per_pair = [name for name in arrays if name.startswith("completeness/")]
    return {
        **dict.fromkeys(("metric_clean", "metric_corrupted", "right", *per_pair), pairs),
        "pair_scores": (*pairs, graph.n_sources, graph.n_destinations),
        "node_scores": (graph.n_sources,),
    }


def _path_shapes(points: int, pairs: int, graph: Graph) -> dict[str, tuple[int, ...]]:
    each = dict.fromkeys(("output_distance", "metric", "to_corrupted", "to_clean", "gradient_norm"), (points, pairs))
    return each | {
        "destination_gradient": (points, pairs, graph.n_destinations),
        "used": (points,),
        "lengths": (pairs,),
        "step_length": (points - 1, pairs),
    }


def path_records(record: Mapping[str, Any], arrays: Arrays, path: Path) -> dict[str, PathRecord]:
    """The path records of a run, by name."""
    records = {}
    for name, about in record.get("paths", {}).items():
        values = {field: arrays[f"{name}/{field}"] for field in ARRAY_FIELDS if f"{name}/{field}" in arrays}
        missing = [field for field in ARRAY_FIELDS if field not in (*values, *OPTIONAL_PATH_FIELDS)]
        if missing:
            raise RunError(f"{path}: expected {name}/{missing[0]} in the file, found none; {REPAIR}")
        pairs = record["request"]["prompts"]["n_pairs"]
        _check_shapes(values, _path_shapes(about["points"], pairs, graph_of(record, path)), path)
        whole: dict[str, Any] = {**dict.fromkeys(OPTIONAL_PATH_FIELDS), **values}
        records[name] = PathRecord(kind=str(about["kind"]), **whole)
    return records


def plain_fields(attribution: Attribution) -> dict[str, Any]:
    """The fields of a result that are neither arrays nor made of them, for run.json."""
    return {entry.name: getattr(attribution, entry.name) for entry in fields(attribution) if _is_plain(entry.name)}


def _is_plain(name: str) -> bool:
    return name not in ("scores", "metric_clean", "metric_corrupted", "paths", *OPTIONAL_ARRAYS, "completeness")


def attribution_of(
    record: Mapping[str, Any], scores: Arrays, paths: Arrays, scores_path: Path, paths_path: Path
) -> Attribution:
    """The stored `Attribution`.

    Errors: RunError for what is missing in the arrays; KeyError or TypeError for what is missing
    in the record.
    """
    for name in ("metric_clean", "metric_corrupted"):
        if name not in scores:
            raise RunError(f"{scores_path}: expected {name} in the file, found none; {REPAIR}")
    _check_shapes(scores, _score_shapes(record, scores, graph_of(record, scores_path)), scores_path)
    prefix = "completeness/"
    plain = {entry.name: record[entry.name] for entry in fields(Attribution) if entry.name in record}
    plain = {name: value for name, value in plain.items() if _is_plain(name)}
    further: dict[str, Any] = {**plain, "messages": tuple(record.get("messages", ()))}
    further |= {name: scores.get(name) for name in OPTIONAL_ARRAYS}
    return Attribution(
        **further,
        scores=edge_scores(record, scores, scores_path),
        metric_clean=scores["metric_clean"],
        metric_corrupted=scores["metric_corrupted"],
        paths=path_records(record, paths, paths_path),
        completeness={name[len(prefix) :]: values for name, values in scores.items() if name.startswith(prefix)},
    )
