"""Tiny random models of every architecture that the engine supports.

Norm weights and biases are randomised, so that a forgotten weight, bias or offset shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZE = {"vocab": 60, "width": 24, "layers": 2, "heads": 4, "context": 32}

_LLAMA_LIKE: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "vocab_size": 60,
}
_WITH_HEAD = {**_LLAMA_LIKE, "head_dim": 8}
_PARTLY_ROTARY = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.67}  # 4 of 6 dimensions
_ATTENTION_SCALE = {"query_pre_attn_scalar": 8}

# name: (configuration class, its arguments)
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32, "vocab_size": 60}),
    "gpt2-scaled": (
        "GPT2Config",
        {
            "n_embd": 24,
            "n_layer": 3,
            "n_head": 3,
            "n_positions": 32,
            "vocab_size": 60,
            "scale_attn_by_inverse_layer_idx": True,
            "tie_word_embeddings": False,
        },
    ),
    "gpt-neo": (
        "GPTNeoConfig",
        {
            "hidden_size": 24,
            "num_layers": 2,
            "num_heads": 4,
            "max_position_embeddings": 32,
            "vocab_size": 60,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 4,
            "intermediate_size": 40,
        },
    ),
    "pythia": (
        "GPTNeoXConfig",
        {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 40,
            "vocab_size": 60,
            "max_position_embeddings": 32,
        },
    ),
    "neox-sequential": (
        "GPTNeoXConfig",
        {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 40,
            "vocab_size": 60,
            "max_position_embeddings": 32,
            "use_parallel_residual": False,
        },
    ),
    "gpt-j": (
        "GPTJConfig",
        {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32, "vocab_size": 60, "rotary_dim": 4},
    ),
    "llama": ("LlamaConfig", _LLAMA_LIKE),
    "mistral": ("MistralConfig", {**_WITH_HEAD, "sliding_window": 4}),
    "qwen2": ("Qwen2Config", _LLAMA_LIKE),
    "qwen3": ("Qwen3Config", _WITH_HEAD),
    "olmo": ("OlmoConfig", {**_LLAMA_LIKE, "clip_qkv": 0.5}),
    "olmo2": ("Olmo2Config", _LLAMA_LIKE),
    "gemma": ("GemmaConfig", _WITH_HEAD),
    "gemma2": ("Gemma2Config", {**_WITH_HEAD, **_ATTENTION_SCALE, "sliding_window": 4}),
    "gemma3": ("Gemma3TextConfig", {**_WITH_HEAD, **_ATTENTION_SCALE, "sliding_window": 4}),
    "phi": ("PhiConfig", {**_LLAMA_LIKE, "num_key_value_heads": 4, "rope_parameters": _PARTLY_ROTARY}),
    "opt": (
        "OPTConfig",
        {
            "hidden_size": 24,
            "ffn_dim": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 32,
            "vocab_size": 60,
            "word_embed_proj_dim": 24,
        },
    ),
    "falcon": (
        "FalconConfig",
        {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60},
    ),
    "bloom": ("BloomConfig", {"hidden_size": 24, "n_layer": 2, "n_head": 4, "vocab_size": 60}),
    "mpt": (
        "MptConfig",
        {"d_model": 24, "n_layers": 2, "n_heads": 4, "vocab_size": 60, "max_seq_len": 32, "expansion_ratio": 2},
    ),
}


def build_tokenizer(folder: Path, vocab: int) -> None:
    """Word-level tokenizer whose words are `w1`, `w2`, …; id 0 is the BOS token, and one word is a letter.

    Transformers reads some families' words as pieces of bytes: of these the letter alone is found in a text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letter = vocab - 2
    words = {"<bos>": 0, **{"e" if i == letter else f"w{i}": i for i in range(1, vocab)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<bos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<bos>", pad_token="<bos>", unk_token="<bos>"
    )
    fast.save_pretrained(folder)


def build_folder(name: str, folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Save a tiny random model and its tokenizer in Hugging Face layout."""
    import torch
    import transformers

    kind, arguments = CONFIGURATIONS[name]
    config = getattr(transformers, kind)(
        **{**arguments, **changes}, bos_token_id=0, eos_token_id=0, pad_token_id=0, attn_implementation="eager"
    )
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                base = 1.0 if "norm" in key.lower() or "ln_" in key else 0.0
                if key.endswith("weight") and base and "gemma" in name:
                    base = 0.0
                parameter.copy_(noise * 0.2 + (base if key.endswith("weight") else 0.0))
            else:
                parameter.copy_(noise * (0.6 if "embed" in key or "wte" in key or "wpe" in key else 0.25))
    model.save_pretrained(folder)
    build_tokenizer(folder, SIZE["vocab"])
    return folder
