"""What the model of a run answers to its first pair: read where it is kept, else asked in the background."""

from __future__ import annotations

from eapgp.evaluation.answers import PairAnswers
from eapgp.runs.answers import run_answers, stored_answers
from eapgp.runs.info import RunInfo
from eapgp.types import Progress
from eapgp.ui.jobs import server
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.jobs.workshop import with_gradients
from eapgp.ui.library.consent import lane_of_card


def answers_of(card: RunInfo) -> PairAnswers | None:
    """The answers, where they are kept or were given since the server started."""
    stored = stored_answers(card.run)
    if stored is not None:
        return stored
    job = job_of(card)
    return job.result if job is not None and job.state == "done" else None


def job_of(card: RunInfo) -> JobView | None:
    """The job that asks the model, where there is one."""
    return server.job(f"answers-{card.id}")


def submit(card: RunInfo) -> str:
    """Start (or join) asking the model about the first pair; the job's result is a `PairAnswers`."""
    lane, shop = lane_of_card(card), server.workshop()

    def work(progress: Progress) -> PairAnswers:
        return run_answers(card.run, shop.model_of(lane, card.run, progress))

    job = with_gradients(work, quick=True)
    return server.manager().submit(f"answers-{card.id}", f"answers to a pair of {card.task}", job, lane=lane)
