"""The computational graph: which nodes a transformer has and which edges join them.

Nodes are `input`, attention heads `a{l}.h{h}`, MLPs `m{l}` and `logits`.

- Sources write to the residual stream: `input`, then per layer its heads, then its MLP.
- Destinations read from it: per layer H query inputs, H key inputs, H value inputs and the
  MLP input; last `logits`.

The sources that a destination can read are always a prefix of the source order, so the
whole graph is described by one number per destination (`prefix`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import InputError, UnknownNameError

QKV = ("q", "k", "v")
EDGE_TYPES = ("q", "k", "v", "mlp", "logits")
_HEAD = re.compile(r"a(\d+)\.h(\d+)")
_MLP = re.compile(r"m(\d+)")


@dataclass(frozen=True)
class Graph:
    """Nodes and edges of a decoder-only transformer.

    `parallel` blocks (GPT-NeoX, GPT-J) let attention and MLP read the same residual: no
    edge joins a head to the MLP of its own layer. Under grouped-query attention there is
    still one key and one value input per query head.
    """

    n_layers: int
    n_heads: int
    parallel: bool = False
    d_model: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if self.n_layers < 1 or self.n_heads < 1:
            raise InputError(
                f"a graph needs at least one layer and one head; got {self.n_layers} layers and {self.n_heads} heads."
            )

    @property
    def n_sources(self) -> int:
        """F = 1 + L(H+1)."""
        return 1 + self.n_layers * (self.n_heads + 1)

    @property
    def n_destinations(self) -> int:
        """R = L(3H+1) + 1."""
        return self.n_layers * (3 * self.n_heads + 1) + 1

    @cached_property
    def prefix(self) -> NDArray[np.int64]:
        """`[dst]` how many sources, counted from the first, each destination reads."""
        counts = []
        for layer in range(self.n_layers):
            before = 1 + layer * (self.n_heads + 1)
            counts += [before] * (3 * self.n_heads)
            counts.append(before if self.parallel else before + self.n_heads)
        return np.array([*counts, self.n_sources], dtype=np.int64)

    @property
    def n_edges(self) -> int:
        """Number of edges (GPT-2 small: 32,491)."""
        layers, heads = self.n_layers, self.n_heads
        below = layers + (heads + 1) * layers * (layers - 1) // 2  # sources before each layer, summed over layers
        return (3 * heads + 1) * below + (0 if self.parallel else layers * heads) + self.n_sources

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """`[src, dst]` true where an edge exists."""
        return np.arange(self.n_sources)[:, None] < self.prefix[None, :]

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Source names in row order."""
        names = ["input"]
        for layer in range(self.n_layers):
            names += [f"a{layer}.h{head}" for head in range(self.n_heads)]
            names.append(f"m{layer}")
        return tuple(names)

    @cached_property
    def destinations(self) -> tuple[str, ...]:
        """Destination names in column order (`a0.h1<q>`, `m0`, `logits`)."""
        names = []
        for layer in range(self.n_layers):
            for letter in QKV:
                names += [f"a{layer}.h{head}<{letter}>" for head in range(self.n_heads)]
            names.append(f"m{layer}")
        return (*names, "logits")

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """All node names: the sources in order, then `logits`."""
        return (*self.sources, "logits")

    @cached_property
    def destination_nodes(self) -> NDArray[np.int64]:
        """`[dst]` index into `nodes` of the node each destination belongs to."""
        index = {name: i for i, name in enumerate(self.nodes)}
        return np.array([index[name.split("<")[0]] for name in self.destinations], dtype=np.int64)

    @cached_property
    def destination_types(self) -> tuple[str, ...]:
        """Edge type of every destination: one of `EDGE_TYPES`."""
        per_layer = [letter for letter in QKV for _ in range(self.n_heads)] + ["mlp"]
        return (*(per_layer * self.n_layers), "logits")

    @cached_property
    def source_layers(self) -> NDArray[np.int64]:
        """`[src]` layer of each source; `input` is -1."""
        return np.concatenate([[-1], np.repeat(np.arange(self.n_layers), self.n_heads + 1)])

    @cached_property
    def destination_layers(self) -> NDArray[np.int64]:
        """`[dst]` layer of each destination; `logits` is L."""
        return np.concatenate([np.repeat(np.arange(self.n_layers), 3 * self.n_heads + 1), [self.n_layers]])

    @cached_property
    def _source_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.sources)}

    @cached_property
    def _destination_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.destinations)}

    def source_index(self, name: str) -> int:
        """Row of a source."""
        try:
            return self._source_index[name]
        except KeyError:
            raise UnknownNameError.of("source node", name, self.sources) from None

    def destination_index(self, name: str) -> int:
        """Column of a destination (`a0.h1<q>`, `m0`, `logits`)."""
        try:
            return self._destination_index[name]
        except KeyError:
            raise UnknownNameError.of("destination", name, self.destinations) from None

    def head_source(self, layer: int, head: int) -> int:
        """Row of head `a{layer}.h{head}`."""
        return 1 + layer * (self.n_heads + 1) + head

    def mlp_source(self, layer: int) -> int:
        """Row of `m{layer}`."""
        return 1 + layer * (self.n_heads + 1) + self.n_heads

    def qkv_slice(self, layer: int, letter: str) -> slice:
        """Columns of one layer's query, key or value inputs."""
        start = layer * (3 * self.n_heads + 1) + QKV.index(letter) * self.n_heads
        return slice(start, start + self.n_heads)

    def mlp_destination(self, layer: int) -> int:
        """Column of `m{layer}`."""
        return layer * (3 * self.n_heads + 1) + 3 * self.n_heads

    def edge_name(self, source: int, destination: int) -> str:
        """Name such as `input->a0.h1<q>`."""
        return f"{self.sources[source]}->{self.destinations[destination]}"

    def edge_index(self, name: str) -> tuple[int, int]:
        """Row and column of a named edge.

        Errors: InputError if the text is no edge name or the edge does not exist.
        """
        left, arrow, right = name.partition("->")
        if not arrow:
            raise InputError(f"{name!r} is no edge name: expected 'source->destination', e.g. 'input->a0.h1<q>'.")
        row, column = self.source_index(left), self.destination_index(right)
        if not self.mask[row, column]:
            raise InputError(f"edge {name!r} does not exist: {right} is read before {left} is written.")
        return row, column

    def edge_names(self) -> list[str]:
        """All edge names, row by row (GPT-2 XL: 2.2 million strings; prefer indices)."""
        return [self.edge_name(int(s), int(d)) for s, d in zip(*np.nonzero(self.mask), strict=True)]

    def node_layer(self, node: str) -> int:
        """Layer of a node; `input` is -1 and `logits` is L."""
        if node == "input":
            return -1
        if node == "logits":
            return self.n_layers
        match = _HEAD.fullmatch(node) or _MLP.fullmatch(node)
        if not match or node not in self._source_index:
            raise UnknownNameError.of("node", node, self.nodes)
        return int(match.group(1))

    def to_dict(self) -> dict[str, int | bool]:
        """The `cfg` object of the MIB format."""
        return {
            "n_layers": self.n_layers,
            "n_heads": self.n_heads,
            "parallel_attn_mlp": self.parallel,
            "d_model": self.d_model,
        }

    @classmethod
    def from_dict(cls, cfg: dict[str, int | bool]) -> Graph:
        """Inverse of `to_dict`."""
        return cls(
            int(cfg["n_layers"]),
            int(cfg["n_heads"]),
            bool(cfg.get("parallel_attn_mlp", False)),
            int(cfg.get("d_model", 0)),
        )
