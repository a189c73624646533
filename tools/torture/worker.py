"""The process in which inputs are tried: it may panic, be killed or run out of memory, and another goes on.

python -m tools.torture.worker FOLDER      lines of JSON in ({"entrance", "start", "stop", "seed"}), lines out
python -m tools.torture.worker FOLDER prompts 1234 [seed]      one input, with everything it says
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch

from tools.torture.entrances import ENTRANCES
from tools.torture.judge import MEMORY, Box, Entrance, judge

try:
    import resource
except ImportError:  # not on this system
    resource = None  # type: ignore[assignment]

_HELD: dict[str, Entrance] = {}


def entrance_of(name: str, root: Path) -> Entrance:
    """The entrance of that name below a folder, made at the first time."""
    key = f"{root}:{name}"
    if key not in _HELD:
        box = Box(root)
        root.mkdir(parents=True, exist_ok=True)
        settle(box)
        box.clean()
        _HELD[key] = ENTRANCES[name](box)
    return _HELD[key]


def settle(box: Box) -> None:
    """Point everything that this process would write or fetch into the box."""
    os.environ |= {
        "EAPGP_HOME": str(box.home),
        "EAPGP_MODELS": str(box.inner / "models"),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(box.inner / "hub"),
        "TQDM_DISABLE": "1",
        "COLUMNS": "200",
    }


def main(arguments: list[str]) -> int:
    """Try what is asked for, a line for each input."""
    root = Path(arguments[0])
    if len(arguments) > 1:
        verdict = judge(entrance_of(arguments[1], root), int(arguments[2]), int([*arguments, "0"][3]))
        sys.stdout.write(f"{verdict}\n")
        return 1 if verdict.violation else 0
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            entrance = entrance_of(asked["entrance"], root / asked["entrance"])
        except Exception as error:  # a fault of this tool, not of what it tries
            say({"broken": f"{asked['entrance']}: {error!r}"})
            return 1
        settle(entrance.box)
        for index in range(asked["start"], asked["stop"]):
            limit()
            say({"index": index})
            say(asdict(judge(entrance, index, asked["seed"])))
        say({"done": True})
    return 0


def limit() -> None:
    """Let this process allocate no more than an input may take from now on, where the system sees to that.

    What former inputs left (threads of the app, models that it keeps) is not this one's.
    """
    if resource is None:
        return
    with contextlib.suppress(OSError, ValueError):
        held = psutil.Process().memory_info()
        most = int(getattr(held, "data", held.vms)) + MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
