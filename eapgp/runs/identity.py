"""What a model's hashes are, without loading it: so that a known request is answered at once.

1. A local model folder is recognised by the hash of its files; one that eapgp made itself from a file whose hash it
   keeps, by that hash and by the sizes and times of what it wrote.
2. What `load_model` made of these files once (the hashes of weights and tokenizer) is kept in the
   library, together with the versions of the libraries that made it.

Hub models are not recognised this way; they are loaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from eapgp.errors import EapgpError
from eapgp.models.catalogue import BUNDLED, demo_folder, find_model
from eapgp.models.gguf import is_gguf
from eapgp.models.packaged import folder_of
from eapgp.models.packaged import is_here as packaged_is_here
from eapgp.models.store import ORIGIN_FILE, is_whole, models_home
from eapgp.runs.canonical import content_key
from eapgp.runs.files import file_hash, read_json, write_json
from eapgp.runs.request import ModelLike
from eapgp.runs.run import library_versions
from eapgp.runs.spec import RunSpec

MAX_HASHED_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class Identity:
    """What a request needs to know of a model."""

    id: str
    weights_hash: str
    tokenizer_hash: str
    dtype: str


def recall(home: Path, spec: RunSpec) -> Identity | None:
    """The identity of the spec's model if this library has seen it loaded, else None."""
    key = _fingerprint(spec)
    path = home / "models" / f"{key}.json"
    if key is None or not path.is_file():
        return None
    with contextlib.suppress(EapgpError, TypeError):
        return Identity(**read_json(path))
    return None


def remember(home: Path, spec: RunSpec, model: ModelLike) -> None:
    """Keep the identity of a loaded model; a library that cannot be written is no error."""
    key = _fingerprint(spec)
    path = home / "models" / f"{key}.json"
    if key is None or path.is_file():
        return
    identity = Identity(model.id, model.weights_hash, model.tokenizer_hash, str(model.dtype).removeprefix("torch."))
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(identity))


def _fingerprint(spec: RunSpec) -> str | None:
    """Hash of the model's files and of how they would be loaded; None without such a folder, or with other words."""
    folder = _folder(spec.model)
    if folder is None or spec.tokenizer is not None:
        return None
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        if is_whole(folder) and folder.is_relative_to(models_home()):
            hashes = {ORIGIN_FILE: file_hash(folder / ORIGIN_FILE), **{name: str(at) for name, *at in _stamps(files)}}
        elif sum(path.stat().st_size for path in files) > MAX_HASHED_BYTES:
            return None
        else:
            hashes = {path.name: file_hash(path) for path in files}
    except OSError:
        return None
    seed = spec.seed if spec.random_weights else None
    return content_key({"id": spec.model, "files": hashes, "dtype": spec.dtype, "seed": seed, **library_versions()})


def folder_stamp(name: str) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of every file of a local model; another stamp says that the model has changed.

    Empty for hub models, whose files are named by their content.
    """
    folder = _folder(name)
    with contextlib.suppress(OSError):
        if is_gguf(name):
            return _stamps([Path(name).expanduser()])
        return _stamps(folder.iterdir()) if folder is not None else ()
    return ()


def _stamps(files: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    stats = ((path.name, path.stat()) for path in files)
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def _folder(name: str) -> Path | None:
    entry = find_model(name)
    if entry is not None:
        with contextlib.suppress(EapgpError):
            return demo_folder() if entry.source == BUNDLED else _of_package(entry.name)
        return None
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else None


def _of_package(name: str) -> Path | None:
    return folder_of(name) if packaged_is_here(name) else None
