"""Training of the bundled model, from scratch, on prompts of the project's own generators.

1. Tokenizer: every word of every task (`vocabulary.py`).
2. Data: training combinations of all six tasks (`data.py`), one sixth of each batch per task.
3. Loss: cross-entropy of the answer token plus 0.1 × that of all other tokens. With the
   answer alone, indirect object identification stays at chance.
4. AdamW with warm-up and cosine decay; weights are tied; no dropout.
5. Measure on held-out combinations, and write model, figures and card.

The same seed, thread count and machine give the same weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from eapgp.cli.output import check_folder
from eapgp.errors import OptionError
from eapgp.metrics import METRICS, accuracy, targets_of
from eapgp.tasks import TASKS
from eapgp.types import Progress
from tools.training.card import model_card
from tools.training.data import Sequences, all_training_sequences, test_pairs
from tools.training.vocabulary import MAX_POSITIONS, build_tokenizer

_LOG = logging.getLogger(__name__)

DEFAULT_STEPS = 2000


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome beside the seed and the step count."""

    n_layers: int = 4
    n_heads: int = 4
    d_model: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    batch_per_task: int = 32
    pairs_per_task: int = 12_000
    other_tokens_weight: float = 0.1
    gradient_clip: float = 1.0
    test_pairs: int = 500


def train_demo(
    out: Path,
    *,
    steps: int = DEFAULT_STEPS,
    seed: int = 0,
    threads: int | None = None,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train the model and write it to the folder `out`; returns what training.json holds.

    steps: optimiser steps. threads: CPU threads of torch, None for its default.
    `progress` may raise `Cancelled`; nothing is written then.

    Errors: OptionError if steps or threads is below 1.
    """
    if steps < 1:
        raise OptionError(f"training needs at least 1 step; got {steps}.")
    if threads is not None and threads < 1:
        raise OptionError(f"training needs at least 1 thread; got {threads}.")
    recipe = recipe or Recipe()
    report = progress or (lambda phase, fraction: None)
    report("prompts", 0.0)
    with _settings(seed, threads):
        tokenizer = build_tokenizer()
        data = all_training_sequences(tokenizer, pairs=recipe.pairs_per_task, width=MAX_POSITIONS, seed=seed)
        model = build_model(tokenizer, recipe)
        started = time.perf_counter()
        losses = _train(model, data, recipe, steps=steps, seed=seed, report=report)
        seconds = time.perf_counter() - started
        report("held-out accuracy", 0.0)
        figures = {
            "steps": steps,
            "seed": seed,
            "threads": torch.get_num_threads(),
            "seconds": round(seconds, 1),
            "recipe": asdict(recipe),
            "parameters": sum(p.numel() for p in model.parameters()),
            "vocabulary": len(tokenizer),
            "training_sequences": {task: len(part.ids) for task, part in data.items()},
            "losses": losses,
            "tasks": measure(model, tokenizer, n=recipe.test_pairs),
            "embedding_norms": embedding_norms(model),
            "versions": _versions(),
        }
    _write(out, model, tokenizer, figures)
    report("done", 1.0)
    return figures


def build_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> GPT2LMHeadModel:
    """An untrained model of GPT-2's architecture for this vocabulary."""
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=MAX_POSITIONS,
        n_embd=recipe.d_model,
        n_layer=recipe.n_layers,
        n_head=recipe.n_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    return GPT2LMHeadModel(config)


def learning_rate(step: int, *, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to zero."""
    warmup = min(recipe.warmup_steps, max(1, steps // 10))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _train(
    model: GPT2LMHeadModel,
    data: dict[str, Sequences],
    recipe: Recipe,
    *,
    steps: int,
    seed: int,
    report: Progress,
) -> list[dict[str, float]]:
    """Train in place; returns the losses seen along the way, each a mean since the one before."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    every = max(1, steps // 40)
    history: list[dict[str, float]] = []
    recent: list[tuple[float, float]] = []
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps=steps, recipe=recipe)
        answer, other = _losses(model, data, recipe.batch_per_task, rng)
        optimizer.zero_grad(set_to_none=True)
        (answer + recipe.other_tokens_weight * other).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        recent.append((answer.item(), other.item()))
        if (step + 1) % every == 0 or step + 1 == steps:
            answers, others = (round(sum(column) / len(column), 4) for column in zip(*recent, strict=True))
            history.append({"step": step + 1, "answer": answers, "other_tokens": others})
            recent = []
            report("training", (step + 1) / steps)
    model.eval()
    return history


def _losses(
    model: GPT2LMHeadModel, data: dict[str, Sequences], per_task: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the answers, and of all other tokens, on as many sequences of each task.

    Each task runs by itself, so short prompts are not padded to the longest task's length.
    """
    answers, others, tokens = [], [], 0
    for part in data.values():
        rows = rng.integers(len(part.ids), size=per_task)
        lengths = torch.from_numpy(part.lengths[rows])
        ids = torch.from_numpy(part.ids[rows][:, : int(lengths.max())])
        mask = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
        log_probs = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits.log_softmax(-1)
        last = log_probs[torch.arange(per_task), lengths - 1]
        answers.append(-(torch.from_numpy(part.answers[rows]) * last).sum(-1).mean())
        next_token = log_probs[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
        others.append(-(next_token * mask[:, 1:]).sum())
        tokens += int(mask[:, 1:].sum())
    return torch.stack(answers).mean(), torch.stack(others).sum() / tokens


def measure(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, *, n: int) -> dict[str, dict[str, float]]:
    """Held-out accuracy, metric and embedding distance of every task, on n test pairs each."""
    results = {}
    for name, task in TASKS.items():
        encoded = test_pairs(name, tokenizer, n=n)
        targets, rows = targets_of(encoded), torch.arange(encoded.n)
        last = torch.from_numpy(encoded.lengths) - 1
        clean, corrupted = torch.from_numpy(encoded.clean), torch.from_numpy(encoded.corrupted)
        with torch.no_grad():
            mask = torch.from_numpy(encoded.mask).long()
            logits = [model(input_ids=ids, attention_mask=mask).logits[rows, last] for ids in (clean, corrupted)]
            apart = (model.transformer.wte(clean) - model.transformer.wte(corrupted)).norm(dim=(1, 2))
        metric = METRICS[task.metric].compute
        results[name] = {
            "pairs": encoded.n,
            "accuracy": round(accuracy(logits[0], targets).float().mean().item(), 4),
            "metric_clean": round(metric(logits[0], targets).mean().item(), 4),
            "metric_corrupted": round(metric(logits[1], targets).mean().item(), 4),
            "distance": round(apart.mean().item(), 3),
        }
    return results


def embedding_norms(model: GPT2LMHeadModel) -> dict[str, float]:
    """Norms of token and position embeddings: the scale in which a path step is to be read."""
    tokens = model.transformer.wte.weight.detach().norm(dim=1)
    positions = model.transformer.wpe.weight.detach().norm(dim=1)
    return {
        "tokens_mean": round(tokens.mean().item(), 3),
        "tokens_min": round(tokens.min().item(), 3),
        "tokens_max": round(tokens.max().item(), 3),
        "positions_mean": round(positions.mean().item(), 3),
    }


@contextmanager
def _settings(seed: int, threads: int | None) -> Iterator[None]:
    """Seed and thread count for the training, put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _write(out: Path, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, figures: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "training.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (out / "MODEL_CARD.md").write_text(model_card(figures), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the model and write it."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.demo", description="Train the bundled model.")
    parser.add_argument("--out", type=Path, default=Path("demo-model"), help="folder to write the model to")
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS, help="optimiser steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; all by default")
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        check_folder(asked.out, "--out")
        figures = train_demo(asked.out, steps=asked.steps, seed=asked.seed, threads=asked.threads, progress=_log)
    except OptionError as error:
        parser.error(str(error))
    _LOG.info("%s", json.dumps({"folder": str(asked.out), "tasks": figures["tasks"]}, indent=2))
    return 0


def _log(phase: str, fraction: float) -> None:
    _LOG.info("%s %.0f %%", phase, 100 * fraction)


if __name__ == "__main__":
    raise SystemExit(main())
