"""Literal versions of the further methods, on the passes of `oracle`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from oracle import POST_NORM, LiteralRun, Oracle, Pair, difference, edge_scores, gradpaths, mean_gradient
from torch import Tensor

PATTERN_IS_A_COPY = (
    "GPTNeoForCausalLM",
    "GPTJForCausalLM",
    "OPTForCausalLM",
)  # what is done to `hook_pattern` is discarded

# -- increments -------------------------------------------------------------------------------


def _increments(pair: Pair, path: list[Tensor]) -> np.ndarray:
    """Σ_j (z_u(γ_{j−1}) − z_u(γ_j)) · ∂M/∂x_v(γ_j) for a path that leaves the clean end."""
    scores = np.zeros(pair.oracle.graph.mask.shape)
    runs = [pair.oracle.run(pair.clean_ids, gamma=gamma) for gamma in path]
    for before, here in pairwise(runs):
        scores += edge_scores(pair.oracle, difference(before, here), pair.gradients(here))
    return scores


def ceap(pair: Pair, *, steps: int = 5) -> np.ndarray:
    """The straight line from x (j = k) down to x′ (j = 0); gradients at the lower end of each step."""
    x, x_prime = pair.clean().gamma.detach(), pair.corrupted().gamma.detach()
    return _increments(pair, [x_prime + j / steps * (x - x_prime) for j in range(steps, -1, -1)])


def conductances(pairs: list[Pair], **options: Any) -> np.ndarray:
    """`[pair, src, dst]` GradPath with increments."""
    paths, _ = gradpaths(pairs, **options)
    return np.stack([_increments(pair, path) for pair, path in zip(pairs, paths, strict=True)])


# -- one layer's output at a time -------------------------------------------------------------


def _components(oracle: Oracle) -> list[tuple[str, list[str]]]:
    """(hook of the output, the sources that make it up); the input's hook is empty."""
    found: list[tuple[str, list[str]]] = [("", ["input"])]
    for layer in range(oracle.graph.n_layers):
        heads = [f"a{layer}.h{head}" for head in range(oracle.graph.n_heads)]
        found += [(f"blocks.{layer}.hook_attn_out", heads), (f"blocks.{layer}.hook_mlp_out", [f"m{layer}"])]
    return found


def _output(pair: Pair, ids: Tensor, hook_name: str) -> Tensor:
    """What a component adds to the residual stream of an untouched run."""
    if not hook_name:
        return pair.oracle.run(ids).gamma.detach()
    seen: list[Tensor] = []
    with torch.no_grad(), pair.oracle.bridge.hooks(fwd_hooks=[(hook_name, lambda x, hook: seen.append(x[0]))]):
        pair.oracle.bridge(ids[None], use_cache=False)
    return seen[0].clone()


def _with_output(pair: Pair, hook_name: str, value: Tensor) -> tuple[Any, Tensor]:
    """The clean run with a component's output at `value`, and the leaf that took its place."""
    if not hook_name:
        run = pair.oracle.run(pair.clean_ids, gamma=value)
        return run, run.gamma
    leaf = value.detach().clone().requires_grad_(True)
    return pair.oracle.run(pair.clean_ids, extra=[(hook_name, lambda x, hook: leaf[None])]), leaf


def _by_component(pair: Pair, points: Callable[[str, Tensor, Tensor], list[Tensor]]) -> np.ndarray:
    oracle, scores = pair.oracle, np.zeros(pair.oracle.graph.mask.shape)
    delta = difference(pair.clean(), pair.corrupted())
    for hook_name, sources in _components(oracle):
        ends = _output(pair, pair.clean_ids, hook_name), _output(pair, pair.corrupted_ids, hook_name)
        parts = [pair.gradients(_with_output(pair, hook_name, value)[0]) for value in points(hook_name, *ends)]
        whole = edge_scores(oracle, delta, mean_gradient(parts))
        for source in sources:
            row = oracle.graph.sources.index(source)
            scores[row] = whole[row]
    return scores


def eap_ig_activations(pair: Pair, *, steps: int = 5) -> np.ndarray:
    """α_j = j/k, j = 1 … k, in each component's output space."""

    def points(_name: str, clean: Tensor, corrupted: Tensor) -> list[Tensor]:
        return [corrupted + j / steps * (clean - corrupted) for j in range(1, steps + 1)]

    return _by_component(pair, points)


def eap_gp_activations(
    pair: Pair, *, steps: int = 5, step: str | float = "relative", objective: str = "all"
) -> np.ndarray:
    """A GradPath in each component's output space."""
    target = pair.corrupted().logits.detach()

    def points(name: str, clean: Tensor, corrupted: Tensor) -> list[Tensor]:
        whole = float((clean - corrupted).norm())
        fixed = whole / steps if step == "relative" else 1.0 if step in ("unit", "descend") else float(step)
        path = [clean]
        for _ in range(steps):
            run, leaf = _with_output(pair, name, path[-1])
            apart = run.logits - target
            squared = (apart if objective == "all" else apart[-1:]).pow(2).sum()
            g = torch.autograd.grad(squared, leaf)[0]
            size = min(float(squared.detach()) / (2 * float(g.norm())), whole) if step == "descend" else fixed
            path.append(path[-1] - size * g / g.norm() if float(g.norm()) > 0 else path[-1])
        return path[1:]

    return _by_component(pair, points)


# -- without a path ---------------------------------------------------------------------------


def ifr(pair: Pair) -> np.ndarray:
    """Share of ‖x_v‖₁ that each source accounts for, position by position."""
    graph, run = pair.oracle.graph, pair.clean()
    scores, length = np.zeros(graph.mask.shape), len(pair.clean_ids)
    for column, v in enumerate(graph.destinations):
        for pos in range(length):
            x = run.residuals[v][pos].detach()
            flow = {}
            for u in pair.oracle.read_by(v):
                rest = x - run.sources[u][pos].detach()
                flow[u] = max(0.0, float(x.abs().sum() - rest.abs().sum()))
            for u, value in flow.items() if any(flow.values()) else ():
                scores[graph.sources.index(u), column] += value / sum(flow.values()) / length
    return scores


def graddrop(pair: Pair) -> np.ndarray:
    """One backward pass per layer whose outputs are constants; mean of |scores| by L − 1."""
    delta = difference(pair.clean(), pair.corrupted())
    layers, scores = pair.oracle.graph.n_layers, np.zeros(pair.oracle.graph.mask.shape)
    for layer in range(layers):
        cut = [(f"blocks.{layer}.hook_{part}_out", lambda x, hook: x.detach()) for part in ("attn", "mlp")]
        scores += np.abs(edge_scores(pair.oracle, delta, pair.gradients(pair.oracle.run(pair.clean_ids, extra=cut))))
    return scores / max(1, layers - 1)


def relp(pair: Pair) -> np.ndarray:
    """Constant norm scales and patterns; the non-linearity as a constant ratio."""
    oracle, bridge, own, kept = pair.oracle, pair.oracle.bridge, pair.oracle.norm, []
    delta = difference(pair.clean(), pair.corrupted())
    extra: list[tuple[str, Any]] = _norm_hooks("ln_final", bridge.ln_final.original_component)
    try:
        oracle.norm = _constant_scale
        for layer, block in enumerate(bridge.blocks):
            original = block.original_component
            kept += _ratio_hooks(
                getattr(original, "mlp", getattr(original, "ffn", original))
            )  # OPT's layer is its own MLP
            points = ("hook_q", "hook_k") if oracle.kind in PATTERN_IS_A_COPY else ("hook_pattern",)
            extra += [(f"blocks.{layer}.attn.{point}", lambda x, hook: x.detach()) for point in points]
            for name in ("ln1_post", "ln2_post") if oracle.kind in POST_NORM else ():
                extra += _norm_hooks(f"blocks.{layer}.{name}", getattr(block, name).original_component)
        gradient = pair.gradients(oracle.run(pair.clean_ids, extra=extra))
    finally:
        oracle.norm = own
        for handle in kept:
            handle.remove()
    return edge_scores(oracle, delta, gradient)


def _norm_hooks(name: str, norm: Any) -> list[tuple[str, Any]]:
    seen: list[Tensor] = []
    return [
        (f"{name}.hook_in", lambda x, hook: seen.append(x)),
        (f"{name}.hook_out", lambda y, hook: _constant_scale(norm, seen[-1])),
    ]


def _constant_scale(norm: Any, x: Tensor) -> Tensor:
    kind = type(norm).__name__
    moving = x - x.mean(-1, keepdim=True) if "LayerNorm" in kind else x
    if kind == "OlmoLayerNorm":
        return moving / (moving.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt().detach()
    weight = norm.weight + 1 if "Gemma" in kind else norm.weight
    made = moving / Oracle.sigma(norm, moving).detach() * weight
    return made if getattr(norm, "bias", None) is None else made + norm.bias


def _ratio_hooks(mlp: Any) -> list[Any]:
    mlp = getattr(mlp, "original_component", mlp)
    act = next(getattr(mlp, name) for name in ("act", "act_fn", "activation_fn", "gelu_impl") if hasattr(mlp, name))
    seen: dict[str, Tensor] = {}

    def ratio(_m: Any, inputs: Any, out: Tensor) -> Tensor:
        x = inputs[0]
        seen["act"] = x * (out / x).detach()
        return seen["act"]

    handles = [act.register_forward_hook(ratio)]
    if hasattr(mlp, "gate_proj"):  # a gated MLP: each factor of the product gets half

        def half(_m: Any, _inputs: Any) -> tuple[Tensor]:
            a, u = seen["act"], seen["up"]
            return (0.5 * (a * u.detach() + a.detach() * u),)

        handles.append(mlp.up_proj.register_forward_hook(lambda _m, _i, out: seen.__setitem__("up", out)))
        handles.append(mlp.down_proj.register_forward_pre_hook(half))
    return handles


# -- mixed networks ---------------------------------------------------------------------------


def mask_ig(pair: Pair, *, steps: int = 3, nodes: str = "midpoints") -> np.ndarray:
    """Every destination reads α r_v(α) + (1−α) r′_v; the point's own z_u(α) − z′_u."""
    corrupted, scores = pair.corrupted(), np.zeros(pair.oracle.graph.mask.shape)
    for j in range(steps):
        middle = (j + 0.5) / steps
        alpha = middle if nodes == "midpoints" else _crossing(pair, corrupted, 0.05 + 0.9 * middle)
        run = _mixed(pair, corrupted, alpha)
        scores += edge_scores(pair.oracle, difference(run, corrupted), pair.gradients(run)) / steps
    return scores


def _mixed(pair: Pair, corrupted: LiteralRun, alpha: float) -> LiteralRun:
    other = {v: r.detach() for v, r in corrupted.residuals.items()}
    return pair.oracle.run(pair.clean_ids, edit=lambda name, residual, _w: alpha * residual + (1 - alpha) * other[name])


def _crossing(pair: Pair, corrupted: LiteralRun, level: float) -> float:
    """α at which the normalised metric passes `level`: eight halvings of 0 … 1."""
    start, end = pair.number(corrupted.logits), pair.number(pair.clean().logits)
    low, high = 0.0, 1.0
    for _ in range(8):
        middle = (low + high) / 2
        reached = (pair.number(_mixed(pair, corrupted, middle).logits) - start) / (end - start)
        low, high = (middle, high) if reached < level else (low, middle)
    return (low + high) / 2


def mask_ig_refined(pairs: list[Pair], **options: Any) -> np.ndarray:
    """`[pair, src, dst]`: mask-ig and four rounds at circuits of the whole prompt set, scaled to mask-ig's size."""
    graph = pairs[0].oracle.graph
    rounds = [np.stack([mask_ig(pair, **options) for pair in pairs])]
    for fraction in (0.5, 0.2, 0.1, 0.05):
        acc = sum(r.mean(0) / np.abs(r.mean(0)).sum() for r in rounds)
        edges = [(row, column) for row, column in np.argwhere(graph.mask)]
        edges.sort(key=lambda edge: -abs(acc[edge]))  # type: ignore[index]
        circuit = _on_a_path(graph, edges[: int(fraction * graph.n_edges)])
        rounds.append(np.stack([_at_circuit(pair, circuit) for pair in pairs]))
    size = np.abs(rounds[0].mean(0)).sum()
    return sum(r / np.abs(r.mean(0)).sum() for r in rounds) * size / len(rounds)


def _on_a_path(graph: Any, edges: list[Any]) -> set[tuple[str, str]]:
    """Edges, by name, that can be walked from input and lead on to logits."""
    named = {(graph.sources[row], graph.destinations[column]) for row, column in edges}
    while True:
        reached = {"input"} | {v.split("<")[0] for _, v in named}
        leading = {"logits"} | {u for u, _ in named}
        kept = {(u, v) for u, v in named if u in reached and v.split("<")[0] in leading}
        if kept == named:
            return kept
        named = kept


def _at_circuit(pair: Pair, circuit: set[tuple[str, str]]) -> np.ndarray:
    """x_v = Σ m z_u + (1−m) z′_u with m 0.9 in the circuit and 0 outside; back with 0.9 and 0.5."""
    oracle, corrupted = pair.oracle, pair.corrupted()

    def edit(name: str, residual: Tensor, written: dict[str, Tensor]) -> Tensor:
        value = torch.zeros_like(residual) + oracle.bias_before(name)
        back = torch.zeros_like(residual)
        for u in oracle.read_by(name):
            m = 0.9 if (u, name) in circuit else 0.0
            value = value + m * written[u].detach() + (1 - m) * corrupted.sources[u].detach()
            back = back + (0.9 if (u, name) in circuit else 0.5) * written[u]
        return value + back - back.detach()

    run = oracle.run(pair.clean_ids, edit=edit)
    return edge_scores(oracle, difference(run, corrupted), pair.gradients(run))
