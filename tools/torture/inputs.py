"""Inputs of strangers, at least 15,000 of them, at every way in: what became of each, and whether that is right.

They are made by mutation of sound files and by hand (`tools/torture/strange.py`, `tools/torture/entrances/`), seeded:
an input is the same whenever its number is tried again, by `python -m tools.torture.worker FOLDER ENTRANCE NUMBER`.
Worker processes try them, with a limit of memory and a watch on their time; one that dies is a violation, and another
goes on with the next input.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tools import ROOT
from tools.torture.entrances import ENTRANCES
from tools.torture.judge import ACCEPTED, REFUSED, Verdict, judge
from tools.torture.table import Row, Setting
from tools.torture.worker import entrance_of

SHARE = 150
"""Inputs that a worker takes at a time."""
STUCK = 60.0
"""Processor seconds after which a worker is ended, and wall seconds without any."""
LOOK = 2.0
FRESH = 1_500 * 10**6
"""Bytes of a worker above which the next share gets a new one: whole apps that were opened in it leave models."""


def run(setting: Setting) -> list[Row]:
    """Try every input; a row for each entrance and one for all."""
    verdicts = dict[str, list[Verdict]]((name, []) for name in ENTRANCES)
    start = time.monotonic()
    if setting.quick:
        for name, verdict in _here(setting):
            verdicts[name].append(verdict)
    else:
        _by_workers(setting, verdicts)
    rows = [_row(ENTRANCES[name].title, verdicts[name]) for name in ENTRANCES]
    everything = [verdict for several in verdicts.values() for verdict in several]
    total = _row("all", everything)
    setting.say(f"{len(everything):,} inputs in {time.monotonic() - start:.0f} s")
    return [*rows, Row(total.name, total.figures, summed=len(total.violations))]


def _row(title: str, verdicts: list[Verdict]) -> Row:
    outcomes = [verdict.outcome for verdict in verdicts]
    figures = {
        "inputs": len(verdicts),
        "refused": outcomes.count(REFUSED),
        "accepted": outcomes.count(ACCEPTED),
        "processor s": round(sum(verdict.seconds for verdict in verdicts)),
        "slowest, s": round(max((verdict.seconds for verdict in verdicts), default=0.0), 1),
    }
    wrong = sorted((verdict for verdict in verdicts if verdict.violation), key=lambda verdict: verdict.index)
    return Row(title, figures, tuple(f"{one.index} ({one.kind}): {one.violation}" for one in wrong))


def _here(setting: Setting) -> Iterator[tuple[str, Verdict]]:
    """The quick part, in this process, whose folder and environment are then as before."""
    place, environment = Path.cwd(), dict(os.environ)
    try:
        for name, kind in ENTRANCES.items():
            for index in sorted(random.Random(setting.seed).sample(range(kind.count), kind.quick)):
                yield name, judge(entrance_of(name, setting.folder / name), index, setting.seed)
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(environment)


def _by_workers(setting: Setting, verdicts: dict[str, list[Verdict]]) -> None:
    shares: queue.SimpleQueue[tuple[str, int, int]] = queue.SimpleQueue()
    for name, kind in sorted(ENTRANCES.items(), key=lambda entry: -entry[1].count):
        for start in range(0, kind.count, SHARE):
            shares.put((name, start, min(start + SHARE, kind.count)))
    crews = [_Crew(setting, number, shares, verdicts) for number in range(max(1, setting.workers))]
    for crew in crews:
        crew.start()
    for crew in crews:
        crew.join()
        if crew.problem is not None:
            raise crew.problem


class _Crew(threading.Thread):
    """Takes shares of the work and has a process of its own do them, a new one where that died."""

    def __init__(
        self,
        setting: Setting,
        number: int,
        shares: queue.SimpleQueue[tuple[str, int, int]],
        verdicts: dict[str, list[Verdict]],
    ) -> None:
        super().__init__(daemon=True)
        self.setting, self.shares, self.verdicts = setting, shares, verdicts
        self.folder = setting.folder / f"worker-{number}"
        self.process: subprocess.Popen[str] | None = None
        self.problem: BaseException | None = None

    def run(self) -> None:
        """Until nothing is left to do."""
        try:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._share(*self.shares.get_nowait())
        except BaseException as error:  # told by the thread that waits
            self.problem = error
        finally:
            self._end()

    def _share(self, name: str, start: int, stop: int) -> None:
        """The inputs of one share, over as many processes as it takes."""
        self.setting.say(f"{name} {start}…{stop}")
        while start < stop:
            verdict = None
            for verdict in self._verdicts(name, start, stop):
                self.verdicts[name].append(verdict)
                if verdict.violation:
                    self.setting.say(f"{name} {verdict.index} ({verdict.kind}): {verdict.violation}")
            start = verdict.index + 1 if verdict is not None else stop
        if self.process is not None and psutil.Process(self.process.pid).memory_info().rss > FRESH:
            self._end()

    def _verdicts(self, name: str, start: int, stop: int) -> Iterator[Verdict]:
        """Verdicts from `start` on, up to the first that ends its process."""
        process = self._alive()
        assert process.stdin is not None and process.stdout is not None
        asked = {"entrance": name, "start": start, "stop": stop, "seed": self.setting.seed}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        watch = _Watch(process)
        index = start
        for line in process.stdout:
            message: dict[str, Any] = json.loads(line)
            watch.heard()
            if "broken" in message:
                raise RuntimeError(f"the inputs cannot be made: {message['broken']}")
            if "done" in message:
                watch.stop.set()
                return
            if "outcome" in message:
                yield Verdict(**message)
            else:
                index = message["index"]
        watch.stop.set()
        code = process.wait()
        self.process = None
        how = "took more than a minute" if watch.ended else f"ended its process ({code})"
        yield Verdict(index, "", "died", STUCK if watch.ended else 0.0, how)

    def _alive(self) -> subprocess.Popen[str]:
        if self.process is None:
            command = [sys.executable, "-m", "tools.torture.worker", str(self.folder)]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=_environment(self.folder),
            )
        return self.process

    def _end(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


def _environment(folder: Path) -> dict[str, str]:
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}


class _Watch:
    """Ends a worker that spends too long on one input: by its processor time, or without any for as long."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.stop, self.ended = process, threading.Event(), False
        self._since = (time.monotonic(), self._used())
        threading.Thread(target=self._look, daemon=True).start()

    def heard(self) -> None:
        """It has begun or finished an input."""
        self._since = (time.monotonic(), self._used())

    def _used(self) -> float:
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return times.user + times.system

    def _look(self) -> None:
        while not self.stop.wait(LOOK):
            wall, used = self._since
            if self._used() - used > STUCK or time.monotonic() - wall > 5 * STUCK:
                self.ended = True
                self.process.kill()
                return
