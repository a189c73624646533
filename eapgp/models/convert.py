"""Pickled weights into safetensors, once: read as weights and nothing else, written beside the model's other files.

PyTorch's weights-only reader builds tensors and plain containers and refuses whatever else a pickle asks for.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from eapgp.errors import ModelError, OptionError
from eapgp.models.checkpoint import PICKLED_FILE, PICKLED_INDEX, WEIGHTS_FILE, read_config, shards, weight_file
from eapgp.models.hub import CONFIG_FILES, TOKENIZER_FILES, HubName, fetch
from eapgp.places import expanded
from eapgp.types import Progress

MOST_UNPACKED, ALWAYS_FINE = 4, 64 * 2**20
"""A file may unpack to so many times its size, or to so many bytes."""

if TYPE_CHECKING:
    from torch import Tensor


def convert_pickled(source: str, target: Path | None = None, *, progress: Progress | None = None) -> Path:
    """The folder of a model whose pickled weights were written as safetensors.

    source: a folder, which then holds both, or a hub model. target: another folder, with the configuration and the
    tokenizer; for a hub model one of its name in the working directory is made.
    Errors: ModelError where there are no pickled weights or they hold more than weights, OptionError for the target.
    """
    from safetensors.torch import save_file

    folder, hub = expanded(source), HubName.of(source)
    if not folder.is_dir():
        if hub is None:
            raise ModelError(f"{source!r}: expected a folder with {PICKLED_FILE}, or owner/name on the hub; check it.")
        target = target or Path(hub.repo.partition("/")[2])
        folder = fetch(hub, pickled=True, progress=progress)
    target = target or folder
    if (target / WEIGHTS_FILE).exists():
        raise OptionError(f"{target / WEIGHTS_FILE}: expected a folder without one, it is there already; name another.")
    weights = _named_once(_pickled_weights(source, folder, progress))
    target.mkdir(parents=True, exist_ok=True)
    for name in (*CONFIG_FILES, *TOKENIZER_FILES):
        if target != folder and (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    partial = target / f"{WEIGHTS_FILE}.partial"
    save_file(weights, partial, metadata={"format": "pt"})
    partial.replace(target / WEIGHTS_FILE)
    return target


def _pickled_weights(source: str, folder: Path, progress: Progress | None) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a checkpoint's pickled files. Errors: ModelError."""
    import torch

    file = weight_file(source, {path.name for path in folder.iterdir()}, pickled=True)
    if file not in (PICKLED_FILE, PICKLED_INDEX):
        raise ModelError(f"{source!r} needs no conversion: {file} is there already.")
    read_config(source, folder)
    files = shards(folder / file) if file == PICKLED_INDEX else (file,)
    for number, part in enumerate(files):
        if progress is not None:
            progress(f"reading {part}", number / len(files))
        if zipfile.is_zipfile(folder / part):
            with zipfile.ZipFile(folder / part) as packed:
                _check_unpacked(folder / part, (entry.file_size for entry in packed.infolist()))
        try:
            weights = torch.load(folder / part, map_location="cpu", weights_only=True)
        except Exception as error:  # unpickling what was made up raises anything
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ModelError(
                f"{folder / part} was not converted: expected weights and nothing else, got what could run code, or no "
                f"checkpoint ({first[:200]}). Ask for safetensors where it came from."
            ) from error
        if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
            raise ModelError(f"{folder / part} was not converted: expected a mapping from names to weights.")
        _check_unpacked(folder / part, (tensor.numel() * tensor.element_size() for tensor in weights.values()))
        yield from weights.items()


def _named_once(pairs: Iterator[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The weights by name, each with memory of its own: what is tied in a model shares it."""
    return {str(name): tensor.detach().contiguous().clone() for name, tensor in pairs}


def _check_unpacked(file: Path, sizes: Iterable[int]) -> None:
    """Errors: ModelError for what unpacks to far more than the file: compressed, or one number seen as many."""
    most = max(MOST_UNPACKED * file.stat().st_size, ALWAYS_FINE)
    if sum(sizes) > most:
        raise ModelError(
            f"{file} was not converted: it unpacks to more than {most / 1e6:,.0f} MB, so it is no checkpoint."
        )
