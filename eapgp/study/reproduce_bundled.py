"""The bundled reproduction that the Paper page opens on: `python -m eapgp.study.reproduce_bundled`.

Runs the whole protocol on the demo model (or takes what the library has finished) and writes
`assets/reproduction/demo.json` and `docs/reproduction.md` of the repository.
"""

from __future__ import annotations

import logging
from pathlib import Path

from eapgp.runs.library import RunLibrary
from eapgp.study.report import write_text
from eapgp.study.reproduce import reproduce
from eapgp.study.reproduce_page import markdown_page
from eapgp.study.reproduce_result import save_reproduction

NAME = "demo.json"
_LOG = logging.getLogger("eapgp.study.reproduce_bundled")


def bundled_file() -> Path | None:
    """The bundled reproduction: in the repository, or inside an installed wheel; None where it is missing."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "assets", package / "_dashboard" / "assets"):
        if (folder / "reproduction" / NAME).is_file():
            return folder / "reproduction" / NAME
    return None


def main() -> None:
    """Make the bundled files."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    root = Path(__file__).resolve().parents[2]
    result = reproduce("demo", RunLibrary(), progress=lambda phase, done: _LOG.info("%s %.0f %%", phase, 100 * done))
    save_reproduction(result, root / "assets" / "reproduction" / NAME)
    write_text(root / "docs" / "reproduction.md", markdown_page(result))


if __name__ == "__main__":
    main()
