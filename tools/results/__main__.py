"""`python -m tools.results`: measure everything that docs/results.md says, and write it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from tools import ROOT
from tools.results.study import PARTS, TABLE_SEEDS, TUNING, Settings, log, measure, shared_models
from tools.results.text import COMMAND, report


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure what docs/results.md says.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results.md", help="file to write")
    parser.add_argument("--parts", nargs="+", choices=(*PARTS, TUNING), default=list(PARTS), help="parts to measure")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(TABLE_SEEDS), help="prompt seeds of the table")
    parser.add_argument("--pairs", type=int, default=Settings.pairs, help="prompt pairs per set")
    parser.add_argument("--cell-pairs", type=int, default=Settings.cell_pairs, help="the same, in the mask-ig study")
    parser.add_argument("--resamples", type=int, default=Settings.resamples, help="bootstrap resamples")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    settings = Settings(
        parts=tuple(given.parts),
        seeds=tuple(given.seeds),
        pairs=given.pairs,
        cell_pairs=given.cell_pairs,
        resamples=given.resamples,
        second_model=shared_models(),
    )
    text = report(measure(settings), threads=given.threads)
    given.out.write_text(text, encoding="utf-8")
    log.info("written to %s", given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
