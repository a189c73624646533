"""`python -m tools.attention MODEL …`: docs/attention.md, why the heads that matter look where they look.

The heads of largest score of bundled EAP-IG runs are taken apart where the answer is read, at the word that they look
at most. What was measured is kept in docs/attention.json, so that models are added one at a time; without a model only
the page is written anew.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from eapgp import __version__
from eapgp.evaluation.statistics import bootstrap_mean
from eapgp.models import load_model
from eapgp.numerals import decimal_with, percent, percent_with, signed, signed_with
from eapgp.readings import AttentionTerms, attention_terms
from eapgp.readings.attention_terms import SourceCheck
from eapgp.runs.bundled import examples_folder
from eapgp.runs.run import open_run
from eapgp.runs.spec import library_versions
from eapgp.tasks import TASKS
from tools.kept import by_model

log = logging.getLogger(__name__)
HEADS, PAIRS = {"demo": 4, "smollm2-135m": 3}, {"demo": 16, "smollm2-135m": 6}
NOTHING = 1e-4
LARGEST = 10
"""Pairs of sources whose share of all |terms| is told."""


def measure(name: str) -> dict[str, Any]:
    """The heads of largest score of every task."""
    model, folder = load_model(name), examples_folder()
    assert folder is not None, "the bundled runs are not there"
    tasks: dict[str, Any] = {}
    for task in TASKS:
        run = open_run(folder / (f"{task}-eap-ig" if name == "demo" else f"{name}-{task}-eap-ig"))
        scores = run.attribution().node_scores
        assert scores is not None
        order = np.argsort(-np.abs(np.nan_to_num(scores)), kind="stable")
        # Heads of the first layer read the embedding alone, so that there is nothing to tell apart.
        heads = [name for name in (model.graph.sources[at] for at in order) if name[0] == "a" and name[:3] != "a0."]
        tasks[task] = {}
        for head in heads[: HEADS[name]]:
            found = [attention_terms(model, run.prompts(), at, head, check=True) for at in range(PAIRS[name])]
            tasks[task][head] = one_head(found)
            log.info("%s, %s, %s", name, task, head)
    return {"version": __version__, "libraries": library_versions(), "tasks": tasks}


def one_head(found: list[AttentionTerms]) -> dict[str, Any]:
    """What the pairs say together, and the first of them as an example."""
    sizes = [np.sort(np.abs(one.clean.terms), axis=None)[::-1] for one in found]
    first = found[0]
    looked = Counter(one.tokens[one.key] if one.key else "first token" for one in found)
    return {
        "attention": _band([one.clean.weight for one in found]),
        "logit_gap": _band([one.clean.logit - one.corrupted.logit for one in found]),
        "rest": max(abs(one.clean.rest) for one in found),
        "largest_share": _band([size[:LARGEST].sum() / size.sum() for size in sizes]),
        "agreement": {
            check.letter: _agreement([one.checks[at] for one in found]) for at, check in enumerate(first.checks)
        },
        "looks_at": looked.most_common(1)[0][0],
        "terms": [
            [u, v, float(first.clean.terms[i, j]), float(first.difference[i, j])] for u, v, i, j in first.largest(3)
        ],
    }


def _agreement(checks: list[SourceCheck]) -> list[float] | None:
    """Correlation of what the terms say with real changes, over all sources of all pairs; pairs are resampled.

    None where nothing changes: both prompts are the same up to there.
    """
    sides = np.array([[check.predicted[:-1], check.measured[:-1]] for check in checks])
    if (np.abs(sides).max(axis=(0, 2)) < NOTHING).any():
        return None

    def correlation(pairs: Any) -> float:
        said, done = sides[pairs].transpose(1, 0, 2).reshape(2, -1)
        return float(np.corrcoef(said, done)[0, 1])

    rng = np.random.default_rng(0)
    drawn = [correlation(rng.integers(0, len(sides), len(sides))) for _ in range(1000)]
    ends = np.nanquantile(drawn, [0.025, 0.975])
    return [round(float(one), 5) for one in (correlation(np.arange(len(sides))), *ends)]


def _band(values: list[float]) -> list[float]:
    band = bootstrap_mean(np.array(values))
    return [round(float(end), 5) for end in (band.value, band.low, band.high)]


_HEAD = """# Why does this head look there?

The attention logit of a head from one word to another is a sum over pairs of what earlier nodes wrote: u into the query
and v into the key. `eapgp attention --run RUN --node a3.h1`, the drawer of Explore below a head's attention, or

```python
found = eapgp.attention_terms(model, prompts, pair=0, node="a3.h1")
found.largest(5)  # names and places of the pairs of sources
```

The sum is exact with the scales of all norms as they were (also those that some architectures put on queries and keys)
and any rotary embedding; `rest` is what belongs to no pair: a bias of the two positions alone (ALiBi), and what is cut
where a model clips queries and keys. Where a model caps its attention logits they are taken before the cap. The check
gives the query (or the key) one source's corrupted output at a time and runs the attention on that; its correlation
with what the terms say, over all sources and pairs, is below 1 because a real change moves the norm too; – where both
prompts are the same up to that word, so that nothing changes.

Below, the heads of largest score of bundled EAP-IG runs (but for the first layer's, which read the embedding alone),
from where the answer is read to the word looked at most, on the first pairs of each run ({pairs}). Brackets are 95 %
intervals over pairs.

Written by `python -m tools.attention` from docs/attention.json."""


def page(kept: dict[str, Any]) -> str:
    """docs/attention.md."""
    parts = [_HEAD.format(pairs=", ".join(f"{PAIRS[name]} with {name}" for name in kept))]
    for name, answer in kept.items():
        parts.append(f"## {name}\n\neapgp {answer['version']}, torch {answer['libraries']['torch']}.")
        parts += [_verdict(answer["tasks"]), _heads(answer["tasks"]), _terms(answer["tasks"])]
    return "\n\n".join(parts) + "\n"


def _verdict(tasks: dict[str, Any]) -> str:
    heads = [one for some in tasks.values() for one in some.values()]
    shares = [one["largest_share"][0] for one in heads]
    agreements = {
        letter: [one["agreement"][letter][0] for one in heads if one["agreement"][letter]] for letter in ("q", "k")
    }
    told = "; ".join(
        f"in the {name} a median of {np.median(agreements[letter]):.2f}, {sum(r > 0.9 for r in agreements[letter])} of "
        f"{len(agreements[letter])} heads above 0.9"
        for letter, name in (("q", "query"), ("k", "key"))
    )
    return (
        f"The {LARGEST} largest pairs of sources hold {percent(min(shares))} to {percent(max(shares))} of all |terms| "
        f"of a head (median {percent(float(np.median(shares)))}). Correlation of the terms with real changes of single "
        f"sources: {told}. Largest rest of any logit: {max(one['rest'] for one in heads):.1g}."
    )


def _heads(tasks: dict[str, Any]) -> str:
    lines = [
        f"| task | head | looks at | attention | logit, clean − corrupted | {LARGEST} largest pairs hold "
        "| check, query | check, key |",
        "|---|---|---|" + "---:|" * 5,
    ]
    for task, heads in tasks.items():
        for head, one in heads.items():
            cells = [task, head, f"`{one['looks_at']}`", percent_with(*_three(one["attention"]))]
            cells += [signed_with(*_three(one["logit_gap"])), percent_with(*_three(one["largest_share"]))]
            found = (one["agreement"][letter] for letter in ("q", "k"))
            cells += ["–" if band is None else decimal_with(*_three(band), digits=2) for band in found]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _three(band: Sequence[float]) -> tuple[float, float, float]:
    value, low, high = band
    return value, low, high


def _terms(tasks: dict[str, Any]) -> str:
    lines = ["| task | head | the first pair's largest terms (into the query × into the key) |", "|---|---|---|"]
    for task, heads in tasks.items():
        for head, one in heads.items():
            told = "; ".join(
                f"{u} × {v} {signed(value)} (clean − corrupted {signed(gap)})" for u, v, value, gap in one["terms"]
            )
            lines.append(f"| {task} | {head} | {told} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the models that are named, and write the page."""
    by_model("attention", measure, page)


if __name__ == "__main__":
    main()
