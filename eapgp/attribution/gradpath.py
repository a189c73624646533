"""GradPath: the path that EAP-GP takes its gradients along.

1. γ_0 = x, the clean input (embedding and position).
2. g_{j+1} = ∇_γ ‖G(γ_j) − G(x′)‖², with G the output logits.
3. γ_{j+1} = γ_j − s · g_{j+1} / ‖g_{j+1}‖₂, for j = 0 … k−1. The norm is taken per pair over its
   positions × d_model, so that a pair's path never depends on its batch; ‖g‖ = 0 stops it.

What is read otherwise elsewhere, as options: one norm over all pairs of the run (`norm`), and a step that knows how
far the output still is (`descend`: B. T. Polyak 1969, for a target of zero; c = 2 is exact for a linear model). As
controls: the same lengths in a random direction, and away from the corrupted output (`direction`).

Source: Zhang et al. 2025, arXiv:2502.06852, section 4 (their step is s = 1, `unit` here, in our reading).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eapgp.engine.passes import Tokens

POLYAK = 2  # c: exact where the distance is a quadratic function of the input
_TINY = 1e-30


@dataclass(frozen=True)
class Steps:
    """The steps of a batch's path.

    step: the option. count: k. gap: ‖x − x′‖. norms: ‖g_1‖ … ‖g_k‖ over all pairs of the run, where they take the
    place of each pair's own. away: whether the path leaves the corrupted output. along: a direction of unit
    length that takes the gradient's place.
    """

    step: str | float
    count: int
    gap: Float[Tensor, " pair"]
    norms: Sequence[float] | None = None
    away: bool = False
    along: Float[Tensor, "pair pos d_model"] | None = None

    def advance(
        self,
        number: int,
        point: Float[Tensor, "pair pos d_model"],
        gradient: Float[Tensor, "pair pos d_model"],
        distance: Float[Tensor, " pair"],
    ) -> Float[Tensor, "pair pos d_model"]:
        """γ_{number+1} from γ_number, the path gradient there and ‖G(γ_number) − G(x′)‖².

        A pair whose gradient is zero stays where it is.
        """
        norm = pair_norm(gradient)
        whole = norm.clamp_min(_TINY) if self.norms is None else max(self.norms[number], _TINY)
        scale = (self._sizes(norm, distance) / whole) * (norm > 0)
        if self.along is not None:
            return point + (scale * norm)[:, None, None] * self.along
        return point - scale[:, None, None] * (-gradient if self.away else gradient)

    def _sizes(self, norm: Float[Tensor, " pair"], distance: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        """s: ‖x − x′‖ / k (`relative`), 1 (`unit`), D / (2 ‖g‖) up to ‖x − x′‖ (`descend`), or the number given."""
        if self.step == "relative":
            return self.gap / self.count
        if self.step == "descend":
            return torch.minimum(distance.to(norm) / (POLYAK * norm.clamp_min(_TINY)), self.gap)
        return self.gap * 0 + (1.0 if self.step == "unit" else float(self.step))


def pair_norm(values: Float[Tensor, "pair pos d_model"]) -> Float[Tensor, " pair"]:
    """‖·‖₂ over positions × d_model."""
    return values.flatten(1).norm(dim=1)


def random_direction(
    clean: Tokens, corrupted: Tokens, seed: int, like: Float[Tensor, "pair pos d_model"]
) -> Float[Tensor, "pair pos d_model"]:
    """One direction per pair, uniform over the sphere of its real positions × d_model, 0 on padding.

    Drawn from the seed and the pair's own tokens, so that it depends on no batch, order or process.
    """
    direction = torch.zeros_like(like)
    for row, last in enumerate(clean.last.tolist()):
        ids = (tokens.ids[row, : last + 1].tolist() for tokens in (clean, corrupted))
        noise = np.random.default_rng([seed, *(token for side in ids for token in side)]).standard_normal(
            (last + 1, like.shape[2])
        )
        direction[row, : last + 1] = torch.from_numpy(noise / np.linalg.norm(noise)).to(like)
    return direction
