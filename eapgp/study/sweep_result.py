"""A study that has run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eapgp.study.plan import Study
from eapgp.study.worker import DONE, FAILED, Record

if TYPE_CHECKING:
    import pandas as pd

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class SweepResult:
    """A study that has run. records: of every cell, in the study's order; table: see `make_table`.

    bands, differences: see `curve_bands` and `method_differences`.
    """

    study: Study
    folder: Path
    records: tuple[Record, ...]
    table: pd.DataFrame
    bands: pd.DataFrame
    differences: pd.DataFrame
    computed: int
    skipped: int

    @property
    def failed(self) -> list[Record]:
        """The records of the cells that failed."""
        return [record for record in self.records if record["status"] == FAILED]

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / REPORT_FILE

    def counts(self) -> dict[str, int]:
        """How many cells there are, were computed, were there already, and failed."""
        return {
            "cells": len(self.study.cells),
            "done": sum(record["status"] == DONE for record in self.records),
            "failed": len(self.failed),
            "computed": self.computed,
            "skipped": self.skipped,
        }
