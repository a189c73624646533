"""Work that may die, in a process of its own: reading what a stranger made can panic, be killed or take all memory.

`in_child` starts a fresh Python, which calls one function of this project and answers in lines of JSON: progress, then
a result or what went wrong. Nothing pickled crosses the pipe. The child ends with its limits of memory (of what it
allocates; files that are only mapped do not count) and of silence, with the server, or when the work is cancelled.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import psutil

from eapgp import errors
from eapgp.errors import ComputationError, EapgpError, InputError, one_line
from eapgp.types import Progress

EVERY = 0.05  # seconds between two looks at a child
PARSING = 2 * 10**9  # bytes that reading an upload may take
SHARE = 0.8  # of the memory that is free now
_LOG = logging.getLogger("eapgp.ui.jobs")
_OUT_OF_MEMORY = "memory"


@dataclass(frozen=True)
class Limits:
    """What a child may take. memory: bytes beside what its libraries take. seconds: between two words of it."""

    memory: int
    seconds: float

    @classmethod
    def now(cls, *, memory: int | None = None, seconds: float) -> Limits:
        """At most `memory`, and most of what is free at this moment."""
        free = int(SHARE * psutil.virtual_memory().available)
        return cls(free if memory is None else min(memory, free), seconds)


def in_child(
    what: str,
    function: Callable[..., Any],
    values: Mapping[str, Any],
    limits: Limits,
    *,
    progress: Progress | None = None,
) -> Any:
    """What a function of a module makes of the values (and of `progress=`); all of it plain, as JSON holds it.

    what: what is read, for messages.
    Errors: the function's own, if it is an `EapgpError`; ComputationError where the child was ended by a limit, by a
    signal or by a panic; `Cancelled`, raised by `progress`, ends it.
    """
    target = [function.__module__, function.__name__]
    asked = {"target": target, "values": dict(values), "memory": limits.memory}
    with _started(asked) as child:
        answer = _answer(child, what, limits, progress)
    if "result" in answer:
        return answer["result"]
    if "error" in answer:
        kind, message = answer["error"]
        known = getattr(errors, kind, InputError)
        raise known(message) if issubclass(known, EapgpError) else InputError(message)
    if answer.get("died") == _OUT_OF_MEMORY:
        raise ComputationError(_too_large(what, limits))
    _LOG.error("the process that read %s failed: %s", what, answer.get("trace", ""))
    raise ComputationError(f"{what} cannot be read: the library that reads it failed ({answer['died']}).")


def _too_large(what: str, limits: Limits) -> str:
    most = f"{limits.memory / 1e9:.1f} GB of memory"
    return f"{what}: reading it took more than the {most} that it may take here; use a smaller one."


@contextlib.contextmanager
def _started(asked: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # it died at once, which its answer tells
            child.stdin.write(json.dumps(asked).encode() + b"\n")
            child.stdin.flush()  # stays open: its end tells the child that nobody waits any more
        yield child
    finally:
        child.kill()
        child.wait()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()


def _answer(child: subprocess.Popen[bytes], what: str, limits: Limits, progress: Progress | None) -> dict[str, Any]:
    """The child's last line, or how it died."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(child.stdout, lines), daemon=True).start()
    phase, fraction, heard, base = "loading", 0.0, time.monotonic(), 0
    while True:
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=EVERY)
            heard = time.monotonic()
            if not line:
                return _death(child)
            message: dict[str, Any] = json.loads(line)
            if "ready" in message:
                base = message["ready"]
            elif "progress" in message:
                phase, fraction = message["progress"]
            else:
                return message
        if progress is not None:
            progress(phase, fraction)
        if base and _held(child.pid) - base > limits.memory:
            raise ComputationError(_too_large(what, limits))
        if time.monotonic() - heard > limits.seconds:
            raise ComputationError(f"{what}: reading it took more than {limits.seconds:.0f} s; use a smaller one.")


def _read(pipe: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed, since nobody waits any more
        for line in pipe:
            lines.put(line)
    lines.put(b"")


def _death(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    code = child.wait()
    if code < 0:
        memory = ", perhaps for lack of memory" if -code in (signal.SIGABRT, getattr(signal, "SIGKILL", 9)) else ""
        return {"died": f"ended by signal {-code}{memory}"}
    return {"died": f"ended with exit code {code}"}


def _held(pid: int) -> int:
    """Bytes of memory that belong to a process alone; 0 where it is gone."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - getattr(memory, "shared", 0))


# ---- in the child --------------------------------------------------------------------------------


def main() -> None:
    """The child: one line of JSON in, lines of JSON out."""
    asked = json.loads(sys.stdin.buffer.readline())
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    threading.Thread(target=_end_with_the_server, daemon=True).start()

    def say(**message: Any) -> None:
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()

    def progress(phase: str, fraction: float) -> None:
        say(progress=[phase, float(fraction)])

    try:
        module, name = asked["target"]
        function = getattr(importlib.import_module(module), name)
        _limit(asked["memory"])
        say(ready=_held(os.getpid()))
        result = function(**asked["values"], progress=progress)
    except EapgpError as error:
        say(error=[type(error).__name__, one_line(error)])
    except MemoryError:
        say(died=_OUT_OF_MEMORY)
    except BaseException as error:  # a panic of a Rust library is no Exception
        say(died=type(error).__name__, trace=one_line(error))
    else:
        say(result=result)
    os._exit(0)  # threads of libraries are not waited for


def _limit(memory: int) -> None:
    """Let no more than this be allocated from now on, where the system can see to that; the server looks too."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        held = psutil.Process().memory_info()
        data = int(getattr(held, "data", held.vms)) + memory
        resource.setrlimit(resource.RLIMIT_DATA, (data, data))


def _end_with_the_server() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
