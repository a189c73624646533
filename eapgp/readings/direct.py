"""How much each node's output adds to the logit difference by itself, past everything in between.

1. Run clean and corrupted prompts and take the final residual stream apart (`final`).
2. Project every part on W_U[correct] − W_U[incorrect] (means over a side's answers).

All parts add up to the logit difference. A node may matter without a direct contribution: what
other nodes make of its output is not in here (that is what edge scores are for).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eapgp.graph import Graph
from eapgp.models.model import widen
from eapgp.readings.pairs import encoded_pairs
from eapgp.types import Floats, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from eapgp.engine.batches import Batch
    from eapgp.engine.passes import Tokens
    from eapgp.models.model import Model
    from eapgp.prompts.encode import EncodedPairs
    from eapgp.prompts.pairs import PromptSet


@dataclass(frozen=True)
class DirectContributions:
    """Parts of the logit difference, in logits.

    clean, corrupted `[src, pair]` in the graph's source order; clean_bias, corrupted_bias `[pair]`:
    output biases, the final norm's β and the unembedding's bias; capped: the model caps its logits
    afterwards, so the sum is the difference before the cap.
    """

    graph: Graph
    clean: Floats
    corrupted: Floats
    clean_bias: Floats
    corrupted_bias: Floats
    capped: bool = False

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return int(self.clean.shape[1])

    @property
    def clean_total(self) -> Floats:
        """`[pair]` the logit difference on the clean prompts."""
        return self.clean.sum(0) + self.clean_bias

    @property
    def corrupted_total(self) -> Floats:
        """`[pair]` the logit difference on the corrupted prompts, for the clean prompt's answers."""
        return self.corrupted.sum(0) + self.corrupted_bias

    def of(self, node: str) -> tuple[Floats, Floats]:
        """`[pair]` clean and corrupted contributions of one source."""
        row = self.graph.source_index(node)
        return self.clean[row], self.corrupted[row]


def direct_contributions(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> DirectContributions:
    """Contributions of every source on every pair.

    Errors: OptionError as for `attribute`; ComputationError where one pair does not fit in memory.
    """
    import torch

    from eapgp.engine.batches import make_batch, run_halving, split_batches

    encoded = encoded_pairs(model, prompts)
    shape = (model.graph.n_sources, encoded.n)
    sides: dict[str, tuple[Floats, Floats]] = {
        side: (np.zeros(shape), np.zeros(encoded.n)) for side in ("clean", "corrupted")
    }
    done = 0

    def work(part: NDArray[np.int64]) -> list[tuple[Floats, Floats]]:
        batch = make_batch(model, encoded, part)
        with torch.no_grad():
            return [_side(model, batch, tokens) for tokens in (batch.clean, batch.corrupted)]

    parts = split_batches(model, encoded, batch_size)
    for part, contributions in run_halving(parts, work, lambda _text: None):
        for (values, bias), (own, rest) in zip(sides.values(), contributions, strict=True):
            values[:, part], bias[part] = own, rest
        done += len(part)
        if progress is not None:
            progress("reading direct contributions", done / encoded.n)
    (clean, clean_bias), (corrupted, corrupted_bias) = sides["clean"], sides["corrupted"]
    return DirectContributions(
        model.graph, clean, corrupted, clean_bias, corrupted_bias, capped=model.soft_cap is not None
    )


def _side(model: Model, batch: Batch, tokens: Tokens) -> tuple[Floats, Floats]:
    """`[src, pair]` contributions and `[pair]` biases of one side."""
    from eapgp.engine.batches import to_numpy
    from eapgp.readings.final import final_stream, norm_bias, normed

    stream = final_stream(model, tokens)
    direction, offset = _answers(model, batch, stream.sources)
    values = (normed(model, stream.sources, stream.scale) * direction).sum(-1)
    bias = (normed(model, stream.bias, stream.scale) * direction).sum(-1) + offset
    beta = norm_bias(model)
    if beta is not None:
        bias = bias + (beta.to(direction) * direction).sum(-1)
    return to_numpy(values), to_numpy(bias)


def _answers(model: Model, batch: Batch, like: Tensor) -> tuple[Tensor, Tensor]:
    """`[pair, d_model]` W_U[correct] − W_U[incorrect] and `[pair]` the same of b_U, means over answers."""
    from eapgp.readings.final import unembedding

    weight, bias = unembedding(model)
    targets = batch.targets

    def mean(table: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        rows = widen(table[ids.to(table.device)]).to(like)
        share = (mask / mask.sum(-1, keepdim=True).clamp(min=1)).to(like)  # a side without answers adds nothing
        return (rows * share[..., None]).sum(1) if rows.dim() == 3 else (rows * share).sum(1)

    def both(table: Tensor) -> Tensor:
        return mean(table, targets.correct, targets.correct_mask) - mean(
            table, targets.incorrect, targets.incorrect_mask
        )

    direction = both(weight)
    return direction, both(bias) if bias is not None else direction.new_zeros(len(direction))
