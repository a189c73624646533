"""`python -m tools.nodes MODEL [TASK …]`: docs/nodes.md, circuits of nodes beside circuits of edges.

Circuits of a bundled run's best nodes are run on pairs that nothing was scored on, beside the circuits of as many of
its best edges as the nodes have between them. What was measured is kept in docs/nodes.json, so that models and tasks
are added one at a time; without a model only the page is written anew.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

from eapgp import __version__
from eapgp.circuits.select import select_many, select_nodes
from eapgp.evaluation.curves import mib_curve, node_curve
from eapgp.evaluation.runner import CircuitRunner, Measured
from eapgp.evaluation.statistics import Band, mib_sizes
from eapgp.models import load_model
from eapgp.numerals import decimal, percent, signed
from eapgp.runs.bundled import examples_folder
from eapgp.runs.run import Run, open_run
from eapgp.runs.spec import library_versions
from eapgp.tasks import TASKS, make_prompts
from tools.kept import keep, read, write_page

log = logging.getLogger(__name__)
SIZES = {"demo": (3, 4, 6, 10, 15), "smollm2-135m": (15, 30, 60, 150)}
METHODS = {"demo": ("eap-ig", "exact"), "smollm2-135m": ("eap-ig",)}
PAIRS, SEED = {"demo": 32, "smollm2-135m": 16}, 1000


def measure(name: str, tasks: Sequence[str]) -> dict[str, Any]:
    """Some tasks of a model's bundled runs, by task and method."""
    model, folder = load_model(name), examples_folder()
    assert folder is not None, "the bundled runs are not there"
    answer: dict[str, Any] = {}
    for task in tasks:
        fresh = make_prompts(task, PAIRS[name], seed=SEED, split="test", tokenizer=model.tokenizer)
        runner, answer[task] = CircuitRunner(model, fresh), {}
        for method in METHODS[name]:
            run = open_run(folder / (f"{task}-{method}" if name == "demo" else f"{name}-{task}-{method}"))
            answer[task][method] = one_run(run, runner, SIZES[name])
            log.info("%s, %s, %s", name, task, method)
    return answer


def one_run(run: Run, runner: CircuitRunner, sizes: Sequence[int]) -> dict[str, Any]:
    """Circuits of a run's best nodes and of as many of its best edges, and the areas of both over MIB's grids."""
    result = run.attribution()
    by_nodes = select_nodes(result.scores, sizes, result.node_scores)
    by_edges = select_many(result.scores, [one.n_kept for one in by_nodes])
    both = [Measured.of(circuits, runner.run(circuits)) for circuits in (by_nodes, by_edges)]
    gap = both[0].minus(both[1])
    bands = [one.band() for one in both]
    rows = [
        {
            "nodes": nodes,
            "edges": by_nodes[at].n_kept,
            "edges_kept": by_edges[at].n_kept,
            "by_nodes": _at(bands[0], at),
            "by_edges": _at(bands[1], at),
            "difference": _at(gap, at),
        }
        for at, nodes in enumerate(sizes)
    ]
    answer: dict[str, Any] = {"rows": rows, "n_nodes": result.graph.n_sources, "n_edges": result.graph.n_edges}
    if result.graph.n_edges < 5_000:
        nodes = node_curve(runner, result.scores, result.node_scores, mib_sizes(result.graph.n_sources))
        areas = {"nodes": nodes.cpr, "edges": mib_curve(runner, result.scores).cpr}
        answer["cpr"] = {of: _at(band) for of, band in areas.items() if band is not None}
    return answer


def _at(band: Band, at: int | None = None) -> list[float]:
    """Value, low and high end of one place of a band."""
    ends = (band.value, band.low, band.high)
    return [round(float(end if at is None else end[at]), 5) for end in ends]


_HEAD = """# Nodes as well as edges

A circuit of nodes has its n best nodes and **every edge between them**: what any other node writes is replaced by what
it writes on the corrupted prompt (or zero, or the mean), for all its readers.

```python
result = eapgp.attribute(model, prompts, method="eap-ig")
curve = eapgp.node_curve(eapgp.CircuitRunner(model, prompts), result.scores, result.node_scores)
circuit = eapgp.select(result.scores, n=6, by="nodes", node_scores=result.node_scores)
```

`eapgp evaluate --run RUN --nodes 6`, `eapgp evaluate --run RUN --by nodes --grid mib`, and *Circuits by* on
Faithfulness, which draws nodes and edges in one figure. `eapgp export --run RUN --nodes 6 FILE` writes such a circuit.

- **A node's score** is the attribution of its output: mean over pairs of Σ over positions of (z_u − z′_u) · ∂M/∂z_u.
  A gradient at an output is the sum of the gradients at the inputs that read it, so for the gradient methods this is
  the sum of the scores of the node's outgoing edges, as in the EAP-IG library (Hanna et al. 2024) and MIB's node track
  (Mueller et al. 2025). `exact` corrupts all outgoing edges at once instead; GradDrop takes absolute values at the
  node. Nodes are ranked by |score|.
- **Which nodes count**: `input`, heads and MLPs. `input` counts where it is among the n best, and is in wherever any
  node is, since every path begins there (in MIB's code a circuit without it is empty); `logits` is always in. Nodes
  without a score stay out (MIB's code keeps them).
- **Sizes in one figure**: a circuit of nodes stands at the number of edges between its nodes. Areas over MIB's ten
  shares of the nodes are its node track's CPR and CMD; over other sizes they have no name.
- **Files that score nodes alone** (MIB's node track): `eapgp evaluate --scores FILE --model M --task T` runs their
  circuits of nodes, `eapgp export --scores FILE --nodes N OUT` writes one, Ground truth ranks their nodes. Whatever
  needs scores of edges refuses them and says so.

Below, circuits of the bundled runs' best nodes (scored on 64 pairs) are run on other pairs, of the generators' test
split ({pairs}), beside circuits of as many of the same run's best edges. Brackets are 95 % intervals over pairs; the
difference is paired, nodes minus edges.

Written by `python -m tools.nodes` from docs/nodes.json."""


def page(kept: dict[str, Any]) -> str:
    """docs/nodes.md."""
    pairs = ", ".join(f"{PAIRS[name]} with {name}" for name in kept)
    parts = [_HEAD.format(pairs=pairs)]
    for name, answer in kept.items():
        parts.append(f"## {name}\n\neapgp {answer['version']}, torch {answer['libraries']['torch']}.")
        for method in METHODS[name]:
            rows = [(task, row) for task, one in answer["tasks"].items() for row in one[method]["rows"]]
            parts.append(f"### {method}\n\n{_verdict([row for _, row in rows])}\n\n{_circuits(rows)}")
        if any("cpr" in one[method] for one in answer["tasks"].values() for method in METHODS[name]):
            parts.append("### CPR over MIB's grids\n\n" + _areas(answer["tasks"], METHODS[name]))
    return "\n\n".join(parts) + "\n"


def _verdict(rows: Sequence[dict[str, Any]]) -> str:
    """How often circuits of nodes keep more or less than as many edges, as counted from the intervals."""
    more, less = sum(row["difference"][1] > 0 for row in rows), sum(row["difference"][2] < 0 for row in rows)
    return (
        f"At as many edges, the circuit of nodes keeps more of the behaviour in {more} of {len(rows)} cases, less in "
        f"{less}, and ties in {len(rows) - more - less}."
    )


def _circuits(rows: Sequence[tuple[str, dict[str, Any]]]) -> str:
    lines = ["| task | nodes | edges between them | by nodes | as many edges | difference |", "|---|" + "---:|" * 5]
    for task, row in rows:
        shares = [_banded(row[name], percent) for name in ("by_nodes", "by_edges")]
        cells = [task, str(row["nodes"]), f"{row['edges']:,}", *shares, _banded(row["difference"], signed)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _areas(tasks: dict[str, Any], methods: Sequence[str]) -> str:
    """CPR of both kinds: over shares of the nodes, and over shares of the edges, so that they do not compare."""
    columns = [(method, of) for method in methods for of in ("nodes", "edges")]
    lines = [
        "Shares of the nodes are another axis than shares of the edges: compare within a column's kind.\n",
        "| task | " + " | ".join(f"{method}, {of}" for method, of in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for task, one in tasks.items():
        cells = [_banded(one[method]["cpr"][of], decimal) for method, of in columns]
        lines.append("| " + " | ".join([task, *cells]) + " |")
    return "\n".join(lines)


def _banded(ends: Sequence[float], write: Any) -> str:
    value, low, high = (write(0.0 if abs(end) < 0.005 and write is percent else end) for end in ends)
    return f"{value} [{low.removesuffix(' %')}, {high.removesuffix(' %')}]"


def main() -> None:
    """Measure the tasks of the model that is named, and write the page."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    kept = read("nodes")
    if names := sys.argv[1:]:
        model, tasks = names[0], names[1:] or list(TASKS)
        entry = kept.setdefault(model, {"tasks": {}})
        entry |= {"version": __version__, "libraries": library_versions()}
        entry["tasks"] |= measure(model, tasks)
        keep("nodes", kept)
    write_page("nodes", page(kept))


if __name__ == "__main__":
    main()
