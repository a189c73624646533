"""A real server, and visitors of it that speak Streamlit's protocol: browser tabs without the browser.

`serving` starts the app with a clock around every script run: wall time and processor time of its thread, as lines of
JSON in a log. A `Visitor` opens pages by link, sets widgets by their keys, asks for progress while a job lives as the
page does, and can lose its connection and come back as the same session. Fifty browsers would measure the browsers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import websockets

from eapgp.cli.dashboard import PUBLIC_OPTIONS
from eapgp.places import PUBLIC_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds for one rerun
UNANSWERED = 3.0  # seconds after which a fragment's rerun is given up: the server says nothing of one that is no more


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
    if os.environ.get(PUBLIC_VARIABLE) == "1":
        options = [part for key, value in PUBLIC_OPTIONS.items() for part in (f"--{key}", value)]
    else:
        options = []
    options += ["--server.headless=true", f"--server.port={port}", "--server.fileWatcherType=none"]
    sys.argv = ["streamlit", "run", str(ROOT / "app.py"), *options]
    main()


@contextlib.contextmanager
def serving(folder: Path, port: int, **environment: str) -> Iterator[Server]:
    """A server in a process of its own until the block ends; what it logs lies in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder, port, folder / "home", environment)
    try:
        server.start()
        yield server
    finally:
        server.end(signal.SIGTERM)


@dataclass
class Server:
    """A server that can be ended in any way and started again. scripts: its own times of script runs."""

    folder: Path
    port: int
    home: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def scripts(self) -> Path:
        """Where it notes how long each script run took."""
        return self.folder / "scripts.jsonl"

    @property
    def messages(self) -> Path:
        """What it wrote."""
        return self.folder / "server.log"

    def start(self) -> None:
        """Start it and wait until it answers. Errors: AssertionError where it does not."""
        environment = dict(os.environ) | {"EAPGP_HOME": str(self.home), "OMP_NUM_THREADS": "1"} | self.environment
        line = [sys.executable, "-m", "tools.torture.session", str(self.port), str(self.scripts)]
        with self.messages.open("ab") as output:
            self.process = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=output, stderr=output)
        wait_for(self.port, self.process)

    def end(self, number: int) -> float:
        """Send a signal and wait for the end; seconds that took. One that does not end within 30 s is killed."""
        if self.process is None:
            return 0.0
        started = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        return time.monotonic() - started

    @property
    def processes(self) -> list[psutil.Process]:
        """The server and its children."""
        assert self.process is not None
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def times(self, kind: str) -> list[dict[str, Any]]:
        """Its own times of one kind of script run: page or fragment."""
        lines = self.scripts.read_text().splitlines() if self.scripts.exists() else []
        return [line for line in map(json.loads, lines) if line["kind"] == kind]


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers."""
    for _ in range(1500):
        try:
            urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1)
            return
        except OSError:
            assert process.poll() is None, "the server did not start"
            time.sleep(0.2)
    raise AssertionError("the server did not answer within 300 s")


# -- one session --------------------------------------------------------------------------------------


@dataclass
class Visitor:
    """A browser tab without the browser."""

    port: int
    name: str
    seconds: list[tuple[str, float]] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    timers: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    page: str = ""
    query: str = ""
    cookie: str = ""
    session: str = ""

    async def __aenter__(self) -> Visitor:
        await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def reconnect(self) -> None:
        """Lose the connection without a word, and come back as the same session, as a browser does."""
        self.socket.transport.abort()
        await self._leave()
        await self._connect()

    async def _connect(self) -> None:
        self.socket = await websockets.connect(
            f"ws://localhost:{self.port}/_stcore/stream",
            subprotocols=["streamlit", *(("none", self.session) if self.session else ())],  # type: ignore[list-item]
            additional_headers={"Cookie": self.cookie} if self.cookie else {},
            max_size=None,
            ping_interval=None,
        )
        self.busy, self.finished = asyncio.Lock(), asyncio.Event()
        self.tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._tick())]

    async def _leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.socket.close()

    async def visit(self, page: str, query: str) -> float:
        """Follow a link: a page and its query, in a session of its own."""
        if self.session:
            await self._leave()
            self.session = ""
            await self._connect()
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
            try:
                await self._until_finished(UNANSWERED if fragment else PATIENCE)
            except TimeoutError:
                if not fragment:
                    raise
                self.timers.pop(fragment, None)  # a fragment that is no more; the server says nothing to that
            took = time.perf_counter() - start
            self.seconds.append((what, took))
            return took

    async def _until_finished(self, patience: float) -> None:
        done = asyncio.create_task(self.finished.wait())
        await asyncio.wait({done, self.tasks[0]}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            done.cancel()
            place = f"{self.name} at /{self.page}?{self.query}"
            if self.tasks[0].done():
                raise RuntimeError(f"{place}: {self.tasks[0].exception()}")
            raise TimeoutError(f"{place}: no answer within {patience:.0f} s")

    async def _listen(self) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        async for data in self.socket:
            message = ForwardMsg()
            message.ParseFromString(data)  # type: ignore[arg-type]
            kind = message.WhichOneof("type")
            if kind == "delta":
                self._remember(message.delta)
            elif kind == "auto_rerun":
                self.timers[message.auto_rerun.fragment_id] = [message.auto_rerun.interval, time.perf_counter()]
            elif kind == "page_info_changed":
                self.query = message.page_info_changed.query_string
            elif kind == "stop_auto_rerun":
                for fragment in message.stop_auto_rerun.fragment_ids:
                    self.timers.pop(fragment, None)
            elif kind == "new_session":
                self.session = message.new_session.initialize.session_id or self.session
                if not message.metadata.run.fragment_ids:  # the whole page is drawn anew
                    self.timers, self.ids = {}, {}
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                self.finished.set()

    def _remember(self, delta: Any) -> None:
        kind = delta.WhichOneof("type")
        if kind not in ("new_element", "add_block"):
            return
        holder = getattr(delta, kind)
        element: Any = getattr(holder, holder.WhichOneof("type") or "", None)
        if type(element).__name__ == "Exception":
            self.failures.append(f"/{self.page}?{self.query}: {element.type}: {element.message[:200]}")
        found = getattr(element, "id", "")
        if isinstance(found, str) and found.startswith("$$ID-"):
            self.ids[found.split("-", 2)[2]] = found

    async def _tick(self) -> None:
        """What the page does by itself while a job lives: rerun its progress, each at its own interval."""
        while True:
            await asyncio.sleep(0.1)
            for fragment, (interval, last) in list(self.timers.items()):
                due = fragment in self.timers and time.perf_counter() - last >= interval
                if due and not self.busy.locked():
                    self.timers[fragment][1] = time.perf_counter()
                    await self.rerun("progress", fragment)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
