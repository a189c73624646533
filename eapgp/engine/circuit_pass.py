"""Run circuits: every edge outside carries z′, every edge inside the activation of the run itself.

For a destination v, x_v = r′_v + Σ_{u in the circuit} (z_u − z′_u), where r′_v is what v reads when
everything it reads is corrupted. The model's own residual stream is what v would read with every
edge kept, so x_v = r_v − Σ_{u removed} (z_u − z′_u) too.

1. `plan` (in `circuit_plan`) says for each circuit which destinations keep no edge, which keep some,
   and from which side the latter are cheaper to put together.
2. `run_circuits` runs a stack of circuits as one batch. A destination that keeps every edge takes
   the run's own raw q, k, v or MLP input; one that keeps none takes those of the corrupted run, which
   are stored; only those between are summed, normed and projected, circuit by circuit.
3. At leading positions that both prompts share, every circuit does what the clean run does: there is nothing to sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int8
from numpy.typing import NDArray
from torch import Tensor

from eapgp.engine.batches import Batch
from eapgp.engine.circuit_plan import CircuitPlan, Place, plan
from eapgp.engine.differences import Intervention, head_outputs, source_values
from eapgp.engine.passes import Capture, Hook, Keep, answer_hook, at_positions, call, capture
from eapgp.graph import QKV
from eapgp.models.model import Layer, Model, Norm, widen


@dataclass(frozen=True)
class Base:
    """What a batch's circuit runs start from, computed once.

    reference: z′; attn, mlp: r′ per layer, final: r′ of the final norm. heads: per layer letter → raw
    q, k or v that r′ gives; mlp_in: per layer the MLP input that it gives. Logits: of the clean and
    corrupted runs. add_only: always add kept edges to r′. Under zero ablation a destination may read
    nothing at all, and what rounding leaves of r minus every source would be blown up to full size by
    norms without a bias.
    """

    batch: Batch
    reference: Float[Tensor, "src pair pos d_model"]
    attn: list[Float[Tensor, "pair pos d_model"]]
    mlp: list[Float[Tensor, "pair pos d_model"]]
    final: Float[Tensor, "pair pos d_model"]
    heads: list[dict[str, Float[Tensor, "pair pos head d_head"]]]
    mlp_in: list[Float[Tensor, "pair pos d_model"]]
    clean_logits: Float[Tensor, "pair vocab"]
    corrupted_logits: Float[Tensor, "pair vocab"]
    add_only: bool = False

    @property
    def bytes_per_source(self) -> int:
        """Memory of one source's difference in one circuit's run."""
        return self.reference[0].nbytes

    @property
    def nbytes(self) -> int:
        """Memory of all that is kept of the two runs."""
        every = [
            self.reference,
            *self.attn,
            *self.mlp,
            self.final,
            *self.mlp_in,
            self.clean_logits,
            self.corrupted_logits,
        ]
        every += [one for layer in self.heads for one in layer.values()]
        past = self.batch.clean.past
        return sum(one.nbytes for one in every) + (0 if past is None else past.nbytes)


def make_base(model: Model, batch: Batch, intervention: Intervention) -> Base:
    """Run the clean and the corrupted prompts and keep what every circuit run needs."""
    with torch.no_grad():
        corrupted = capture(model, batch.corrupted, keep=Keep.SOURCES | Keep.RESIDUALS | Keep.INPUTS)
        clean = capture(model, batch.clean)
        if intervention.kind == "patching":
            reference = source_values(model, corrupted).transpose(0, 1)
            attn, mlp = ([widen(x) for x in s] for s in (corrupted.attn_residual, corrupted.mlp_residual))
            final, mlp_in = widen(corrupted.final_residual), corrupted.mlp_in
            heads = [{letter: getattr(corrupted, letter)[i] for letter in QKV} for i in range(len(attn))]
        else:
            reference, attn, mlp, final = _ablated(model, clean, intervention)
            heads = [_same_input(layer, r, z) for layer, r, z in zip(model.layers, attn, clean.mlp, strict=True)]
            mlp_in = [_normed(layer.mlp_norm, r, y) for layer, r, y in zip(model.layers, mlp, clean.mlp, strict=True)]
    add_only = intervention.kind == "zero"
    return Base(batch, reference, attn, mlp, final, heads, mlp_in, clean.logits, corrupted.logits, add_only)


def _ablated(
    model: Model, clean: Capture, intervention: Intervention
) -> tuple[
    Float[Tensor, "src pair pos d_model"],
    list[Float[Tensor, "pair pos d_model"]],
    list[Float[Tensor, "pair pos d_model"]],
    Float[Tensor, "pair pos d_model"],
]:
    """z′ and r′ for zero and mean: r′_v = Σ_u z′_u over the sources that v reads, plus the output biases."""
    values = source_values(model, clean)
    reference = intervention.values(values.shape[2], values.device).expand_as(values).transpose(0, 1).contiguous()
    heads = model.graph.n_heads
    stream, attn, mlp = reference[0], [], []
    for index, layer in enumerate(model.layers):
        first = model.graph.head_source(index, 0)
        attn.append(stream)
        after = stream + reference[first : first + heads].sum(0)
        if layer.attn_post is None and layer.attn.b_O is not None:
            after = after + widen(layer.attn.b_O).to(after)
        mlp.append(stream if model.graph.parallel else after)
        stream = after + reference[first + heads]
    return reference, attn, mlp, stream


def _normed(norm: Norm | None, residual: Float[Tensor, "*axes"], like: Tensor) -> Float[Tensor, "*axes"]:
    """The branch's own norm of a residual, in the dtype and on the device of `like`."""
    residual = residual.to(like)
    return residual if norm is None else norm.apply(residual)


def _project(
    weight: Float[Tensor, "head d_model d_head"],
    bias: Float[Tensor, "head d_head"] | None,
    normed: Float[Tensor, "head pair pos d_model"],
) -> Float[Tensor, "pair pos head d_head"]:
    """Raw q, k or v from every head's own input."""
    heads, pairs, length, width = normed.shape
    out = torch.bmm(widen(normed).reshape(heads, pairs * length, width), weight)
    if bias is not None:
        out += bias.unsqueeze(1)
    return out.reshape(heads, pairs, length, -1).permute(1, 2, 0, 3)


def _same_input(
    layer: Layer, residual: Float[Tensor, "pair pos d_model"], like: Tensor
) -> dict[str, Float[Tensor, "pair pos head d_head"]]:
    """letter → raw q, k or v of heads that all read one residual."""
    normed, heads = _normed(layer.attn_norm, residual, like), layer.weight("q").shape[0]
    every = normed.expand(heads, *normed.shape)
    return {letter: _project(layer.weight(letter), layer.bias(letter), every) for letter in QKV}


class _Run:
    """State of one stacked run: z_u − z′_u of the sources that each circuit needs, written as the run goes."""

    def __init__(self, model: Model, base: Base, plans: Sequence[CircuitPlan]) -> None:
        self.model, self.base, self.plans = model, base, plans
        _, pairs, length, width = base.reference.shape
        self.shape = (len(plans), pairs, length, width)
        self.stores = [base.reference.new_empty((len(todo.rows), pairs, length, width)) for todo in plans]
        self.rebuilt: dict[str, list[tuple[int, NDArray[np.int64], Tensor]]] = {}
        self.begun: dict[int, Tensor] = {}  # circuit → what a layer's MLP reads of the sources before the layer

    def needed(self, first: int, count: int) -> Iterator[tuple[int, slice, NDArray[np.int64]]]:
        """(circuit, slots in its store, rows) of those sources first … first + count − 1 that it sums."""
        for circuit, todo in enumerate(self.plans):
            start, stop = np.searchsorted(todo.rows, (first, first + count))
            if stop > start:
                yield circuit, slice(int(start), int(stop)), todo.rows[start:stop]

    def keep(
        self,
        circuit: int,
        slots: slice,
        rows: Int[np.ndarray, " row"],
        values: Float[Tensor, "row pair pos d_model"],
    ) -> None:
        """Store what sources wrote, minus their reference."""
        store, whole = self.stores[circuit], len(rows) == rows[-1] - rows[0] + 1
        reference = self.base.reference[rows[0] : rows[-1] + 1] if whole else self.base.reference[rows]
        torch.sub(widen(values).to(store.device), reference, out=store[slots])

    def apart(self, value: Float[Tensor, "circuit_pair pos *axes"]) -> Float[Tensor, "circuit pair pos *axes"]:
        """One circuit's pairs after another's as an axis."""
        return value.reshape(*self.shape[:2], *value.shape[1:])

    def write(self, row: int, value: Float[Tensor, "circuit_pair pos d_model"]) -> None:
        """Keep source `row` where it is needed. value: one circuit's pairs after another's."""
        split = self.apart(value)
        for circuit, slots, rows in self.needed(row, 1):
            self.keep(circuit, slots, rows, split[circuit].unsqueeze(0))

    def write_heads(
        self,
        layer: int,
        z: Float[Tensor, "circuit_pair pos head d_head"],
        scale: Float[Tensor, "circuit_pair pos 1"] | None,
    ) -> None:
        """Keep the heads of a layer that are needed."""
        view, first = self.model.layers[layer], self.model.graph.head_source(layer, 0)
        split, scales = self.apart(z), None if scale is None else self.apart(scale)
        for circuit, slots, rows in self.needed(first, self.model.graph.n_heads):
            own = None if scales is None else scales[circuit]
            self.keep(circuit, slots, rows, head_outputs(view, split[circuit], own, rows - first))

    def inputs(
        self,
        circuit: int,
        place: Place,
        corrupted: Float[Tensor, "pair pos d_model"],
        own: Float[Tensor, "pair pos d_model"],
        mlp: Place,
    ) -> Float[Tensor, "row pair pos d_model"]:
        """What a layer's partly kept heads read. own: the run's residual there.

        What its MLP reads of the same sources is summed meanwhile: fetching them takes longer than adding them.
        """
        count = place.weights.shape[1]
        sums = self.sums(circuit, np.concatenate([place.weights, mlp.weights[:, :count]]), 0)
        if len(mlp.some):
            self.begun[circuit] = sums[-1]
        read = sums[: len(place.some)]
        read += (corrupted if place.from_corrupted else widen(own)).to(read)
        return read

    def mlp_input(
        self, circuit: int, layer: int, own: Float[Tensor, "pair pos d_model"]
    ) -> Float[Tensor, "pair pos d_model"]:
        """What a layer's partly kept MLP reads. own: the run's residual there."""
        place, begun = self.plans[circuit].mlp[layer], self.begun.pop(circuit, None)
        start = (self.base.mlp[layer] if place.from_corrupted else widen(own)).to(self.stores[circuit])
        first = 0 if begun is None else self.plans[circuit].attention[layer].weights.shape[1]
        read = start + self.sums(circuit, place.weights[:, first:], first)[0]
        return read if begun is None else read + begun

    def sums(
        self, circuit: int, weights: Int8[np.ndarray, "some slot"], first: int
    ) -> Float[Tensor, "some pair pos d_model"]:
        """Sums of what the circuit's sources from the first on wrote."""
        written = self.stores[circuit][first : first + weights.shape[1]].flatten(1)
        return (torch.from_numpy(weights).to(written) @ written).reshape(-1, *self.shape[1:])

    def attention(self, layer: int, own: Float[Tensor, "circuit_pair pos d_model"]) -> None:
        """Put together the raw q, k, v that a layer's partly kept destinations give, from the residual `own`."""
        self.rebuilt, self.begun = {letter: [] for letter in QKV}, {}
        if not any(len(todo.attention[layer].some) for todo in self.plans):
            return
        view, heads, split = self.model.layers[layer], self.model.graph.n_heads, self.apart(own)
        weights = {letter: (view.weight(letter), view.bias(letter)) for letter in QKV}
        for circuit, todo in enumerate(self.plans):
            place = todo.attention[layer]
            if not len(place.some):
                continue
            read = self.inputs(circuit, place, self.base.attn[layer], split[circuit], todo.mlp[layer])
            normed = _normed(view.attn_norm, read, own)
            for number, letter in enumerate(QKV):
                start, stop = np.searchsorted(place.some, (number * heads, (number + 1) * heads))
                if stop > start:
                    which, (weight, bias) = place.some[start:stop] - number * heads, weights[letter]
                    if len(which) < heads:
                        weight, bias = weight[which], None if bias is None else bias[which]
                    self.rebuilt[letter].append((circuit, which, _project(weight, bias, normed[start:stop])))

    def head_override(
        self, layer: int, letter: str, x: Float[Tensor, "circuit_pair pos head d_head"]
    ) -> Float[Tensor, "circuit_pair pos head d_head"] | None:
        """Raw q, k or v with the heads in their place that keep not all edges."""
        heads, number = self.model.graph.n_heads, QKV.index(letter)
        empty = [todo.attention[layer].empty - number * heads for todo in self.plans]
        empty = [which[(which >= 0) & (which < heads)] for which in empty]
        rebuilt = self.rebuilt.get(letter, [])
        if not rebuilt and not any(len(which) for which in empty):
            return None
        new = x.clone(memory_format=torch.contiguous_format)
        split, corrupted = self.apart(new), self.base.heads[layer][letter].to(x)
        for circuit, which in enumerate(empty):
            if len(which):
                split[circuit][:, :, which] = corrupted[:, :, which]
        for circuit, which, values in rebuilt:
            split[circuit][:, :, which] = values.to(x)
        return new

    def mlp_override(
        self,
        layer: int,
        x: Float[Tensor, "circuit_pair pos d_model"],
        own: Float[Tensor, "circuit_pair pos d_model"],
    ) -> Float[Tensor, "circuit_pair pos d_model"] | None:
        """The MLP's input `x` where every edge is kept, else what the circuit gives. own: the run's residual."""
        places = [todo.mlp[layer] for todo in self.plans]
        if all(place.full for place in places):
            return None
        new = x.clone(memory_format=torch.contiguous_format)
        split, residual, norm = self.apart(new), self.apart(own), self.model.layers[layer].mlp_norm
        for circuit, place in enumerate(places):
            if len(place.empty):
                split[circuit] = self.base.mlp_in[layer].to(x)
            elif len(place.some):
                split[circuit] = _normed(norm, self.mlp_input(circuit, layer, residual[circuit]), x)
        return new

    def final_override(
        self, own: Float[Tensor, "circuit_pair pos d_model"]
    ) -> Float[Tensor, "circuit_pair pos d_model"] | None:
        """The final residual with the answer position put together."""
        if all(todo.final.full for todo in self.plans):
            return None
        last = self.base.batch.clean.last.to(own.device)
        pairs = torch.arange(len(last), device=own.device)
        new = own.clone(memory_format=torch.contiguous_format)
        split, corrupted = self.apart(new), at_positions(self.base.final, last)[:, 0]
        for circuit, todo in enumerate(self.plans):
            place = todo.final
            if len(place.empty):
                split[circuit, pairs, last] = corrupted.to(own)
            elif len(place.some):
                written = self.stores[circuit][:, pairs.to(corrupted.device), last.to(corrupted.device)]
                start = corrupted if place.from_corrupted else widen(split[circuit, pairs, last]).to(written)
                weights = torch.from_numpy(place.weights[0]).to(written)
                split[circuit, pairs, last] = (start + torch.einsum("r,rbm->bm", weights, written)).to(own)
        return new


def run_circuits(
    model: Model, base: Base, edges: Sequence[Bool[np.ndarray, "src dst"]]
) -> Float[Tensor, "circuit pair vocab"]:
    """Logits at the answer position of each circuit."""
    return run_plans(model, base, [plan(model.graph, each, add_only=base.add_only) for each in edges])


def run_plans(model: Model, base: Base, plans: Sequence[CircuitPlan]) -> Float[Tensor, "circuit pair vocab"]:
    """`run_circuits` of circuits that have been planned; they go through the model as one batch."""
    run = _Run(model, base, plans)
    tokens = base.batch.clean.repeat(len(plans))
    with torch.no_grad():
        logits = call(model, tokens, [*_hooks(model, run), answer_hook(model, tokens)])
    return widen(logits[:, -1]).reshape(len(plans), base.batch.size, -1)


def _hooks(model: Model, run: _Run) -> list[Hook]:
    hooks: list[Hook] = [(model.layers[0].hook_in, lambda x: run.write(0, x))]
    for index, layer in enumerate(model.layers):
        hooks += _layer_hooks(model, run, index, layer)
    hooks.append((model.bridge.ln_final.hook_in, run.final_override))
    return hooks


def _layer_hooks(model: Model, run: _Run, index: int, layer: Layer) -> list[Hook]:
    streams: dict[str, Tensor] = {}
    shared = layer.mlp_residual is layer.attn_residual

    def attention(x: Tensor) -> None:
        run.attention(index, x)
        if shared:
            streams["mlp"] = x

    def middle(x: Tensor) -> None:
        streams["mlp"] = x

    def scale(x: Tensor) -> None:
        assert layer.attn_post is not None
        run.write_heads(index, streams.pop("z"), layer.attn_post.scale(x))

    def z(x: Tensor) -> None:
        if layer.attn_post is None:
            run.write_heads(index, x, None)
        else:
            streams["z"] = x

    hooks: list[Hook] = [(layer.attn_residual, attention)]
    if not shared:
        hooks.append((layer.mlp_residual, middle))
    hooks += [(layer.hook(letter), _head_hook(run, index, letter)) for letter in QKV]
    hooks.append((layer.hook_z, z))
    if layer.attn_post is not None:
        hooks.append((layer.attn_post_in, scale))
    hooks.append((layer.mlp_in, lambda x: run.mlp_override(index, x, streams.pop("mlp"))))
    first = model.graph.mlp_source(index)
    hooks.append((layer.mlp_out, lambda x: run.write(first, x)))
    return hooks


def _head_hook(run: _Run, layer: int, letter: str) -> Callable[[Tensor], Tensor | None]:
    return lambda x: run.head_override(layer, letter, x)
