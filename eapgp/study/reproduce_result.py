"""The outcome of the paper's protocol on one model, and its file.

`reproduction.json` keeps all of it, so that a report or a page needs no model and no run library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapgp.errors import FormatError
from eapgp.findings import Finding, of_methods
from eapgp.runs.files import plain, write_text
from eapgp.study import html
from eapgp.study.published import HEADLINE_SIZE, N_EDGES
from eapgp.study.reproduce_figures import task_figure
from eapgp.study.reproduce_rows import VERDICTS, Asked, Row

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

BUNDLED_FILE = "assets/reproduction/demo.json"
FORMAT, VERSION = "eapgp reproduction", 1
JSON_FILE = "reproduction.json"
MAX_BYTES = 32 * 2**20
_DIGITS = 6
COLUMNS = ("task", "method", "edges", "share", "ours", "low", "high", "published", "verdict")
OTHER_MODEL = "GPT-2 small (another model)"
_FIELDS = tuple(one.name for one in fields(Row))


@dataclass(frozen=True)
class Reproduction:
    """The protocol's outcome on one model.

    rows: every cell. overlaps: precision and recall against the manual circuits, one mapping per task,
    method, size and variant; empty for other graphs than GPT-2 small's. made: what decided the numbers
    (weights, pairs, seed, versions, run ids, seconds); empty where nothing could be run.
    """

    model: str
    n_edges: int
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]
    asked: Asked = field(default_factory=Asked)
    overlaps: tuple[Mapping[str, Any], ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ran(self) -> bool:
        """Whether any cell was computed."""
        return any(row.value is not None for row in self.rows)

    @cached_property
    def is_published(self) -> bool:
        """Whether anything is published for this model."""
        return any(row.published is not None for row in self.rows)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in the paper's order."""
        return tuple(dict.fromkeys(row.task for row in self.rows))

    @cached_property
    def is_own(self) -> bool:
        """Whether the published numbers are this model's, so that none of another stands beside them."""
        return all(row.gpt2_small is None for row in self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what `cells` gives; another model's published numbers stand apart."""
        return COLUMNS if self.is_own else (*COLUMNS, OTHER_MODEL)

    def cells(self, row: Row) -> list[Any]:
        """One row of the printed table."""
        names = ("task", "method", "edges", "share", "value", "low", "high", "published", "verdict")
        as_text = {"share": f"{row.share:.2%}", "published": row.published_text or None}
        values = [as_text[name] if name in as_text else getattr(row, name) for name in names]
        return values if self.is_own else [*values, row.gpt2_small_text or None]

    def of_task(self, task: str) -> list[Row]:
        """The cells of one task."""
        return [row for row in self.rows if row.task == task]

    def table(self) -> pd.DataFrame:
        """One row per cell."""
        import pandas as pd

        return pd.DataFrame([row.to_dict() for row in self.rows], columns=list(_FIELDS))

    def manual(self) -> pd.DataFrame:
        """Precision and recall against the manual circuits; empty for other models than GPT-2 small."""
        import pandas as pd

        return pd.DataFrame([dict(entry) for entry in self.overlaps])

    def verdicts(self) -> dict[str, int]:
        """How many cells have each verdict."""
        return {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in VERDICTS}

    def finding(self, edges: int, names: Mapping[str, str]) -> Finding | None:
        """Which method keeps most on how many tasks at one size, in words; None where nothing was run.

        names: what the sentence calls the methods; those that have none stay out of it.
        """
        values: dict[str, dict[str, tuple[float, float, float]]] = {}
        for row in self.rows:
            if (
                row.edges == edges
                and row.method in names
                and row.value is not None
                and row.low is not None
                and row.high is not None
            ):
                values.setdefault(row.task, {})[names[row.method]] = row.value, row.low, row.high
        return of_methods(values, share=edges / self.n_edges) if values else None

    def figures(self, *, dark: bool = False) -> list[tuple[str, go.Figure]]:
        """One figure per task: our curves with their intervals, and the published points."""
        drawn = [
            (title, task_figure(rows, n_edges=self.n_edges, title=title, dark=dark))
            for title, rows in ((f"{task} on {self.model}", self.of_task(task)) for task in self.tasks)
        ]
        return [(title, figure) for title, figure in drawn if figure is not None]

    def _repr_html_(self) -> str:
        counts = "; ".join(f"{n} {verdict}" for verdict, n in self.verdicts().items() if n)
        head = f"Protocol of the EAP-GP paper on {self.model}, {self.asked.n_pairs} pairs per task. Cells: {counts}."
        headline = [row for row in self.rows if abs(row.share - HEADLINE_SIZE / N_EDGES) < 2e-3]
        texts = [html.paragraph(text) for text in (head, *self.remarks[:1])]
        return "".join([*texts, html.table(self.columns, [self.cells(row) for row in headline])])

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back. Numbers keep six decimals; rows follow `columns`."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "n_edges": self.n_edges,
            "asked": asdict(self.asked),
            "made": plain(self.made),
            "remarks": list(self.remarks),
            "verdicts": self.verdicts(),
            "columns": list(_FIELDS),
            "rows": [[_short(getattr(row, name)) for name in _FIELDS] for row in self.rows],
            "overlaps": [{key: _short(value) for key, value in entry.items()} for entry in self.overlaps],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str = "reproduction") -> Reproduction:
        """Inverse of `to_dict`. Errors: FormatError where something is missing or of another kind."""
        if values.get("format") != FORMAT or values.get("version") != VERSION:
            raise FormatError(
                f"{where}: expected format {FORMAT!r} version {VERSION}, got {values.get('format')!r} version "
                f"{values.get('version')!r}; run 'eapgp reproduce' again."
            )
        try:
            names = [str(name) for name in values["columns"]]
            return cls(
                str(values["model"]),
                int(values["n_edges"]),
                tuple(Row(**dict(zip(names, row, strict=True))) for row in values["rows"]),
                tuple(map(str, values["remarks"])),
                Asked(**values["asked"]),
                tuple(dict(entry) for entry in values["overlaps"]),
                dict(values["made"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            detail = " ".join(str(error).split())[:160]
            raise FormatError(
                f"{where}: expected a whole reproduction, got one with {detail}; make it again."
            ) from None


def _short(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value


def save_reproduction(result: Reproduction, path: Path) -> Path:
    """Write a reproduction as one JSON file, whole or not at all; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(result.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n")
    return path


def read_reproduction(path: str | Path) -> Reproduction:
    """Read what `save_reproduction` wrote. Errors: FormatError for anything else."""
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise FormatError(f"{file}: expected at most {MAX_BYTES // 2**20} MB, got more; is this a reproduction?")
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        detail = getattr(error, "strerror", None) or "no JSON"
        raise FormatError(f"{file}: expected a reproduction's JSON file, got {detail}.") from None
    if not isinstance(values, dict):
        raise FormatError(f"{file}: expected a JSON object, got {type(values).__name__}.")
    return Reproduction.from_dict(values, where=str(file))
