"""What every gradient method works with: one batch, its reference runs, and a point's gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from eapgp.engine.batches import Batch, out_of_memory
from eapgp.engine.differences import (
    Intervention,
    OutputTarget,
    gram_pays,
    position_mask,
    source_differences,
    source_values,
)
from eapgp.engine.gradients import GradientSum, PointGradients, contract, gradients_of, point_gradients
from eapgp.engine.passes import Capture, Hook, Keep, Tokens, capture
from eapgp.engine.prefix import Prefix, make_prefix
from eapgp.errors import NotFiniteError
from eapgp.metrics import Metric, accuracy
from eapgp.models.model import Model, widen


@dataclass
class Passes:
    """Passes made for one batch."""

    forward: float = 0
    backward: float = 0
    reference: float = 0

    def plus(self, other: Passes) -> Passes:
        """Both together."""
        return Passes(self.forward + other.forward, self.backward + other.backward, self.reference + other.reference)

    def times(self, factor: float) -> Passes:
        """That many times as many."""
        return Passes(self.forward * factor, self.backward * factor, self.reference * factor)


@dataclass(frozen=True)
class Point:
    """One point of a path, run with gradient. All tensors are detached; what was not asked for is None.

    gradients: ∂M at every destination; input_gradient: ∂M/∂γ; path_gradient: ∇_γ ‖G(γ) − G(x′)‖²,
    distance: that squared norm.
    """

    run: Capture
    metric: Float[Tensor, " pair"]
    distance: Float[Tensor, " pair"] | None
    gradients: PointGradients | None
    input_gradient: Float[Tensor, "pair pos d_model"] | None
    path_gradient: Float[Tensor, "pair pos d_model"] | None


@dataclass(frozen=True)
class Context:
    """A batch on its way through a method; `passes` and `right` alone change, as they count passes and note answers.

    tick: says that a pass is done, or, called with a number, which share of the batch is.
    right: whether the right answer wins on the clean prompts, noted once at the first clean run.
    leaf: the tensor whose gradient is taken beside the destinations', where it is not the input.
    earlier: mean scores over all pairs of the rounds before this one.
    prefix: what the batch's positions go on from, where a path's points have gradients before them too.
    """

    model: Model
    batch: Batch
    metric: Metric
    options: dict[str, Any]
    intervention: Intervention
    tick: Callable[..., None] = lambda _share=None: None
    passes: Passes = field(default_factory=Passes)
    right: list[Bool[Tensor, " pair"]] = field(default_factory=list)
    leaf: Float[Tensor, "pair pos d_model"] | None = None
    earlier: tuple[Float[np.ndarray, "src dst"], ...] = ()
    prefix: Prefix | None = None

    def after_shared(self) -> Context:
        """The positions after those that both prompts share, for a path that moves nothing before them.

        Itself where few are shared, where another intervention moves them or where the model cannot go on from them.
        """
        prefix = make_prefix(self.model, self.batch.clean.ids[:, : self.shared])
        return self if prefix is None else replace(self, batch=self.batch.after(prefix.past), prefix=prefix)

    def whole(self, value: Float[Tensor, "pair pos d_model"]) -> Float[Tensor, "pair positions d_model"]:
        """A point of the path at all positions of the prompts."""
        return value if self.prefix is None else torch.cat([self.prefix.input.to(value), value.detach()], 1)

    @property
    def mask(self) -> Float[Tensor, "pair pos 1"]:
        """1 on real positions."""
        return self.batch.clean.mask.unsqueeze(-1).float()

    def values(self, run: Capture) -> Float[Tensor, " pair"]:
        """The metric of a run.

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

    def note_right(self, run: Capture) -> None:
        """Note on which pairs a clean run gets the answer right, unless that was done."""
        if not self.right:
            with torch.no_grad():
                self.right.append(accuracy(run.logits.detach(), self.batch.targets))

    def reference(self, tokens: Tokens, keep: Keep = Keep.SOURCES) -> Capture:
        """A run without gradient."""
        self.passes.reference += 1
        with torch.no_grad():
            run = capture(self.model, tokens, keep=keep)
        if tokens is self.batch.clean:
            self.note_right(run)
        self.tick()
        return run

    def references(self) -> tuple[Capture, Capture]:
        """The clean and the corrupted run, without gradient, as one pass over both."""
        clean, corrupted = self.batch.clean, self.batch.corrupted
        self.passes.reference += 2
        with torch.no_grad():
            both = capture(self.model, clean.beside(corrupted))
        runs = both.rows(slice(0, self.batch.size)), both.rows(slice(self.batch.size, None))
        self.note_right(runs[0])
        self.tick()
        self.tick()
        return runs

    def target(self, corrupted: Capture, *, runs: int | None = None) -> OutputTarget:
        """The corrupted run's output as what a path heads for. runs: of how many the distance to it will be taken."""
        tokens = self.batch.clean
        mask = position_mask(tokens, self.options.get("objective", "all"))
        use_gram = runs is None or gram_pays(self.model, tokens.mask.numel() * runs)
        return OutputTarget(corrupted.hidden.detach(), mask, use_gram)

    def distance(self, run: Capture, target: OutputTarget) -> Float[Tensor, " pair"]:
        """How far a run's output is from the target, as a number without gradient."""
        with torch.no_grad():
            return target.distance(self.model, run.hidden.detach())

    @property
    def shared(self) -> int:
        """Leading positions that add nothing to any score: both prompts are the same there, so z_u = z′_u."""
        return self.batch.shared if self.intervention.kind == "patching" else 0

    def difference(self, clean: Capture, corrupted: Capture) -> Float[Tensor, "pair src pos d_model"]:
        """z_u − z′_u under the intervention from position `shared` on, 0 on padding."""
        if self.intervention.kind == "patching":
            return self._patched(clean, corrupted)
        out = source_values(self.model, clean) - self.intervention.values(clean.input.shape[1], self.model.device)
        return out * self.mask.unsqueeze(1).to(out.device)

    def point(
        self,
        value: Float[Tensor, "pair pos d_model"] | None,
        *,
        tokens: Tokens | None = None,
        start: int = 0,
        metric_gradient: bool = True,
        path: OutputTarget | None = None,
        sources: bool = False,
        extra: tuple[Hook, ...] = (),
        constant_scale: bool = False,
    ) -> Point:
        """Run one point with gradient; `path` asks for the path gradient, which shares the forward pass.

        constant_scale: treat the scale of every norm that destinations stand behind as a constant.
        """
        tokens = self.batch.clean if tokens is None else tokens
        keep = Keep.SOURCES if sources else Keep.NOTHING
        run = capture(self.model, tokens, value=value, start=start, grad=True, keep=keep, extra=extra)
        self.passes.forward += 1
        if value is None and tokens is self.batch.clean:
            self.note_right(run)
        values = self.values(run)
        distance = None if path is None else path.distance(self.model, run.hidden)
        gradients, input_gradient, path_gradient = self._backward(
            run, values, distance, metric_gradient, constant_scale
        )
        # without its graph, which would else stay while the next point's is made beside it
        run, values = run.released(), values.detach()
        self.tick()
        distance = None if distance is None else distance.detach()
        return Point(run, values, distance, gradients, input_gradient, path_gradient)

    def _backward(
        self,
        run: Capture,
        values: Float[Tensor, " pair"],
        distance: Float[Tensor, " pair"] | None,
        metric_gradient: bool,
        constant_scale: bool,
    ) -> tuple[
        PointGradients | None, Float[Tensor, "pair pos d_model"] | None, Float[Tensor, "pair pos d_model"] | None
    ]:
        inputs = [*run.destinations(), self.leaf if self.leaf is not None else run.input]
        if not metric_gradient and distance is None:
            return None, None, None
        self.passes.backward += 1
        if not metric_gradient:
            assert distance is not None
            return None, None, gradients_of(distance.sum(), [inputs[-1]])[0]
        earlier, at_path = None, None
        if distance is None:
            found, earlier = self._metric_gradients(values, inputs)
        else:
            assert self.prefix is None, "a path gradient is taken of whole prompts"
            self.passes.backward += 1
            key = f"batched gradients of {self.metric.name}"  # its operations are walked too
            found = _two_gradients(values.sum(), distance.sum(), inputs, self.model.cache, key)
            at_path = found[-1][1]
            found = [g[0] for g in found]
        at_input = found.pop()
        here = point_gradients(self.model, run, found, constant_scale=constant_scale)
        if earlier is not None:
            here, at_input = replace(here, before=earlier[0]), torch.cat([earlier[1], at_input], 1)
        return here, at_input, at_path

    def _metric_gradients(
        self, values: Float[Tensor, " pair"], inputs: list[Tensor]
    ) -> tuple[list[Tensor], tuple[PointGradients, Float[Tensor, "pair pos d_model"]] | None]:
        """∂M at the inputs, and what the prefix has of it."""
        if self.prefix is None:
            return gradients_of(values.sum(), inputs), None
        found = gradients_of(values.sum(), [*inputs, *self.prefix.leaves])
        return found[: len(inputs)], self.prefix.gradients(self.model, found[len(inputs) :])

    def total(self) -> GradientSum:
        """An empty sum of destination gradients."""
        return GradientSum(self.model, self.shared)

    def contract(
        self, difference: Float[Tensor, "pair rows pos d_model"], total: GradientSum, *, first: int = 0
    ) -> Float[Tensor, "pair src dst"]:
        """Scores; the rows of `difference` are the sources from row `first` on."""
        with torch.no_grad():
            return contract(self.model, difference, total, first=first)

    def gradients_at(self, point: Point) -> GradientSum:
        """A point's destination gradients in compact form."""
        assert point.gradients is not None
        total = self.total()
        total.add(point.gradients)
        return total

    def increment(self, upper: Capture, lower: Capture, total: GradientSum) -> Float[Tensor, "pair src dst"]:
        """Σ (z_u(upper) − z_u(lower)) · ∂M/∂x_v: one step of a path."""
        with torch.no_grad():
            difference = self._patched(upper, lower)
        return self.contract(difference, total)

    def _patched(self, run: Capture, other: Capture) -> Float[Tensor, "pair src pos d_model"]:
        """How far the sources of two runs are apart from position `shared` on, 0 on padding."""
        out = source_differences(self.model, run, other, self.shared)
        if not bool(self.batch.clean.mask.all()):
            out *= self.mask[:, self.shared :].unsqueeze(1).to(out.device)
        return out


def _two_gradients(
    first: Float[Tensor, ""], second: Float[Tensor, ""], inputs: list[Tensor], known: dict[str, Any], key: str
) -> list[Tensor]:
    """Gradients of two scalars over one graph: `[2, ...]` per input.

    The two backward passes are batched into one (`vmap` over the two unit vectors) where every operation
    of the model allows it; where one does not, autograd raises RuntimeError and they run one after the other.
    known: where it is kept, under `key`, which of the two it is; once that is known the graph goes as it is walked.
    """
    first, second = widen(first), widen(second).to(first.device)
    if known.get(key, True):
        try:
            both = _batched(first, second.to(first.dtype), inputs, retain_graph=key not in known)
            known[key] = True
            return [x.new_zeros((2, *x.shape)) if g is None else g for x, g in zip(inputs, both, strict=True)]
        except RuntimeError as error:
            if out_of_memory(error) or key in known:
                raise
            known[key] = False
    metric = gradients_of(first, inputs, retain_graph=True)
    path = torch.autograd.grad(second, inputs[-1])[0]
    return [g.unsqueeze(0) for g in metric[:-1]] + [torch.stack([metric[-1], path])]


def _batched(
    first: Float[Tensor, ""], second: Float[Tensor, ""], inputs: list[Tensor], *, retain_graph: bool
) -> Sequence[Tensor | None]:
    unit = torch.eye(2, dtype=first.dtype, device=first.device)
    return torch.autograd.grad(
        (first, second),
        inputs,
        (unit[0], unit[1]),
        is_grads_batched=True,
        allow_unused=True,
        retain_graph=retain_graph,
    )
