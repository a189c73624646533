"""Whether a checkpoint can be read, and holds exactly the weights that its configuration asks for.

Only safetensors are read. Transformers fills what is missing with random numbers and drops what is too many; both
would change every score without a word.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from eapgp.errors import ModelError

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
PICKLED_FILE, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
ADAPTER_FILE = "adapter_config.json"
WEIGHT_FILES = (WEIGHTS_FILE, INDEX_FILE, PICKLED_FILE, PICKLED_INDEX, ADAPTER_FILE)
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

LISTED = 5
"""So many weights are named; of more only the number is said."""

_MASKS = re.compile(r"(attn|attention)\.(masked_)?bias$|rotary_emb\.inv_freq$")
"""Attention masks and rotary frequencies that older checkpoints hold: constants, not weights."""


def refuse_adapter(name: str, files: Collection[str]) -> None:
    """Raise where a model's files are those of an adapter. Errors: ModelError that says how to merge it."""
    if ADAPTER_FILE in files:
        merge = f"M.from_pretrained({name!r}).merge_and_unload().save_pretrained('merged')"
        raise ModelError(
            f"model {name!r} is an adapter ({ADAPTER_FILE}): expected a whole model. Merge it into its base once: "
            f'python -c "from peft import AutoPeftModelForCausalLM as M; {merge}", copy the base model\'s tokenizer '
            "files to the folder merged, and give that."
        )


def weight_file(name: str, files: Collection[str], *, pickled: bool = False) -> str:
    """Which of a model's files its weights are in, or the index that names them. pickled: those are taken too.

    Errors: ModelError that says what to do with what is there instead.
    """
    refuse_adapter(name, files)
    for file in (WEIGHTS_FILE, INDEX_FILE, *((PICKLED_FILE, PICKLED_INDEX) if pickled else ())):
        if file in files:
            return file
    others = sorted(file for file in files if file.endswith(_PICKLED))
    if others:
        raise ModelError(
            f"model {name!r} cannot be read: expected {WEIGHTS_FILE}, got pickled weights only ({others[0]}), which "
            f"could run code. {_way_out(name, files)}"
        )
    raise ModelError(
        f"model {name!r} cannot be read: expected config.json and {WEIGHTS_FILE} (or {INDEX_FILE} and its files), got "
        "no weights; save the model with save_pretrained, or choose another."
    )


def _way_out(name: str, files: Collection[str]) -> str:
    if PICKLED_FILE in files or PICKLED_INDEX in files:
        return f"Convert them once, reading weights and nothing else: eapgp models convert {shlex.quote(name)}"
    return "Save the model anew with save_pretrained in the program that made it."


def shards(index: Path) -> tuple[str, ...]:
    """Files that the index of a checkpoint in several files names. Errors: ModelError."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if files and all(isinstance(file, str) and Path(file).name == file for file in files):
            return tuple(files)
    raise ModelError(
        f"{index}: expected a weight_map from weights to files of the same folder; fetch or save the model again."
    )


def held_weights(name: str, folder: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every weight that a folder's checkpoint holds, from the headers of its files.

    Errors: ModelError for a file that is missing, cut off or no safetensors.
    """
    from safetensors import SafetensorError, safe_open

    file = weight_file(name, {path.name for path in folder.iterdir()})
    held: dict[str, tuple[int, ...]] = {}
    for part in (file,) if file == WEIGHTS_FILE else shards(folder / file):
        try:
            with safe_open(folder / part, framework="pt") as weights:
                held |= {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise ModelError(
                f"model folder {name!r} cannot be read: expected config.json and {file} of a causal language model; "
                f"got: {part} missing, cut off or no safetensors file ({reason}). Fetch or save it again."
            ) from error
    return held


def check_weights(name: str, model: Any, report: Mapping[str, Any]) -> tuple[str, ...]:
    """Remarks on weights that belong to no part of the model, such as another head's.

    report: Transformers' loading info; tied weights are not among its missing keys.
    Errors: ModelError where weights are missing, have another shape, or belong to a part of the model that
    the configuration leaves out (a layer more, a bias more).
    """
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"model {name!r}: {_listed(missing)} missing from its weights; computing with random ones in "
            "their place would give numbers that mean nothing. Save the whole model, or correct config.json."
        )
    others = sorted({str(entry[0] if isinstance(entry, tuple) else entry) for entry in report["mismatched_keys"]})
    if others:
        raise ModelError(f"model {name!r}: {_listed(others)} of another shape than config.json asks for; correct it.")
    surplus = [key for key in sorted(report["unexpected_keys"]) if not _MASKS.search(key)]
    parts = {part for part, _ in model.named_modules()} - {"", model.base_model_prefix}
    inside = [key for key in surplus if _is_inside(key, parts, model.base_model_prefix)]
    if inside:
        raise ModelError(
            f"model {name!r}: {_listed(inside)} in its weights but not in the model that config.json "
            "describes, so another model would be computed. Correct config.json (layers, biases, model_type)."
        )
    if not surplus:
        return ()
    return (f"model {name!r}: {_listed(surplus)} in its weights but no part of a language model; left out.",)


def _is_inside(key: str, parts: set[str], base: str) -> bool:
    """Whether a weight's name lies in one of the model's parts, with or without the base model's prefix."""
    steps = key.split(".")
    owners = {".".join(steps[:end]) for end in range(1, len(steps))}
    return bool(owners & parts or {f"{base}.{owner}" for owner in owners} & parts)


def _listed(keys: Iterable[str]) -> str:
    """`a is`, `a, b are`, `a, b, c, d, e and 7 more weights are`."""
    names = list(keys)
    more = f" and {len(names) - LISTED:,} more weights" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more} {'is' if len(names) == 1 else 'are'}"
