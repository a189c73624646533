"""How far two sets of edge scores agree.

Agreement is not faithfulness: scores that rank edges as exact patching does can make worse circuits
than scores that do not (redundant edges are each worth nothing alone). Show both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.ops import describe
from eapgp.circuits.select import check_size
from eapgp.errors import OptionError
from eapgp.graph import EDGE_TYPES
from eapgp.types import Floats

KS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Sizes at which the top edges are compared, as far as the graph has that many."""

KENDALL_LIMIT = 50_000
"""Kendall's τ of more edges than this is taken on a seeded sample of this many."""

REFERENCE_SHARE = 0.05
"""Share of the edges that count as b's best where no `reference_n` is given."""


@dataclass(frozen=True)
class Comparison:
    """Two sets of scores over one group of edges. Numbers that are undefined are NaN.

    pearson, spearman, kendall (τ-b): of the signed scores; with `_abs`: of |score|, for sets whose
    signs mean different things. kendall_n: how many edges Kendall's τ was taken on.
    sign_agreement: share of equal signs among edges that neither set scores 0.
    By k, for the k edges of largest |score| in each set (ties by position): jaccard = |A∩B|/|A∪B|;
    sign_overlap = share of A∩B with equal signs; precision, recall: of a's top k against b's top
    `reference_n`.
    """

    n_edges: int
    pearson: float
    pearson_abs: float
    spearman: float
    spearman_abs: float
    kendall: float
    kendall_abs: float
    kendall_n: int
    sign_agreement: float
    reference_n: int
    jaccard: Mapping[int, float]
    sign_overlap: Mapping[int, float]
    precision: Mapping[int, float]
    recall: Mapping[int, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: undefined numbers are None, sizes are strings."""
        return {name: _plain(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Agreement:
    """Agreement over all edges that both sets score, per layer of the destination and per edge type.

    layers: keys "0", "1", … and "logits"; types: keys q, k, v, mlp, logits. Groups that no edge
    falls into are left out. n_a, n_b: how many edges each set scores.
    """

    overall: Comparison
    layers: Mapping[str, Comparison]
    types: Mapping[str, Comparison]
    n_a: int
    n_b: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the overall numbers at the top, `layers` and `types` below."""
        return {
            **self.overall.to_dict(),
            "n_scored_a": self.n_a,
            "n_scored_b": self.n_b,
            "seed": self.seed,
            "layers": {key: value.to_dict() for key, value in self.layers.items()},
            "types": {key: value.to_dict() for key, value in self.types.items()},
        }


def agreement(
    a: EdgeScores,
    b: EdgeScores,
    *,
    ks: Sequence[int] | None = None,
    reference_n: int | None = None,
    seed: int = 0,
) -> Agreement:
    """Compare two sets of scores of one graph over the edges that both score.

    ks: sizes of the top sets (default `KS`); groups leave out those larger than they are.
    reference_n: how many of b's best edges count as right for precision and recall (default 5 % of
    the edges of the group). seed: of Kendall's sample, taken above `KENDALL_LIMIT` edges.

    Errors: OptionError when the graphs differ, no edge is scored in both, or a size is out of range.
    """
    EdgeScores.check(a)
    EdgeScores.check(b)
    if a.graph != b.graph:
        raise OptionError(f"scores of one graph are needed; got {describe(a.graph)} and {describe(b.graph)}.")
    graph = a.graph
    scored_a, scored_b = graph.mask & ~np.isnan(a.values), graph.mask & ~np.isnan(b.values)
    rows, columns = np.nonzero(scored_a & scored_b)
    if not len(rows):
        raise OptionError(
            f"no edge is scored in both sets ({int(scored_a.sum()):,} and {int(scored_b.sum()):,} are scored)."
        )
    x, y = a.values[rows, columns].astype(np.float64), b.values[rows, columns].astype(np.float64)
    sizes = tuple(k for k in KS if k <= len(x)) if ks is None else _checked(ks, len(x))
    if reference_n is not None:
        check_size(reference_n, len(x), "edges scored in both")

    def group(where: NDArray[np.bool_]) -> Comparison:
        return compare(x[where], y[where], ks=sizes, reference_n=reference_n, seed=seed)

    layer = graph.destination_layers[columns]
    kind = np.array(graph.destination_types)[columns]
    names = [*(str(i) for i in range(graph.n_layers)), "logits"]
    return Agreement(
        overall=compare(x, y, ks=sizes, reference_n=reference_n, seed=seed),
        layers={name: group(layer == i) for i, name in enumerate(names) if (layer == i).any()},
        types={name: group(kind == name) for name in EDGE_TYPES if (kind == name).any()},
        n_a=int(scored_a.sum()),
        n_b=int(scored_b.sum()),
        seed=seed,
    )


def compare(x: Floats, y: Floats, *, ks: Sequence[int], reference_n: int | None = None, seed: int = 0) -> Comparison:
    """Compare two `[edge]` arrays without NaN; see `Comparison`."""
    n = len(x)
    rank_x, rank_y = _ranks(x), _ranks(y)
    signs = np.sign(x) * np.sign(y)
    relevant = max(1, int(REFERENCE_SHARE * n)) if reference_n is None else min(reference_n, n)
    right = rank_y < relevant
    jaccard, overlap, precision, recall = {}, {}, {}, {}
    for k in ks:
        if k > n:
            continue
        top = rank_x < k
        both = top & (rank_y < k)
        hits = int((top & right).sum())
        jaccard[k] = float(both.sum() / (2 * k - both.sum()))
        overlap[k] = float((signs[both] > 0).mean()) if both.any() else float("nan")
        precision[k] = hits / k
        recall[k] = hits / relevant if relevant else float("nan")
    size_x, size_y = np.abs(x), np.abs(y)
    tau, tau_n = kendall(x, y, seed=seed)
    signed = signs != 0
    return Comparison(
        n_edges=n,
        pearson=pearson(x, y),
        pearson_abs=pearson(size_x, size_y),
        spearman=spearman(x, y),
        spearman_abs=spearman(size_x, size_y),
        kendall=tau,
        kendall_abs=kendall(size_x, size_y, seed=seed)[0],
        kendall_n=tau_n,
        sign_agreement=float((signs[signed] > 0).mean()) if signed.any() else float("nan"),
        reference_n=relevant,
        jaccard=jaccard,
        sign_overlap=overlap,
        precision=precision,
        recall=recall,
    )


def pearson(x: Floats, y: Floats) -> float:
    """Pearson's correlation; NaN where one side is constant or there are fewer than two values."""
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    # scaled first, so that squares of tiny or huge scores neither vanish nor overflow
    dx, dy = (v.astype(np.float64) / np.abs(v).max() for v in (x, y))
    dx, dy = dx - dx.mean(), dy - dy.mean()
    return float(np.clip((dx @ dy) / np.sqrt((dx @ dx) * (dy @ dy)), -1.0, 1.0))


def spearman(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation, ties by mean rank; NaN as for `pearson`."""
    from scipy.stats import rankdata

    return pearson(rankdata(x), rankdata(y))


def kendall(x: Floats, y: Floats, *, seed: int = 0) -> tuple[float, int]:
    """Kendall's τ-b and how many edges it was taken on; NaN as for `pearson`."""
    from scipy.stats import kendalltau

    if len(x) > KENDALL_LIMIT:
        sample = np.random.default_rng(seed).choice(len(x), KENDALL_LIMIT, replace=False)
        x, y = x[sample], y[sample]
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return float("nan"), len(x)
    method = "asymptotic" if len(x) > 2 else "exact"  # for the p-value, which is not used; two edges crash the first
    return float(kendalltau(x, y, method=method).statistic), len(x)


def _ranks(values: Floats) -> NDArray[np.int64]:
    """0 for the largest |value|, ties by position."""
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(-np.abs(values), kind="stable")] = np.arange(len(values))
    return ranks


def _checked(ks: Sequence[int], n: int) -> tuple[int, ...]:
    for k in ks:
        if check_size(k, n, "edges scored in both") == 0:
            raise OptionError("sizes k must be at least 1; got 0.")
    return tuple(dict.fromkeys(int(k) for k in ks))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
