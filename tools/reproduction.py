"""The bundled reproduction that the Paper page opens on: `python -m tools.reproduction`.

Runs the whole protocol on the demo model (or takes what the library has finished) and writes
`assets/reproduction/demo.json` and `docs/reproduction.md` of the repository.
"""

from __future__ import annotations

import logging

from eapgp.runs.files import write_text
from eapgp.runs.library import RunLibrary
from eapgp.study.reproduce import reproduce
from eapgp.study.reproduce_page import markdown_page
from eapgp.study.reproduce_result import BUNDLED_FILE, save_reproduction
from tools import ROOT

_LOG = logging.getLogger(__name__)


def main() -> None:
    """Make the bundled files."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = reproduce("demo", RunLibrary(), progress=lambda phase, done: _LOG.info("%s %.0f %%", phase, 100 * done))
    save_reproduction(result, ROOT / BUNDLED_FILE)
    write_text(ROOT / "docs" / "reproduction.md", markdown_page(result))


if __name__ == "__main__":
    main()
