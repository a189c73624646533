"""What a run's model says to its first pair: kept in the run's evaluation.json, read where it is there."""

from __future__ import annotations

import contextlib
from typing import Any

from eapgp.errors import RunError
from eapgp.evaluation.answers import PairAnswers, pair_answers
from eapgp.runs.bundled import is_bundled
from eapgp.runs.measure import stored_evaluation
from eapgp.runs.run import Run

ANSWERS = "answers"
"""Where a run's evaluation.json holds them; bundled runs came with them."""


def stored_answers(run: Run) -> PairAnswers | None:
    """The model's answers to the first pair, or None where nobody has asked yet."""
    values = stored_evaluation(run).get(ANSWERS)
    return None if values is None else PairAnswers.from_dict(values)


def run_answers(run: Run, model: Any) -> PairAnswers:
    """Ask the run's model (`load_run_model`) about its first pair; kept beside the run unless that is a bundled one."""
    answers = pair_answers(model, run.prompts())
    if not is_bundled(run.path):
        with contextlib.suppress(OSError, RunError):
            run.add_evaluation(ANSWERS, answers.to_dict())
    return answers
