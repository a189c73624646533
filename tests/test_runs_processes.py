"""Several processes, and killed ones, on one library."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs_made import assert_same, made_attribution, made_prompts, made_request

from eapgp.errors import RunError
from eapgp.runs import RunLibrary, open_run
from eapgp.runs.files import locked

ROOT = Path(__file__).resolve().parent.parent
HEAD = (
    "import sys; sys.path.insert(0, 'tests')\n"
    "from runs_made import made_attribution, made_prompts, made_request\n"
    "from eapgp.runs import RunLibrary\n"
    "library, prompts = RunLibrary(sys.argv[1]), made_prompts()\n"
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def start(code: str, library: RunLibrary, *arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", HEAD + code, str(library.home), *arguments]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return text


def test_kill_9_leaves_finished_runs_whole_and_unfinished_ones_ignorable(tmp_path: Path) -> None:
    """A process writes one run after another and is killed, each time at another moment."""
    library = RunLibrary(tmp_path)
    code = (
        "start = int(sys.argv[2])\nprint('ready', flush=True)\n"
        "for seed in range(start, start + 10_000):\n"
        "    library.save(made_attribution(seed), made_request(prompts, seed), prompts)\n"
        "    library.open(library.key(made_request(prompts, seed))).add_evaluation('curve', {'seed': seed})\n"
        "    print(seed, flush=True)\n"
    )
    claimed: list[int] = []
    for attempt in range(8):
        process = start(code, library, str(100_000 * attempt))
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        text = "".join(process.stdout.readline() for _ in range(attempt % 3))
        time.sleep(0.007 * attempt)
        process.send_signal(signal.SIGKILL)
        text += process.stdout.read()
        process.wait()
        claimed += [int(line) for line in text.splitlines() if line]
    assert len(claimed) >= 7
    for seed in claimed:
        run = library.find(made_request(made_prompts(), seed))
        assert run is not None
        run.verify()
        assert_same(run.attribution(), made_attribution(seed))
        assert run.evaluation() == {"curve": {"seed": seed}}
    assert library.problems() == []
    for summary in library.list():  # also those that were finished but not reported
        open_run(summary.path).verify()
    library.gc()
    assert list((library.home / "tmp").iterdir()) == []
    assert len(library.list()) >= len(claimed)


def test_a_run_killed_half_way_is_not_there_and_can_be_written_again(tmp_path: Path) -> None:
    library = RunLibrary(tmp_path)
    code = (
        "import os, signal\nfrom eapgp.runs import arrays\n"
        "write = arrays.write_arrays\n"
        "def stop(path, values):\n"
        "    write(path, values)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "arrays.write_arrays = stop\n"
        "library.save(made_attribution(), made_request(prompts), prompts)\n"
    )
    process = start(code, library)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert library.list() == [] and library.find(made_request(made_prompts())) is None
    (left,) = (library.home / "tmp").iterdir()
    assert (left / "scores.safetensors").exists()
    prompts = made_prompts()
    library.save(made_attribution(), made_request(prompts), prompts)
    assert library.gc()["removed"] == 1
    assert_same(library.open(library.list()[0].id).attribution(), made_attribution())


def test_processes_that_write_the_same_runs_do_not_harm_each_other(tmp_path: Path) -> None:
    library = RunLibrary(tmp_path)
    code = (
        "for seed in range(25):\n"
        "    run = library.save(made_attribution(seed), made_request(prompts, seed), prompts, replace=seed % 5 == 0)\n"
        "    run = library.open(run.id)\n"
        "    run.add_evaluation(sys.argv[2], {'seed': seed})\n"
        "    run.verify()\n"
    )
    for process in [start(code, library, name) for name in ("a", "b", "c")]:
        finish(process)
    assert len(library.list()) == 25
    assert list((library.home / "tmp").iterdir()) == []
    for seed in range(25):
        run = library.open(library.key(made_request(made_prompts(), seed)))
        run.verify()
        assert_same(run.attribution(), made_attribution(seed))
        if seed % 5:  # never replaced: no evaluation of any process is lost
            assert run.evaluation() == {name: {"seed": seed} for name in ("a", "b", "c")}


def test_evaluations_added_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    library, prompts = RunLibrary(tmp_path), made_prompts()
    run = library.save(made_attribution(), made_request(prompts), prompts)
    code = (
        "run = library.open(library.list()[0].id)\n"
        "for index in range(20):\n    run.add_evaluation(f'{sys.argv[2]}{index}', {'n': index})\n"
    )
    for process in [start(code, library, name) for name in "abc"]:
        finish(process)
    assert run.evaluation() == {f"{name}{index}": {"n": index} for name in "abc" for index in range(20)}


def test_a_lock_is_waited_for_and_freed_by_a_kill(tmp_path: Path) -> None:
    library, prompts = RunLibrary(tmp_path), made_prompts()
    run = library.save(made_attribution(), made_request(prompts), prompts)
    code = (
        "import time\nfrom eapgp.runs.files import locked\n"
        "with locked(library.open(library.list()[0].id).path):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = start(code, library)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(RunError, match="has held this run's lock"), locked(run.path, timeout=0.1):
        pass
    process.kill()
    process.communicate()
    with locked(run.path, timeout=5):
        pass
