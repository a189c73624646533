"""What a command prints and writes: one reply on standard output, everything else on standard error.

Where it is to write is checked before it computes for an hour.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from eapgp.errors import OptionError, legible
from eapgp.places import expanded
from eapgp.runs.files import plain

Payload = dict[str, Any]
ProgressCallback = Callable[[str, float], None]
SPARSE_SECONDS = 10.0
PIPE_WIDTH = 200
DEBUG_VARIABLE = "EAPGP_DEBUG"


@dataclass(frozen=True)
class Reply:
    """A command's answer: a JSON object, and text (or a rich table) that says the same to people.

    refused: why it could not be done as asked, one line, where there is an answer all the same; exit code 2.
    failed: what of it went wrong, one line, likewise; exit code 1.
    """

    payload: Payload
    text: Any = ""
    refused: str = ""
    failed: str = ""


class Output:
    """Where a command's messages, progress and reply go."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Send whatever libraries print to standard error (nowhere with --quiet).

        Reports of our own go through `message` and `progress`.
        """
        sink: TextIO = io.StringIO() if self.quiet else sys.stderr
        with contextlib.redirect_stdout(sink), warnings.catch_warnings():
            if self.quiet:
                warnings.simplefilter("ignore")
            if self.quiet or not sys.stderr.isatty():
                os.environ.setdefault("TQDM_DISABLE", "1")
            yield

    def message(self, text: str) -> None:
        """One line for the user on standard error, unless --quiet."""
        if not self.quiet:
            print(legible(text), file=sys.stderr, flush=True)

    @staticmethod
    def refuse(text: str) -> None:
        """Why something could not be done as asked: one line on standard error, also with --quiet."""
        print(f"eapgp: {legible(' '.join(text.split()))}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def progress(self) -> Iterator[ProgressCallback]:
        """A callback `(phase, fraction)` that draws a bar, or prints a line now and then where there is no terminal."""
        if self.quiet:
            yield _heeding(None)
        elif sys.stderr.isatty():
            with _bar() as callback:
                yield _heeding(callback)
        else:
            yield _heeding(_sparse_lines(self.message))

    def emit(self, reply: Reply) -> None:
        """Print the reply on standard output."""
        if self.as_json:
            print_json(reply.payload)
        elif reply.text is not None:
            print_text(reply.text)


def _heeding(callback: ProgressCallback | None) -> ProgressCallback:
    """The callback, which also interrupts where Ctrl-C was pressed and some library swallowed the exception."""

    def call(phase: str, fraction: float) -> None:
        if getattr(signal.getsignal(signal.SIGINT), "seen", False):
            raise KeyboardInterrupt
        if callback is not None:
            callback(phase, fraction)

    return call


def print_json(payload: Payload) -> None:
    """Exactly one JSON object on standard output; NaN and infinities are null."""
    sys.stdout.write(json.dumps(plain(payload), ensure_ascii=False, allow_nan=False, indent=2) + "\n")
    sys.stdout.flush()


def print_text(text: Any) -> None:
    """Text or a rich renderable on standard output; tables are not squeezed where no terminal reads."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, soft_wrap=isinstance(text, str))
    console.print(text)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = (), title: str = "") -> Any:
    """A plain table; the columns named in `right` are set flush right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_header=any(columns)
    )
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(number(cell)) for cell in row))
    return drawn


def stacked(*parts: Any) -> Any:
    """Several renderables below each other; empty ones are left out."""
    from rich.console import Group

    return Group(*(part for part in parts if part not in ("", None)))


def number(value: Any) -> str:
    """A number at reading precision; None and NaN as a dash; text as it is."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def size(n_bytes: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(n_bytes) < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


@contextlib.contextmanager
def _bar() -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def callback(phase: str, fraction: float) -> None:
            if phase not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)
                tasks[phase] = bar.add_task(phase, total=1.0)
            bar.update(tasks[phase], completed=min(max(fraction, 0.0), 1.0), visible=True)

        yield callback


def _sparse_lines(message: Callable[[str], None]) -> ProgressCallback:
    started: dict[str, float] = {}
    printed = [-SPARSE_SECONDS]

    def callback(phase: str, fraction: float) -> None:
        now = time.monotonic()
        is_new = phase not in started
        started.setdefault(phase, now)
        if not is_new and now - printed[0] < SPARSE_SECONDS:
            return
        printed[0] = now
        left = (now - started[phase]) * (1 - fraction) / fraction if fraction > 0 else None
        tail = f", {left:.0f} s left" if left is not None and not is_new and fraction < 1 else ""
        message(f"{phase}: {100 * fraction:.0f} %{tail}")

    return callback


# ---- where a command is to write -----------------------------------------------------------------


def check_folder(folder: Path | None, option: str, *, write: bool = True) -> None:
    """Raise unless a folder is there and can be written (if it is to be), or can be made.

    Errors: OptionError naming the option and what is in the way.
    """
    if folder is None:
        return
    place = expanded(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise OptionError(f"{option} {folder}: expected a folder, got a file ({place}); name another.")
    if write and not os.access(place, os.W_OK | os.X_OK):
        raise OptionError(f"{option} {folder}: expected a folder that can be written, {place} cannot; name another.")


def check_file(file: Path | None, option: str) -> None:
    """Raise unless a file can be written: its folder is there, and it is no folder itself.

    Errors: OptionError naming the option and what is in the way.
    """
    if file is None:
        return
    place = expanded(file).absolute()
    if place.is_dir():
        raise OptionError(f"{option} {file}: expected a file, got a folder; name a file in it.")
    if not place.parent.is_dir():
        raise OptionError(f"{option} {file}: expected a folder that exists, {place.parent} does not; make it first.")
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise OptionError(f"{option} {file}: expected a place that can be written; name another.")


def launched() -> bool:
    """Whether torchrun started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and {"RANK", "LOCAL_RANK", "MASTER_ADDR"} <= set(os.environ)


def is_first() -> bool:
    """Whether this is the process that stores and prints."""
    return int(os.environ.get("RANK", "0")) == 0
