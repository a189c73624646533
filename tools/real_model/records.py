"""What is kept of the study's sweeps: per cell and circuit size the metric of every judged pair, and the cost.

docs/study-real-model.jsonl.gz holds it, so that the tables are made again, and the study goes on elsewhere, without the
runs.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.study.plan import Cell

DIGITS = 6  # significant, of a metric
COSTS = ("forward_passes", "backward_passes", "reference_passes", "attribution_seconds")
ASKED = ("model", "task", "seed", "n_pairs", "dtype", "bos", "method", "options", "random_weights")

Record = dict[str, Any]


def reduced(record: Mapping[str, Any], part: str) -> Record:
    """A finished cell's record without what the tables do not read; it can be drawn from as the whole one."""
    spec = record["asked"]["spec"]
    return {
        "part": part,
        "cell": record["cell"],
        "status": record["status"],
        "asked": {"label": record["asked"]["label"], "spec": {key: spec[key] for key in ASKED if key in spec}},
        "libraries": record["libraries"],
        **{key: record[key] for key in COSTS},
        "evaluations": {name: _answer(answer) for name, answer in record["evaluations"].items()},
    }


def _answer(answer: Mapping[str, Any]) -> Record:
    pairs = answer["pairs"]
    curve = [
        {
            "edges_selected": entry["edges_selected"],
            "edges_kept": entry["edges_kept"],
            "faithfulness": entry["faithfulness"],
        }
        for entry in answer["curve"]
    ]
    metrics = {key: _short(pairs[key]) for key in ("metric", "metric_clean", "metric_corrupted")}
    return {"prompts": answer["prompts"], "curve": curve, "pairs": {"fractions": pairs["fractions"], **metrics}}


def _short(values: Any) -> Any:
    """Numbers to `DIGITS` significant digits."""
    return [_short(one) for one in values] if isinstance(values, list) else float(f"{np.float32(values):.{DIGITS}g}")


def write(path: Path, records: Iterable[Record]) -> None:
    """Write records, in an order and with a stamp that do not change from one time to the next."""
    lines = sorted(json.dumps(record, sort_keys=True, separators=(",", ":")) for record in records)
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def read(path: Path) -> list[Record]:
    """The records of a file that `write` wrote; none where there is none."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def left_of(cells: Iterable[Cell], records: Iterable[Mapping[str, Any]]) -> Sequence[Cell]:
    """The cells of which no record is kept."""
    kept = {record.get("cell") for record in records}
    return [cell for cell in cells if cell.key not in kept]
