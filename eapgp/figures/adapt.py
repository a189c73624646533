"""From results of the evaluation to the inputs of the figures, so that a page needs one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.errors import OptionError
from eapgp.figures.compare import group_bars
from eapgp.figures.evidence import minimality, stability_bars
from eapgp.figures.inputs import ConfusionRow, CurveLine, PrecisionRecallLine, RocLine

if TYPE_CHECKING:
    from eapgp.evaluation.agreement import Agreement
    from eapgp.evaluation.curves import Curve, Minimality, RandomBaseline
    from eapgp.evaluation.statistics import Difference
    from eapgp.ground_truth.compare import Overlap, Roc

Quantity = Literal["faithfulness", "metric", "accuracy", "kl"]
CURVE_LABELS: dict[str, str] = {
    "faithfulness": "normalised faithfulness",
    "metric": "metric of the circuit (units of the metric)",
    "accuracy": "accuracy of the circuit",
    "kl": "KL to the full model (nats)",
}


def curve_line(curve: Curve, *, quantity: Quantity = "faithfulness", name: str | None = None) -> CurveLine:
    """One quantity of an evaluated curve with its interval."""
    band = getattr(curve, quantity)
    return CurveLine(name or curve.name, curve.selected, band.value, band.low, band.high, curve.kept)


def entries_line(name: str, entries: Sequence[Mapping[str, Any]], *, quantity: Quantity = "faithfulness") -> CurveLine:
    """The same from the `curve` list of a stored result (`Curve.to_dict`); null is undefined.

    Errors: OptionError for an entry without the quantity.
    """

    def column(key: str) -> NDArray[np.float64]:
        return np.array([np.nan if entry.get(key) is None else float(entry[key]) for entry in entries])

    missing = [i for i, entry in enumerate(entries) if quantity not in entry or "edges_selected" not in entry]
    if missing:
        raise OptionError(f"curve entry {missing[0]} lacks {quantity!r} or 'edges_selected'; evaluate the run again.")
    sizes = np.array([int(entry["edges_selected"]) for entry in entries], dtype=np.int64)
    kept = np.array([int(entry.get("edges_kept", entry["edges_selected"])) for entry in entries], dtype=np.int64)
    return CurveLine(name, sizes, column(quantity), column(f"{quantity}_low"), column(f"{quantity}_high"), kept)


def random_line(baseline: RandomBaseline) -> CurveLine:
    """Random circuits: mean and spread over seeds."""
    return CurveLine("random", baseline.sizes, baseline.mean, baseline.low, baseline.high)


def difference_line(curve: Curve, difference: Difference, *, name: str = "difference") -> CurveLine:
    """a − b by size from `compare_curves(a, b)`; `curve` gives the sizes."""
    return CurveLine(name, curve.selected, difference.value, difference.low, difference.high, curve.kept)


def roc_line(name: str, roc: Roc) -> RocLine:
    """A ranking's ROC curve."""
    return RocLine(name, roc.false_positive_rate, roc.true_positive_rate, roc.auroc)


def precision_recall_line(name: str, roc: Roc) -> PrecisionRecallLine:
    """The same ranking's precision and recall, without the empty first point."""
    known = np.isfinite(roc.precision)
    return PrecisionRecallLine(name, roc.true_positive_rate[known], roc.precision[known])


def confusion_row(name: str, overlap: Overlap) -> ConfusionRow:
    """Found, missed and extra from an overlap."""
    hits = overlap.hits
    return ConfusionRow(name, hits, overlap.n_true - hits, overlap.n_found - hits)


def minimality_figure(result: Minimality, **options: Any) -> go.Figure:
    """`evidence.minimality` of an evaluated circuit; the note says when the bars are a sample."""
    band = result.contribution
    sampled_of = result.n_edges if result.sampled else None
    return minimality(result.edges, band.value, low=band.low, high=band.high, sampled_of=sampled_of, **options)


def stability_figure(
    shares: NDArray[np.floating[Any]], scores: EdgeScores, n: int, *, shown: int = 30, **options: Any
) -> go.Figure:
    """`evidence.stability_bars` of the edges chosen most often; ties by |score|.

    shares: `[src, dst]` of `evaluation.statistics.stability`.
    """
    graph = scores.graph
    rows, columns = np.nonzero(graph.mask & (shares > 0))
    order = np.lexsort((-np.abs(np.nan_to_num(scores.values[rows, columns])), -shares[rows, columns]))[:shown]
    rows, columns = rows[order], columns[order]
    names = [graph.edge_name(int(r), int(c)) for r, c in zip(rows, columns, strict=True)]
    return stability_bars(names, shares[rows, columns], scores.values[rows, columns], n=n, **options)


_MEASURES: dict[str, str] = {
    "pearson": "Pearson correlation",
    "pearson_abs": "Pearson correlation of |score|",
    "spearman": "Spearman correlation",
    "spearman_abs": "Spearman correlation of |score|",
    "kendall": "Kendall's τ",
    "kendall_abs": "Kendall's τ of |score|",
    "sign_agreement": "share of equal signs",
}


def agreement_bars(
    agreements: Mapping[str, Agreement],
    *,
    measure: str = "spearman",
    by: Literal["layers", "types"] = "types",
    **options: Any,
) -> go.Figure:
    """One measure of agreement per destination layer or edge type, one bar per comparison.

    Errors: OptionError for an unknown measure.
    """
    if measure not in _MEASURES:
        raise OptionError(f"measure {measure!r} is unknown: expected one of {', '.join(_MEASURES)}.")
    tables = {name: getattr(agreement, by) for name, agreement in agreements.items()}
    keys = list(dict.fromkeys(key for table in tables.values() for key in table))
    groups = [f"layer {key}" if by == "layers" and key.isdigit() else key for key in keys]
    values = {
        name: [getattr(table[key], measure) if key in table else float("nan") for key in keys]
        for name, table in tables.items()
    }
    x = "layer of the destination" if by == "layers" else "edges to"
    bounds = (0.0, 1.0) if measure == "sign_agreement" else (-1.0, 1.0)
    return group_bars(groups, values, measure=_MEASURES[measure], x=x, bounds=bounds, **options)
