"""Do the pairs of a prompt set use the same edges? Their own scores, clustered.

A pair is the direction of its scores: its score of every edge, divided by the length of all of them, so that what
counts is which edges it uses and not how strongly. Clusters are Ward's (scipy): from single pairs upwards, those two
are joined that raise the squared distances within clusters least. How far clusters stand apart is their mean silhouette
by cosine distance (Rousseeuw 1987): 1 for pairs that lie far nearer to their own cluster than to any other, 0 for no
difference; Kaufman and Rousseeuw 1990 read a value below 0.25 as no structure. Clusters alone say nothing about
mechanisms: whether
each needs a circuit of its own is measured by running them (`eapgp.runs.mechanisms`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.cluster.hierarchy import fcluster, leaves_list, ward
from scipy.spatial.distance import pdist, squareform

from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.errors import OptionError
from eapgp.types import Floats, Ints

SMALLEST = 4
"""Pairs of a cluster at least, where the number of clusters is chosen: fewer say little about a circuit."""
MOST = 6


@dataclass(frozen=True, eq=False)
class Mechanisms:
    """The pairs of one result, clustered by the edges they use.

    labels: `[pair]` cluster of each pair, from 0, the largest first. order: `[pair]` pairs with like ones side by side,
    cluster after cluster. silhouettes: by number of clusters, 2 … 6, the mean silhouette, −1 … 1. result: whose pairs.
    """

    labels: Ints
    order: Ints
    silhouettes: dict[int, float]
    result: Attribution

    @property
    def n_clusters(self) -> int:
        """How many clusters there are."""
        return int(self.labels.max()) + 1

    @property
    def silhouette(self) -> float:
        """How far these clusters stand apart, −1 … 1."""
        return self.silhouettes[self.n_clusters]

    def pairs(self, cluster: int) -> Ints:
        """The pairs of a cluster, the most typical first: those whose direction is nearest to the cluster's mean."""
        members = np.flatnonzero(self.labels == cluster)
        return members[np.argsort(-(self.directions[members] @ self.centres[cluster]), kind="stable")]

    def scores(self, pairs: Ints) -> EdgeScores:
        """`[src, dst]` the scores of some of the pairs alone: their mean."""
        whole = self.result.scores
        assert self.result.pair_scores is not None
        values = self.result.pair_scores[pairs].astype(np.float64).mean(axis=0)
        return EdgeScores(whole.graph, values, whole.provenance | {"n_pairs": len(pairs)})

    @cached_property
    def directions(self) -> Floats:
        """`[pair, edge]` scores of length 1, over the scored edges."""
        return _directions(self.result)

    @cached_property
    def centres(self) -> Floats:
        """`[cluster, edge]` mean direction of each cluster."""
        return np.stack([self.directions[self.labels == one].mean(axis=0) for one in range(self.n_clusters)])

    def assign(self, others: Attribution) -> Ints:
        """`[pair]` for the pairs of another result, the cluster whose mean direction is nearest.

        Errors: OptionError where it keeps no scores of single pairs, or belongs to another graph.
        """
        if others.graph != self.result.graph:
            raise OptionError("the pairs to assign were scored on another graph: expected the clusters' model.")
        lengths = np.linalg.norm(self.centres, axis=1)
        return np.argmax(_directions(others) @ (self.centres / lengths[:, None]).T, axis=1)


def cluster_pairs(result: Attribution, *, clusters: int | None = None) -> Mechanisms:
    """The pairs of a result made with keep_pairs=True, clustered by the direction of their scores.

    clusters: how many, from 2; None: that of 2 … 6 with the largest silhouette among those whose clusters all have at
    least four pairs. There are always at least two: whether they matter is for `silhouettes`, and for circuits, to say.

    Errors: OptionError where the scores of single pairs are not there, for too few pairs, and for a pair that scores no
    edge at all.
    """
    directions = _directions(result)
    n_pairs = len(directions)
    if clusters is not None and not 2 <= clusters <= n_pairs:
        raise OptionError(f"clusters: expected 2 to {n_pairs}, the number of pairs; got {clusters}.")
    if n_pairs < 2 * SMALLEST:
        raise OptionError(f"clusters of pairs need at least {2 * SMALLEST} pairs; these scores have {n_pairs}.")
    tree = ward(directions)
    distances = squareform(pdist(directions, "cosine"))
    cuts = {k: fcluster(tree, k, "maxclust") for k in sorted({*range(2, MOST + 1), clusters or 2})}
    cuts = {k: labels for k, labels in cuts.items() if labels.max() == k}
    if clusters is not None and clusters not in cuts:
        raise OptionError(
            f"clusters: {clusters} cannot be told apart, for some pairs have equal scores; ask for fewer."
        )
    silhouettes = {k: silhouette(distances, labels) for k, labels in cuts.items()}
    if not silhouettes:
        raise OptionError("clusters: all pairs have the same scores, so there is nothing to tell apart.")
    best = clusters or _best(cuts, silhouettes)
    labels = _largest_first(cuts[best])
    leaves = leaves_list(tree)
    return Mechanisms(labels, leaves[np.argsort(labels[leaves], kind="stable")], silhouettes, result)


def silhouette(distances: Floats, labels: Ints) -> float:
    """Mean over pairs of (b − a) / max(a, b): a, mean distance to the rest of its cluster; b, to the nearest other.

    distances: `[pair, pair]`; labels: `[pair]`. A cluster of one counts 0. Source: Rousseeuw 1987.
    """
    names = np.unique(labels)
    member = labels[:, None] == names
    sums, sizes = distances @ member, member.sum(axis=0)
    own = sizes[np.newaxis] * member
    within = (sums * member).sum(axis=1) / np.maximum(own.sum(axis=1) - 1, 1)
    nearest = np.where(member, np.inf, sums / sizes).min(axis=1)
    largest = np.maximum(within, nearest)
    values = np.divide(nearest - within, largest, out=np.zeros_like(largest), where=largest > 0)
    return float(np.where(own.sum(axis=1) > 1, values, 0.0).mean())


def _best(cuts: dict[int, Ints], silhouettes: dict[int, float]) -> int:
    large = [k for k, labels in cuts.items() if np.bincount(labels)[1:].min() >= SMALLEST]
    return max(large or [min(cuts)], key=lambda k: silhouettes[k])


def _largest_first(labels: Ints) -> Ints:
    """Labels from 0, by size and then by the first pair."""
    names, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    place = np.empty(int(names.max()) + 1, dtype=np.int64)
    place[names[order]] = np.arange(len(names))
    return place[labels]


def _directions(result: Attribution) -> Floats:
    """`[pair, edge]` scores of length 1, over the edges that every pair scores."""
    if result.pair_scores is None:
        raise OptionError("expected scores of every pair, got their mean only; compute with keep_pairs=True.")
    values = result.pair_scores[:, result.graph.mask].astype(np.float64)
    values = values[:, ~np.isnan(result.scores.values[result.graph.mask])]
    lengths = np.linalg.norm(values, axis=1)
    if not lengths.all() or not np.isfinite(lengths).all():
        places = ", ".join(str(place + 1) for place in np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))[:5])
        raise OptionError(f"pairs without any score have no direction to cluster by: pair {places}. Leave them out.")
    return values / lengths[:, None]
