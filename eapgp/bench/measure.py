"""Time and memory of one piece of work, measured from inside the process."""

from __future__ import annotations

import gc
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measured:
    """Seconds of each run, and the largest memory above what was there before, in MB.

    On a CUDA device the memory is the device's, else the process's resident size, sampled.
    """

    seconds: tuple[float, ...]
    peak_mb: float

    @property
    def best(self) -> float:
        """Shortest run in seconds."""
        return min(self.seconds)


class PeakMemory:
    """Samples the process's resident size every few milliseconds while it is open."""

    def __init__(self, interval: float = 0.004) -> None:
        import psutil

        self._process, self._interval = psutil.Process(), interval
        self._stop = threading.Event()
        self.start = self.peak = 0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        self.start = self.peak = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(self._interval):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, self._process.memory_info().rss)

    @property
    def mb(self) -> float:
        """Largest growth in MB."""
        return (self.peak - self.start) / 2**20


def measure(work: Mapping[str, Callable[[], Any]], *, repeats: int, cuda: bool = False) -> dict[str, Measured]:
    """Run every piece of work once to warm up, then `repeats` times in turn, so that drift hits all alike."""
    memory = {name: _memory(run, cuda) for name, run in work.items()}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, run in work.items():
            seconds[name].append(_seconds(run, cuda))
    return {name: Measured(tuple(seconds[name]), memory[name]) for name in work}


def _memory(run: Callable[[], Any], cuda: bool) -> float:
    """Peak of one run, which also serves as the warm-up."""
    if cuda:
        import torch

        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    run()
    with PeakMemory() as peak:
        run()
    return peak.mb


def _seconds(run: Callable[[], Any], cuda: bool) -> float:
    if cuda:
        import torch

        torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """Slope of log seconds over log size: 1 is linear growth."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import psutil
    import torch

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
