"""How steady the choice of a circuit's edges is: the run's own pairs are resampled, the edges ranked anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eapgp.attribution.result import Floats
from eapgp.circuits import Circuit
from eapgp.errors import OptionError
from eapgp.evaluation.statistics import stability
from eapgp.runs.run import Run

LISTED = 1000
"""Edges that are named per circuit, the least stable first."""


def check_per_pair(run: Run) -> None:
    """Raise unless the run kept the scores of every pair.

    Errors: OptionError that says how to make such a run.
    """
    if not run.request.get("keep_pairs"):
        raise OptionError(
            f"stability: expected a run with the scores of every pair, run {run.id[:12]} has their mean only; "
            "compute it again with --keep-pairs (eapgp attribute … --keep-pairs)."
        )


def edge_stability(
    run: Run, circuits: Sequence[Circuit], *, resamples: int, seed: int = 0, absolute: bool = True
) -> list[dict[str, Any]]:
    """One entry per circuit: the share of resamples in which each kept edge is among the top n again.

    absolute: the ranking was by |score|. share: 0 … 1; mean_share over the kept edges, always: how many of them are in
    every resample. `edges` lists the least stable kept edges first, ties by |score|, smallest first.
    """
    result = run.attribution()
    assert result.pair_scores is not None
    how: dict[str, Any] = {"resamples": resamples, "seed": seed, "absolute": absolute}
    entries = []
    for circuit in circuits:
        shares = stability(result.pair_scores, result.graph, circuit.n_selected, **how)
        entries.append(_entry(circuit, shares, result.scores.values, resamples))
    return entries


def _entry(circuit: Circuit, shares: Floats, scores: Floats, resamples: int) -> dict[str, Any]:
    rows, columns = np.nonzero(circuit.edges)
    share, score = shares[rows, columns], scores[rows, columns]
    order = np.lexsort((np.abs(score), share))[:LISTED]
    return {
        "edges_selected": circuit.n_selected,
        "edges_kept": circuit.n_kept,
        "resamples": resamples,
        "mean_share": float(share.mean()) if len(share) else None,
        "always": int((share == 1).sum()),
        "edges": [
            {
                "name": circuit.graph.edge_name(int(rows[at]), int(columns[at])),
                "share": float(share[at]),
                "score": float(score[at]),
            }
            for at in order
        ],
    }
