"""`python -m tools.mechanisms MODEL …`: docs/mechanisms.md, whether the pairs of each task share one circuit.

The bundled EAP-IG runs are clustered; circuits are run on pairs that nothing was scored on. What was measured is kept
in docs/mechanisms.json, so that models are added one at a time; without a model only the page is written anew.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from eapgp import __version__
from eapgp.evaluation.statistics import three_of
from eapgp.findings import of_clusters
from eapgp.models import load_model
from eapgp.numerals import decimal, percent_with, signed_with
from eapgp.prompts.pairs import PromptPair
from eapgp.runs.bundled import examples_folder
from eapgp.runs.evaluate import Running
from eapgp.runs.mechanisms import DRAWS, ONE, OWN, RANDOM, Separation, run_mechanisms
from eapgp.runs.other_pairs import JUDGED
from eapgp.runs.run import open_run
from eapgp.runs.spec import library_versions
from eapgp.tasks import TASKS
from tools.kept import by_model

log = logging.getLogger(__name__)
SIZES = {"demo": (10, 20, 50), "smollm2-135m": (300, 1000)}


def measure(name: str) -> dict[str, Any]:
    """Every task of a model's bundled EAP-IG runs."""
    model, folder = load_model(name), examples_folder()
    assert folder is not None, "the bundled runs are not there"
    how = Running(model_loader=lambda *_, **__: model)
    tasks = {}
    for task in TASKS:
        run = open_run(folder / (f"{task}-eap-ig" if name == "demo" else f"{name}-{task}-eap-ig"))
        answer = run_mechanisms(run, SIZES[name], how=how)
        sentences = [of_clusters(**answer.evidence(at)).text for at in range(len(answer.sizes))]
        tasks[task] = {**answer.to_dict(), "typical": answer.typical(2), "findings": sentences}
        if task == "ioi":
            tasks[task]["orders"] = orders(answer)
        log.info("%s, %s: %s", name, task, sentences)
    return {"version": __version__, "libraries": library_versions(), "tasks": tasks}


def orders(answer: Separation) -> list[list[int]]:
    """`[cluster]` how many of an ioi cluster's pairs name the receiver first, and how many name the giver first."""
    first = np.array([receiver_first(pair) for pair in answer.clustered])
    return [[int((first[group]).sum()), int((~first[group]).sum())] for group in _groups(answer)]


def receiver_first(pair: PromptPair) -> bool:
    """Whether an ioi prompt names who receives before who gives, of whom the latter is named again."""
    receives, gives = (str(side[0]).strip() for side in (pair.correct, pair.incorrect))
    return pair.clean.index(receives) < pair.clean.index(gives)


def _groups(answer: Separation) -> list[Any]:
    return [answer.mechanisms.pairs(one) for one in range(answer.mechanisms.n_clusters)]


_HEAD = """# One mechanism or several?

Do all pairs of a task use one circuit? `eapgp mechanisms --run RUN`, the tab "One or several?" of Faithfulness, or

```python
result = eapgp.attribute(model, prompts, method="eap-ig", keep_pairs=True)
clusters = eapgp.cluster_pairs(result)
answer = eapgp.run_mechanisms(run, [20, 50])
```

Pairs are clustered by the direction of their own scores (Ward's method on scores of length 1; the number of clusters, 2
to 6, is that of the largest mean silhouette by cosine distance). Clusters can always be drawn, so circuits decide: on
{judged} pairs that nothing was scored on, each put to the cluster nearest to its own scores, the circuit of its cluster
is run beside one circuit for all of equal size, and beside circuits of {draws} random divisions into clusters of the
same sizes. Separate circuits are worth it where both differences lie above 0. Bundled EAP-IG runs (64 pairs); brackets
are 95 % intervals over pairs, differences are paired.

Written by `python -m tools.mechanisms` from docs/mechanisms.json."""


def page(kept: dict[str, Any]) -> str:
    """docs/mechanisms.md."""
    parts = [_HEAD.format(judged=JUDGED, draws=DRAWS)]
    for name, answer in kept.items():
        parts.append(f"## {name}\n\neapgp {answer['version']}, torch {answer['libraries']['torch']}.")
        parts.append(_verdict(answer["tasks"]) + " " + _ioi(answer["tasks"]["ioi"]))
        parts.append(_circuits(answer["tasks"]))
        parts.append(_prompts(answer["tasks"]))
    return "\n\n".join(parts) + "\n"


def _verdict(tasks: dict[str, Any]) -> str:
    """On how many tasks and sizes separate circuits are worth it, as counted from the intervals."""
    rows = [row for one in tasks.values() for row in one["sizes"] if row["own_minus_one"]["value"] is not None]
    better = [row for row in rows if row["own_minus_one"]["low"] > 0 and row["own_minus_random"]["low"] > 0]
    worse = [row for row in rows if row["own_minus_one"]["high"] < 0]
    return (
        f"In {len(better)} of {len(rows)} cases, a task and a size each, separate circuits keep more; in {len(worse)} "
        "they keep less; in the others one circuit does as well."
    )


def _ioi(one: dict[str, Any]) -> str:
    told = "; ".join(f"cluster {at}: {first} and {last}" for at, (first, last) in enumerate(one["orders"], 1))
    return (
        "The two forms of ioi, in which the one who receives is named first or second, were not given to the "
        f"clustering. Pairs of either form by cluster: {told}."
    )


def _circuits(tasks: dict[str, Any]) -> str:
    head = "| task | pairs by cluster | silhouette | n | one for all | own | own − one | own − random |"
    lines = [head, "|---|---|---:|---:|" + "---:|" * 4]
    for task, one in tasks.items():
        for row in one["sizes"]:
            silhouette = decimal(one["silhouettes"][str(one["clusters"])], 2)
            cells = [task, " + ".join(map(str, one["pairs"])), silhouette, str(row["edges"])]
            cells += [percent_with(*three_of(row[way])) for way in (ONE, OWN)]
            cells += [signed_with(*three_of(row[f"own_minus_{way}"])) for way in (ONE, RANDOM)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _prompts(tasks: dict[str, Any]) -> str:
    lines = ["| task | cluster | its most typical prompts |", "|---|---:|---|"]
    for task, one in tasks.items():
        lines += [f"| {task} | {at} | {'; '.join(some)} |" for at, some in enumerate(one["typical"], 1)]
    return "\n".join(lines)


def main() -> None:
    """Measure the models that are named, and write the page."""
    by_model("mechanisms", measure, page)


if __name__ == "__main__":
    main()
