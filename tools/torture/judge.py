"""One input: a place of its own, what the entrance made of it, and whether that is right.

Right is an error of `eapgp.errors` in one line that can be shown, or a result that holds what the entrance's own checks
ask for (`AssertionError` where it does not). Wrong are any other exception, an error of many lines, more time or memory
than a small file may take, a canary that was touched, and a file that was written outside the input's place.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eapgp.errors import MAX_MESSAGE, ComputationError, EapgpError, InputError

SECONDS = 10.0
"""Processor time of one input; real files of the sizes tried here take less than one second."""
MEMORY = 1_500 * 10**6
"""Bytes that one input may allocate beside what the libraries take."""
REFUSED, ACCEPTED = "refused", "accepted"
ESCAPED = Path("/tmp/eapgp-escaped")
"""Where names that leave their folder by an absolute path lead to."""


@dataclass(frozen=True)
class Box:
    """The place of one input: `work` to put it in, `home` as the library, `guard` with what must stay as it is."""

    root: Path

    @property
    def inner(self) -> Path:
        """All that the input may write to."""
        return self.root / "box"

    @property
    def work(self) -> Path:
        """The folder that commands run in."""
        return self.inner / "work"

    @property
    def home(self) -> Path:
        """The library."""
        return self.inner / "home"

    @property
    def canary(self) -> Path:
        """A file that a stranger's code would make."""
        return self.root / "guard" / "canary"

    def clean(self) -> None:
        """Empty it, and set the guard."""
        shutil.rmtree(self.inner, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.home.mkdir()
        self.canary.parent.mkdir(exist_ok=True)
        (self.canary.parent / "kept").write_text("as it was")
        os.chdir(self.work)

    def breach(self) -> str:
        """What was written where nothing may be, or ""."""
        guard, kept = self.canary.parent, self.canary.parent / "kept"
        if self.canary.exists():
            self.canary.unlink()
            return "a stranger's code ran: it made the canary"
        if (strays := [path for path in self.inner.rglob("eapgp-canary*") if path.stat().st_size == 0]) != []:
            return f"a stranger's command ran: it made {strays[0].name}"
        outside = {path.name for path in self.root.iterdir()} - {"box", "guard", "seeds"}
        outside |= {path.name for path in guard.iterdir()} - {"kept"}
        for name in outside:
            place = self.root / name if (self.root / name).exists() else guard / name
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        if ESCAPED.exists():
            ESCAPED.unlink()
            outside.add(str(ESCAPED))
        if outside or not kept.is_file() or kept.read_text() != "as it was":
            return f"written outside its place: {sorted(outside) or 'the guarded file'}"
        return ""


@dataclass(frozen=True)
class Case:
    """One input, ready to be handed in. kind: what was done to it.

    must: REFUSED or ACCEPTED where only that is right. work: hands it in and checks what is accepted; it may answer
    REFUSED where the entrance says so without an exception. seconds: of processor time that it may take.
    """

    kind: str
    work: Callable[[], str | None]
    must: str = ""
    seconds: float = SECONDS


class Entrance(ABC):
    """A way in. count: inputs of a whole run; quick: of the part that `make test` pays for."""

    name = ""
    title = ""
    count = 0
    quick = 0

    def __init__(self, box: Box) -> None:
        self.box = box

    @abstractmethod
    def case(self, index: int, rng: random.Random) -> Case:
        """Input number `index`: written by hand for the first ones, drawn from `rng` for the rest."""


@dataclass(frozen=True)
class Verdict:
    """What an entrance made of an input. violation: what is wrong with that, or ""."""

    index: int
    kind: str
    outcome: str
    seconds: float
    violation: str = ""


def judge(entrance: Entrance, index: int, seed: int) -> Verdict:
    """Hand in one input and judge the outcome; never raises but for an interrupt."""
    rng = random.Random(f"{seed}:{entrance.name}:{index}")
    entrance.box.clean()
    kind, outcome, violation, start, most = "", "", "", time.process_time(), SECONDS
    try:
        case = entrance.case(index, rng)
        kind, start, most = case.kind, time.process_time(), case.seconds
        outcome = case.work() or ACCEPTED
        if case.must and outcome != case.must:
            violation = f"{outcome}, and must be {case.must}"
    except EapgpError as error:
        outcome = REFUSED
        violation = fault(error) or ("refused, and must be accepted: " + str(error) if case.must == ACCEPTED else "")
    except AssertionError as error:
        outcome, violation = ACCEPTED, f"accepted with a wrong result: {_line(error)}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # panics and exits are no Exception
        outcome, violation = "raised", f"{type(error).__name__}: {_line(error)}{_where(error)}"
    seconds = time.process_time() - start
    if not violation and seconds > most:
        violation = f"took {seconds:.1f} s of processor time"
    return Verdict(index, kind, outcome, seconds, entrance.box.breach() or violation)


def fault(error: EapgpError) -> str:
    """What is wrong with an error's text or kind, or ""."""
    return fault_of_line(str(error)) or (
        "" if isinstance(error, InputError | ComputationError) else f"of kind {type(error).__name__}"
    )


def fault_of_line(text: str) -> str:
    """What is wrong with a message for people, or ""."""
    if len(text.strip()) < 15:
        return f"an error that says nothing: {text!r}"
    if len(text) > MAX_MESSAGE + 100:
        return f"an error of {len(text):,} characters: {text[:80]!r}"
    if not text.replace("\t", " ").isprintable():
        odd = next(char for char in text if not char.isprintable() and char != "\t")
        return f"an error that cannot be shown ({odd!a}): {text[:200]!a}"
    return f"a traceback as an error: {text[:200]!r}" if "Traceback (most recent" in text else ""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _where(error: BaseException) -> str:
    """The last line of this project that an error passed."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if f"{os.sep}eapgp{os.sep}" in file and "torture" not in file.rpartition(os.sep)[2]:
            place = f" at {file.rpartition(f'{os.sep}eapgp{os.sep}')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
