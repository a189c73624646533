"""The tidy table of a study: one row per cell, evaluation and circuit size.

Nothing in it depends on when, where or how fast it was computed, so a study that was killed and
resumed gives the same table as one that was not. Times are a table of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapgp.evaluation.areas import MIB_NAMES, with_area_names
from eapgp.runs.files import canonical, whole
from eapgp.runs.info import prompting_conditions
from eapgp.runs.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

TABLE_FILE, TIMES_FILE = "table.parquet", "times.parquet"
TEXTS = [
    "study",
    "cell",
    "run",
    "status",
    "error",
    "model",
    "weights_hash",
    "dtype",
    "task",
    "prompts_hash",
    "method",
    "label",
    "options",
    "metric",
    "intervention",
    "evaluation",
    "remark",
]
COUNTS = ["n_pairs", "seed", "n_edges", "eval_pairs", "edges_selected", "edges_kept"]
NUMBERS = [
    "step_count",
    "metric_clean",
    "metric_corrupted",
    "forward_passes",
    "backward_passes",
    "reference_passes",
    "metric_value",
    "metric_low",
    "metric_high",
    "faithfulness",
    "faithfulness_low",
    "faithfulness_high",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "kl",
    "kl_low",
    "kl_high",
    "area",
    "area_low",
    "area_high",
    "area_to_one",
    "area_to_one_low",
    "area_to_one_high",
    "cpr",
    "cpr_low",
    "cpr_high",
    "cmd",
    "cmd_low",
    "cmd_high",
    "baseline",
    "baseline_low",
    "baseline_high",
]
MANUAL = ("edges_precision", "edges_recall", "nodes_precision", "nodes_recall")


def rows_of(study: str, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of one cell. A failed cell, and one without evaluations, has one row."""
    head = _head(study, record)
    if record["status"] != "done":
        return [head]
    rows = [
        {**head, **_evaluation(name, answer), **_size(answer, index, entry)}
        for name, answer in record["evaluations"].items()
        for index, entry in enumerate(answer["curve"])
    ]
    return rows or [head]


def model_named(spec: Mapping[str, Any]) -> str:
    """A cell's model, and what is not usual about how prompts reach it; cells that differ in that are not averaged."""
    return ", ".join((str(spec["model"]), *prompting_conditions(RunSpec.from_dict(spec))))


def _head(study: str, record: Mapping[str, Any]) -> dict[str, Any]:
    spec = record["asked"]["spec"]
    head: dict[str, Any] = {
        "study": study,
        "cell": record["cell"],
        "status": record["status"],
        "model": model_named(spec),
        "dtype": spec["dtype"],
        "task": spec["task"],
        "method": spec["method"],
        "label": record["asked"]["label"],
        "options": canonical(spec["options"]),
        "step_count": spec["options"].get("steps"),
        "intervention": spec["intervention"],
        "seed": spec["seed"],
        "n_pairs": spec["n_pairs"],
        "metric": spec["metric"],
    }
    if record["status"] != "done":
        return {**head, "error": f"{record['error']['type']}: {record['error']['message']}"}
    request = record["request"]
    same = ("n_edges", "metric_clean", "metric_corrupted", "forward_passes", "backward_passes", "reference_passes")
    return {
        **head,
        "run": record["run"],
        "weights_hash": request["model"]["weights_hash"],
        "prompts_hash": request["prompts"]["hash"],
        "n_pairs": request["prompts"]["n_pairs"],
        "metric": request["metric"],
        **{name: record[name] for name in same},
    }


def _evaluation(name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"evaluation": name, "eval_pairs": answer["n_pairs"], "remark": answer["remark"]}
    named = with_area_names(answer)
    for area in (*MIB_NAMES, *MIB_NAMES.values()):
        band = named[area] or {}
        row |= {area: band.get("value"), f"{area}_low": band.get("low"), f"{area}_high": band.get("high")}
    return row


def _size(answer: Mapping[str, Any], index: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {key: entry[key] for key in ("edges_selected", "edges_kept")}
    row |= {"metric_value": entry["metric"], "metric_low": entry["metric_low"], "metric_high": entry["metric_high"]}
    for key in ("faithfulness", "accuracy", "kl"):
        row |= {name: entry[name] for name in (key, f"{key}_low", f"{key}_high")}
    if "baseline" in answer:
        random = answer["baseline"]
        row |= {"baseline": random["mean"][index]}
        row |= {f"baseline_{end}": random[end][index] for end in ("low", "high")}
    for variant, sizes in answer.get("manual", {}).items():
        for name in MANUAL:
            level, share = name.split("_")
            row[f"{name}_{variant}"] = sizes[index][level][share]
    return row


def make_table(study: str, records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The tidy table; the same columns in the same order for every study (manual circuits come last)."""
    import pandas as pd

    rows = [row for record in records for row in rows_of(study, record)]
    columns = [*TEXTS, *COUNTS, *NUMBERS]
    extra = sorted({key for row in rows for key in row} - set(columns))
    frame = pd.DataFrame(rows, columns=[*columns, *extra])
    kinds = dict.fromkeys(TEXTS, "string") | dict.fromkeys(COUNTS, "Int64")
    return frame.astype(kinds | dict.fromkeys([*NUMBERS, *extra], "Float64"))


def make_times(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """How long each cell took, and where: the attribution, its evaluations, and all of it."""
    import pandas as pd

    rows = [
        {
            "cell": record["cell"],
            "title": record["title"],
            "device": record.get("device", ""),
            "attribution_seconds": record.get("attribution_seconds"),
            "evaluation_seconds": sum(answer["seconds"] for answer in record.get("evaluations", {}).values()),
            "cell_seconds": record["seconds"],
            "libraries": json.dumps(record.get("libraries", {}), sort_keys=True),
        }
        for record in records
    ]
    return pd.DataFrame(rows)


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all."""
    with whole(path) as temporary:
        frame.to_parquet(temporary, index=False)
