"""Pairs that a run's scores have not seen, and its scores and circuits on pairs of another set."""

from __future__ import annotations

from typing import Any

from eapgp.attribution.result import Attribution
from eapgp.errors import OptionError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.evaluate import Running
from eapgp.runs.run import Run
from eapgp.tasks.registry import make_prompts

JUDGED = 32
"""Pairs that circuits are run on, where the task's generator makes them."""
FEWEST = 16
"""Pairs from elsewhere that can be divided."""


def divide(run: Run, tokenizer: Any, seed: int = 0) -> tuple[PromptSet, PromptSet, bool]:
    """The pairs to find circuits on, those to judge on, and whether the first are not all of the run's.

    Pairs of a generated task are judged on as many others as there are, at most 32; of pairs from elsewhere every
    second one is judged on, so that scores have to be made anew. seed: of the judged pairs.
    Errors: OptionError for a run without prompts, for too few pairs, and where the generator makes no others.
    """
    if not run.request.get("prompts"):
        raise OptionError(f"run {run.id[:12]} has no prompts, so its pairs cannot be told apart.")
    prompts = run.prompts()
    origin = dict(prompts.origin)
    if origin.pop("kind", "") != "generated":
        if len(prompts) < FEWEST:
            raise OptionError(
                "circuits are found on one half of the pairs and judged on the other: expected at least "
                f"{FEWEST} pairs, run {run.id[:12]} has {len(prompts)}."
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


def score_pairs(run: Run, model: Any, prompts: PromptSet, how: Running) -> Attribution:
    """Scores of every pair, made as the run made its own."""
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


def judging_runner(run: Run, model: Any, judged: PromptSet, how: Running) -> CircuitRunner:
    """Runs circuits on the judged pairs under the run's metric and intervention."""
    asked = {"metric": run.request["metric"], "intervention": run.request.get("intervention", "patching")}
    return (how.make_runner or CircuitRunner)(model, judged, **asked, batch_size=how.batch_size, progress=how.progress)
