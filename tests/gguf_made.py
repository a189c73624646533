"""Tiny GGUF files as other tools write them, from a random Hugging Face model whose weights are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
WORDS = ["<unk>", "<s>", "</s>", "w", "1", *(f"w{i}" for i in range(59))]


def tiny_llama(*, heads: int = 4, groups: int = 2, layers: int = 2, tied: bool = False) -> Any:
    """A random Llama of 64 tokens; groups: its key-value heads."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32 * heads // 4,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        rms_norm_eps=1e-5,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config).eval()


def tiny_qwen2() -> Any:
    """A random Qwen2 of 64 tokens, with biases on queries, keys and values."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        attn_implementation="eager",
    )
    model = Qwen2ForCausalLM(config).eval()
    for name, values in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(values, std=0.1)
    return model


_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_gguf(
    path: Path, model: Any, architecture: str, kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32
) -> dict[str, np.ndarray]:
    """Write a model as other tools do; the weights as they come back, by Hugging Face name.

    Two-dimensional weights have the given type, norms and biases float32. Llama's query and key rows are reordered
    as llama.cpp orders them for its rotary embedding.
    """
    config = model.config
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(WORDS)
    writer.add_token_merges(["w 1"])
    writer.add_token_types([3, 3, 3, *([1] * (len(WORDS) - 3))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    back = {}
    for name, tensor in model.state_dict().items():
        if config.tie_word_embeddings and name == "lm_head.weight":
            continue
        values = tensor.float().numpy()
        stored, back[name] = _stored(name, values, architecture, config, kind)
        raw_type = kind if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(_name(name), stored, raw_dtype=raw_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return back


def _stored(
    name: str, values: np.ndarray, architecture: str, config: Any, kind: gguf.GGMLQuantizationType
) -> tuple[np.ndarray, np.ndarray]:
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    n_heads = next((n for part, n in heads.items() if part in name and architecture == "llama"), 0)
    ordered = _interleaved(values, n_heads) if n_heads else values
    if values.ndim < 2:
        return ordered, values
    stored = gguf.quants.quantize(ordered, kind)
    plain = gguf.quants.dequantize(stored, kind).reshape(ordered.shape)
    return stored, _halves(plain, n_heads) if n_heads else plain


def _interleaved(values: np.ndarray, n_heads: int) -> np.ndarray:
    """Rows of each head with the two halves interleaved."""
    return values.reshape(n_heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape).copy()


def _halves(values: np.ndarray, n_heads: int) -> np.ndarray:
    """Inverse of `_interleaved`."""
    return values.reshape(n_heads, -1, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape).copy()


def _name(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    if stem in _WHOLE:
        return f"{_WHOLE[stem]}.{suffix}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{_NAMES[part]}.{suffix}"
