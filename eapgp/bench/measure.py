"""Time and memory of one piece of work, measured from inside the process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # glibc's names for mallopt
SMALL, USUAL = 2**16, 2**25  # bytes above which memory goes back at once: while measuring, and as glibc settles


@dataclass(frozen=True)
class Timing:
    """Seconds of each run, and the most memory that tensors took at once beyond what was there before, in MB.

    Both on a CUDA device and on the CPU these are torch's own allocations, on that device.
    """

    seconds: tuple[float, ...]
    peak_mb: float

    @property
    def best(self) -> float:
        """Shortest run in seconds."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """Median run in seconds."""
        return float(np.median(self.seconds))


class PeakMemory:
    """Largest resident size of the process while it is open: tensors, and whatever libraries and the system add.

    Freed memory is handed back at once meanwhile, so that what earlier work left behind hides nothing.
    The kernel's own high-water mark is read where there is one (Linux); elsewhere the size is sampled.
    """

    def __init__(self, interval: float = 0.004) -> None:
        import psutil

        self._process, self._interval = psutil.Process(), interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.start = self.peak = 0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        _return_freed_memory(SMALL)
        self.start = self.peak = self._process.memory_info().rss
        if not _reset_high_water():
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(self._interval):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.peak = max(self.peak, self._process.memory_info().rss, _high_water())
        _return_freed_memory(USUAL)

    @property
    def mb(self) -> float:
        """Largest growth in MB."""
        return (self.peak - self.start) / 2**20


def _return_freed_memory(threshold: int) -> None:
    """Tell glibc to give blocks above `threshold` bytes back when they are freed; elsewhere nothing."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(MMAP_THRESHOLD, threshold)
        libc.mallopt(TRIM_THRESHOLD, 2 * threshold)
        libc.malloc_trim(0)


def _reset_high_water() -> bool:
    """Start the kernel's high-water mark anew; whether that was possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return _high_water() > 0


def _high_water() -> int:
    """The process's largest resident size in bytes since the last reset; 0 where the kernel does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def measure(work: Mapping[str, Callable[[], Any]], *, repeats: int, cuda: bool = False) -> dict[str, Timing]:
    """Run every piece of work once for its memory, then `repeats` times in turn, so that drift hits all alike.

    The first run also serves as the warm-up. repeats = 0: the first run's time is taken too.
    """
    first = {name: _with_memory(run, cuda) for name, run in work.items()}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, run in work.items():
            seconds[name].append(_seconds(run, cuda))
    return {name: Timing(tuple(seconds[name]) or (once,), memory) for name, (once, memory) in first.items()}


def _with_memory(run: Callable[[], Any], cuda: bool) -> tuple[float, float]:
    """Seconds and peak memory in MB of one run."""
    if cuda:
        import torch

        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        seconds = _seconds(run, cuda)
        return seconds, (torch.cuda.max_memory_allocated() - before) / 2**20
    return _allocated(run)


def _allocated(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds and peak MB of torch's allocations on the CPU, from its profiler's records of every one of them."""
    from torch.profiler import ProfilerActivity, profile

    recorder = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with _silent(), recorder:
        seconds = _seconds(run, False)
    results = getattr(recorder.profiler, "kineto_results", None)
    records = [] if results is None else [e for e in results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(records, key=lambda e: int(e.start_ns()))]
    return seconds, float(np.cumsum([0, *changes]).max()) / 2**20


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what the profiler's C++ side writes off the standard error stream."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _seconds(run: Callable[[], Any], cuda: bool) -> float:
    if cuda:
        import torch

        torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def exponent(sizes: list[float], values: list[float]) -> float:
    """Slope of log value over log size: 1 is linear growth. NaN where a value is not positive."""
    if min(values) <= 0:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was before."""
    import psutil
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "real_time": _real_time(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _real_time() -> bool:
    """Whether this process goes before all ordinary ones, so that other work disturbs it less."""
    if not hasattr(os, "sched_getscheduler"):
        return False
    return os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)


def _processor() -> str:
    """The processor's own name where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
