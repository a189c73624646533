"""Run circuits of (edge, span): an edge may be inside the circuit at some positions and outside at others.

For a destination v at position p of span s, x_v(p) = r′_v(p) + Σ_{u: (u→v, s) in the circuit} (z_u − z′_u)(p).
An edge reads and writes at one position (heads carry between positions inside the node), so this is all there is to it.
Every destination is put together from its sources; what `circuit_pass` spares for whole edges is not spared here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eapgp.engine.circuit_pass import Base, _hooks, _normed, _project, _Run
from eapgp.engine.circuit_plan import plan
from eapgp.engine.passes import answer_hook, at_positions, call
from eapgp.graph import QKV
from eapgp.models.model import Model, widen


class _SpanRun(_Run):
    """State of one run: z_u − z′_u of every source, and which edges are kept in which span.

    spans: `[pair, pos]` of each position; edges: `[span, src, dst]`.
    """

    def __init__(
        self, model: Model, base: Base, edges: Bool[np.ndarray, "span src dst"], spans: Int[Tensor, "pair pos"]
    ) -> None:
        whole = plan(model.graph, model.graph.mask, add_only=base.add_only)
        super().__init__(model, base, [replace(whole, rows=np.arange(model.graph.n_sources))])
        self.edges = torch.from_numpy(np.ascontiguousarray(edges))
        self.places = [torch.nonzero(spans == span, as_tuple=True) for span in range(len(edges))]

    def read(
        self, corrupted: Float[Tensor, "pair pos d_model"], first: int, count: int
    ) -> Float[Tensor, "dst pair pos d_model"]:
        """What destinations first … first + count − 1 read, which all read the same sources."""
        (store,), sources = self.stores, int(self.model.graph.prefix[first])
        out = corrupted.to(store).repeat(count, 1, 1, 1)
        for edges, (pairs, places) in zip(self.edges, self.places, strict=True):
            weights = edges[:sources, first : first + count].T.to(store)
            if len(pairs) and bool(weights.any()):
                written = store[:sources, pairs, places]
                out[:, pairs, places] += (weights @ written.flatten(1)).view(count, len(pairs), -1)
        return out

    def attention(self, layer: int, own: Float[Tensor, "pair pos d_model"]) -> None:
        view, heads = self.model.layers[layer], self.model.graph.n_heads
        start, every = self.model.graph.qkv_slice(layer, "q").start, np.arange(heads)
        read = self.read(self.base.attn[layer], start, len(QKV) * heads)
        normed = _normed(view.attn_norm, read, own).unflatten(0, (len(QKV), heads))
        self.rebuilt = {
            letter: [(0, every, _project(view.weight(letter), view.bias(letter), normed[number]))]
            for number, letter in enumerate(QKV)
        }

    def mlp_override(
        self, layer: int, x: Float[Tensor, "pair pos d_model"], own: Float[Tensor, "pair pos d_model"]
    ) -> Float[Tensor, "pair pos d_model"]:
        read = self.read(self.base.mlp[layer], self.model.graph.mlp_destination(layer), 1)[0]
        return _normed(self.model.layers[layer].mlp_norm, read, x)

    def final_override(self, own: Float[Tensor, "pair pos d_model"]) -> Float[Tensor, "pair pos d_model"]:
        read = self.read(self.base.final, self.model.graph.n_destinations - 1, 1)[0]
        new, last = own.clone(), self.base.batch.clean.last.to(own.device)
        pairs = torch.arange(len(last), device=own.device)
        new[pairs, last] = at_positions(read, last)[:, 0].to(own)
        return new


def run_spans(
    model: Model, base: Base, edges: Bool[np.ndarray, "span src dst"], spans: Int[np.ndarray, "pair pos"]
) -> Float[Tensor, "pair vocab"]:
    """Logits at the answer position of one circuit. spans: of every position; what is in none (−1) carries r′."""
    pairs, length = base.batch.clean.mask.shape
    start = base.batch.start
    places = torch.from_numpy(np.ascontiguousarray(spans[:, start : start + length]))
    run, tokens = _SpanRun(model, base, edges, places.to(base.reference.device)), base.batch.clean
    with torch.no_grad():
        logits = call(model, tokens, [*_hooks(model, run), answer_hook(model, tokens)])
    return widen(logits[:, -1]).reshape(pairs, -1)
