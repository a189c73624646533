"""A cluster: a sweep on a real SLURM that loses a task and its node's daemon, and torchrun over two hosts.

1. `eapgp sweep --executor slurm`, sixteen cells over two array tasks. Once a cell is finished one task is cancelled and
   slurmd is killed and started again. The sweep must end by itself, say which task ended how, keep what is finished;
   asked for again it computes the rest alone; its tables must be those of an undisturbed sweep, byte for byte.
2. Two network namespaces joined by a cable of their own as two hosts, a torchrun in each: one stored run, the scores of
   one process within 1e-5 of the largest.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.runs.library import RunLibrary
from eapgp.study.sweep import STUDY_FILE
from eapgp.study.worker import RECORD_FILE
from tools.torture.slurm import Cluster, cluster, free_port, unavailable
from tools.torture.table import Row, Setting

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0  # seconds that a sweep may take
STUDY: dict[str, Any] = {
    "name": "cluster",
    "models": ["demo"],
    "tasks": ["ioi", "sva"],
    "methods": ["eap", "exact"],
    "seeds": [0, 1, 2, 3],
    "pairs": 24,
    "evaluations": [{"sizes": [20, 100], "resamples": 20}],
    "execution": {"executor": "slurm", "workers": 2, "threads": 1},
}
CELLS = math.prod(len(STUDY[name]) for name in ("models", "tasks", "methods", "seeds"))
TABLES = ("table.parquet", "differences.parquet")


def run(setting: Setting) -> list[Row]:
    """Both; what this machine cannot do is skipped with the reason."""
    return [slurm_sweep(setting.folder / "slurm"), two_hosts(setting.folder / "hosts")]


# ---- SLURM ---------------------------------------------------------------------------------------


def slurm_sweep(folder: Path) -> Row:
    """The sweep that is disturbed, resumed, and held against an undisturbed one."""
    name = "sweep on SLURM, a task cancelled, slurmd killed"
    if reason := unavailable(install=True):
        return Row(name, skipped=reason)
    folder.mkdir(parents=True)
    study = folder / "study.yaml"
    study.write_text(json.dumps(STUDY))
    started = time.monotonic()
    with cluster(folder / "cluster") as slurm:
        first, tasks = _disturbed(slurm, study, folder)
        kept = _records(folder)
        second = _finish(_sweep(study, folder, slurm.environment))
    calm = _finish(_sweep(study, folder / "calm", dict(os.environ), "--executor", "in-process"))
    figures = {
        "cells": len(_records(folder)),
        "finished before the end of the first": len(kept),
        "seconds": time.monotonic() - started,
    }
    return Row(name, figures, tuple(_wrong(folder, kept, tasks, first, second, calm)))


Answer = tuple[int, str]
"""Exit code and standard error of a command."""


def _sweep(study: Path, folder: Path, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "eapgp", "sweep", str(study), "--home", str(folder / "home"), *options]
    environment = environment | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(sweep: subprocess.Popen[str]) -> Answer:
    try:
        return sweep.wait(PATIENCE), sweep.communicate()[1]
    except subprocess.TimeoutExpired:
        sweep.kill()
        return -9, f"no end within {PATIENCE:.0f} s: {sweep.communicate()[1][-200:]}"


def _disturbed(slurm: Cluster, study: Path, folder: Path) -> tuple[Answer, dict[str, str]]:
    """How the sweep ended one of whose tasks was cancelled, and how its tasks did."""
    sweep = _sweep(study, folder, slurm.environment)
    until, tasks = time.monotonic() + PATIENCE, list[str]()
    while (not tasks or not _records(folder)) and sweep.poll() is None and time.monotonic() < until:
        tasks = tasks or sorted(slurm.tasks())  # asked for beforehand: a fast machine is soon through with the cells
        time.sleep(0.05)
    slurm.ask("scancel", tasks[0]) if tasks else None
    slurm.kill_node()
    time.sleep(2)
    slurm.start_node()
    return _finish(sweep), slurm.tasks()


def _records(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every finished cell: when it was written, and what it holds."""
    cells = (folder / "home" / "studies" / STUDY["name"]).glob(f"cells/*/{RECORD_FILE}")
    return {path.parent.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in cells}


def _wrong(
    folder: Path, kept: dict[str, Any], tasks: dict[str, str], first: Answer, second: Answer, calm: Answer
) -> Iterator[str]:
    cancelled = [task for task, state in tasks.items() if state == "CANCELLED"]
    if len(tasks) < 2 or not cancelled:
        yield f"expected two tasks, one of them cancelled, got {tasks}"
    if first[0] != 1 or f"task {cancelled[0] if cancelled else ''}: CANCELLED" not in first[1]:
        yield f"the first sweep should end with 1 and name the cancelled task: {first}"
    if "sacct" in first[1] or "Traceback" in first[1] or "WARNING" in first[1]:
        yield f"what it says is not for its reader: {first[1][:400]}"
    if not 0 < len(kept) < CELLS:
        yield f"{len(kept)} cells of {CELLS} were finished before the end: nothing was interrupted"
    if second[0] != 0 or calm[0] != 0:
        yield f"the resumed or the undisturbed sweep failed: {second}, {calm}"
        return
    after = _records(folder)
    if len(after) != CELLS or any(after[cell] != record for cell, record in kept.items()):
        yield "a finished cell was lost or computed again"
    library = RunLibrary(folder / "home")
    if problems := library.problems():
        yield f"the library is not whole: {problems[0]}"
    place = Path("home", "studies", STUDY["name"])
    for table in TABLES:
        if (folder / place / table).read_bytes() != (folder / "calm" / place / table).read_bytes():
            yield f"{table} differs from an undisturbed sweep's"
    if not (folder / place / STUDY_FILE).is_file():
        yield f"{STUDY_FILE} is missing"


# ---- two hosts -----------------------------------------------------------------------------------

ADDRESSES = ("198.51.100.1", "198.51.100.2")  # of the range for documentation, on a cable that ends in this machine


@contextlib.contextmanager
def hosts() -> Iterator[tuple[str, str]]:
    """Names of two network namespaces joined by a cable, until the block ends. Errors: OSError where there are none."""
    label = secrets.token_hex(3)
    names = f"eapgp-{label}-0", f"eapgp-{label}-1"
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/30", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                _ip("netns", "del", name)


def _ip(*arguments: str) -> None:
    if shutil.which("ip") is None:
        raise OSError("the command 'ip' is not installed (Debian's iproute2)")
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def two_hosts(folder: Path) -> Row:
    """A run by two hosts, held against one process's."""
    name = "torchrun over two hosts (network namespaces)"
    started = time.monotonic()
    try:
        with hosts() as names:
            answers = _torchruns(names, folder)
    except OSError as error:
        return Row(name, skipped=str(error))
    done = _attribute([sys.executable, "-m", "eapgp"], folder / "alone", dict(os.environ))
    alone = *done.communicate(timeout=PATIENCE), done.returncode
    failed = [answer for answer in (*answers, alone) if answer[2]]
    if failed:
        return Row(name, violations=(f"exit code {failed[0][2]}: {failed[0][1][-600:]}",))
    runs = [RunLibrary(folder / place) for place in ("home", "alone")]
    wrong = []
    if [len(library.list()) for library in runs] != [1, 1] or runs[0].list()[0].id != runs[1].list()[0].id:
        wrong.append("expected one run of the same id from both")
    if sum(bool(answer[0].strip()) for answer in answers) != 1:
        wrong.append("expected one answer, of the first process")
    one, other = (library.open(library.list()[0].id).scores().values for library in runs)
    difference = float(np.nanmax(np.abs(one - other)) / np.nanmax(np.abs(other)))
    if not difference <= 1e-5:
        wrong.append(f"scores differ by {difference:.1e} of the largest")
    seconds = time.monotonic() - started
    return Row(name, {"difference / largest": difference, "seconds": seconds}, tuple(wrong))


def _torchruns(names: tuple[str, str], folder: Path) -> list[tuple[str, str, int]]:
    """Standard output, standard error and exit code of each host."""
    environment = dict(os.environ) | {"GLOO_SOCKET_IFNAME": "cable"}
    place = [f"--master-addr={ADDRESSES[0]}", f"--master-port={free_port()}", "--nnodes=2", "--nproc-per-node=1"]
    started = []
    for rank, name in enumerate(names):
        line = ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", *place]
        started.append(_attribute([*line, f"--node-rank={rank}", "-m", "eapgp"], folder / "home", environment))
    return [(*process.communicate(timeout=PATIENCE), process.returncode) for process in started]


def _attribute(command: list[str], home: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    line = [*command, "attribute", "--task", "sva", "--pairs", "9", "--method", "eap-gp", "--home", str(home)]
    environment = environment | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*line, "--device", "cpu", "--json", "--quiet"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
