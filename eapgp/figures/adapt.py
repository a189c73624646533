"""From results of the evaluation to the inputs of the figures, so that a page needs one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from eapgp.errors import OptionError
from eapgp.figures.compare import group_bars
from eapgp.figures.evidence import minimality
from eapgp.figures.inputs import ConfusionRow, CurveLine, PrecisionRecallLine, RocLine
from eapgp.types import Floats

if TYPE_CHECKING:
    from eapgp.evaluation.agreement import Agreement
    from eapgp.evaluation.curves import Curve
    from eapgp.evaluation.evidence import Minimality
    from eapgp.evaluation.statistics import Band
    from eapgp.ground_truth.compare import Overlap, Roc

Quantity = Literal["faithfulness", "metric", "accuracy", "kl"]


def band_line(
    name: str, sizes: ArrayLike, band: Band, kept: ArrayLike | None = None, nodes: Sequence[int] = ()
) -> CurveLine:
    """A quantity with its interval over circuits of several sizes; kept: edges left after pruning; nodes: how many
    were selected, where circuits were selected by nodes.
    """
    left = None if kept is None else np.asarray(kept, dtype=np.int64)
    of_nodes = np.array(nodes, dtype=np.int64) if nodes else None
    return CurveLine(name, np.asarray(sizes, dtype=np.int64), band.value, band.low, band.high, left, of_nodes)


def curve_line(curve: Curve, *, quantity: Quantity = "faithfulness", name: str | None = None) -> CurveLine:
    """One quantity of an evaluated curve with its interval."""
    return band_line(name or curve.name, curve.selected, getattr(curve, quantity), curve.kept, curve.nodes)


def roc_line(name: str, roc: Roc) -> RocLine:
    """A ranking's ROC curve, by the points that a line through it needs."""
    at = _corners(roc.false_positive_rate, roc.true_positive_rate)
    return RocLine(name, roc.false_positive_rate[at], roc.true_positive_rate[at], roc.auroc)


def precision_recall_line(name: str, roc: Roc) -> PrecisionRecallLine:
    """The same ranking's best precision at each recall, without the empty first point."""
    recall, precision = roc.true_positive_rate[1:], roc.precision[1:]
    at = np.flatnonzero(np.diff(recall, prepend=-1.0) > 0)
    return PrecisionRecallLine(name, recall[at], precision[at])


def _corners(x: Floats, y: Floats) -> NDArray[np.int64]:
    """Indices of a step curve's first, last and turning points."""
    if len(x) < 3:
        return np.arange(len(x))
    dx, dy = np.diff(x), np.diff(y)
    turns = np.abs(dx[1:] * dy[:-1] - dx[:-1] * dy[1:]) > 1e-15
    return np.concatenate([[0], np.flatnonzero(turns) + 1, [len(x) - 1]])


def confusion_row(name: str, overlap: Overlap) -> ConfusionRow:
    """Found, missed and extra from an overlap."""
    hits = overlap.hits
    return ConfusionRow(name, hits, overlap.n_true - hits, overlap.n_found - hits)


def minimality_figure(result: Minimality, **options: Any) -> go.Figure:
    """`evidence.minimality` of an evaluated circuit; the note says when the bars are a sample."""
    band = result.contribution
    sampled_of = result.n_edges if result.sampled else None
    return minimality(result.edges, band.value, low=band.low, high=band.high, sampled_of=sampled_of, **options)


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
