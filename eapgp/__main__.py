"""`python -m eapgp`, and the command `eapgp`: the command line."""

import gc
import signal
import sys
from typing import Any

INTERRUPTED = 130
FEW_COLLECTIONS = (50_000, 20, 100)
"""The garbage collector's thresholds in a command's process.

Half a million objects of libraries are made at its start and stay; with Python's own thresholds, looking through them
again and again was a tenth of a cold `eapgp attribute`. What passes leave behind goes without the collector.
"""


class OnInterrupt:
    """What Ctrl-C does: it raises KeyboardInterrupt, and stays known to long work where that was swallowed.

    Libraries that are imported or set up at that moment do so (a bare `except:`).
    """

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, *_: Any) -> None:
        self.seen = True
        raise KeyboardInterrupt


def run() -> int:
    """Run the command line; its exit code, also where it is interrupted while it is still being imported."""
    gc.set_threshold(*FEW_COLLECTIONS)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, OnInterrupt())
    try:
        from eapgp.cli import main

        code = main()
    except KeyboardInterrupt:
        sys.stderr.write("eapgp: interrupted.\n")
        if "--json" in sys.argv:
            sys.stdout.write('{"error": {"type": "Cancelled", "message": "interrupted."}}\n')
        code = INTERRUPTED
    if code == INTERRUPTED:  # a second Ctrl-C, while Python shuts down, would kill it by the signal
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Where the interrupt passed through text that a library executes (dataclasses do), CPython remembers it and
        # ends `python -m` by the signal, though it was caught; text that runs to its end makes it forget that.
        exec("")
    return code


if __name__ == "__main__":
    sys.exit(run())
