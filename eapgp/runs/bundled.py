"""The runs that come with the project: they are read, never written.

They lie in `assets/examples` of the repository, or inside an installed wheel.
"""

from __future__ import annotations

from pathlib import Path

from eapgp.errors import RunError
from eapgp.places import bundled
from eapgp.runs.run import RUN_FILE, Run, open_run

MEASURED = "circuits"
"""Where a bundled run's evaluation.json holds the metric of its circuits at `curve_sizes`."""


def examples_folder() -> Path | None:
    """Folder of the bundled runs, or None where they were left out."""
    return bundled("assets/examples")


def is_bundled(folder: Path) -> bool:
    """Whether a run folder is one of the bundled ones."""
    examples = examples_folder()
    return examples is not None and folder.resolve().parent == examples


def find_bundled(text: str, shortest: int) -> list[Run]:
    """The bundled runs of this folder name, or whose id starts so (`shortest` characters or more)."""
    examples = examples_folder()
    if examples is None or not text:
        return []
    runs = [open_run(path.parent) for path in sorted(examples.glob(f"*/{RUN_FILE}"))]
    return [run for run in runs if run.path.name == text or (len(text) >= shortest and run.id.startswith(text))]


def check_changeable(run: Run) -> None:
    """Raise where a run's name and note may not be changed."""
    if is_bundled(run.path):
        raise RunError(
            f"run {run.path.name!r}: expected a run of your own, got a bundled example, which stays as it is; "
            "copy it first (eapgp runs export, eapgp runs import)."
        )
