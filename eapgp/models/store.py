"""Models that this machine keeps in Hugging Face layout: converted from a GGUF file, or taken out of a package.

    MODELS/<name>/               config.json, model.safetensors, the tokenizer's files, origin.json
    MODELS/gguf/<stem>-<hash>/   the same of a local GGUF file, converted once
    MODELS/titles.json           what people call models in folders and files of their own

A folder appears whole, by one rename, and a lock keeps two processes from making the same one. `origin.json`
says where the weights are from and how they were read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_cache_path

from eapgp.errors import ModelError
from eapgp.models.checkpoint import ORIGIN_FILE, is_whole
from eapgp.places import expanded

HOME_VARIABLE = "EAPGP_MODELS"
TITLES_FILE = "titles.json"


def models_home() -> Path:
    """`$EAPGP_MODELS`, else the user's cache folder."""
    named = os.environ.get(HOME_VARIABLE)
    return expanded(named) if named else user_cache_path("eapgp", appauthor=False) / "models"


def keep(folder: Path, about: Mapping[str, Any], fill: Callable[[Path], None]) -> Path:
    """The folder, filled by `fill` (given an empty one beside it) unless it is there whole already.

    Errors: ModelError where the folder cannot be written; what `fill` raises leaves nothing behind.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not is_whole(folder):
                with _beside(folder) as fresh:
                    fill(fresh)
                    (fresh / ORIGIN_FILE).write_text(json.dumps(dict(about), indent=1) + "\n", encoding="utf-8")
                    shutil.rmtree(folder, ignore_errors=True)  # what an older version or a broken disk left
                    fresh.replace(folder)
    except OSError as error:
        raise ModelError(
            f"{folder.parent}: expected a folder that can be written and has room for a model, got "
            f"{error.strerror or error}; free space, or set {HOME_VARIABLE} to another folder."
        ) from None
    return folder


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        place.chmod(0o755)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def titles() -> Mapping[str, str]:
    """The names that people gave to models in folders and files of their own, by path."""
    try:
        stored = json.loads((models_home() / TITLES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(path): str(title) for path, title in stored.items()} if isinstance(stored, dict) else {}


def set_title(path: str, title: str) -> None:
    """Keep a name for the model at a path; an empty one takes it away.

    Errors: ModelError where the folder of the models cannot be written.
    """
    home = models_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f".{TITLES_FILE}.lock"), _beside(home / TITLES_FILE) as fresh:
            named = {**titles(), path: title.strip()}
            text = json.dumps({place: name for place, name in named.items() if name}, indent=1, ensure_ascii=False)
            (fresh / TITLES_FILE).write_text(text + "\n", encoding="utf-8")
            (fresh / TITLES_FILE).replace(home / TITLES_FILE)
    except OSError as error:
        raise ModelError(
            f"{home}: expected a folder that can be written, got {error.strerror or error}; set {HOME_VARIABLE} to "
            "another folder."
        ) from None


def check_room(folder: Path, n_bytes: int) -> None:
    """Raise unless the disk has room for so many bytes; ask before anything is fetched or computed.

    Errors: ModelError naming what is needed, what is free and what to do.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < n_bytes:
        raise ModelError(
            f"{folder}: expected {n_bytes / 1e6:,.0f} MB of free disk, got {free / 1e6:,.0f} MB; free space, or set "
            f"{HOME_VARIABLE} to a folder on another disk."
        )
