"""What a model supports, checked by running it before a user waits.

Two short random prompts are run once. The model is supported where

- the sources and the output biases add up to the residual stream that every destination reads;
- what the unembedding gives for its input, soft-cap included, equals the model's logits;
- its logits are those of Transformers, which was asked before anything was put around the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eapgp.errors import ModelError
from eapgp.models.adapter import widen
from eapgp.models.model import Model

if TYPE_CHECKING:
    from torch import Tensor

LENGTH = 4
TOLERANCE = {"float64": 1e-6, "float32": 2e-3, "bfloat16": 0.15, "float16": 0.05}


def sample_answers(name: str, hf_model: Any) -> Tensor:
    """Logits `[pos, vocab]` of a Transformers model on a few token ids, before it is given hooks.

    Errors: ModelError where it cannot be run at all.
    """
    import torch

    config = hf_model.config.get_text_config()
    rows = hf_model.get_input_embeddings().weight.shape[0]
    length = min(LENGTH, int(getattr(config, "max_position_embeddings", None) or LENGTH))
    ids = torch.randint(0, rows, (1, length), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            return widen(hf_model(ids.to(hf_model.device)).logits[0]).cpu()
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"model {name!r} ({type(hf_model).__name__}) is not supported: Transformers cannot run it: {first}"
        ) from error


def check_answers(model: Model, expected: Tensor) -> None:
    """Errors: ModelError where the model no longer answers as `sample_answers` said."""
    import torch

    ids = torch.randint(0, model.n_embeddings, (1, len(expected)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = widen(model.bridge(ids.to(model.device), return_type="logits")[0]).cpu()
    error = float((seen - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
    if not error <= TOLERANCE[model.dtype]:
        raise ModelError(
            f"model {model.id!r} ({model.architecture}) is not supported: through TransformerLens' bridge its logits "
            f"differ from Transformers' (by {error:.2g} of the largest), so that every score would be of another model."
        )


def check_model(model: Model) -> None:
    """Errors: ModelError that says what does not hold, and how far off it is."""
    import torch

    from eapgp.engine.passes import Keep, Tokens, capture

    generator = torch.Generator().manual_seed(0)
    highest = min(model.n_vocab, model.n_embeddings)
    length = min(LENGTH, model.n_context)
    ids = torch.randint(0, highest, (2, length), generator=generator).to(model.device)
    tokens = Tokens(ids, torch.ones_like(ids, dtype=torch.bool), torch.full((2,), length - 1, device=model.device))
    with torch.no_grad():
        run = capture(model, tokens, keep=Keep.SOURCES | Keep.RESIDUALS)
    if not (len(run.z) == len(run.mlp) == len(run.attn_residual) == model.graph.n_layers):
        raise ModelError(
            f"model {model.id!r} ({model.architecture}) is not supported: {model.graph.n_layers} layers of attention "
            f"and MLP outputs were expected, {len(run.z)} and {len(run.mlp)} were seen."
        )
    _check_residuals(model, _expected_residuals(model, run), run)
    _check_logits(model, run.hidden[:, -1], run.logits)


def _expected_residuals(model: Model, run: object) -> list[tuple[str, Tensor, Tensor]]:
    """(name, residual rebuilt from the sources, residual seen) for every layer's branches and the end."""
    from eapgp.engine.differences import layer_heads

    stream = widen(run.input)  # type: ignore[attr-defined]
    residuals = []
    for index, layer in enumerate(model.layers):
        residuals.append((f"attention of layer {index}", stream, run.attn_residual[index]))  # type: ignore[attr-defined]
        bias = layer.attn.b_O if layer.attn_post is None else None
        attention = layer_heads(model, run, index).sum(0)  # type: ignore[arg-type]
        if bias is not None:
            attention = attention + widen(bias)
        middle = stream if model.graph.parallel else stream + attention
        residuals.append((f"MLP of layer {index}", middle, run.mlp_residual[index]))  # type: ignore[attr-defined]
        stream = stream + attention + widen(run.mlp[index])  # type: ignore[attr-defined]
    residuals.append(("the final norm", stream, run.final_residual))  # type: ignore[attr-defined]
    return residuals


def _check_residuals(model: Model, residuals: list[tuple[str, Tensor, Tensor]], run: object) -> None:

    for name, expected, seen in residuals:
        wide = widen(seen)
        error = float((expected - wide).abs().max() / wide.abs().max().clamp_min(1e-6))
        if not error <= TOLERANCE[model.dtype]:
            raise ModelError(
                f"model {model.id!r} ({model.architecture}) is not supported: its sources do not add up to the "
                f"residual stream that {name} reads (off by {error:.2g} of its largest value)."
            )


def _check_logits(model: Model, hidden: Tensor, logits: Tensor) -> None:
    from eapgp.engine.distance import full_logits

    rebuilt = full_logits(model, hidden)
    error = float((rebuilt - logits).abs().max() / logits.abs().max().clamp_min(1e-6))
    if not error <= TOLERANCE[model.dtype]:
        raise ModelError(
            f"model {model.id!r} ({model.architecture}) is not supported: its logits are not its unembedding's output "
            f"(off by {error:.2g} of the largest); GradPath's distance would be wrong."
        )
