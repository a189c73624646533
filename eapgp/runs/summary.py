"""One line per run, quick to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eapgp.errors import RunError
from eapgp.runs.files import read_json
from eapgp.runs.run import RUN_FILE, Run
from eapgp.runs.version import migrate_record


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the library's list; read from run.json alone."""

    id: str
    path: Path
    name: str
    note: str
    model: str
    task: str
    method: str
    options: Mapping[str, Any]
    metric: str
    n_pairs: int
    seed: int
    dtype: str
    intervention: str
    n_edges: int
    metric_clean: float | None
    metric_corrupted: float | None
    created: str
    seconds: float
    bytes: int

    @property
    def steps(self) -> int | None:
        """Number of path steps, for path methods."""
        return self.options.get("steps")

    def matches(self, query: str) -> bool:
        """True if every word occurs in the summary; `key=value` asks one field or option for that value."""
        fields = {key: getattr(self, key) for key in self.__slots__} | {"steps": self.steps, **self.options}
        text = " ".join(str(fields[key]) for key in ("id", "name", "note", "model", "task", "method", "metric")).lower()
        for word in query.lower().split():
            key, equals, value = word.partition("=")
            if equals and key in fields:
                if str(fields[key]).lower() != value:
                    return False
            elif word not in text:
                return False
        return True


def summarise(folder: Path) -> RunSummary:
    """Summary of the run in a folder, without opening its arrays.

    Errors: RunError if its run.json is absent, damaged or of a newer version.
    """
    path = folder / RUN_FILE
    record = migrate_record(read_json(path), path)
    try:
        request, meta = record["request"], Run(folder, record).meta
        return RunSummary(
            id=str(record["id"]),
            path=folder,
            name=meta["name"],
            note=meta["note"],
            model=str(request["model"]["id"]),
            task=str(request["task"]),
            method=str(record["method"]),
            options=dict(record["options"]),
            metric=str(request["metric"]),
            n_pairs=int(request["prompts"]["n_pairs"]),
            seed=int(request["seed"]),
            dtype=str(request["model"]["dtype"]),
            intervention=str(request.get("intervention", "patching")),
            n_edges=int(record["n_edges"]),
            metric_clean=record["metric_clean"]["mean"],
            metric_corrupted=record["metric_corrupted"]["mean"],
            created=str(record["created"]),
            seconds=float(record["seconds"]),
            bytes=sum(int(about["bytes"]) for about in record["files"].values()) + path.stat().st_size,
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise RunError(f"{path}: expected a run's record, got {error!r}; remove the run (eapgp runs rm).") from None
