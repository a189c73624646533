"""Where the files beside the package lie: inside an installed wheel, or in the repository."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# The wheel's own folder first: beside an installed package lie other projects' files.
_ROOTS = (_PACKAGE / "_dashboard", _PACKAGE.parent)

PUBLIC_VARIABLE = "EAPGP_PUBLIC"  # 1: the dashboard is for strangers (`eapgp app --public`)


def bundled(place: str) -> Path | None:
    """A file or folder that comes with the project, as `assets/demo` or `app.py`; None where it was left out."""
    return next((root / place for root in _ROOTS if (root / place).exists()), None)


def expanded(name: str | Path) -> Path:
    """A place that somebody named, `~` being home; as it stands where it names the home of nobody."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def is_folder(name: str | Path) -> bool:
    """Whether a name that somebody gave is a folder here; one that no file system takes is none."""
    return os.path.isdir(expanded(name))  # noqa: PTH112 - Path raises for names that are too long or no text


def is_file(name: str | Path) -> bool:
    """Whether a name that somebody gave is a file here; one that no file system takes is none."""
    return os.path.isfile(expanded(name))  # noqa: PTH113 - as above
