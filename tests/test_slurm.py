"""A sweep's tasks on SLURM. With the real thing: `make cluster` (and `make torture`, whose part `cluster` it is)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from eapgp.errors import ComputationError
from eapgp.study.plan import Execution
from eapgp.study.slurm import Queue, early_ends, submit
from eapgp.study.sweep import make_executor
from tools.torture.cluster import slurm_sweep, two_hosts
from tools.torture.table import Row

real = pytest.mark.skipif(
    not os.environ.get("EAPGP_CLUSTER"), reason="takes minutes and installs SLURM; 'make cluster' runs it"
)


@real
@pytest.mark.parametrize("part", [slurm_sweep, two_hosts])
def test_a_real_cluster(part: Callable[[Path], Row], tmp_path: Path) -> None:
    row = part(tmp_path / "cluster")
    if row.skipped:
        pytest.skip(row.skipped)
    assert row.violations == ()


# ---- what the queue says -------------------------------------------------------------------------


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what `squeue` answers."""
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def answers(out: str, error: str = "", code: int = 0) -> None:
        program.write_text(
            f"#!/bin/sh\necho \"$@\" > {tmp_path / 'asked'}\nprintf '{out}'\nprintf '{error}' >&2\nexit {code}\n"
        )
        program.chmod(0o755)

    return answers


def states(queue: Queue, *tasks: str) -> dict[str, tuple[str, bool]]:
    queue._last_status_check = 0.0
    return {task: (queue.get_state(task), queue.is_done(task)) for task in tasks}


def test_states_come_from_the_queue_and_never_change_after_the_end(squeue: Callable[..., None], tmp_path: Path) -> None:
    queue = Queue()
    for task in ("7_0", "7_1", "8"):
        queue.register_job(task)
    squeue("7_0|CANCELLED\\n7_1|SUSPENDED\\n8|PENDING\\n")
    assert states(queue, "7_0", "7_1", "8") == {
        "7_0": ("CANCELLED", True),
        "7_1": ("SUSPENDED", False),
        "8": ("PENDING", False),
    }
    assert "--states=all" in (asked := (tmp_path / "asked").read_text()) and "--jobs=7,8" in asked
    squeue("", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1)
    assert states(queue, "7_1", "8") == {"7_1": ("SUSPENDED", False), "8": ("PENDING", False)}
    squeue("7_1|COMPLETED\\n")
    assert states(queue, "7_1", "8") == {"7_1": ("COMPLETED", True), "8": ("ENDED", True)}
    squeue("", "slurm_load_jobs error: Invalid job id specified", 1)
    assert states(queue, "7_0", "7_1", "8") == {
        "7_0": ("CANCELLED", True),
        "7_1": ("COMPLETED", True),
        "8": ("ENDED", True),
    }


def test_ends_are_told_of_tasks_without_a_result(squeue: Callable[..., None], tmp_path: Path) -> None:
    class Job:
        def __init__(self, name: str) -> None:
            self.job_id, self.watcher = name, Queue()
            self.paths = SimpleNamespace(result_pickle=tmp_path / name)

        @property
        def state(self) -> str:
            return self.watcher.get_state(self.job_id)

    squeue("9_0|COMPLETED\\n9_1|OUT_OF_MEMORY\\n")
    jobs = [Job("9_0"), Job("9_1")]
    (tmp_path / "9_0").touch()
    assert submit(SimpleNamespace(map_array=lambda *_: jobs), len, ["a", "b"]) is jobs
    assert jobs[0].watcher is jobs[1].watcher and early_ends(jobs) == "task 9_1: OUT_OF_MEMORY"
    (tmp_path / "9_1").touch()
    assert early_ends(jobs) == "no message"


def test_a_cluster_that_does_not_answer_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("srun", "exit 0"), ("sbatch", "echo 'sbatch: error: Unable to contact' >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    executor = make_executor(tmp_path / "jobs", Execution("slurm"), "x")
    with pytest.raises(
        ComputationError, match=r"^executor 'slurm': expected sbatch .* got .*Unable to contact.*local"
    ) as e:
        submit(executor, len, ["a", "b"])
    assert "\n" not in str(e.value)
