"""Determinism: what decides the numbers of a run, and what does not. The demo model, every method.

1. At the number of threads that a run records, a fresh process gives the same scores, bit for bit: for 1 and 2 threads.
2. Across numbers of threads, batch sizes and processes (a real torchrun) they differ by rounding: at most 1e-5 of the
   largest score.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eapgp.attribution.registry import METHODS
from eapgp.models import load_model
from eapgp.runs.compute import resolve, run_attribution
from eapgp.runs.distributed import processes
from eapgp.runs.spec import RunSpec
from eapgp.types import Floats
from tools.torture.table import Row, Setting

ROOT = Path(__file__).resolve().parents[2]
N_PAIRS = 6
ROUNDING = 1e-5  # of the largest score
BATCHES = (1, 4)
QUICK = ("eap", "eap-gp", "mask-ig")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
AGAIN = ("1 thread", "2 threads")
OTHERWISE = ("2 threads", *(f"batches of {size}" for size in BATCHES), "2 processes")

Scores = Mapping[str, Floats]
"""Scores `[src, dst]` by method, and the number of threads that was recorded under `threads/<method>`."""


def run(setting: Setting) -> list[Row]:
    """A row per method."""
    methods = QUICK if setting.quick else tuple(METHODS)
    started = time.monotonic()
    ways = {
        "1 thread": ("--threads", "1"),
        "1 thread again": ("--threads", "1"),
        "2 threads": ("--threads", "2"),
        "2 threads again": ("--threads", "2"),
        **{f"batches of {size}": ("--threads", "1", "--batch-size", str(size)) for size in BATCHES},
        "2 processes": ("--threads", "1", "--torchrun"),
    }
    by_way = {way: computed(setting.folder / f"{way}.npz", methods, options) for way, options in ways.items()}
    setting.say(f"determinism: {len(ways)} processes in {time.monotonic() - started:.0f} s")
    return [row_of(method, by_way) for method in methods]


def computed(file: Path, methods: Sequence[str], options: Sequence[str]) -> Scores:
    """What a fresh process computes. Errors: RuntimeError where it fails."""
    launcher = TORCHRUN if "--torchrun" in options else ()
    line = [sys.executable, *launcher, "-m", "tools.torture.determinism", str(file), *options, "--methods", *methods]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)}: {done.stderr[-2000:]}")
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


def row_of(method: str, by_way: Mapping[str, Scores]) -> Row:
    """How one method's scores compare."""
    first, wrong = by_way["1 thread"][method], []
    figures: dict[str, Any] = {}
    for way in AGAIN:
        same = by_way[way][method].tobytes() == by_way[f"{way} again"][method].tobytes()
        figures[f"{way}, again"] = "same bits" if same else "other bits"
        recorded = int(by_way[way][f"threads/{method}"])
        if not same or recorded != int(way[0]):
            wrong.append(f"{way}: a fresh process gave {figures[f'{way}, again']}; {recorded} recorded")
    for way in OTHERWISE:
        figures[way] = difference(by_way[way][method], first)
        if not figures[way] <= ROUNDING:
            wrong.append(f"{way}: differs by {figures[way]:.1e} of the largest score")
    return Row(method, figures, tuple(wrong))


def difference(scores: Floats, others: Floats) -> float:
    """The largest difference, as a share of the largest score; infinite where other edges have one."""
    if (np.isnan(scores) != np.isnan(others)).any():
        return float("inf")
    largest = float(np.nanmax(np.abs(others)))
    return float(np.nanmax(np.abs(scores - others))) / largest if largest else 0.0


def main() -> int:
    """A process of its own: compute every method's scores and write them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--torchrun", action="store_true")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    model = load_model("demo", device="cpu")
    specs = [
        RunSpec(task="ioi", n_pairs=N_PAIRS, method=name, batch_size=options.batch_size, device="cpu")
        for name in options.methods
    ]
    if options.torchrun:
        with processes("cpu") as pool:
            results = [run_attribution(resolve(spec), model, pool=pool) for spec in specs]
    else:
        results = [run_attribution(resolve(spec), model) for spec in specs]
    if int(os.environ.get("RANK", "0")) == 0:
        arrays: dict[str, Any] = {result.method: result.scores.values for result in results}
        arrays |= {f"threads/{result.method}": np.array(result.provenance["threads"]) for result in results}
        np.savez(options.file, **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main())
