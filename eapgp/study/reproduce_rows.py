"""What is asked of the paper's protocol, and its cells beside the published numbers.

Verdict of a cell: `reproduced` where the published value lies in our interval widened by `TOLERANCE`
on both sides (the published values come from other prompts, without intervals); `higher` or
`lower` where ours lies above or below it; `not run`; `no published number`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eapgp.attribution.registry import get_method
from eapgp.attribution.usual import Variant
from eapgp.models.catalogue import find_model
from eapgp.study.published import span

TASKS = ("ioi", "greater-than", "gender-bias", "sva", "country-capital", "hypernymy")
_UNIT = {"steps": 5, "step": "unit", "objective": "all"}
METHODS: Mapping[str, Variant] = MappingProxyType(
    {
        "eap": Variant("EAP", "eap"),
        "eap-ig": Variant("EAP-IG", "eap-ig", {"steps": 5, "points": "left"}),
        "eap-gp": Variant("EAP-GP · unit (our reading of the paper)", "eap-gp", _UNIT),
        "eap-gp (one norm)": Variant("EAP-GP · one norm for all pairs", "eap-gp", {**_UNIT, "norm": "batch"}),
        "eap-gp (points 0..k-1)": Variant("EAP-GP · points 0…k−1", "eap-gp", {**_UNIT, "points": "0..k-1"}),
        "eap-gp (answer only)": Variant("EAP-GP · answer only", "eap-gp", {**_UNIT, "objective": "last"}),
        "eap-gp (relative)": Variant("EAP-GP · relative step", "eap-gp", {**_UNIT, "step": "relative"}),
        "exact": Variant("Exact patching", "exact"),
    }
)
"""The protocol's methods under the names of its tables, with what figures and pages call them.

What the paper leaves open of EAP-GP stands beside our reading of it, one thing read otherwise at a time: one norm for
all pairs (a re-implementation), the points of IG², the answer's logits alone; and the step that is the default here.
"""
MAIN = tuple(name for name, one in METHODS.items() if name == one.method)
PAIRS = {"demo": 64}
DEFAULT_PAIRS = 100
TOLERANCE = 0.05
REPRODUCED, HIGHER, LOWER, NOT_RUN, UNPUBLISHED = "reproduced", "higher", "lower", "not run", "no published number"
VERDICTS = (REPRODUCED, HIGHER, LOWER, NOT_RUN, UNPUBLISHED)


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
    very model; published_other: in the other table of the same repository. gpt2_small, gpt2_small_other: on another
    model, what is published for GPT-2 small in both tables at the same share of its edges (gpt2_small_edges); they take
    no part in the verdict.
    note: why, where a word is needed.
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
    published_other: float | None = None
    gpt2_small_other: float | None = None

    @property
    def published_text(self) -> str:
        """`0.425 or 0.147`: what is published, in both tables where they differ; empty where nothing is."""
        return _either(self.published, self.published_other)

    @property
    def gpt2_small_text(self) -> str:
        """The same of GPT-2 small's, beside another model."""
        return _either(self.gpt2_small, self.gpt2_small_other)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def _either(*values: float | None) -> str:
    return " or ".join(dict.fromkeys(f"{value:.3f}" for value in values if value is not None))


def name_of(spec: Mapping[str, Any]) -> str:
    """Name in `METHODS` of what a run of the protocol was asked with; the method's own where nothing fits."""
    method = str(spec["method"])
    row = get_method(method)
    asked = row.settings(spec.get("options", {}))
    names = [name for name, one in METHODS.items() if one.method == method and row.settings(one.options) == asked]
    return names[0] if names else method


def verdict(low: float | None, high: float | None, published: float | None, other: float | None = None) -> str:
    """Where our interval lies against what is published: against the range of both values where there are two."""
    if published is None:
        return UNPUBLISHED
    if low is None or high is None:
        return NOT_RUN
    least, most = span(published, other)
    if low - TOLERANCE <= most and least <= high + TOLERANCE:
        return REPRODUCED
    return HIGHER if low > most else LOWER


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
        for variant, entries in answer.get("manual", {}).items()
        for size, entry in zip(sizes, entries, strict=True)
    ]
