"""How often pages look for jobs: a few pages each as often as it wants, a class of them no oftener all together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

TOGETHER = 4.0
"""Looks a second of all pages of a server; each takes a hundredth of a second of its one thread that runs at a time."""
MOST = 8.0
"""How many times longer a page waits at most."""
SECONDS = 10.0
"""How far back looks are counted."""


class Looks:
    """The looks of the last seconds, each as many as it would have been had its page not waited longer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, float]] = deque(maxlen=1_000)

    def note(self, stretch: float) -> None:
        """Count a look of a page that waits so many times longer than it wants."""
        self._recent.append((self._clock(), stretch))

    def stretch(self) -> float:
        """How many times longer than it wants a page should wait, at least 1."""
        since = self._clock() - SECONDS
        wanted = sum(stretch for at, stretch in list(self._recent) if at >= since) / SECONDS
        return min(MOST, max(1.0, wanted / TOGETHER))
