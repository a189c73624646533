"""Random GPT-2 models of any shape, built in memory."""

from __future__ import annotations

import tempfile

from eapgp.models import load_model
from eapgp.models.model import Model


def random_gpt2(*, layers: int, heads: int, width: int, vocab: int, device: str = "cpu", seed: int = 0) -> Model:
    """A GPT-2 of the given shape with seeded random weights and a byte tokenizer."""
    from transformers import GPT2Config

    config = GPT2Config(n_layer=layers, n_head=heads, n_embd=width, vocab_size=vocab, architectures=["GPT2LMHeadModel"])
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        return load_model(folder, random_weights=True, seed=seed, device=device)
