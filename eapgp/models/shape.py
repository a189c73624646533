"""A model's size, known before it is loaded: from the catalogue, or from a local folder's config.json."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from eapgp.graph import Graph
from eapgp.models.catalogue import find_model


@dataclass(frozen=True)
class Shape:
    """A model's size: its graph and its number of weights."""

    graph: Graph
    parameters: int


@cache
def model_shape(name: str) -> Shape | None:
    """A catalogue model's or a local folder's size; None where only the hub knows."""
    entry = find_model(name)
    if entry is not None:
        return Shape(entry.graph, entry.parameters)
    path = Path(name).expanduser() / "config.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        values = json.loads(path.read_text(encoding="utf-8"))
        layers, heads, width = (
            next(int(values[key]) for key in keys if key in values)
            for keys in (
                ("n_layer", "num_hidden_layers", "num_layers"),
                ("n_head", "num_attention_heads", "num_heads"),
                ("n_embd", "hidden_size", "d_model"),
            )
        )
        weights = sum(file.stat().st_size for file in path.parent.glob("*.safetensors")) // 4
        return Shape(Graph(layers, heads, d_model=width), weights)
    return None
