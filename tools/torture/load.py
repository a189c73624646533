"""Load: a class on one server of two cores, and a server that has been up for long.

1. *crowd*: fifty sessions that browse for ten minutes (pages by link, sliders, tabs, settings, some seconds apart),
   while five jobs of one of them wait or run. No error; p95 of a rerun (from the request to the message that the
   script has finished, at the client) at most 1.5 s on an otherwise idle machine; memory flat. Beside it the load
   average, and the processor time of the server per rerun: of the script's thread, and of the whole process.
2. *many jobs*: 500 jobs one after the other in the same server, or as many as fit into five minutes: memory, open
   files, threads and temporary files stay flat.
3. *fair queue*: on a public server one visitor queues twenty jobs; another's first does not wait for them.

`--seconds` below the part's own shortens all of it alike.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.places import PUBLIC_VARIABLE
from eapgp.runs.library import RunLibrary
from tools.torture.session import Server, Visitor, serving
from tools.torture.slurm import free_port
from tools.torture.table import PARTS, Row, Setting

SESSIONS, SECONDS, JOBS, QUEUED = 50, 600.0, 500, 5
THINK = 10.0
"""Mean seconds between two actions of a session: people look at what came."""
JOBS_SECONDS, WAIT = 300.0, 300.0
"""What the jobs may take in all, and what a single run is waited for."""
LIMIT_SECONDS = 1.5
"""For p95 of a rerun."""
CROWD_MB, JOB_MB = 100.0, 0.1
"""What memory may grow by in the second half of the crowd's time, and by a job."""
WARM_UP = 100
"""Jobs before memory is read: caches fill up."""
MORE = 5
"""Files, threads or temporary files that may be more after the jobs than before."""
ASKED = 20
"""Jobs of the one visitor."""
BETWEEN = 3
"""Of these jobs that may come before the other's first: theirs that runs, and one for each of the
other's (the page asks how well the model does before the run)."""
TASKS = ("ioi", "greater-than", "sva", "gender-bias", "hypernymy", "country-capital")
TABS = ("map", "curve", "check", "made")
VISITS: tuple[tuple[str, Callable[[random.Random], str]], ...] = (
    ("", lambda draw: f"task={draw.choice(TASKS)}"),
    ("explore", lambda draw: f"k={draw.randint(10, 500)}&task={draw.choice(TASKS)}"),
    ("explore", lambda draw: f"k={draw.randint(10, 500)}&tab={draw.choice(TABS)}"),
    ("compare", lambda draw: f"k={draw.randint(10, 300)}&tab={draw.choice(['scatter', 'overlap', 'sets', 'costs'])}"),
    ("path", lambda draw: f"task={draw.choice(TASKS)}"),
    ("faithfulness", lambda draw: f"k={draw.randint(10, 300)}"),
    ("ground_truth", lambda draw: f"k={draw.randint(10, 300)}"),
    ("prompts", lambda draw: f"task={draw.choice(TASKS)}&pairs={draw.choice([8, 16, 64])}"),
    ("runs", lambda draw: "show=examples"),
)


def run(setting: Setting) -> list[Row]:
    """A row for each of the three."""
    share = min(1.0, setting.seconds / PARTS["load"].seconds)
    with serving(setting.folder / "crowd", free_port()) as server:
        setting.say(f"{SESSIONS} sessions for {SECONDS * share:.0f} s")
        rows = [asyncio.run(crowd(server, SECONDS * share))]
        setting.say(f"{JOBS * share:.0f} jobs")
        rows.append(asyncio.run(many_jobs(server, round(JOBS * share), JOBS_SECONDS * share)))
    setting.say("one visitor's twenty jobs and another's first")
    with serving(setting.folder / "public", free_port(), **{PUBLIC_VARIABLE: "1"}) as server:
        return [*rows, asyncio.run(fair_queue(server))]


# ---- the crowd -----------------------------------------------------------------------------------


async def browse(visitor: Visitor, draw: random.Random, until: float) -> None:
    """Look around until a time."""
    while time.perf_counter() < until:
        page, query = draw.choice(VISITS)
        await visitor.visit(page, query(draw))
        for _ in range(draw.randint(1, 4)):
            await asyncio.sleep(draw.uniform(0.5, 1.5) * THINK)
            if time.perf_counter() >= until:
                return
            await act(visitor, draw)


async def act(visitor: Visitor, draw: random.Random) -> None:
    """One thing that a visitor does on a page."""
    moves: list[tuple[str, str, Any]] = []
    views = [key for key in visitor.ids if key.endswith("-circuit")]
    if views:
        state = json.dumps({"view": {"n": draw.randint(10, 800)}})
        moves += [(views[0], "json_value", state)] * 3
    if "field-seed" in visitor.ids:
        moves += [("field-seed", "double_value", float(draw.choice([0, 0, 1]))), ("field-pairs", "double_value", 64.0)]
    if "field-k" in visitor.ids:
        moves.append(("field-k", "double_value", float(draw.randint(10, 300))))
    await visitor.change(*draw.choice(moves)) if moves else await visitor.rerun("again")


async def keep_queued(visitor: Visitor, library: RunLibrary, until: float) -> int:
    """Keep five jobs waiting or running; how many were asked for. No seed comes twice: its run would be there."""
    asked, before = 0, len(library.folders())
    first = before + QUEUED  # as many as may have been asked for before
    await visitor.visit("explore", "method=eap-gp&pairs=64&steps=20&seed=1")
    while time.perf_counter() < until:
        if asked - (len(library.folders()) - before) < QUEUED:
            asked += 1
            await ask(visitor, first + asked)
        await asyncio.sleep(1.0)
    return asked


async def ask(visitor: Visitor, seed: int) -> None:
    """Ask for the run of the page's settings on the pairs of a seed."""
    await visitor.change("field-seed", "double_value", float(seed))
    await visitor.change("run-button", "trigger_value", True)


async def stoppable(visitor: Visitor) -> list[str]:
    """The buttons that cancel a waiting or running job, as every page lists them."""
    await visitor.visit("runs", "")
    return [key for key in visitor.ids if key.startswith("bar-cancel-run-")]


async def cancel_all(visitor: Visitor) -> None:
    """Cancel what waits and runs: a page lists some of it at a time."""
    for _ in range(QUEUED):
        for key in await stoppable(visitor):
            await visitor.change(key, "trigger_value", True)


async def crowd(server: Server, seconds: float) -> Row:
    """Sessions browsing while jobs wait and run."""
    await _browsing(server, 2, 20.0)  # imports and the first look at every page are not the crowd's
    server.scripts.unlink(missing_ok=True)
    before, load = _processor(server), os.getloadavg()[0]
    visitors, jobs, samples = await _browsing(server, SESSIONS, seconds)
    reruns = [one for visitor in visitors for what, one in visitor.seconds if what != "progress"]
    scripts = [one["cpu"] for one in server.times("page")]
    p95 = float(np.percentile(reruns, 95))
    late = samples[len(samples) // 2 :]
    growth = float(np.polyfit([at for at, _ in late], [mb for _, mb in late], 1)[0]) * (late[-1][0] - late[0][0])
    figures = {
        "jobs": jobs,
        "reruns": len(reruns),
        "rerun p50, s": float(np.median(reruns)),
        "rerun p95, s": p95,
        "script of a rerun, processor s": float(np.mean(scripts)),
        "server per rerun, processor s": (_processor(server) - before) / len(reruns),
        "load average before and after": f"{load:.1f}, {os.getloadavg()[0]:.1f}",
        "MB before": samples[0][1],
        "MB after": samples[-1][1],
        "MB, second half": growth,
    }
    wrong = sorted({text for visitor in visitors for text in visitor.failures})
    wrong += [line for line in server.messages.read_text("utf-8", "replace").splitlines() if "Traceback" in line][:3]
    if p95 > LIMIT_SECONDS:
        wrong.append(
            f"p95 of a rerun is {p95:.2f} s, more than {LIMIT_SECONDS} s; the load average was {load:.1f} before"
        )
    if growth > CROWD_MB:
        wrong.append(f"memory grows by {growth:.0f} MB in the second half")
    return Row(
        f"{SESSIONS} sessions, an action each {THINK:.0f} s, {QUEUED} jobs at a time, {seconds:.0f} s",
        figures,
        tuple(wrong),
    )


async def _browsing(
    server: Server, sessions: int, seconds: float
) -> tuple[list[Visitor], int, list[tuple[float, float]]]:
    """The visitors, how many jobs were asked for, and `(seconds, MB)` of the server."""
    start, samples = time.perf_counter(), [(0.0, _memory(server))]
    until = start + seconds

    async def one(index: int, visitor: Visitor) -> None:
        draw = random.Random(index)
        await asyncio.sleep(draw.uniform(0, THINK))
        async with visitor:
            await browse(visitor, draw, until)

    async def look() -> None:
        while time.perf_counter() < until:
            await asyncio.sleep(2)
            samples.append((time.perf_counter() - start, _memory(server)))

    visitors = [Visitor(server.port, f"session {index}") for index in range(sessions)]
    async with Visitor(server.port, "worker") as worker:
        jobs = asyncio.create_task(keep_queued(worker, RunLibrary(server.home), until))
        await asyncio.gather(look(), *(one(index, visitor) for index, visitor in enumerate(visitors)))
        asked = await jobs
        await cancel_all(worker)
    return [*visitors, worker], asked, samples


def _memory(server: Server) -> float:
    """MB that the server and its children hold."""
    return sum(one.memory_info().rss for one in server.processes) / 2**20


def _processor(server: Server) -> float:
    """Seconds of processor time of the server so far, without its children."""
    times = server.processes[0].cpu_times()
    return float(times.user + times.system)


# ---- many jobs -----------------------------------------------------------------------------------


async def many_jobs(server: Server, jobs: int, seconds: float) -> Row:
    """Jobs one after the other, each a run of its own; no more are begun after so many seconds."""
    library = RunLibrary(server.home)
    async with Visitor(server.port, "many") as visitor:
        await visitor.visit("explore", "method=random&pairs=3")  # of one pair two seeds may draw the same
        before, samples, start = len(library.folders()), [], time.monotonic()
        for number in range(1, jobs + 1):
            if time.monotonic() - start > seconds and number > 2:
                break
            await ask(visitor, 10_000 + number)
            until = time.monotonic() + WAIT
            while len(library.folders()) < before + number and time.monotonic() < until:
                await asyncio.sleep(0.05)
            samples.append((number, _state(server)))
        wrong = sorted(set(visitor.failures))
    done = len(library.folders()) - before
    late = samples[min(WARM_UP, len(samples) // 2) :]
    (_, first), (_, last) = late[0], late[-1]
    slope = float(np.polyfit([number for number, _ in late], [state["MB"] for _, state in late], 1)[0])
    wrong += [] if done == len(samples) else [f"{done} of {len(samples)} jobs gave a run"]
    wrong += [f"memory grows by {slope:.2f} MB a job"] if slope > JOB_MB else []
    wrong += [
        f"{name}: {first[name]} before, {last[name]} after"
        for name in first
        if name != "MB" and last[name] > first[name] + MORE
    ]
    figures = {name: f"{first[name]:,.0f}, {last[name]:,.0f}" for name in first} | {"MB a job": slope}
    title = f"{len(samples)} jobs{'' if len(samples) == jobs else f' of {jobs}'}, after {late[0][0]} and at the end"
    return Row(title, figures, tuple(wrong))


def _state(server: Server) -> dict[str, float]:
    first = server.processes[0]
    temporary = [*(server.home / "tmp").glob("*"), *Path(tempfile.gettempdir()).glob("eapgp*")]
    return {
        "MB": _memory(server),
        "open files": first.num_fds(),
        "threads": first.num_threads(),
        "temporary files": len(temporary),
    }


# ---- fair queue ----------------------------------------------------------------------------------


async def fair_queue(server: Server) -> Row:
    """Twenty jobs of one visitor, then one of another; how many of the first's came before the other's."""
    anna, bert = (Visitor(server.port, name, cookie=f"eapgp-visitor={name * 10}") for name in ("anna", "bert"))
    runs = server.home / "visitors"
    async with anna, bert:
        await anna.visit("explore", "method=exact&pairs=16")
        for seed in range(1, ASKED + 1):
            await ask(anna, seed)
        await bert.visit("explore", "method=eap&pairs=3&task=sva&seed=77")
        before, started = _runs_of(runs, "ioi"), time.monotonic()
        await bert.change("run-button", "trigger_value", True)
        while not _runs_of(runs, "sva") and time.monotonic() - started < WAIT:
            await asyncio.sleep(0.1)
        between, mine, took = _runs_of(runs, "ioi") - before, _runs_of(runs, "sva"), time.monotonic() - started
        await cancel_all(anna)
        wrong = sorted({*anna.failures, *bert.failures})
    figures = {"waiting before it": ASKED - before, "of these before it": between, "seconds": took}
    wrong += [] if mine else [f"the other visitor's job gave no run within {WAIT:.0f} s"]
    wrong += [] if ASKED - before > BETWEEN else [f"only {ASKED - before} jobs waited, which shows nothing"]
    wrong += [f"{between} jobs of one visitor came before the other's first"] if between > BETWEEN else []
    return Row("one visitor's 20 jobs and another's first", figures, tuple(wrong))


def _runs_of(homes: Path, task: str) -> int:
    records = [json.loads(path.read_text()) for path in homes.glob("*/runs/*/run.json")]
    return sum(record["request"]["task"] == task for record in records)
