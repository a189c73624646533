"""Twenty people browsing one server while a job runs: how long a rerun takes, and whether memory stays flat.

    python tests/load_sessions.py [--sessions 20] [--seconds 90] [--think 4] [--reruns 200] [--json OUT]

Each session is a websocket that speaks Streamlit's own protocol (no browser: twenty of them would measure
the browsers). It opens pages by link, moves the circuit's slider, opens tabs, changes settings, waits `think`
seconds on average in between, and asks for progress while a job lives, as the page does. A further session
keeps a long job running all the time.

- *rerun*: from sending the request to the message that says the script has finished, at the client;
- *script*: the same inside the server, around Streamlit's `ScriptRunner._run_script`, wall time and CPU time
  of that thread.

Then one session makes `--reruns` reruns over all pages with nothing else running; the server's resident
memory is read before, during and after. Exit code 1 where p95 of a rerun exceeds 1 s or memory grows by more
than 0.1 MB a rerun.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
LIMIT_SECONDS = 1.0
LIMIT_MB = 0.1  # per rerun
PATIENCE = 120  # seconds for one rerun
WARM_UP = 80  # reruns before memory is read: caches fill up to their max_entries
TASKS = ("ioi", "greater-than", "sva", "gender-bias", "hypernymy", "country-capital")
VISITS: tuple[tuple[str, Callable[[random.Random], str]], ...] = (
    ("", lambda draw: f"k={draw.randint(10, 500)}&task={draw.choice(TASKS)}"),
    ("", lambda draw: f"k={draw.randint(10, 500)}&tab={draw.choice(['map', 'spread', 'curve', 'check', 'made'])}"),
    ("compare", lambda draw: f"k={draw.randint(10, 300)}&tab={draw.choice(['scatter', 'overlap', 'sets', 'costs'])}"),
    ("path", lambda draw: f"task={draw.choice(TASKS)}"),
    ("faithfulness", lambda draw: f"k={draw.randint(10, 300)}"),
    ("ground_truth", lambda draw: f"k={draw.randint(10, 300)}"),
    ("prompts", lambda draw: f"task={draw.choice(TASKS)}&pairs={draw.choice([8, 16, 64])}"),
    ("runs", lambda draw: "show=examples"),
)


# -- the server, with a clock around every script run -----------------------------------------------


def serve(port: int, log: Path) -> None:
    """Run the app in this process, noting how long each script run took."""
    from streamlit.runtime.scriptrunner import script_runner
    from streamlit.web.cli import main

    run_script, lock = script_runner.ScriptRunner._run_script, threading.Lock()

    def timed(self: Any, rerun_data: Any) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            run_script(self, rerun_data)
        finally:
            kind = "fragment" if rerun_data.fragment_id_queue else "page"
            line = {"kind": kind, "wall": time.perf_counter() - wall, "cpu": time.thread_time() - cpu}
            with lock, log.open("a") as out:
                out.write(json.dumps(line | {"page": rerun_data.page_name or ""}) + "\n")

    script_runner.ScriptRunner._run_script = timed  # type: ignore[method-assign]
    options = ["--server.headless=true", f"--server.port={port}", "--server.fileWatcherType=none"]
    sys.argv = ["streamlit", "run", str(ROOT / "app.py"), *options]
    main()


# -- one session --------------------------------------------------------------------------------------


@dataclass
class Visitor:
    """A browser tab without the browser."""

    port: int
    name: str
    seconds: list[tuple[str, float]] = field(default_factory=list)
    received: int = 0
    ids: dict[str, str] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    page: str = ""
    query: str = ""
    fragment: str = ""

    async def __aenter__(self) -> Visitor:
        import websockets

        address = f"ws://localhost:{self.port}/_stcore/stream"
        self.socket = await websockets.connect(address, subprotocols=["streamlit"], max_size=None, ping_interval=None)  # type: ignore[list-item]
        self.busy, self.finished, self.drawn = asyncio.Lock(), asyncio.Event(), 0
        self.tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._tick())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await self.socket.close()

    async def visit(self, page: str, query: str) -> float:
        """Follow a link: a page and its query."""
        self.page, self.query = page, query
        self.ids, self.states, self.timers = {}, {}, {}
        return await self.rerun("visit")

    async def change(self, key: str, kind: str, value: Any) -> float | None:
        """Set a widget by its key; None where the page has none of it."""
        if key not in self.ids:
            return None
        self.states[key] = (kind, value)
        took = await self.rerun("change")
        if kind == "trigger_value":
            del self.states[key]
        return took

    async def rerun(self, what: str, fragment: str = "") -> float:
        """Ask for a rerun and wait until the server says that it is done; the seconds that took."""
        from streamlit.proto.BackMsg_pb2 import BackMsg

        async with self.busy:
            message = BackMsg()
            state = message.rerun_script
            self.fragment = fragment
            state.query_string, state.page_name, state.fragment_id = self.query, self.page, fragment
            state.is_auto_rerun = bool(fragment)
            state.context_info.color_scheme = "light"
            for key, (kind, value) in self.states.items():
                if key in self.ids:
                    one = state.widget_states.widgets.add()
                    one.id = self.ids[key]
                    setattr(one, kind, value)
            self.finished.clear()
            start = time.perf_counter()
            await self.socket.send(message.SerializeToString())
            await self._until_finished()
            took = time.perf_counter() - start
            self.seconds.append((what, took))
            return took

    async def _until_finished(self) -> None:
        done = asyncio.create_task(self.finished.wait())
        await asyncio.wait({done, self.tasks[0]}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            done.cancel()
            cause = self.tasks[0].exception() if self.tasks[0].done() else f"no answer within {PATIENCE} s"
            raise RuntimeError(f"{self.name} at /{self.page}?{self.query}: {cause}")

    async def _listen(self) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        async for data in self.socket:
            self.received += len(data)
            message = ForwardMsg()
            message.ParseFromString(data)  # type: ignore[arg-type]
            kind = message.WhichOneof("type")
            if kind == "delta":
                self._remember(message.delta)
            elif kind == "auto_rerun":
                self.timers[message.auto_rerun.fragment_id] = message.auto_rerun.interval
            elif kind == "page_info_changed":
                self.query = message.page_info_changed.query_string
            elif kind == "stop_auto_rerun":
                for fragment in message.stop_auto_rerun.fragment_ids:
                    self.timers.pop(fragment, None)
            elif kind == "new_session" and not self.fragment:
                self.timers = {}
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                self.finished.set()

    def _remember(self, delta: Any) -> None:
        kind = delta.WhichOneof("type")
        if kind not in ("new_element", "add_block"):
            return
        holder = getattr(delta, kind)
        element = getattr(holder, holder.WhichOneof("type") or "", None)
        if type(element).__name__ == "Exception":
            self.failures.append(f"/{self.page}?{self.query}: {element.type}: {element.message[:200]}")
        found = getattr(element, "id", "")
        if isinstance(found, str) and found.startswith("$$ID-"):
            self.ids[found.split("-", 2)[2]] = found

    async def _tick(self) -> None:
        """What the page does by itself while a job lives: rerun its progress."""
        while True:
            await asyncio.sleep(0.5)
            for fragment in list(self.timers):
                if not self.busy.locked():
                    await self.rerun("progress", fragment)


async def browse(visitor: Visitor, draw: random.Random, until: float, think: float) -> None:
    """Look around until a time."""
    while time.perf_counter() < until:
        page, query = draw.choice(VISITS)
        await visitor.visit(page, query(draw))
        for _ in range(draw.randint(1, 4)):
            await asyncio.sleep(draw.uniform(0.5, 1.5) * think)
            if time.perf_counter() >= until:
                return
            await act(visitor, draw)


async def act(visitor: Visitor, draw: random.Random) -> None:
    """One thing that a visitor does on a page."""
    moves = []
    views = [key for key in visitor.ids if key.endswith("-circuit")]
    if views:
        state = json.dumps({"view": {"n": draw.randint(10, 800)}})
        moves += [(views[0], "json_value", state)] * 3
    if "field-seed" in visitor.ids:
        moves += [("field-seed", "double_value", float(draw.choice([0, 0, 1]))), ("field-pairs", "double_value", 64.0)]
    if "field-k" in visitor.ids:
        moves.append(("field-k", "double_value", float(draw.randint(10, 300))))
    await visitor.change(*draw.choice(moves)) if moves else await visitor.rerun("again")


async def keep_busy(visitor: Visitor, until: float) -> int:
    """Keep a long job running; how many were started."""
    started = 0
    while time.perf_counter() < until:
        started += 1
        await visitor.visit("", f"method=exact&pairs=400&seed={time.time_ns() % 2**30}")
        await visitor.change("run-button", "trigger_value", True)
        await asyncio.sleep(2)
        while visitor.timers and time.perf_counter() < until:
            await asyncio.sleep(0.5)
    await visitor.change("cancel-button", "trigger_value", True)
    return started


# -- the two measurements -----------------------------------------------------------------------------


async def crowd(port: int, sessions: int, seconds: float, think: float) -> tuple[list[Visitor], int]:
    """Sessions browsing at the same time as a job runs; the visitors and how many jobs were started."""
    async with Visitor(port, "worker") as worker:
        until = time.perf_counter() + seconds
        jobs = asyncio.create_task(keep_busy(worker, until - 1))
        visitors = [Visitor(port, f"session {i}") for i in range(sessions)]

        async def one(index: int, visitor: Visitor) -> None:
            draw = random.Random(index)
            await asyncio.sleep(draw.uniform(0, think))
            async with visitor:
                await browse(visitor, draw, until, think)

        await asyncio.gather(*(one(i, visitor) for i, visitor in enumerate(visitors)))
        return visitors, await jobs


async def memory(port: int, process: psutil.Process, reruns: int) -> tuple[list[tuple[int, float]], list[str]]:
    """`(rerun, MB)` of the server while one session goes through all pages again and again."""
    draw, samples, done = random.Random(7), [], 0
    async with Visitor(port, "memory") as visitor:
        while done < reruns + WARM_UP:
            page, query = VISITS[(done // 4) % len(VISITS)]
            await visitor.visit(page, query(draw))
            for _ in range(3):
                await act(visitor, draw)
            done += 4
            samples.append((done, resident(process)))
        return samples, visitor.failures


def resident(process: psutil.Process) -> float:
    """MB of the server and its children."""
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20


def quantiles(values: list[float]) -> dict[str, float]:
    """How many, p50, p95, p99 and the largest."""
    if not values:
        return {"n": 0}
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"n": len(values), "p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3), "max": max(values)}


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers."""
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1)
            return
        except OSError:
            assert process.poll() is None, "the server did not start"
            time.sleep(0.2)
    raise AssertionError("the server did not answer within 60 s")


def read_log(log: Path, kind: str) -> list[dict[str, Any]]:
    """The server's own times of one kind of script run."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if line["kind"] == kind]


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Start a server, let the crowd in, then watch the memory."""
    with tempfile.TemporaryDirectory() as folder:
        log, environment = Path(folder) / "scripts.jsonl", dict(os.environ)
        environment |= {"EAPGP_HOME": asked.home or f"{folder}/home", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--serve", str(asked.port), str(log)]
        with (Path(folder) / "server.log").open("wb") as output:
            server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            wait_for(asked.port, server)
            process = psutil.Process(server.pid)
            asyncio.run(crowd(asked.port, 2, 12, 1.0))  # imports and the first look at every page are not the crowd's
            log.unlink(missing_ok=True)
            visitors, jobs = asyncio.run(crowd(asked.port, asked.sessions, asked.seconds, asked.think))
            script = read_log(log, "page")
            progress = read_log(log, "fragment")
            samples, failures = asyncio.run(memory(asked.port, process, asked.reruns))
        finally:
            server.terminate()
            server.wait(20)
    return summary(asked, visitors, jobs, script, progress, samples, failures)


def summary(
    asked: argparse.Namespace,
    visitors: list[Visitor],
    jobs: int,
    script: list[dict[str, Any]],
    progress: list[dict[str, Any]],
    samples: list[tuple[int, float]],
    failures: list[str],
) -> dict[str, Any]:
    """What was found, as plain values."""
    reruns = [took for visitor in visitors for what, took in visitor.seconds if what != "progress"]
    after = [(n, mb) for n, mb in samples if n > WARM_UP]
    slope = float(np.polyfit([n for n, _ in after], [mb for _, mb in after], 1)[0])
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "sessions": asked.sessions,
        "seconds": asked.seconds,
        "think_seconds": asked.think,
        "jobs_started": jobs,
        "rerun_seconds": quantiles(reruns),
        "reruns_per_second": round(len(reruns) / asked.seconds, 2),
        "script_wall_seconds": quantiles([line["wall"] for line in script]),
        "script_cpu_seconds": quantiles([line["cpu"] for line in script]),
        "progress_wall_seconds": quantiles([line["wall"] for line in progress]),
        "megabytes_received_per_session": round(sum(v.received for v in visitors) / 1e6 / max(1, len(visitors)), 2),
        "memory_reruns": after[-1][0] - after[0][0],
        "memory_mb_before": round(after[0][1], 1),
        "memory_mb_after": round(after[-1][1], 1),
        "memory_mb_per_rerun": round(slope, 4),
        "exceptions": sorted({text for visitor in visitors for text in visitor.failures} | set(failures)),
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "LOG"), help=argparse.SUPPRESS)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--think", type=float, default=4.0, help="mean seconds between two actions of a session")
    parser.add_argument("--reruns", type=int, default=200, help="reruns over which memory is watched")
    parser.add_argument("--port", type=int, default=8655)
    parser.add_argument("--home", help="run library of the server; an empty one by default")
    parser.add_argument("--json", type=Path, help="write the result to this file too")
    asked = parser.parse_args()
    if asked.serve:
        serve(int(asked.serve[0]), Path(asked.serve[1]))
        return 0
    found = measure(asked)
    text = json.dumps(found, indent=1)
    print(text)
    if asked.json:
        asked.json.write_text(text + "\n")
    slow = found["rerun_seconds"]["p95"] > LIMIT_SECONDS
    return int(slow or found["memory_mb_per_rerun"] > LIMIT_MB or bool(found["exceptions"]))


if __name__ == "__main__":
    sys.exit(main())
