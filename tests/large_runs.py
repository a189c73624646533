"""Runs as large as real models give, without the models: random scores of GPT-2 XL's size, or a file of scores.

    python tests/large_runs.py HOME            # 2,235,025 random scores as a run of this library
    python tests/large_runs.py HOME FILE …     # and one run of each file of edge scores

The random scores are heavy-tailed (a normal cubed), as real ones are.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.formats import read_scores
from eapgp.graph import Graph
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run
from eapgp.runs.spec import make_request

GPT2_XL = Graph(48, 25, d_model=1600)
TASK = "ioi"


@dataclass(frozen=True)
class _Model:
    """What a request asks of a model; nothing is loaded."""

    id: str
    weights_hash: str
    tokenizer_hash: str = "none"
    dtype: str = "float32"


def random_scores(graph: Graph = GPT2_XL, seed: int = 0) -> EdgeScores:
    """Scores of every edge of a graph, drawn at random."""
    values = np.random.default_rng(seed).normal(size=(graph.n_sources, graph.n_destinations)) ** 3
    return EdgeScores(graph, np.where(graph.mask, values, 0.0).astype(np.float32))


def store(home: Path, scores: EdgeScores, *, model: str, method: str = "eap", name: str = "", seed: int = 0) -> Run:
    """Store scores as a run of the library at `home`. The prompts are one made-up pair."""
    prompts = PromptSet(TASK, (PromptPair("A B", "A C", (" B",), (" C",)),), "logit-diff", {"kind": "inline"})
    request = make_request(
        _Model(model, f"{model}-{seed}"), prompts, method=method, options={}, metric="logit-diff", seed=seed
    )
    made = Attribution(method, {}, scores, np.array([1.0]), np.array([0.0]), 1, 1, 1.0)
    run = RunLibrary(home).save(made, request, prompts, device="cpu")
    run.set_meta(name=name)
    return run


def main(arguments: list[str]) -> None:
    """Command line."""
    home, *files = arguments
    for seed in (0, 1):
        scores = random_scores(seed=seed)
        run = store(Path(home), scores, model="gpt2-xl", name=f"random scores {seed}", seed=seed)
        print(f"{run.id}  {run.record['n_edges']:,} random scores, seed {seed}")
    for file in files:
        run = store(Path(home), read_scores(file), model="gpt2", name=Path(file).name, seed=len(file))
        print(f"{run.id}  {run.record['n_edges']:,} scores of {file}")


if __name__ == "__main__":
    main(sys.argv[1:])
