"""What a model's configuration asks for, looked at before anything is allocated.

config.json is what other programs and people write: a size may be text, a list, negative, or so large that no
machine could hold it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from eapgp.errors import ModelError

CONFIG_FILE = "config.json"
MOST_LAYERS = 1000
"""Models of more layers are taken for a slip; no checkpoint has more than a few hundred."""

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "max_position_embeddings",
)
"""By Transformers' names, which its configurations translate from their own."""

OWN_NAMES = ("n_layer", "n_layers", "num_layers", "n_head", "n_heads", "num_heads", "n_embd", "d_model", "n_positions")
"""What single architectures call them in config.json."""

TOO_MANY, ALWAYS_FINE = 4, 50_000_000
"""A model that asks for so many times the weights of its checkpoint, and more than this, is refused unallocated."""


def read_config(name: str, folder: Path) -> Any:
    """Transformers' configuration of a model folder, every size of it a number that can be.

    Errors: ModelError that names the entry.
    """
    from transformers import AutoConfig

    try:
        values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, got {type(values).__name__}")
        _check_sizes(name, {key: values[key] for key in (*SIZES, *OWN_NAMES) if key in values})
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except ModelError:
        raise
    except Exception as error:  # whatever a configuration's own checks raise
        raise ModelError(f"model folder {name!r} cannot be read: {CONFIG_FILE}: {_first_line(error)}") from error
    text = config.get_text_config()
    sizes = {key: getattr(text, key, None) for key in SIZES}
    _check_sizes(name, sizes)
    _check_heads(name, sizes)
    return config


def _check_sizes(name: str, sizes: Mapping[str, Any]) -> None:
    """Errors: ModelError for one that is neither absent nor a number that can be."""
    for key, value in sizes.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ModelError(
                f"model folder {name!r} cannot be read: {CONFIG_FILE}: {key}: expected a whole number of at least 1, "
                f"got {value!r:.60}; correct it."
            )


def _first_line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _check_heads(name: str, sizes: Mapping[str, int | None]) -> None:
    width, heads, groups = sizes["hidden_size"], sizes["num_attention_heads"], sizes["num_key_value_heads"]
    problem = ""
    if (sizes["num_hidden_layers"] or 0) > MOST_LAYERS:
        problem = f"layers: expected at most {MOST_LAYERS:,}, got {sizes['num_hidden_layers']:,}"
    elif width and heads and sizes["head_dim"] is None and width % heads:
        problem = f"heads: expected a number that divides the width {width:,}, got {heads:,}"
    elif heads and groups and heads % groups:
        problem = f"key-value heads: expected a number that divides the {heads:,} heads, got {groups:,}"
    if problem:
        raise ModelError(f"model folder {name!r} cannot be read: {CONFIG_FILE}: {problem}; correct it.")


def check_room(name: str, config: Any, bytes_each: int, held: Mapping[str, tuple[int, ...]] | None) -> None:
    """Raise where the model that a configuration describes is another than the checkpoint's, or too large to hold.

    held: shapes of the checkpoint's weights; None for random weights. bytes_each: of one weight. Nothing is allocated.
    Errors: ModelError.
    """
    n_weights, n_bytes = _asked(name, config, bytes_each)
    if held is not None and getattr(config, "quantization_config", None) is None:
        n_held = sum(math.prod(shape) for shape in held.values())
        if n_weights > max(TOO_MANY * n_held, ALWAYS_FINE):
            raise ModelError(
                f"model {name!r}: config.json describes a model of {n_weights / 1e6:,.0f} million weights, and its "
                f"checkpoint holds {n_held / 1e6:,.1f} million; correct its sizes."
            )
    free = psutil.virtual_memory().available
    if n_bytes > free:
        raise ModelError(
            f"model {name!r} needs {n_bytes / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free: choose a "
            "smaller model, a narrower --dtype, or correct the sizes in config.json."
        )


def _asked(name: str, config: Any, bytes_each: int) -> tuple[int, int]:
    """Number of weights, and bytes of weights and constants, of the model that a configuration describes."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # a configuration can be wrong in as many ways as there are models
        raise ModelError(
            f"model {name!r} cannot be read: config.json describes no language model that Transformers can build: "
            f"{_first_line(error)}"
        ) from error
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    constants = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    return n_weights, n_weights * bytes_each + constants
