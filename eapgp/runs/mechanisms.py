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

from eapgp.attribution.result import Attribution
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.mechanisms import SMALLEST, Mechanisms, cluster_pairs
from eapgp.circuits.select import select_many
from eapgp.errors import OptionError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.evaluation.statistics import USUAL, Band, Resampling, bootstrap_difference, bootstrap_ratio
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.compute import load_run_model
from eapgp.runs.evaluate import USUAL_WAY, Running
from eapgp.runs.run import Run
from eapgp.tasks.registry import make_prompts
from eapgp.types import Floats, Ints, Progress

ONE, OWN, RANDOM = "one", "own", "random"
WAYS = (ONE, OWN, RANDOM)
JUDGED = 32
"""Pairs that circuits are run on, where the task's generator makes them."""
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
            row |= {name: _ends(band, at) for name, band in (bands | gaps).items()}
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
    result = run.attribution() if not again and run.request.get("keep_pairs") else _score(run, model, scored, how)
    mechanisms = cluster_pairs(result, clusters=clusters)
    labels = mechanisms.assign(_score(run, model, judged, how))
    runner = _runner(run, model, judged, how)
    return _measure(mechanisms, scored, judged, labels, runner, tuple(edges), seed, how.progress)


def divide(run: Run, tokenizer: Any, seed: int = 0) -> tuple[PromptSet, PromptSet, bool]:
    """The pairs to cluster, those to judge on, and whether the first are not all of the run's."""
    if not run.request.get("prompts"):
        raise OptionError(f"run {run.id[:12]} has no prompts, so its pairs cannot be told apart.")
    prompts = run.prompts()
    origin = dict(prompts.origin)
    if origin.pop("kind", "") != "generated":
        if len(prompts) < 4 * SMALLEST:
            raise OptionError(
                f"one half of the pairs is clustered and the other judged: expected at least {4 * SMALLEST} pairs, "
                f"run {run.id[:12]} has {len(prompts)}."
            )
        return prompts.pick(range(0, len(prompts), 2)), prompts.pick(range(1, len(prompts), 2)), True
    own, n = set(prompts.pairs), int(str(origin.pop("n")))
    split, first_seed = str(origin.pop("split")), int(str(origin.pop("seed")))
    try:
        drawn = make_prompts(
            prompts.task, n + JUDGED, seed=first_seed + seed + 1, split=split, tokenizer=tokenizer, **origin
        )
    except OptionError as error:
        raise OptionError(f"no other pairs are left to judge on: {error}") from None
    fresh = [place for place, pair in enumerate(drawn.pairs) if pair not in own][:JUDGED]
    return prompts, drawn.pick(fresh), False


def _score(run: Run, model: Any, prompts: PromptSet, how: Running) -> Attribution:
    """Scores of every pair, as the run made its own."""
    from eapgp.attribution.api import attribute

    options = {name: value for name, value in run.record["options"].items() if name != "keep_points"}
    return attribute(
        model,
        prompts,
        method=run.request["method"],
        metric=run.request["metric"],
        intervention=run.request.get("intervention", "patching"),
        batch_size=how.batch_size,
        keep_pairs=True,
        keep_points=False,
        progress=how.progress,
        **options,
    )


def _runner(run: Run, model: Any, judged: PromptSet, how: Running) -> CircuitRunner:
    asked = {"metric": run.request["metric"], "intervention": run.request.get("intervention", "patching")}
    return (how.make_runner or CircuitRunner)(model, judged, **asked, batch_size=how.batch_size, progress=how.progress)


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


def _ends(band: Band, at: int) -> dict[str, float | None]:
    values = {"value": band.value[at], "low": band.low[at], "high": band.high[at]}
    return {name: _plain(value) for name, value in values.items()}


def _plain(values: Any) -> Any:
    """Plain values, NaN as None."""
    if np.ndim(values):
        return [_plain(value) for value in values]
    return None if np.isnan(values) else float(values)
