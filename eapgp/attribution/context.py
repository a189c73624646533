"""What every gradient method works with: one batch, its reference runs, and a point's gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eapgp.engine.batches import Batch
from eapgp.engine.differences import source_differences, source_values
from eapgp.engine.distance import Objective, output_distance, position_mask
from eapgp.engine.gradients import GradientSum, contract, gradient_norms
from eapgp.engine.interventions import Intervention
from eapgp.engine.passes import Capture, Hook, Tokens, capture
from eapgp.errors import NotFiniteError
from eapgp.metrics import Metric
from eapgp.models.adapter import widen
from eapgp.models.model import Model


@dataclass
class Passes:
    """Passes made for one batch."""

    forward: float = 0
    backward: float = 0
    reference: float = 0

    def plus(self, other: Passes) -> Passes:
        """Both together."""
        return Passes(self.forward + other.forward, self.backward + other.backward, self.reference + other.reference)


@dataclass(frozen=True)
class Point:
    """One point of a path, run with gradient. All tensors are detached.

    metric, distance `[pair]`; gradients: ∂M at `run.destinations()`; input_gradient
    `[pair, pos, d_model]` ∂M/∂γ; path_gradient: ∇_γ ‖G(γ) − G(x′)‖². What was not asked for is None.
    """

    run: Capture
    metric: Tensor
    distance: Tensor | None
    gradients: list[Tensor] | None
    input_gradient: Tensor | None
    path_gradient: Tensor | None


@dataclass
class Context:
    """A batch on its way through a method.

    tick: says that a pass is done, or, called with a number, which share of the batch is.
    leaf: the tensor whose gradient is taken beside the destinations', where it is not the input.
    earlier: mean scores `[src, dst]` over all pairs of the rounds before this one.
    """

    model: Model
    batch: Batch
    metric: Metric
    options: dict[str, Any]
    intervention: Intervention
    tick: Callable[..., None] = lambda _share=None: None
    passes: Passes = field(default_factory=Passes)
    use_gram: bool = True
    leaf: Tensor | None = None
    earlier: tuple[NDArray[np.float64], ...] = ()

    @property
    def mask(self) -> Tensor:
        """`[pair, pos, 1]` 1 on real positions."""
        return self.batch.clean.mask.unsqueeze(-1).float()

    def values(self, run: Capture) -> Tensor:
        """`[pair]` the metric of a run.

        Errors: NotFiniteError naming the first pair whose metric is not finite.
        """
        values = self.metric.compute(run.logits, self.batch.targets)
        if not bool(torch.isfinite(values).all()):
            which = int(self.batch.index[int((~torch.isfinite(values)).nonzero()[0])])
            raise NotFiniteError(
                f"the metric {self.metric.name!r} of pair {which + 1} is not a finite number; "
                "check that prompt and answers, or use dtype float32."
            )
        return values

    def reference(self, tokens: Tokens, *, residuals: bool = False, outputs: bool = False) -> Capture:
        """A run without gradient that keeps its sources."""
        self.passes.reference += 1
        with torch.no_grad():
            run = capture(self.model, tokens, residuals=residuals, outputs=outputs)
        self.tick()
        return run

    def difference(self, clean: Capture, corrupted: Capture) -> Tensor:
        """`[pair, src, pos, d_model]` z_u − z′_u under the chosen intervention, 0 on padding."""
        if self.intervention.kind == "patching":
            out = source_differences(self.model, clean, corrupted)
            return out.mul_(self.mask.unsqueeze(1).to(out.device))
        out = source_values(self.model, clean) - self.intervention.values(clean.input.shape[1], self.model.device)
        return out * self.mask.unsqueeze(1).to(out.device)

    def point(
        self,
        value: Tensor | None,
        *,
        tokens: Tokens | None = None,
        start: int = 0,
        metric_gradient: bool = True,
        path: tuple[Tensor, Objective] | None = None,
        sources: bool = False,
        extra: tuple[Hook, ...] = (),
    ) -> Point:
        """Run one point with gradient; `path` (reference hidden, objective) asks for the path gradient.

        Both gradients share the forward pass.
        """
        tokens = self.batch.clean if tokens is None else tokens
        run = capture(self.model, tokens, value=value, start=start, grad=True, sources=sources, extra=extra)
        self.passes.forward += 1
        values, distance = self.values(run), None
        if path is not None:
            reference, objective = path
            mask = position_mask(tokens, objective)
            distance = output_distance(self.model, run.hidden, reference, mask, use_gram=self.use_gram)
        gradients, input_gradient, path_gradient = self._backward(run, values, distance, metric_gradient)
        run.release()  # else the next point's graph would be made beside this one's
        self.tick()
        return Point(
            run,
            values.detach(),
            None if distance is None else distance.detach(),
            gradients,
            input_gradient,
            path_gradient,
        )

    def _backward(
        self, run: Capture, values: Tensor, distance: Tensor | None, metric_gradient: bool
    ) -> tuple[list[Tensor] | None, Tensor | None, Tensor | None]:
        inputs = [*run.destinations(), self.leaf if self.leaf is not None else run.input]
        if metric_gradient and distance is not None:
            self.passes.backward += 2
            both = _two_gradients(values.sum(), distance.sum(), inputs)
            return [g[0] for g in both[:-1]], both[-1][0], both[-1][1]
        if metric_gradient:
            self.passes.backward += 1
            one = _gradients(values.sum(), inputs)
            return one[:-1], one[-1], None
        if distance is None:
            return None, None, None
        self.passes.backward += 1
        return None, None, _gradients(distance.sum(), [inputs[-1]])[0]

    def total(self, *, constant_scale: bool = False) -> GradientSum:
        """An empty sum of destination gradients."""
        return GradientSum(self.model, constant_scale=constant_scale)

    def contract(self, difference: Tensor, total: GradientSum, *, first: int = 0) -> Tensor:
        """`[pair, src, dst]` scores; the rows of `difference` are the sources from row `first` on."""
        with torch.no_grad():
            return contract(self.model, difference, total, first=first)

    def gradients_at(self, point: Point) -> GradientSum:
        """A point's destination gradients in compact form."""
        assert point.gradients is not None
        total = self.total()
        total.add(point.run, point.gradients)
        return total

    def increment(self, upper: Capture, lower: Capture, total: GradientSum) -> Tensor:
        """`[pair, src, dst]` Σ (z_u(upper) − z_u(lower)) · ∂M/∂x_v: one step of a path."""
        with torch.no_grad():
            difference = source_differences(self.model, upper, lower)
            difference *= self.mask.unsqueeze(1).to(difference.device)
        return self.contract(difference, total)

    def norms(self, point: Point) -> Tensor:
        """`[pair, dst]` ‖∂M/∂x_v‖ at a point."""
        assert point.gradients is not None
        with torch.no_grad():
            return gradient_norms(self.model, point.run, point.gradients)


def _gradients(scalar: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(scalar, inputs, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


def _two_gradients(first: Tensor, second: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Gradients of two scalars over one graph: `[2, ...]` per input.

    The two backward passes are batched into one where every operation allows it; else they run
    one after the other.
    """
    first, second = widen(first), widen(second).to(first.device)
    unit = torch.eye(2, dtype=first.dtype, device=first.device)
    try:
        found = torch.autograd.grad(
            (first, second.to(first.dtype)),
            inputs,
            (unit[0], unit[1]),
            is_grads_batched=True,
            allow_unused=True,
            retain_graph=True,
        )
    except RuntimeError as error:
        if "out of memory" in str(error).lower() or "can't allocate" in str(error).lower():
            raise
        metric = torch.autograd.grad(first, inputs, retain_graph=True, allow_unused=True)
        path = torch.autograd.grad(second, inputs[-1])[0]
        metric_filled = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, metric, strict=True)]
        return [g.unsqueeze(0) for g in metric_filled[:-1]] + [torch.stack([metric_filled[-1], path])]
    return [x.new_zeros((2, *x.shape)) if g is None else g for x, g in zip(inputs, found, strict=True)]
