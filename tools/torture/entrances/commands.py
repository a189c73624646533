"""The command line: every command with bad arguments, in this process but for a sample; none reaches the network.

A command must exit with 0 or 2. With --json its standard output holds exactly one object, whatever happened.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from eapgp.cli import BAD_INPUT, OK, build, main
from eapgp.prompts.files import write_prompts
from eapgp.runs.bundled import examples_folder
from eapgp.tasks import make_prompts
from tools import ROOT
from tools.torture.entrances.links import HUB_IDS
from tools.torture.judge import REFUSED, Box, Case, Entrance, fault_of_line
from tools.torture.strange import NAMES, TEXTS

PROCESSES = 60
"""One in so many runs in a process of its own."""
HEAVY = {
    "app": "--address=999.1.1.1",
    "bench": "--only=nothing",
    "reproduce": "--model=no/such",
    "sweep": "--dry-run",
    "exact": "--edges=m3->logits",
    "reference": "--steps=1",
}
"""Commands that would serve or compute for long, with the argument that keeps them from it."""
NUMBERS = (
    "-1",
    "0",
    "1",
    "2",
    "",
    "NaN",
    "1e3",
    "1.5",
    "9" * 22,
    "-" + "9" * 22,
    "0x10",
    "٣",
    "1_0",
    "+1",
    " 1",
    "--1",
)
PLACES = (
    "absent",
    "absent/deeper",
    "file",
    "folder",
    "loop",
    ".",
    "..",
    "/etc/passwd",
    "/dev/null/x",
    "pairs.csv",
    "x.zip",
)
WORDS = (
    "demo",
    "ioi",
    "eap",
    "eap-gp",
    "random",
    "logit-diff",
    "kl",
    "patching",
    "zero",
    "float32",
    "cpu",
    "cuda",
    "mps",
)
OPTIONS = (
    "steps=3",
    "steps=",
    "=",
    "steps=3=4",
    "nothing=1",
    "seed=abc",
    "corruption=hard",
    "step=-1",
    "clean=a",
    "clean=",
)


class Commands(Entrance):
    """Command lines."""

    name, title, count, quick = "commands", "command lines", 2000, 40

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        self.commands = dict(_leaves(typer.main.get_command(build())))
        self.pairs = box.root / "seeds" / "pairs.csv"
        self.pairs.parent.mkdir(exist_ok=True)
        write_prompts(make_prompts("ioi", 2), self.pairs)
        examples = examples_folder()
        self.runs = [path.name for path in sorted((examples or Path()).glob("*")) if (path / "run.json").is_file()]

    def case(self, index: int, rng: random.Random) -> Case:
        """Every command bare, then with wrong words, wrong values of its options, or options of others."""
        names = list(self.commands)
        path = names[index % len(names)]
        words = path.split()
        if index >= len(names):
            words += self._arguments(path, rng)
        keep = HEAVY.get(path)
        words += [keep] if keep else []
        child = index % PROCESSES == PROCESSES - 1
        label = " ".join(words).encode("unicode_escape", "surrogatepass").decode()
        options = words.index("--") if "--" in words else len(words)  # what follows "--" is no option
        line = [*words[:options], "--json", *words[options:]]
        return Case(f"{label:.140}{' in a process' if child else ''}", lambda: self.call(line, child))

    def _arguments(self, path: str, rng: random.Random) -> list[str]:
        """Arguments that make a cheap command, some of them replaced by what is wrong."""
        command = self.commands[path]
        words: list[str] = []
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                if rng.random() < 0.9:
                    words.append(
                        self._sound(path, parameter, rng) if rng.random() < 0.3 else self._wrong(parameter, rng)
                    )
            elif parameter.required or rng.random() < 0.12:
                words += self._option(path, parameter, rng)
        if path in ("attribute", "exact", "evaluate"):
            words += ["--pairs=1"] if not any(word.startswith(("--pairs", "-n")) for word in words) else []
        if path == "attribute" and not any(word.startswith(("--method", "--steps")) for word in words):
            words.append("--method=eap")
        if rng.random() < 0.15:
            words.insert(rng.randrange(len(words) + 1), rng.choice((*TEXTS, "--no-such", "-Z", "--", "--json=1")))
        return [word.replace("\0", "�") for word in words]  # no system passes a NUL on

    def _option(self, path: str, option: Any, rng: random.Random) -> list[str]:
        flag = rng.choice([name for name in (*option.opts, *option.secondary_opts) if name.startswith("-")])
        if flag in ("--help", "-h", "--install-completion", "--show-completion"):
            return []
        if option.is_flag:
            return [flag] if rng.random() < 0.8 else [f"{flag}=x"]
        value = self._sound(path, option, rng) if rng.random() < 0.35 else self._wrong(option, rng)
        return [f"{flag}={value}"] if flag.startswith("--") and rng.random() < 0.7 else [flag, value]

    def _sound(self, path: str, parameter: Any, rng: random.Random) -> str:
        """A value that may be right."""
        name = parameter.name or ""
        if name in ("run", "runs", "one", "other", "against", "run_id", "reference"):
            return rng.choice(self.runs or ["none"])
        if name in ("file", "prompts", "scores"):
            return "pairs.csv"
        return rng.choice(("demo", "ioi", "eap", "1", "2", "logit-diff", "train", "cpu", "out", "out.json"))

    def _wrong(self, parameter: Any, rng: random.Random) -> str:
        kind = str(getattr(parameter, "bare_type", "")).lower()  # typer brings a click of its own, without types
        pool: Sequence[str] = (*TEXTS, *WORDS, *HUB_IDS)
        if "int" in kind or "float" in kind:
            pool = NUMBERS
        elif "path" in kind or "file" in kind or (parameter.name or "") in ("out", "home", "export"):
            pool = (*PLACES, *PLACES, *(name for name in NAMES if not name.startswith(("/", "~"))))
        elif parameter.name in ("option", "columns", "options"):
            pool = (*OPTIONS, *TEXTS)
        return rng.choice(pool)

    def call(self, words: Sequence[str], child: bool) -> str:
        """Run a command and check how it answers."""
        work = self.box.work
        (work / "file").write_text("x")
        (work / "folder").mkdir()
        (work / "folder" / "mine.txt").write_text("x")
        (work / "loop").symlink_to(work / "loop")
        (work / "pairs.csv").write_bytes(self.pairs.read_bytes())
        code, out, err = self._process(words) if child else _here(words)
        assert (work / "file").read_text() == "x", "a file was written over"
        assert (work / "folder" / "mine.txt").read_text() == "x", "a file of a folder was written over"
        assert code in (OK, BAD_INPUT), f"exit {code}: {err[-300:] or out[-300:]}"
        if "--help" in words or "-h" in words:
            return ""
        try:
            answer = json.loads(out)
        except ValueError:
            raise AssertionError(f"standard output is no single JSON object: {out[:200]!r}") from None
        assert isinstance(answer, dict), "standard output is no JSON object"
        assert "Traceback (most recent" not in err, f"a traceback: {err[-300:]}"
        if code == OK:
            return ""
        message = answer["error"]["message"] if "error" in answer else err.strip().splitlines()[-1]
        problem = fault_of_line(message)
        assert not problem, problem
        return REFUSED

    def _process(self, words: Sequence[str]) -> tuple[int, str, str]:
        line = [sys.executable, "-m", "eapgp", *(os.fsencode(word) if _is_bytes(word) else word for word in words)]
        with contextlib.suppress(UnicodeEncodeError, ValueError):
            done = subprocess.run(
                line, cwd=self.box.work, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=300
            )
            return done.returncode, done.stdout.decode(), done.stderr.decode()
        return _here(words)


def _is_bytes(word: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in word)


def _leaves(command: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every command by its words."""
    if hasattr(command, "commands"):
        inner = [leaf for name, one in command.commands.items() for leaf in _leaves(one, f"{path} {name}".strip())]
        return inner + ([(path, command)] if path else [])
    return [(path, command)]


def _here(words: Sequence[str]) -> tuple[int, str, str]:
    """Run a command in this process: its exit code and what it wrote."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    texts = [stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)]  # type: ignore[attr-defined]
    return code, texts[0], texts[1]
