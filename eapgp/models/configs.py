"""Configurations of the catalogue's models, so that random weights at true size need no network."""

from __future__ import annotations

from typing import Any

from eapgp.errors import ModelError

_PYTHIA = {"vocab_size": 50304, "max_position_embeddings": 2048, "rotary_pct": 0.25}

CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", {"n_layer": 12, "n_head": 12, "n_embd": 768}),
    "gpt2-medium": ("GPT2Config", {"n_layer": 24, "n_head": 16, "n_embd": 1024}),
    "gpt2-large": ("GPT2Config", {"n_layer": 36, "n_head": 20, "n_embd": 1280}),
    "gpt2-xl": ("GPT2Config", {"n_layer": 48, "n_head": 25, "n_embd": 1600}),
    "pythia-70m": (
        "GPTNeoXConfig",
        {
            **_PYTHIA,
            "num_hidden_layers": 6,
            "num_attention_heads": 8,
            "hidden_size": 512,
            "intermediate_size": 2048,
        },
    ),
    "pythia-160m": (
        "GPTNeoXConfig",
        {
            **_PYTHIA,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "hidden_size": 768,
            "intermediate_size": 3072,
        },
    ),
    "pythia-410m": (
        "GPTNeoXConfig",
        {
            **_PYTHIA,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "hidden_size": 1024,
            "intermediate_size": 4096,
        },
    ),
    "pythia-1b": (
        "GPTNeoXConfig",
        {
            **_PYTHIA,
            "num_hidden_layers": 16,
            "num_attention_heads": 8,
            "hidden_size": 2048,
            "intermediate_size": 8192,
        },
    ),
    "gpt-neo-125m": (
        "GPTNeoConfig",
        {
            "num_layers": 12,
            "num_heads": 12,
            "hidden_size": 768,
            "attention_types": [[["global", "local"], 6]],
            "vocab_size": 50257,
        },
    ),
    "qwen2.5-0.5b": (
        "Qwen2Config",
        {
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
        },
    ),
    "smollm2-135m": (
        "LlamaConfig",
        {
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "vocab_size": 49152,
            "max_position_embeddings": 8192,
            "rope_theta": 100000.0,
            "tie_word_embeddings": True,
        },
    ),
    "gemma-2-2b": ("Gemma2Config", {}),
    "llama-3-8b": (
        "LlamaConfig",
        {
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "vocab_size": 128256,
            "rope_theta": 500000.0,
        },
    ),
}


def configuration(name: str) -> Any:
    """Transformers configuration of a catalogue model.

    Errors: ModelError for a name that has none here.
    """
    import transformers

    if name not in CONFIGURATIONS:
        raise ModelError(
            f"no configuration is known for {name!r}: random weights are offered for {', '.join(CONFIGURATIONS)}, "
            "or give a local folder that holds a config.json."
        )
    kind, arguments = CONFIGURATIONS[name]
    return getattr(transformers, kind)(**arguments)
