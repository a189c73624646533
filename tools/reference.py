"""`python -m tools.reference MODEL …`: docs/reference.md, how far circuits are from the best that is known.

Circuits of bundled runs are held against learned edge masks, on `demo` also against pruning by exact effect. What was
measured is kept in docs/reference.json, so that models are added one at a time; without a model only the page is
written anew.
"""

from __future__ import annotations

import logging
from typing import Any

from eapgp import __version__
from eapgp.evaluation.statistics import three_of
from eapgp.findings import of_reference
from eapgp.models import load_model
from eapgp.numerals import count, duration, percent_with, signed_with
from eapgp.runs.bundled import examples_folder
from eapgp.runs.evaluate import Running
from eapgp.runs.other_pairs import JUDGED
from eapgp.runs.reference import GREEDY, LEARNED, PRUNED, TOP, WAYS, run_reference
from eapgp.runs.run import open_run
from eapgp.runs.spec import library_versions
from eapgp.tasks import TASKS
from tools.kept import by_model

log = logging.getLogger(__name__)
SIZES = {"demo": (10, 20, 40), "smollm2-135m": (300,)}
STEPS = {"demo": 200, "smollm2-135m": 24}
AT_ONCE = {"demo": None, "smollm2-135m": 8}
TASKS_OF = {"demo": tuple(TASKS), "smollm2-135m": ("ioi", "sva")}


def measure(name: str) -> dict[str, Any]:
    """Some tasks of a model's bundled EAP-IG runs."""
    model, folder = load_model(name), examples_folder()
    assert folder is not None, "the bundled runs are not there"
    small, how = name == "demo", Running(batch_size=AT_ONCE[name], model_loader=lambda *_, **__: model)
    tasks = {}
    for task in TASKS_OF[name]:
        run = open_run(folder / (f"{task}-eap-ig" if small else f"{name}-{task}-eap-ig"))
        answer = run_reference(run, SIZES[name], steps=STEPS[name], pruned=small, how=how)
        sentences = [of_reference(**answer.evidence(at)).text for at in range(len(answer.sizes))]
        tasks[task] = {**answer.to_dict(), "findings": sentences}
        log.info("%s, %s: %s", name, task, sentences)
    return {"version": __version__, "libraries": library_versions(), "steps": STEPS[name], "tasks": tasks}


_HEAD = """# How far from the best?

A method's circuit may keep half of the behaviour because the method is weak, or because no circuit of that size keeps
more. `eapgp reference --run RUN --edges 20`, the tab "The best?" of Faithfulness, or

```python
answer = eapgp.run_reference(run, [20, 50])
result = eapgp.attribute(model, prompts, method="eap-ig")
masks = eapgp.learn_masks(model, prompts, [20], result.scores)
```

hold circuits of a run's scores against a **learned mask**: the n edges of largest weight, whose weights begin at the
ranking of the scores and follow the exact slope of the loss for every edge (straight through), with noise that fades;
the circuit that did best on the training pairs is kept, so that there it never does worse than the scores' own. The
loss is the squared distance of the mean metric from the whole model's, and a tenth of the mean squared distance of
single pairs. Hard-concrete gates (Edge Pruning, Bhaskar et al. 2024) with the budget held were tried first: with 300
steps on `demo` and EAP-IG's 20 edges, their circuits kept 70 % where the scores' kept 72 % (greater-than), and 72 %
where they kept 93 % (ioi). On models of hundreds of edges **pruning by exact effect** stands beside: the tenth of the
edges whose real removal harms least goes, round after round. All are found on the run's 64 pairs and judged on
{judged} that nothing was found on, patching. Brackets are 95 % intervals over pairs, differences are paired. A learned
mask is the best circuit that is known, not the best there is.

Written by `python -m tools.reference` from docs/reference.json."""


def page(kept: dict[str, Any]) -> str:
    """docs/reference.md."""
    parts = [_HEAD.format(judged=JUDGED)]
    for name, answer in kept.items():
        parts.append(
            f"## {name}\n\neapgp {answer['version']}, torch {answer['libraries']['torch']}; bundled EAP-IG runs; "
            f"{answer['steps']} steps for each size, of {AT_ONCE[name] or 32} pairs each."
        )
        parts += [_verdict(answer["tasks"]), _circuits(answer["tasks"]), _cost(answer["tasks"])]
    return "\n\n".join(parts) + "\n"


def _verdict(tasks: dict[str, Any]) -> str:
    """How often the learned mask keeps more than the better of both circuits of the scores, by the intervals."""
    gaps = [row[f"learned_minus_{_better(row)}"] for one in tasks.values() for row in one["sizes"]]
    gaps = [gap for gap in gaps if gap["value"] is not None]
    more, less = sum(gap["low"] > 0 for gap in gaps), sum(gap["high"] < 0 for gap in gaps)
    text = (
        f"In {more} of {len(gaps)} cases, a task and a size each, the learned mask keeps more than the better of the "
        f"two circuits of the scores; in {less} it keeps less; in the others no better circuit was found."
    )
    pruned = [row[f"learned_minus_{PRUNED}"] for one in tasks.values() for row in one["sizes"] if PRUNED in row]
    if pruned:
        above, below = sum(gap["high"] < 0 for gap in pruned), sum(gap["low"] > 0 for gap in pruned)
        text += (
            f" Pruning by exact effect keeps more than the learned mask in {above} of {len(pruned)} cases and less in "
            f"{below}: an edge that is harmless to lose early may be one that nothing replaces later."
        )
    return text


def _better(row: dict[str, Any]) -> str:
    return max((TOP, GREEDY), key=lambda way: -1e9 if row[way]["value"] is None else row[way]["value"])


def _circuits(tasks: dict[str, Any]) -> str:
    ways = (TOP, GREEDY, LEARNED, PRUNED)
    has_pruned = all(PRUNED in row for one in tasks.values() for row in one["sizes"])
    shown = [way for way in ways if way != PRUNED or has_pruned]
    lines = [
        "| task | n | " + " | ".join(WAYS[way] for way in shown) + " | learned − better | shared with largest |",
        "|---|---:|" + "---:|" * (len(shown) + 2),
    ]
    for task, one in tasks.items():
        for row in one["sizes"]:
            cells = [task, count(row["edges"]), *(percent_with(*three_of(row[way])) for way in shown)]
            cells += [signed_with(*three_of(row[f"learned_minus_{_better(row)}"]))]
            cells += [f"{row['learned_shares_with_top-n']} of {row['learned_kept_edges']}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cost(tasks: dict[str, Any]) -> str:
    """Passes and seconds, means over the tasks."""
    titles = {TOP: "the scores", LEARNED: "learned masks of all sizes", PRUNED: "pruning by exact effect"}
    parts = []
    for way, title in titles.items():
        costs = [one["cost"][way] for one in tasks.values() if way in one["cost"]]
        if costs:
            passes, seconds = (sum(cost[key] for cost in costs) / len(costs) for key in ("passes", "seconds"))
            parts.append(f"{title} {passes:,.0f} forward passes per pair ({duration(seconds)})")
    return "Cost, mean over the tasks: " + "; ".join(parts) + ". Masks make as many backward passes beside."


def main() -> None:
    """Measure the models that are named, and write the page."""
    by_model("reference", measure, page)


if __name__ == "__main__":
    main()
