"""Functions that a child process is asked for, each of which dies in its own way."""

from __future__ import annotations

import os
import signal
import time

from eapgp.errors import ModelError
from eapgp.types import Progress


def answer(value: int, progress: Progress) -> dict[str, int]:
    """As it should be."""
    print("what a library prints is no answer")
    progress("half", 0.5)
    return {"twice": 2 * value}


def panic(progress: Progress) -> None:
    """A real panic of a Rust library."""
    from tokenizers import Tokenizer

    charsmap = "/////25vIHRyaWU="  # no trie
    model = '{"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}'
    normalizer = f'{{"type": "Precompiled", "precompiled_charsmap": "{charsmap}"}}'
    Tokenizer.from_str(f'{{"version": "1.0", "model": {model}, "normalizer": {normalizer}}}')


def killed(progress: Progress, **_: object) -> None:
    """As the system does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def crash(progress: Progress) -> None:
    """A library that writes where it must not."""
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(progress: Progress) -> None:
    """A library that ends the process."""
    os._exit(0)


def hoard(progress: Progress) -> None:
    """Take memory for ever, in small pieces."""
    pieces = []
    while True:
        pieces.append(b"x" * 10**7)


def sleep(progress: Progress) -> None:
    """Never say a word."""
    time.sleep(600)


def refuse(progress: Progress) -> None:
    """An error that a user can cause."""
    raise ModelError("model 'x': expected one, got none.")
