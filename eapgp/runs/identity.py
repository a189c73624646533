"""What a model's hashes are, without loading it: so that a known request is answered at once.

1. A local model folder is recognised by the hash of its files.
2. What `load_model` made of these files once (the hashes of weights and tokenizer) is kept in the
   library, together with the versions of the libraries that made it.

Hub models are not recognised this way; they are loaded.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from eapgp.errors import EapgpError
from eapgp.models.catalogue import demo_folder, find_model
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
        if sum(path.stat().st_size for path in files) > MAX_HASHED_BYTES:
            return None
        hashes = {path.name: file_hash(path) for path in files}
    except OSError:
        return None
    seed = spec.seed if spec.random_weights else None
    return content_key({"id": spec.model, "files": hashes, "dtype": spec.dtype, "seed": seed, **library_versions()})


def folder_stamp(name: str) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of every file of a local model's folder: another one says that the model has changed.

    Empty for hub models, whose files are named by their content.
    """
    folder = _folder(name)
    if folder is None:
        return ()
    with contextlib.suppress(OSError):
        about = ((entry.name, entry.stat()) for entry in os.scandir(folder))
        return tuple(sorted((file, stat.st_size, stat.st_mtime_ns) for file, stat in about))
    return ()


def _folder(name: str) -> Path | None:
    entry = find_model(name)
    if entry is not None:
        with contextlib.suppress(EapgpError):
            return demo_folder() if entry.source == "bundled" else None
        return None
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else None
