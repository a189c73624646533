"""Where z′ comes from: the corrupted run, zero, or the mean over a reference set of prompts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.engine.batches import make_batch, split_batches
from eapgp.engine.differences import source_values
from eapgp.engine.passes import capture
from eapgp.errors import OptionError, UnknownNameError
from eapgp.models.model import Model
from eapgp.prompts.encode import EncodedPairs

INTERVENTIONS = ("patching", "zero", "mean", "mean-positional")


@dataclass(frozen=True)
class Intervention:
    """kind: one of `INTERVENTIONS`. means: of the mean kinds, at one position where they are taken over all."""

    kind: str
    means: Float[Tensor, "src positions d_model"] | None = None

    def values(self, length: int, device: torch.device) -> Float[Tensor, "1 sources positions width"]:
        """z′ `[1, src, pos, d_model]` for prompts of `length` positions (not for patching); 1 where it is the same.

        Positions beyond those seen in the reference prompts take the last one's mean.
        """
        if self.kind == "zero":
            return torch.zeros((1, 1, 1, 1), device=device)
        assert self.means is not None
        means = self.means.to(device)
        if means.shape[1] == 1:
            return means.unsqueeze(0)
        positions = torch.arange(length).clamp_max(means.shape[1] - 1).to(device)
        return means[:, positions].unsqueeze(0)


def make_intervention(kind: str, model: Model, reference: EncodedPairs, allowed: tuple[str, ...]) -> Intervention:
    """Prepare an intervention; the means are taken over the corrupted prompts of `reference`.

    Errors: UnknownNameError, or OptionError where a method does not allow it.
    """
    if kind not in INTERVENTIONS:
        raise UnknownNameError.of("intervention", kind, INTERVENTIONS)
    if kind not in allowed:
        raise OptionError(f"intervention {kind!r} does not fit this method: it allows {', '.join(allowed)}.")
    if kind in ("patching", "zero"):
        return Intervention(kind)
    return Intervention(kind, _means(model, reference, positional=kind == "mean-positional"))


def _means(model: Model, reference: EncodedPairs, *, positional: bool) -> Float[Tensor, "src positions d_model"]:
    longest = int(reference.lengths.max())
    total = torch.zeros((model.graph.n_sources, longest, model.d_model), dtype=torch.float64)
    count = torch.zeros(longest, dtype=torch.float64)
    for part in split_batches(model, reference, None):
        tokens = make_batch(model, reference, part).corrupted
        with torch.no_grad():
            values = source_values(model, capture(model, tokens))
        values = (values * tokens.mask[:, None, :, None].to(values.device)).sum(0)
        total[:, : values.shape[1]] += values.double().cpu()
        count[: values.shape[1]] += tokens.mask.sum(0).double().cpu()
    if positional:
        return (total / count[None, :, None]).float()
    return (total.sum(1, keepdim=True) / count.sum()).float()
