"""What a reproduction of the paper's protocol holds: its cells beside the published numbers, and its file.

Verdict of a cell: `reproduced` where the published value lies in our interval widened by `TOLERANCE`
on both sides (the published values come from other prompts, without intervals); `higher` or
`lower` where ours lies above or below it; `not run`; `no published number`.

`reproduction.json` keeps all of it, so that a report or a page needs no model and no run library.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapgp.errors import FormatError
from eapgp.models.catalogue import find_model
from eapgp.runs.canonical import plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

BUNDLED_FILE = "assets/reproduction/demo.json"
TASKS = ("ioi", "greater-than", "gender-bias", "sva", "country-capital", "hypernymy")
METHODS: dict[str, dict[str, Any]] = {
    "eap": {},
    "eap-ig": {"steps": 5, "points": "left"},
    "eap-gp": {"steps": 5, "step": "unit", "objective": "all"},
    "exact": {},
}
LABELS = {"eap": "EAP", "eap-ig": "EAP-IG", "eap-gp": "EAP-GP (unit step)", "exact": "Exact patching"}
"""How the protocol's methods are named in figures."""
PAIRS = {"demo": 64}
DEFAULT_PAIRS = 100
TOLERANCE = 0.05
REPRODUCED, HIGHER, LOWER, NOT_RUN, UNPUBLISHED = "reproduced", "higher", "lower", "not run", "no published number"
VERDICTS = (REPRODUCED, HIGHER, LOWER, NOT_RUN, UNPUBLISHED)
FORMAT, VERSION = "eapgp reproduction", 1
JSON_FILE = "reproduction.json"
MAX_BYTES = 32 * 2**20
_DIGITS = 6


@dataclass(frozen=True)
class Asked:
    """What is asked of the protocol.

    limit: only the first tasks, None for all six. pairs: per task, None for the model's usual number
    (64 for the demo model, else 100). exact: with exact patching; None where the graph is small.
    """

    model: str = "demo"
    limit: int | None = None
    pairs: int | None = None
    exact: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit >= len(TASKS):
            object.__setattr__(self, "limit", None)
        if self.pairs == self.usual_pairs:
            object.__setattr__(self, "pairs", None)

    @property
    def usual_pairs(self) -> int:
        """Pairs per task where nothing else is asked for."""
        return PAIRS.get(self.model, DEFAULT_PAIRS)

    @property
    def n_pairs(self) -> int:
        """Pairs per task."""
        return self.pairs or self.usual_pairs

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in the paper's order."""
        return TASKS[: self.limit]

    @property
    def name(self) -> str:
        """`paper-demo`, `paper-gpt2-1-task-16-pairs`: of the study, and of its folder."""
        short = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in Path(self.model).name)[:40]
        entry = find_model(self.model)
        parts = ["paper", entry.name if entry else short.strip("-.") or "model"]
        if entry is None:  # two folders may have one name
            parts.append(hashlib.sha256(self.model.encode()).hexdigest()[:6])
        if self.limit is not None:
            parts.append(f"{self.limit}-task{'s' if self.limit > 1 else ''}")
        if self.pairs is not None:
            parts.append(f"{self.pairs}-pairs")
        if self.exact is not None:
            parts.append("exact" if self.exact else "no-exact")
        if self.seed:
            parts.append(f"seed-{self.seed}")
        return "-".join(parts)


@dataclass(frozen=True)
class Row:
    """One cell of the protocol beside its published number.

    edges, share: the size of the circuit; kept: edges left after pruning. value, low, high: normalised
    faithfulness of ours with its 95 % interval over prompts, None where not run. published: of this
    very model. gpt2_small, gpt2_small_edges: on another model, what is published for GPT-2 small at
    the same share of its edges; it takes no part in the verdict. note: why, where a word is needed.
    """

    task: str
    method: str
    edges: int
    share: float
    value: float | None
    low: float | None
    high: float | None
    published: float | None
    source: str
    verdict: str
    note: str = ""
    kept: int | None = None
    gpt2_small: float | None = None
    gpt2_small_edges: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


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
    asked: Asked = Asked()
    overlaps: tuple[Mapping[str, Any], ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ran(self) -> bool:
        """Whether any cell was computed."""
        return any(row.value is not None for row in self.rows)

    @property
    def is_published(self) -> bool:
        """Whether anything is published for this model."""
        return any(row.published is not None for row in self.rows)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in the paper's order."""
        return tuple(dict.fromkeys(row.task for row in self.rows))

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

    def figures(self, *, dark: bool = False) -> list[tuple[str, go.Figure]]:
        """One figure per task: our curves with their intervals, and the published points."""
        from eapgp.study.reproduce_page import figures

        return figures(self, dark=dark)

    def _repr_html_(self) -> str:
        from eapgp.study.reproduce_page import summary_html

        return summary_html(self)

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


def verdict(low: float | None, high: float | None, known: float | None) -> str:
    """Where our interval lies against a published value."""
    if known is None:
        return UNPUBLISHED
    if low is None or high is None:
        return NOT_RUN
    if low - TOLERANCE <= known <= high + TOLERANCE:
        return REPRODUCED
    return HIGHER if low > known else LOWER


def save_reproduction(result: Reproduction, path: Path) -> Path:
    """Write a reproduction as one JSON file, whole or not at all; its path."""
    from eapgp.study.report import write_text

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


def overlaps_of(task: str, method: str, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Precision and recall of one evaluation, by variant of the manual circuit and size."""
    sizes: Sequence[int] = [entry["edges_selected"] for entry in answer["curve"]]
    return [
        {
            "task": task,
            "method": method,
            "circuit": variant,
            "edges": size,
            **{
                f"{level}_{share}": entry[level][share]
                for level in ("edges", "nodes")
                for share in ("precision", "recall")
            },
        }
        for variant, found in answer.get("manual", {}).items()
        for size, entry in zip(sizes, found, strict=True)
    ]
