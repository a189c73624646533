"""A loaded model: the bridge, its graph, and one view for all architectures of what the engine needs.

A TransformerBridge gives every architecture the same hook names, but not the same norms: GPT-J
and Phi share one norm between attention and MLP, OLMo-2 has none before them, Gemma-2/3 and
OLMo-2 have one after them. `Layer` says which is which, so that nothing further on asks for a
model's family.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from eapgp.graph import Graph
from eapgp.prompts.prompting import USUAL, Prompting

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Norm:
    """A LayerNorm or RMSNorm: y = x̂ ⊙ γ + β with x̂ = (x − mean) / σ (RMSNorm: without the mean)."""

    module: Any
    centred: bool
    eps: float
    offset: bool

    @property
    def gamma(self) -> Tensor | None:
        """`[d_model]` weight in float32 or wider; None where it is 1 everywhere (OLMo)."""
        weight = getattr(self.module, "weight", None)
        if weight is None:
            return None
        wide = widen(weight)
        return wide + 1 if self.offset else wide

    @property
    def beta(self) -> Tensor | None:
        """`[d_model]` bias in float32 or wider, or None."""
        bias = getattr(self.module, "bias", None)
        return None if bias is None else widen(bias)

    def apply(self, x: Tensor) -> Tensor:
        """The model's own norm of `[..., d_model]`."""
        return self.module(x)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x̂ `[..., d_model]` and σ `[..., 1]`, in float32 or wider."""
        wide = widen(x)
        if self.centred:
            wide = wide - wide.mean(-1, keepdim=True)
        sigma = (wide.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return wide / sigma, sigma

    def scale(self, x: Tensor) -> Tensor:
        """σ `[..., 1]` alone."""
        return self.statistics(x)[1]


def widen(x: Tensor) -> Tensor:
    """float32, or float64 where x is float64."""
    import torch

    return x if x.dtype == torch.float64 else x.float()


def norm_of(bridge_norm: Any, config: Any) -> Norm | None:
    """View of a bridge's norm component, or None where the block has none."""
    if bridge_norm is None:
        return None
    module = bridge_norm.original_component
    eps = next(
        (float(v) for v in (getattr(module, "eps", None), getattr(module, "variance_epsilon", None)) if v is not None),
        float(config.eps),
    )
    return Norm(module, not bridge_norm.uses_rms_norm, eps, bool(bridge_norm.uses_weight_offset))


@dataclass(frozen=True, eq=False)
class Layer:
    """Hook points, norms and weights of one block.

    attn_norm, mlp_norm: the norm between the residual stream and the branch, or None.
    attn_post: the norm between attention and the residual stream, or None.
    attn_out, mlp_out: hook points of what each branch adds to the residual stream, after such a norm.
    attn_residual, mlp_residual: hook points that see the residual each branch reads.
    """

    block: Any
    attn: Any
    hook_in: Any
    hook_q: Any
    hook_k: Any
    hook_v: Any
    hook_z: Any
    hook_pattern: Any
    attn_residual: Any
    mlp_residual: Any
    mlp_in: Any
    attn_out: Any
    mlp_out: Any
    attn_post_in: Any | None
    attn_norm: Norm | None
    mlp_norm: Norm | None
    attn_post: Norm | None

    def hook(self, letter: str) -> Any:
        """Hook point of raw q, k or v: `[pair, pos, head, d_head]`."""
        return {"q": self.hook_q, "k": self.hook_k, "v": self.hook_v}[letter]

    def weight(self, letter: str) -> Tensor:
        """W_Q, W_K or W_V: `[head, d_model, d_head]`, in float32 or wider."""
        return widen(getattr(self.attn, f"W_{letter.upper()}").detach())

    def bias(self, letter: str) -> Tensor | None:
        """b_Q, b_K or b_V: `[head, d_head]` in float32 or wider, or None."""
        bias = getattr(self.attn, f"b_{letter.upper()}")
        if bias is None:
            return None
        heads, _, d_head = getattr(self.attn, f"W_{letter.upper()}").shape
        return widen(bias.detach()).reshape(heads, d_head)

    @property
    def mlp_reads_alone(self) -> bool:
        """Whether nothing but the MLP reads its input: it comes from a norm that attention does not share."""
        return self.mlp_norm is not None and self.mlp_residual is not self.attn_residual

    @property
    def w_o(self) -> Tensor:
        """W_O `[head, d_head, d_model]`, in float32 or wider."""
        return widen(self.attn.W_O.detach())


def layer_of(bridge: Any, index: int) -> Layer:
    """View of block `index`."""
    block, hooks = bridge.blocks[index], bridge.hook_dict
    at = f"blocks.{index}."
    parts = block.submodules
    attn_norm, mlp_norm = parts.get("ln1"), parts.get("ln2")
    if mlp_norm is None and "ln2_post" not in parts:
        mlp_norm = attn_norm  # GPT-J, Phi: one norm for both branches
    attn_post = parts.get("ln1_post")

    def named(module: Any, fallback: str) -> Any:
        return module.hook_in if module is not None else hooks[at + fallback]

    return Layer(
        block=block,
        attn=block.attn,
        hook_in=hooks[at + "hook_in"],
        hook_q=hooks[at + "attn.hook_q"],
        hook_k=hooks[at + "attn.hook_k"],
        hook_v=hooks[at + "attn.hook_v"],
        hook_z=hooks[at + "attn.hook_z"],
        hook_pattern=hooks[at + "attn.hook_pattern"],
        attn_residual=named(attn_norm, "attn.hook_in"),
        mlp_residual=named(mlp_norm, "mlp.hook_in"),
        mlp_in=hooks[at + "mlp.hook_in"],
        attn_out=hooks[at + "hook_attn_out"],
        mlp_out=hooks[at + "hook_mlp_out"],
        attn_post_in=attn_post.hook_in if attn_post is not None else None,
        attn_norm=norm_of(attn_norm, bridge.cfg),
        mlp_norm=norm_of(mlp_norm, bridge.cfg),
        attn_post=norm_of(attn_post, bridge.cfg),
    )


# ---- the model -----------------------------------------------------------------------------------


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
    def qkv_bound(self) -> float | None:
        """Size at which attention cuts raw queries, keys and values (OLMo, MPT), or None."""
        config = self.bridge.original_model.config
        bound = getattr(config, "clip_qkv", None) or getattr(getattr(config, "attn_config", None), "clip_qkv", None)
        return None if bound is None else float(bound)

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
