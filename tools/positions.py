"""`python -m tools.positions MODEL …`: docs/positions.md, at which words the bundled EAP-IG runs' edges matter.

Scores are told apart by the parts of each task's prompts; circuits are run on pairs that nothing was scored on. What
was measured is kept in docs/positions.json, so that models are added one at a time; without a model only the page is
written anew.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from eapgp import __version__
from eapgp.models import load_model
from eapgp.numerals import percent, signed
from eapgp.runs.bundled import examples_folder
from eapgp.runs.evaluate import Running
from eapgp.runs.positions import AS_MANY, AS_WIDE, BLIND, run_span_scores, span_curve
from eapgp.runs.run import open_run
from eapgp.runs.spec import library_versions
from eapgp.tasks import TASKS, make_prompts
from tools.kept import by_model

log = logging.getLogger(__name__)
SIZES = {"demo": (10, 20, 50), "smollm2-135m": (200, 500, 1000)}
PAIRS, SEED = 32, 1000
EDGES = 3  # strongest (edge, span) that are told


def measure(name: str) -> dict[str, Any]:
    """Every task of a model's bundled EAP-IG runs."""
    model, folder = load_model(name), examples_folder()
    assert folder is not None, "the bundled runs are not there"
    how = Running(model_loader=lambda *_, **__: model)
    tasks = {}
    for task in TASKS:
        run = open_run(folder / (f"{task}-eap-ig" if name == "demo" else f"{name}-{task}-eap-ig"))
        scores = run_span_scores(run, how=how)
        fresh = make_prompts(task, PAIRS, seed=SEED, split="test", tokenizer=model.tokenizer)
        shares = np.abs(scores.values).sum(axis=(1, 2))
        tasks[task] = {
            "shares": dict(zip(scores.spans, (shares / shares.sum()).round(4).tolist(), strict=True)),
            "top": [[edge, span, round(value, 4)] for edge, span, value in scores.top(EDGES)],
            "curve": span_curve(run, scores, SIZES[name], prompts=fresh, how=how).to_dict(),
        }
        log.info("%s, %s", name, task)
    return {"version": __version__, "libraries": library_versions(), "tasks": tasks}


_HEAD = """# At which words an edge matters

The score of an edge is a sum over the positions of the prompt, so it can be told apart by them without another pass:
`eapgp positions --run RUN`, `eapgp.span_scores`, and the drawer of Explore ("At which words"). So that prompts of
unequal length can be averaged, positions are counted by the parts that a task's prompts share (the repeated name, the
start year, the last token …), after Haklay et al. 2025 ([arXiv:2502.04577](https://arxiv.org/abs/2502.04577)).

```python
spans = eapgp.prompt_spans(prompts, model)
scores = eapgp.span_scores(model, prompts, spans, method="eap-ig")
circuit = eapgp.select_spans(scores, 50)
```

A circuit of (edge, span) runs as it is: `CircuitRunner.run_spans` has an edge carry the corrupted activation at every
position outside its spans. In the tables, *n edges* are the best n edges at all words; *n (edge, span)* are as many,
each at one part of the prompt; *as wide* are as many (edge, span) as the n edges have where the two prompts differ at
all. Bundled EAP-IG runs (64 pairs); circuits are run on {pairs} pairs of the generators' test split. Brackets are 95 %
intervals over pairs, differences are paired with *n edges*.

Written by `python -m tools.positions` from docs/positions.json."""


def page(kept: dict[str, Any]) -> str:
    """docs/positions.md."""
    parts = [_HEAD.format(pairs=PAIRS)]
    for name, answer in kept.items():
        parts.append(f"## {name}\n\neapgp {answer['version']}, torch {answer['libraries']['torch']}.")
        parts.append(
            "### Circuits that know words\n\n" + _verdict(answer["tasks"]) + "\n\n" + _circuits(answer["tasks"])
        )
        parts.append("### Where the scores arise\n\n" + _shares(answer["tasks"]))
    return "\n\n".join(parts) + "\n"


def _circuits(tasks: dict[str, Any]) -> str:
    lines = ["| task | n | n edges | n (edge, span) | difference | as wide | difference |", "|---|" + "---:|" * 6]
    for task, one in tasks.items():
        for row in one["curve"]:
            cells = [task, str(row[BLIND]["edges"]), _value(row[BLIND], "faithfulness", percent)]
            for name in (AS_MANY, AS_WIDE):
                cells += [_value(row[name], "faithfulness", percent), _value(row[name], "difference", signed)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _value(row: dict[str, float], name: str, write: Any) -> str:
    low, high = (write(row[f"{name}_{end}"]).removesuffix(" %") for end in ("low", "high"))
    return f"{write(row[name])} [{low}, {high}]"


def _verdict(tasks: dict[str, Any]) -> str:
    """In how many of the circuits knowing words helps, as counted from the intervals."""
    rows = [row for one in tasks.values() for row in one["curve"] if row[BLIND]["edges"]]
    counts = {}
    for name in (AS_MANY, AS_WIDE):
        above = sum(row[name]["difference_low"] > 0 for row in rows)
        counts[name] = above, sum(row[name]["difference_high"] < 0 for row in rows)
    (more, less), (wider, narrower) = counts[AS_MANY], counts[AS_WIDE]
    return (
        f"With as many edges, each at one part of the prompt, a circuit keeps more in {more} of {len(rows)} cases, "
        f"less in {less}, and ties in the others: an edge that matters at two parts has to be taken twice. As wide, it "
        f"keeps more in {wider} and less in {narrower}."
    )


def _shares(tasks: dict[str, Any]) -> str:
    lines = ["| task | share of the sum of absolute scores | strongest |", "|---|---|---|"]
    for task, one in tasks.items():
        shares = ", ".join(f"{name} {percent(share)}" for name, share in one["shares"].items() if share >= 0.005)
        top = "; ".join(f"`{edge}` at {span} ({signed(value)})" for edge, span, value in one["top"])
        lines.append(f"| {task} | {shares} | {top} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the models that are named, and write the page."""
    by_model("positions", measure, page)


if __name__ == "__main__":
    main()
