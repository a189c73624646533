"""What the model says to the prompts: tokens side by side, top answers, right or wrong. Runs in a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import PromptError
from eapgp.prompts.pairs import PromptSet
from eapgp.ui.jobs import Progress
from eapgp.ui.work import Workshop, with_gradients

TOP = 6


@dataclass(frozen=True)
class Seen:
    """The model on a prompt set.

    used: which pairs of the set could be encoded (positions in it); skipped: why others could not.
    clean, corrupted `[pair]`: the metric; right `[pair]`: whether the right answer wins on the
    clean prompt. tokens: per pair (clean, corrupted, differs) by position. top_clean, top_corrupted:
    per pair the likeliest next tokens with their probability.
    """

    used: tuple[int, ...]
    skipped: tuple[str, ...]
    clean: NDArray[np.float64]
    corrupted: NDArray[np.float64]
    right: NDArray[np.bool_]
    tokens: tuple[tuple[tuple[str, str, bool], ...], ...]
    top_clean: tuple[tuple[tuple[str, float], ...], ...]
    top_corrupted: tuple[tuple[tuple[str, float], ...], ...]


def see_work(shop: Workshop, lane: str, model_name: str, prompts: PromptSet, metric: str) -> Callable[[Progress], Seen]:
    """Run a model on every pair of a prompt set."""

    def work(progress: Progress) -> Seen:
        progress("loading the model", 0.0)
        return see(shop.model(lane, model_name, device="auto", dtype="float32"), prompts, metric, progress)

    return with_gradients(work)


def see(model: Any, prompts: PromptSet, metric: str, progress: Progress) -> Seen:
    """Encode what can be encoded and run it.

    Errors: PromptError where no pair can be used.
    """
    import torch

    from eapgp.engine.batches import make_batch, split_batches
    from eapgp.engine.passes import capture
    from eapgp.metrics import accuracy, get_metric
    from eapgp.prompts.align import align
    from eapgp.prompts.encode import encode, fitting

    usable, skipped = fitting(prompts, model.tokenizer)
    if not len(usable):
        raise PromptError(f"none of the {len(prompts)} pairs can be used: {skipped[0] if skipped else 'no pairs'}")
    encoded = encode(usable, model.tokenizer, prepend_bos=model.prepend_bos)
    chosen = get_metric(metric)
    n = encoded.n
    values = {side: np.zeros(n) for side in ("clean", "corrupted")}
    right = np.zeros(n, dtype=bool)
    top: dict[str, list[Any]] = {side: [()] * n for side in values}
    with torch.no_grad():
        parts = split_batches(model, encoded, None)
        for done, part in enumerate(parts):
            progress("running the prompts", done / len(parts))
            batch = make_batch(model, encoded, part)
            for side in values:
                logits = capture(model, getattr(batch, side), sources=False).logits
                values[side][batch.index] = chosen.compute(logits, batch.targets).float().cpu().numpy()
                if side == "clean":
                    right[batch.index] = accuracy(logits, batch.targets).cpu().numpy()
                for pair, row in zip(batch.index.tolist(), _likeliest(model, logits), strict=True):
                    top[side][pair] = row
    sides = [
        (encoded.clean[i, :length].tolist(), encoded.corrupted[i, :length].tolist())
        for i, length in enumerate(encoded.lengths.tolist())
    ]
    tokens = tuple(tuple(align(model.tokenizer, clean, corrupted)) for clean, corrupted in sides)
    position = {id(pair): i for i, pair in enumerate(prompts.pairs)}
    used = tuple(position[id(pair)] for pair in usable.pairs)
    return Seen(
        used,
        tuple(skipped),
        values["clean"],
        values["corrupted"],
        right,
        tokens,
        tuple(top["clean"]),
        tuple(top["corrupted"]),
    )


def _likeliest(model: Any, logits: Any) -> list[tuple[tuple[str, float], ...]]:
    from eapgp.prompts.align import display_tokens

    chance, ids = logits.softmax(-1).topk(TOP, dim=-1)
    return [
        tuple(zip(display_tokens(model.tokenizer, row_ids), map(float, row), strict=True))
        for row, row_ids in zip(chance.cpu().tolist(), ids.cpu().tolist(), strict=True)
    ]
