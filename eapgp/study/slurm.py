"""How a sweep's tasks stand on a SLURM cluster, asked of its queue.

submitit asks `sacct`, which needs accounting (slurmdbd). Where a cluster keeps none it answers nothing, and a task that
was cancelled would be waited for without end; the queue is there on every cluster.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmInfoWatcher

from eapgp.errors import ComputationError, one_line

FINAL = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT"}
)
GONE = "ENDED"
"""Of a task that the queue tells of no more; it does so for some minutes after the end (MinJobAge)."""
LONGEST = 60  # seconds between two looks at the queue


class Queue(SlurmInfoWatcher):
    """The states of tasks, by `squeue`."""

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Whether a task has ended, however it did."""
        return self.get_state(job_id, mode=mode) in (*FINAL, GONE)

    def update(self) -> None:
        """Look at the queue; where it cannot be asked just now, everything stands as before."""
        waiting = self._registered - self._finished
        arrays = ",".join(sorted({task.partition("_")[0] for task in waiting}))
        self._last_status_check = time.time()
        if not arrays:
            return
        line = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T", f"--jobs={arrays}"]
        answer = subprocess.run(line, capture_output=True, text=True, check=False)
        if answer.returncode and "Invalid job id" not in answer.stderr:  # which says that all are gone
            return
        states = dict(row.split("|", 1) for row in answer.stdout.split())
        self._info_dict.update({task: {"State": states.get(task, GONE)} for task in waiting})
        self._finished |= {task for task in waiting if self.is_done(task, mode="cache")}


def submit(executor: Any, function: Callable[[str], int], tasks: Sequence[str]) -> list[Any]:
    """submitit's jobs, one per task, which ask the queue how they stand.

    Errors: ComputationError where the cluster does not take them.
    """
    try:
        jobs: list[Any] = executor.map_array(function, tasks)
    except (FailedJobError, FailedSubmissionError) as error:
        raise ComputationError(
            f"executor 'slurm': expected sbatch to take the tasks, got {one_line(error)[:300]}; 'sinfo' shows "
            "whether the cluster answers. --executor local computes on this machine."
        ) from None
    queue = Queue(delay_s=LONGEST)
    for job in jobs:
        job.watcher = queue
        queue.register_job(job.job_id)
    return jobs


def early_ends(jobs: Sequence[Any]) -> str:
    """How the tasks ended that gave no result, in one line."""
    ends = [f"task {job.job_id}: {job.state}" for job in jobs if not job.paths.result_pickle.exists()]
    return ", ".join(ends) or "no message"
