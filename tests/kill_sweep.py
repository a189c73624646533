"""Kill -9 a sweep at random moments, again and again: `python tests/kill_sweep.py --kills 50`.

The model is loaded once; each sweep is a forked process that inherits it and is killed. Nothing that
was finished may be lost or computed again, and the final tables must equal an undisturbed one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eapgp.runs import RunLibrary
from eapgp.study.plan import Study, make_study
from eapgp.study.sweep import study_folder, sweep
from eapgp.study.worker import RECORD_FILE, Worker

STUDY: dict[str, Any] = {
    "name": "killed",
    "models": ["demo"],
    "tasks": ["ioi", "sva"],
    "methods": ["eap", "random", {"name": "eap-ig", "vary": {"steps": [2, 3]}}],
    "seeds": [0, 1, 2],
    "pairs": 2,
    "evaluations": [{"sizes": [20, 100], "resamples": 20}],
    "execution": {"executor": "in-process"},
}


def finished(folder: Path, library: RunLibrary) -> dict[Path, tuple[int, bytes]]:
    """Every finished cell's and run's file, with when it was written and what it holds."""
    files = [*folder.glob(f"cells/*/{RECORD_FILE}"), *library.runs.glob("*/run.json")]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def tables_of(folder: Path) -> tuple[bytes, ...]:
    """The final tables, byte for byte."""
    return tuple((folder / name).read_bytes() for name in ("table.parquet", "differences.parquet"))


def kill_sweeps(
    study: Study, home: Path, worker: Worker, *, kills: int, longest: float, rng: random.Random
) -> list[int]:
    """Start and kill the sweep until it is complete; the number of finished cells after each kill.

    Errors: AssertionError if a finished file was lost or written again.
    """
    library = RunLibrary(home)
    folder = study_folder(study, library)
    before: dict[Path, tuple[int, bytes]] = {}
    progress: list[int] = []
    while len(progress) < kills and (not progress or progress[-1] < len(study.cells)):
        if len(progress) > 1 and progress[-1] == progress[-2]:
            longest *= 1.3  # a busy machine: give it time to finish something
        child = os.fork()
        if child == 0:
            try:
                sweep(study, library, worker=worker)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        after = finished(folder, library)
        changed = [path for path, state in before.items() if after.get(path) != state]
        assert not changed, f"kill {len(progress)}: {changed[0]} was finished and is lost or written again"
        before = after
        progress.append(sum(path.name == RECORD_FILE for path in after))
    return progress


def check_killed(home: Path, *, kills: int, longest: float, study: Study | None = None) -> list[list[int]]:
    """The whole experiment below `home`, from an empty library again whenever the sweep is complete.

    Errors: AssertionError if anything is not as it should be.
    """
    import torch

    torch.set_num_threads(1)
    study, rng = study or make_study(STUDY), random.Random(0)
    worker = Worker(RunLibrary(home / "calm"))
    worker.load("demo", device="auto", dtype="float32")
    for model in worker._models.values():
        assert model.weights_hash and model.tokenizer_hash  # computed once, inherited by every process
    rounds: list[list[int]] = []
    while (left := kills - sum(map(len, rounds))) > 0:
        place = home / f"killed-{len(rounds)}"
        own = Worker(RunLibrary(place))
        own._models = worker._models
        rounds.append(kill_sweeps(study, place, own, kills=left, longest=longest, rng=rng))
    tables = set()
    for number in range(len(rounds)):
        library = RunLibrary(home / f"killed-{number}")
        own = Worker(library)
        own._models = worker._models
        resumed = sweep(study, library, worker=own)
        assert not resumed.failed and len(resumed.records) == len(study.cells)
        assert library.problems() == []
        tables.add(tables_of(resumed.folder))
    calm = sweep(study, RunLibrary(home / "calm"), worker=worker)
    assert tables == {tables_of(calm.folder)}, "a killed sweep's tables differ from a calm one's"
    return rounds


def main() -> int:
    """Run the experiment with the number of kills asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--longest", type=float, default=1.0, help="longest time until a kill, in seconds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        progress = check_killed(Path(folder), kills=given.kills, longest=given.longest)
    print(f"{given.kills} kills in {time.perf_counter() - started:.0f} s; finished cells after each: {progress}")
    print("nothing finished was lost or computed again; the tables equal an undisturbed one's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
