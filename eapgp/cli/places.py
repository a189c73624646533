"""Where a command is to write, checked before it computes for an hour."""

from __future__ import annotations

import os
from pathlib import Path

from eapgp.errors import OptionError


def check_folder(folder: Path | None, option: str, *, write: bool = True) -> None:
    """Raise unless a folder is there and can be written (if it is to be), or can be made.

    Errors: OptionError naming the option and what is in the way.
    """
    if folder is None:
        return
    place = folder.expanduser().absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise OptionError(f"{option} {folder}: expected a folder, got a file ({place}); name another.")
    if write and not os.access(place, os.W_OK | os.X_OK):
        raise OptionError(f"{option} {folder}: expected a folder that can be written, {place} cannot; name another.")


def check_file(file: Path | None, option: str) -> None:
    """Raise unless a file can be written: its folder is there, and it is no folder itself.

    Errors: OptionError naming the option and what is in the way.
    """
    if file is None:
        return
    place = file.expanduser().absolute()
    if place.is_dir():
        raise OptionError(f"{option} {file}: expected a file, got a folder; name a file in it.")
    if not place.parent.is_dir():
        raise OptionError(f"{option} {file}: expected a folder that exists, {place.parent} does not; make it first.")
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise OptionError(f"{option} {file}: expected a place that can be written; name another.")
