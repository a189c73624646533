"""`python -m tools.torture`: every part of it in turn, a table of each, and 1 where anything was not as it should be.

python -m tools.torture [--part inputs …] [--seed 0] [--quick] [--report docs/reliability.md]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tools.torture.table import PARTS, Outcome, Setting, machine, text_of, write_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; all without a word."""
    parser = argparse.ArgumentParser(prog="python -m tools.torture", description=__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this one; can be given again")
    parser.add_argument("--seed", type=int, default=0, help="what the inputs are drawn from")
    parser.add_argument("--quick", action="store_true", help="what `make test` runs of it")
    parser.add_argument(
        "--seconds", type=float, help="that a part may take, instead of its own; parts that can, do less"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes of the parts that can use several")
    parser.add_argument("--report", type=Path, help="page to put the tables into")
    options = parser.parse_args(arguments)
    report = options.report and options.report.absolute()  # parts may leave the working folder
    outcomes = []
    for part in options.part or PARTS:
        if importlib.util.find_spec(module := f"tools.torture.{PARTS[part].module}") is None:
            sys.stderr.write(f"{part}: not built yet, left out\n")
            continue
        outcomes.append(_outcome(part, module, options))
        sys.stdout.write(f"{text_of(outcomes[-1])}\n")
        sys.stdout.flush()
        if report:
            write_report(report, outcomes)
    count = sum(outcome.violations for outcome in outcomes)
    sys.stdout.write(f"{count} violations in {len(outcomes)} parts\n")
    return 1 if count else 0


def _outcome(part: str, module: str, options: argparse.Namespace) -> Outcome:
    load, start = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"eapgp-{part}-", ignore_cleanup_errors=True) as folder:
        setting = Setting(
            Path(folder), options.seed, options.seconds or PARTS[part].seconds, options.quick, options.workers
        )
        rows = tuple(importlib.import_module(module).run(setting))
    scope = ", the quick part alone" if options.quick else ""
    return Outcome(part, rows, machine(load, time.monotonic() - start, options.seed, scope))


if __name__ == "__main__":
    sys.exit(main())
