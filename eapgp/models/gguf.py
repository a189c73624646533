"""GGUF files, which other tools run models from, as models in Hugging Face layout: read once, kept as safetensors.

1. the header says architecture, quantisation and size; what Transformers cannot read is refused by name
2. Transformers reads tokenizer and weights, and undoes the quantisation
3. both are saved as float32, in which every quantised value is exact (float16 would round them)

Nothing of the file is executed. The result is another model than the unquantised original, with another weights hash.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.errors import ModelError, one_line
from eapgp.models.store import check_room, keep, models_home
from eapgp.places import expanded
from eapgp.types import Progress

if TYPE_CHECKING:
    from gguf import GGUFReader

FLOAT_BYTES = 4
_DIGITS = 16


@dataclass(frozen=True)
class GgufFile:
    """What a GGUF file's header says. quantisation: the type that most weights have; parameters: their number."""

    path: Path
    architecture: str
    quantisation: str
    parameters: int
    sha256: str

    @property
    def folder(self) -> Path:
        """Where the converted model is kept."""
        return models_home() / "gguf" / f"{self.path.stem}-{self.sha256[:_DIGITS]}"

    @property
    def conversion(self) -> str:
        """How its weights were had, in words."""
        return f"dequantised from {self.quantisation}" if self.quantisation[:1] in "QIT" else self.quantisation

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `origin.json`."""
        return {**asdict(self), "path": self.path.name, "weights": self.conversion}


def inspect(path: str | Path) -> GgufFile:
    """Read a file's header and hash it.

    Errors: ModelError for what is no GGUF file, and for an architecture that cannot be read.
    """
    place = expanded(path)
    reader = _reader(place)
    field = reader.get_field("general.architecture")
    architecture = str(field.contents()) if field is not None else "unknown"
    _check_architecture(place, architecture)
    counts: Counter[str] = Counter()
    for tensor in reader.tensors:
        counts[tensor.tensor_type.name] += int(tensor.n_elements)
    if not counts:
        raise ModelError(f"{place.name}: expected a GGUF file with weights, got one without tensors.")
    with place.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return GgufFile(place, architecture, counts.most_common(1)[0][0], sum(counts.values()), digest)


def _reader(place: Path) -> GGUFReader:
    from gguf import GGUFReader

    class Within(GGUFReader):
        """Reads nothing beyond the file's end, where the library finds empty values without end."""

        def _get(self, offset: int, dtype: Any, count: int = 1, *rest: Any, **how: Any) -> Any:
            if offset + int(count) * np.dtype(dtype).itemsize > len(self.data):
                raise ValueError(f"it ends at byte {len(self.data):,}, within a value that its header tells of")
            return super()._get(offset, dtype, count, *rest, **how)

    try:
        return Within(place)
    except Exception as error:  # a file's sizes, counts and nesting are what the library trusts
        raise ModelError(
            f"{place.name}: expected a GGUF file (version 2 or 3), got one that cannot be read: {one_line(error)}. "
            "Fetch it again, or give a folder in Hugging Face layout."
        ) from None


def _check_architecture(place: Path, architecture: str) -> None:
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    if architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        raise ModelError(
            f"{place.name}: expected an architecture that Transformers reads from GGUF "
            f"({', '.join(sorted(GGUF_SUPPORTED_ARCHITECTURES))}), got {architecture!r}. Convert it to safetensors "
            "with the tool that made it, and give that folder."
        )


def converted(path: str | Path, *, progress: Progress | None = None) -> Path:
    """The folder of a GGUF file's model, made at the first time.

    Errors: ModelError.
    """
    file = inspect(path)
    check_room(file.folder, file.parameters * FLOAT_BYTES)
    return keep(file.folder, file.to_dict(), lambda fresh: convert(file.path, fresh, progress=progress))


def convert(path: Path, target: Path, *, progress: Progress | None = None) -> None:
    """Write the model of a GGUF file to an existing folder, in Hugging Face layout and float32.

    Special tokens and the chat template stay. Errors: ModelError for what Transformers cannot read.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    try:
        _report(progress, "reading the tokenizer", 0.0)
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), **where)
        _report(progress, "reading the weights", 0.2)
        model = AutoModelForCausalLM.from_pretrained(str(path.parent), dtype=torch.float32, **where)
    except Exception as error:  # the tokenizer's library raises bare exceptions
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{path.name}: this GGUF file cannot be read as a language model: {first}") from error
    _report(progress, "writing the model", 0.8)
    config = model.config
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if config.tie_word_embeddings else set()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)
    model.hf_quantizer = None
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.architectures = [type(model).__name__]  # a GGUF file carries none, and the bridge asks for it
    config._name_or_path = path.stem
    config.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _report(progress: Progress | None, phase: str, fraction: float) -> None:
    if progress is not None:
        progress(phase, fraction)
