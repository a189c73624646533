"""A loaded model: the bridge, its graph, and the views the engine works through."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from eapgp.graph import Graph
from eapgp.models.adapter import Layer, Norm
from eapgp.prompts.prompting import USUAL, Prompting

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Model:
    """A frozen transformer with hooks.

    id: what the user asked for (a catalogue name, a hub id or a folder). `prepend_bos`: whether
    prompts start with the BOS token where `prompting` says nothing else. `soft_cap`: final logit soft-cap, or None.
    `lock` guards hooks: one pass at a time per model. `notes` are remarks on its checkpoint, which every result
    repeats. `commit`: of a hub model.
    """

    id: str
    graph: Graph
    bridge: Any
    tokenizer: Any
    layers: tuple[Layer, ...]
    final_norm: Norm
    device: torch.device
    dtype: str
    prepend_bos: bool
    soft_cap: float | None
    random_seed: int | None = None
    notes: tuple[str, ...] = ()
    commit: str | None = None
    prompting: Prompting = USUAL
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def with_prompting(self, prompting: Prompting) -> Model:
        """The same model, to which prompts are put in another way; weights, lock and cache are shared."""
        return self if prompting == self.prompting else replace(self, prompting=prompting)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.bridge.cfg.d_model)

    @property
    def n_vocab(self) -> int:
        """Size of the vocabulary that the logits cover."""
        return int(self.bridge.unembed.original_component.weight.shape[0])

    @property
    def n_embeddings(self) -> int:
        """Number of token ids that can be read: rows of the embedding, which the vocabulary may exceed."""
        return int(self.bridge.embed.original_component.weight.shape[0])

    @property
    def n_context(self) -> int:
        """Longest prompt in tokens."""
        return int(self.bridge.cfg.n_ctx)

    @property
    def architecture(self) -> str:
        """Name of the Transformers class."""
        return type(self.bridge.original_model).__name__

    @property
    def weights_hash(self) -> str:
        """Hash of every parameter's name, shape, dtype and bytes; 16 hex digits."""
        if "weights_hash" not in self.cache:
            self.cache["weights_hash"] = self._hash_of_weights()
        return str(self.cache["weights_hash"])

    def _hash_of_weights(self) -> str:
        import torch

        digest = hashlib.sha256()
        for name, tensor in sorted(self.bridge.original_model.state_dict().items()):
            flat = tensor.detach().cpu().contiguous()
            digest.update(f"{name}{tuple(flat.shape)}{flat.dtype}".encode())
            digest.update(flat.reshape(-1).view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
        return digest.hexdigest()[:16]

    @cached_property
    def tokenizer_hash(self) -> str:
        """Hash of the tokenizer's vocabulary and rules; 16 hex digits."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        text = backend.to_str() if backend is not None else repr(sorted(self.tokenizer.get_vocab().items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def describe(self) -> dict[str, object]:
        """Provenance of the model as plain values."""
        return {
            "model": self.id,
            "architecture": self.architecture,
            "weights_hash": self.weights_hash,
            "tokenizer_hash": self.tokenizer_hash,
            "dtype": self.dtype,
            "device": str(self.device),
            "random_seed": self.random_seed,
            "prepend_bos": self.prepend_bos,
            **({"commit": self.commit} if self.commit else {}),
            **({"prompting": self.prompting.to_dict()} if self.prompting != USUAL else {}),
            **self.graph.to_dict(),
        }
