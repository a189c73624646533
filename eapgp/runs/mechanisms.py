"""Does every cluster of a run's pairs need a circuit of its own? Measured on pairs that nothing was scored on.

1. The run's pairs are clustered by the edges they use (`eapgp.circuits.mechanisms`).
2. Other pairs go to the cluster whose mean direction is nearest to that of their own scores. This alone reads their
   scores; no circuit is chosen by them.
3. At equal size three ways are run on them: one circuit for all, chosen by the mean over all clustered pairs; each
   cluster's own, by the mean over its pairs; and a control, circuits of clusters of the same sizes drawn at random,
   since a circuit of fewer pairs is noisier and several circuits are more to choose from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eapgp.circuits.circuit import Circuit
from eapgp.circuits.mechanisms import Mechanisms, cluster_pairs
from eapgp.circuits.select import select_many
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.statistics import USUAL, Band, Resampling, bootstrap_difference, bootstrap_ratio
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.compute import load_run_model
from eapgp.runs.evaluate import USUAL_WAY, Running
from eapgp.runs.other_pairs import divide, judging_runner, score_pairs
from eapgp.runs.run import Run
from eapgp.types import Floats, Ints, Progress

ONE, OWN, RANDOM = "one", "own", "random"
WAYS = (ONE, OWN, RANDOM)
DRAWS = 5
"""Random divisions of the pairs that the control averages over."""


@dataclass(frozen=True, eq=False)
class Separation:
    """Circuits of clusters beside one circuit for all pairs, at sizes `[size]`, on judged pairs.

    clustered, judged: the pairs of `mechanisms`, and those circuits are run on; labels: `[pair]` cluster of each of
    these. circuits: `[cluster][size]` the clusters' own; one: `[size]`.
    crossed: `[cluster, size, pair]` metric of every cluster's circuits on every judged pair. metric: by way (one, own,
    random), `[size, pair]`. clean, corrupted: `[pair]` metric of the whole model and of the empty circuit.
    """

    mechanisms: Mechanisms
    clustered: PromptSet
    judged: PromptSet
    labels: Ints
    sizes: tuple[int, ...]
    circuits: tuple[tuple[Circuit, ...], ...]
    one: tuple[Circuit, ...]
    crossed: Floats
    metric: dict[str, Floats]
    clean: Floats
    corrupted: Floats

    def kept(self, way: str, how: Resampling = USUAL) -> Band:
        """`[size]` faithfulness of one way on the judged pairs."""
        return bootstrap_ratio(self.metric[way], self.clean, self.corrupted, how=how)

    def minus(self, way: str, other: str, how: Resampling = USUAL) -> Band:
        """`[size]` faithfulness of one way minus that of another, on the same resamples."""
        return bootstrap_difference(self.metric[way], self.metric[other], self.clean, self.corrupted, how=how)

    def typical(self, n: int = 3) -> list[list[str]]:
        """The clean prompts of each cluster's n most typical pairs."""
        groups = (self.mechanisms.pairs(one)[:n] for one in range(self.mechanisms.n_clusters))
        return [[self.clustered.pairs[place].clean for place in group] for group in groups]

    def evidence(self, at: int) -> dict[str, Any]:
        """What `findings.of_clusters` makes a sentence of, for one of the sizes."""
        over = self.minus(OWN, ONE), self.minus(OWN, RANDOM)
        kept = {"one": self.kept(ONE), "own": self.kept(OWN), "over": over}
        return {"n_clusters": self.mechanisms.n_clusters, "edges": self.sizes[at], "at": at, **kept}

    def across(self) -> Floats:
        """`[size, cluster, cluster]` faithfulness of the first one's circuit on the second's pairs; NaN without any."""
        n_clusters = len(self.circuits)
        table = np.full((len(self.sizes), n_clusters, n_clusters), np.nan)
        for column in range(n_clusters):
            own = self.labels == column
            if own.any():
                runs = self.crossed[:, :, own]
                table[:, :, column] = bootstrap_ratio(runs, self.clean[own], self.corrupted[own]).value.T
        return table

    def to_dict(self, how: Resampling = USUAL) -> dict[str, Any]:
        """Plain values for JSON."""
        bands = {way: self.kept(way, how) for way in WAYS}
        gaps = {f"own_minus_{way}": self.minus(OWN, way, how) for way in (ONE, RANDOM)}
        rows = []
        for at, size in enumerate(self.sizes):
            row: dict[str, Any] = {"edges": size, "kept": [own[at].n_kept for own in self.circuits]}
            row |= {"kept_one": self.one[at].n_kept}
            row |= {name: band.at(at) for name, band in (bands | gaps).items()}
            rows.append(row | {"across": _plain(self.across()[at])})
        return {
            "clusters": self.mechanisms.n_clusters,
            "pairs": np.bincount(self.mechanisms.labels).tolist(),
            "judged": np.bincount(self.labels, minlength=self.mechanisms.n_clusters).tolist(),
            "silhouettes": {str(k): value for k, value in self.mechanisms.silhouettes.items()},
            "sizes": rows,
        }


def run_mechanisms(
    run: Run, edges: Sequence[int], *, clusters: int | None = None, seed: int = 0, how: Running = USUAL_WAY
) -> Separation:
    """Cluster a run's pairs and measure whether circuits of the clusters keep more than one circuit for all.

    edges: sizes of the circuits. clusters: as for `cluster_pairs`. seed: of the judged pairs and of the random
    divisions. Pairs of a generated task are judged on as many others as there are, at most 32; of pairs from elsewhere
    every second one is clustered and the others are judged. A run that kept no scores of single pairs is scored anew.

    Errors: OptionError for a run without prompts, for too few pairs, and as `cluster_pairs`.
    """
    model = load_run_model(run, device=how.device, progress=how.progress, model_loader=how.model_loader)
    scored, judged, again = divide(run, model.tokenizer, seed)
    result = run.attribution() if not again and run.request.get("keep_pairs") else score_pairs(run, model, scored, how)
    mechanisms = cluster_pairs(result, clusters=clusters)
    labels = mechanisms.assign(score_pairs(run, model, judged, how))
    runner = judging_runner(run, model, judged, how)
    return _measure(mechanisms, scored, judged, labels, runner, tuple(edges), seed, how.progress)


def _measure(
    mechanisms: Mechanisms,
    clustered: PromptSet,
    judged: PromptSet,
    labels: Ints,
    runner: CircuitRunner,
    sizes: tuple[int, ...],
    seed: int,
    progress: Progress | None,
) -> Separation:
    rng = np.random.default_rng(seed)
    divisions = [mechanisms.labels, *(rng.permutation(mechanisms.labels) for _ in range(DRAWS))]
    n_clusters = mechanisms.n_clusters
    groups = [np.flatnonzero(labels_ == one) for labels_ in divisions for one in range(n_clusters)]
    circuits = [tuple(select_many(mechanisms.scores(group), sizes)) for group in groups]
    one = tuple(select_many(mechanisms.result.scores, sizes))
    runs = runner.run([circuit for some in (one, *circuits) for circuit in some], progress=progress)
    metric = runs.metric.reshape(1 + len(circuits), len(sizes), len(judged))
    by_division = metric[1:].reshape(1 + DRAWS, n_clusters, len(sizes), len(judged))
    # Of each division the circuit that belongs to a pair's label: `[division, size, pair]`.
    picked = np.take_along_axis(by_division, labels[None, None, None], axis=1)[:, 0]
    ways = {ONE: metric[0], OWN: picked[0], RANDOM: picked[1:].mean(axis=0)}
    return Separation(
        mechanisms,
        clustered,
        judged,
        labels,
        sizes,
        tuple(circuits[:n_clusters]),
        one,
        by_division[0],
        ways,
        runs.metric_clean,
        runs.metric_corrupted,
    )


def _plain(values: Any) -> Any:
    """Plain values, NaN as None."""
    if np.ndim(values):
        return [_plain(value) for value in values]
    return None if np.isnan(values) else float(values)
