"""Faithfulness over circuit sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.select import node_attribution, select_many, select_nodes
from eapgp.evaluation.areas import area_entries, is_mib
from eapgp.evaluation.runner import Measured
from eapgp.evaluation.sizes import curve_sizes
from eapgp.evaluation.statistics import USUAL, Band, Resampling, mib_sizes
from eapgp.types import Floats, Progress

if TYPE_CHECKING:
    from eapgp.evaluation.runner import CircuitRunner, CircuitRuns


@dataclass(frozen=True)
class Curve:
    """Circuits of growing size on one prompt set, and what follows from them.

    measured: what each did per pair; two curves on the same pairs are compared by `a.measured.minus(b.measured)`.
    faithfulness, metric, accuracy, kl: means over pairs with bootstrap intervals. area, area_to_one: areas under
    faithfulness and between it and 1 over `measured.shares`, None for fewer than two sizes.
    """

    name: str
    measured: Measured
    faithfulness: Band
    metric: Band
    accuracy: Band
    kl: Band
    area: Band | None
    area_to_one: Band | None

    @property
    def n_edges(self) -> int:
        """Edges of the graph."""
        return self.measured.n_edges

    @property
    def selected(self) -> NDArray[np.int64]:
        """`[size]` edges before pruning."""
        return np.array(self.measured.selected, dtype=np.int64)

    @property
    def kept(self) -> NDArray[np.int64]:
        """`[size]` edges after pruning."""
        return np.array(self.measured.kept, dtype=np.int64)

    @property
    def nodes(self) -> tuple[int, ...]:
        """`[size]` nodes selected, where circuits were selected by nodes; else empty."""
        return self.measured.nodes

    @property
    def runs(self) -> CircuitRuns:
        """Metric, accuracy and KL `[size, pair]`."""
        return self.measured.runs

    @property
    def cpr(self) -> Band | None:
        """MIB's CPR: the area under faithfulness over MIB's grid; None over other sizes."""
        return self.area if is_mib(self.measured.shares) else None

    @property
    def cmd(self) -> Band | None:
        """MIB's CMD: the area between faithfulness and 1 over MIB's grid; None over other sizes."""
        return self.area_to_one if is_mib(self.measured.shares) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values: one entry per size under `curve`."""
        entries, nodes = [], self.nodes
        for index, (selected, kept) in enumerate(zip(self.selected, self.kept, strict=True)):
            entry: dict[str, Any] = {"nodes_selected": nodes[index]} if nodes else {}
            entry |= {"edges_selected": int(selected), "edges_kept": int(kept)}
            for key in ("metric", "faithfulness", "accuracy", "kl"):
                band: Band = getattr(self, key)
                entry[key] = _number(band.value[index])
                entry[f"{key}_low"], entry[f"{key}_high"] = _number(band.low[index]), _number(band.high[index])
            entries.append(entry)
        areas = (self.area, self.area_to_one)
        return {
            "name": self.name,
            "n_edges": self.n_edges,
            **({"n_nodes": self.measured.n_nodes} if nodes else {}),
            "metric_clean": float(self.runs.metric_clean.mean()),
            "metric_corrupted": float(self.runs.metric_corrupted.mean()),
            "n_pairs": len(self.runs.metric_clean),
            "level": self.faithfulness.level,
            "resamples": self.faithfulness.resamples,
            "remark": self.faithfulness.reason,
            **area_entries(self.measured.shares, *(None if band is None else band.to_dict() for band in areas)),
            "curve": entries,
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


@dataclass(frozen=True)
class Selection:
    """How circuits are taken from scores, as `select`: by which rule, ranked by |score| or score, pruned or not."""

    rule: str = "top-n"
    absolute: bool = True
    prune: bool = True


TOP = Selection()


def faithfulness_curve(
    runner: CircuitRunner,
    scores: EdgeScores,
    sizes: Sequence[int] | None = None,
    *,
    name: str = "",
    selection: Selection = TOP,
    how: Resampling = USUAL,
    progress: Progress | None = None,
) -> Curve:
    """Select, prune and run one circuit per size: normalised faithfulness (1 = the whole model, 0 = the corrupted run).

    sizes: edges selected; None takes `curve_sizes`. how: the bootstrap of the intervals over prompt pairs. CPR and CMD
    exist where the sizes are MIB's (`mib_curve`).

    Errors: OptionError for a size out of range; InputError for scores of another graph.
    """
    EdgeScores.check(scores)
    sizes = curve_sizes(scores.graph.n_edges) if sizes is None else list(sizes)
    circuits = select_many(scores, sizes, **asdict(selection))
    return summarise(Measured.of(circuits, runner.run(circuits, progress=progress)), name=name, how=how)


def node_curve(
    runner: CircuitRunner,
    scores: EdgeScores,
    node_scores: Floats | None = None,
    sizes: Sequence[int] | None = None,
    *,
    name: str = "",
    absolute: bool = True,
    how: Resampling = USUAL,
    progress: Progress | None = None,
) -> Curve:
    """As `faithfulness_curve`, by nodes: the circuit of the n best nodes has every edge between them.

    node_scores: `[src]`, a result's or a file's own; None sums the scores of outgoing edges. sizes: numbers of nodes;
    None takes `curve_sizes` of the nodes that have a score, and CPR and CMD exist over `mib_sizes` of them.
    """
    EdgeScores.check(scores)
    if sizes is None:
        sizes = curve_sizes(int(np.isfinite(node_attribution(scores, node_scores)).sum()))
    circuits = select_nodes(scores, sizes, node_scores, absolute=absolute)
    return summarise(Measured.of(circuits, runner.run(circuits, progress=progress)), name=name, how=how)


def mib_curve(runner: CircuitRunner, scores: EdgeScores, **options: Any) -> Curve:
    """Curve over MIB's grid, whose CPR and CMD are the benchmark's.

    Source: Mueller et al. 2025, arXiv:2504.13151.
    """
    sizes = mib_sizes(scores.graph.n_edges)
    return faithfulness_curve(runner, scores, sizes, **options)


def summarise(measured: Measured, *, name: str = "", how: Resampling = USUAL) -> Curve:
    """Means, intervals and areas of circuits that have been run."""
    area, area_to_one = measured.areas(how=how) or (None, None)
    bands = {quantity: measured.band(quantity, how=how) for quantity in ("faithfulness", "metric", "accuracy", "kl")}
    return Curve(name, measured, **bands, area=area, area_to_one=area_to_one)
