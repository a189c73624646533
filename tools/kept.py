"""Pages of docs/ that are written from measurements kept in a JSON file beside them, so that models are added one at a
time.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

from tools import ROOT

Kept = dict[str, Any]


def read(stem: str) -> Kept:
    """What was measured by model, of docs/STEM.json; empty where nothing was."""
    path = ROOT / "docs" / f"{stem}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def keep(stem: str, kept: Kept) -> None:
    """Write docs/STEM.json."""
    text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
    (ROOT / "docs" / f"{stem}.json").write_text(text, encoding="utf-8")


def write_page(stem: str, text: str) -> None:
    """Write docs/STEM.md."""
    (ROOT / "docs" / f"{stem}.md").write_text(text, encoding="utf-8")


def by_model(stem: str, measure: Callable[[str], Kept], page: Callable[[Kept], str]) -> None:
    """Measure the models that the command line names, and write the page; without a name the page alone."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in sys.argv[1:]:
        measured = measure(name)
        keep(stem, read(stem) | {name: measured})  # read again: another process may have measured another model
    write_page(stem, page(read(stem)))
