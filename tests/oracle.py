"""The slow, literal reference of the engine: one pair at a time, one copy of the residual per input.

Nothing here is shared with `eapgp.engine` but the loaded bridge and the orders of `Graph`.

1. Before every attention block the residual is copied once for each head's query, key and value
   input; each copy goes through the model's own norm and projection by hand and takes that head's
   place at `hook_q`, `hook_k`, `hook_v`. The MLP and the final norm read a copy too. So ∂M/∂x_v is
   what autograd says about one copy.
2. Heads are taken apart by sending z through the output projection with all other heads at zero.
3. Scores are loops over edges; exact patching is a full forward pass per edge; a circuit run
   builds every destination's input as a sum over its sources.

Every run that edits nothing asserts that copying changed nothing and that the sources add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHARED_NORM = ("GPTJForCausalLM", "PhiForCausalLM", "FalconForCausalLM")  # attention and MLP read one norm
NO_PRE_NORM = ("Olmo2ForCausalLM",)
SUM_INSIDE = ("BloomForCausalLM", "MptForCausalLM")  # branches that return their output and the residual together
POST_NORM = {"Olmo2ForCausalLM": 0.0, "Gemma2ForCausalLM": 1.0, "Gemma3ForCausalLM": 1.0}  # offset of the weight

Edit = Callable[[str, Tensor, dict[str, Tensor]], Tensor]


@dataclass
class LiteralRun:
    """sources, copies, residuals: name → `[pos, d_model]`; logits `[pos, vocab]`; gamma: the leaf."""

    gamma: Tensor
    sources: dict[str, Tensor] = field(default_factory=dict)
    copies: dict[str, Tensor] = field(default_factory=dict)
    residuals: dict[str, Tensor] = field(default_factory=dict)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    bias: Tensor | float = 0.0


def untouched(_name: str, residual: Tensor, _written: dict[str, Tensor]) -> Tensor:
    """The edit that changes nothing."""
    return residual.clone()


class Oracle:
    """Literal runs of one model."""

    def __init__(self, model: Any) -> None:
        self.graph, self.bridge, self.kind = model.graph, model.bridge, model.architecture
        self.tolerance = 1e-6 if model.dtype == "float64" else 2e-4  # RMS norms compute in float32 whatever comes
        self.norm: Callable[[Any, Tensor], Tensor] = lambda norm, x: norm(x)

    # -- one pass ---------------------------------------------------------------------------

    def run(
        self,
        ids: Tensor,
        *,
        gamma: Tensor | None = None,
        edit: Edit | None = None,
        extra: list[tuple[str, Any]] | None = None,
    ) -> LiteralRun:
        """Run one prompt; `gamma` replaces the embedding, `edit` makes every destination's input."""
        run = LiteralRun(torch.empty(0))
        hooks: list[tuple[str, Any]] = [("blocks.0.hook_in", self._enter(run, gamma))]
        for layer in range(self.graph.n_layers):
            hooks += self._layer(run, layer, edit or untouched)
        hooks.append(("ln_final.hook_in", self._branch(run, "logits", edit or untouched, None)))
        with torch.enable_grad(), self.bridge.hooks(fwd_hooks=[*hooks, *(extra or [])]):
            run.logits = self.bridge(ids[None], use_cache=False)[0]
        if edit is None and not extra:
            self._check_sums(run)
        return run

    def _enter(self, run: LiteralRun, gamma: Tensor | None) -> Any:
        def hook(x: Tensor, hook: Any) -> Tensor:
            run.gamma = (x[0] if gamma is None else gamma).detach().clone().requires_grad_(True)
            run.sources["input"] = run.gamma
            return run.gamma[None]

        return hook

    def _layer(self, run: LiteralRun, layer: int, edit: Edit) -> list[tuple[str, Any]]:
        block, at = self.bridge.blocks[layer], f"blocks.{layer}."
        shared, bare = self.kind in SHARED_NORM, self.kind in NO_PRE_NORM
        attn_norm = None if bare else block.ln1.original_component
        mlp_norm = None if bare else attn_norm if shared else block.ln2.original_component
        attn_name = at + ("attn.hook_in" if bare else "ln1.hook_in")
        mlp_name = at + ("mlp.hook_in" if bare else "ln1.hook_in" if shared else "ln2.hook_in")
        hooks = [(attn_name, self._note(run, f"a{layer}"))]
        for letter in "qkv":
            hooks.append((at + f"attn.hook_{letter}", self._heads(run, layer, letter, edit, attn_norm)))
        hooks.append((at + "attn.hook_z", self._written_by_heads(run, layer)))
        if not bare:
            hooks.append((mlp_name, self._note(run, f"m{layer}")))
        hooks.append((at + "mlp.hook_in", self._branch(run, f"m{layer}", edit, mlp_norm, noted=not bare)))
        out = "ln2_post.hook_out" if self.kind in POST_NORM else "mlp.hook_out"
        out = "mlp.out.hook_out" if self.kind in SUM_INSIDE else out
        hooks.append((at + out, self._written_by_mlp(run, layer)))
        return hooks

    def _note(self, run: LiteralRun, name: str) -> Any:
        def hook(x: Tensor, hook: Any) -> None:
            run.residuals[name] = x[0]

        return hook

    def _heads(self, run: LiteralRun, layer: int, letter: str, edit: Edit, norm: Any) -> Any:
        projection = getattr(self.bridge.blocks[layer].attn, letter).original_component

        def hook(value: Tensor, hook: Any) -> Tensor:
            new = []
            for head in range(self.graph.n_heads):
                name = f"a{layer}.h{head}<{letter}>"
                run.copies[name] = edit(name, run.residuals[f"a{layer}"], run.sources)
                run.residuals[name] = run.residuals[f"a{layer}"]
                copy = run.copies[name]
                normed = copy if norm is None else self.norm(norm, copy)
                new.append(projection(normed[None]).reshape(value.shape)[:, :, head])
            made = torch.stack(new, dim=2)
            if edit is untouched:
                assert close(made, value, self.tolerance), f"copying changed {letter} of layer {layer}"
            return made

        return hook

    def _branch(self, run: LiteralRun, name: str, edit: Edit, norm: Any, noted: bool = False) -> Any:
        """What the MLP (or, on its residual, the final norm) reads."""

        def hook(value: Tensor, hook: Any) -> Tensor:
            if not noted:
                run.residuals[name] = value[0]
            run.copies[name] = edit(name, run.residuals[name], run.sources)
            copy = run.copies[name]
            made = (copy if norm is None else self.norm(norm, copy))[None]
            if edit is untouched:
                assert close(made, value, self.tolerance), f"copying changed the input of {name}"
            return made

        return hook

    @staticmethod
    def sigma(norm: Any, centred: Tensor) -> Tensor:
        """A norm's σ `[pos, 1]` of what it reads, the mean already taken away where it takes one."""
        eps = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
        return (centred.pow(2).mean(-1, keepdim=True) + float(eps)).sqrt()

    def _written_by_heads(self, run: LiteralRun, layer: int) -> Any:
        block = self.bridge.blocks[layer]
        project = block.attn.o.original_component

        def hook(z: Tensor, hook: Any) -> None:
            silent = project(torch.zeros_like(z).flatten(2))
            run.bias = run.bias + silent[0]
            whole = project(z.flatten(2))[0]
            for head in range(self.graph.n_heads):
                alone = torch.zeros_like(z)
                alone[:, :, head] = z[:, :, head]
                out = (project(alone.flatten(2)) - silent)[0]
                if self.kind in POST_NORM:
                    norm = block.ln1_post.original_component
                    out = out / self.sigma(norm, whole) * (norm.weight + POST_NORM[self.kind])
                run.sources[f"a{layer}.h{head}"] = out

        return hook

    def _written_by_mlp(self, run: LiteralRun, layer: int) -> Any:
        def hook(out: Tensor, hook: Any) -> None:
            run.sources[f"m{layer}"] = out[0]

        return hook

    def _check_sums(self, run: LiteralRun) -> None:
        total = torch.stack(list(run.sources.values())).sum(0) + run.bias
        assert list(run.sources) == list(self.graph.sources)
        assert close(total, run.residuals["logits"], self.tolerance), "the sources do not add up"
        for layer in range(self.graph.n_layers):
            for name in [f"a{layer}.h0<q>", f"m{layer}"]:
                read = torch.stack([run.sources[u] for u in self.read_by(name)]).sum(0) + self.bias_before(name)
                assert close(read, run.residuals[name], self.tolerance), f"the sources of {name} do not add up"

    # -- the graph --------------------------------------------------------------------------

    def read_by(self, destination: str) -> list[str]:
        """Sources that a destination reads."""
        column = self.graph.destinations.index(destination)
        return [u for row, u in enumerate(self.graph.sources) if self.graph.mask[row, column]]

    def bias_before(self, destination: str) -> Tensor | float:
        """Output biases of the attention blocks that a destination reads."""
        total: Tensor | float = 0.0
        layers = {u.split(".")[0] for u in self.read_by(destination) if u.startswith("a")}
        for name in sorted(layers):
            project = self.bridge.blocks[int(name[1:])].attn.o.original_component
            bias = getattr(project, "bias", None)
            total = total if bias is None else total + bias.detach()
        return total


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Largest difference within `tolerance` of the largest value."""
    return bool((a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1e-6))


# -- the metric -----------------------------------------------------------------------------


def metric_of(
    name: str, logits: Tensor, correct: tuple[int, ...], incorrect: tuple[int, ...], clean: Tensor | None = None
) -> Tensor:
    """Metric of one prompt from its logits `[vocab]` at the answer position; clean: those of the clean prompt."""
    if name == "correct-logit":
        return logits[list(correct)].mean()
    if name == "logit-diff":
        return logits[list(correct)].mean() - logits[list(incorrect)].mean()
    p = torch.softmax(logits, 0)
    if name == "kl":
        assert clean is not None
        reference = torch.softmax(clean.detach(), 0)
        return -(reference * torch.log(reference / p)).sum()
    if name == "correct-prob":
        return p[list(correct)].sum()
    if name == "prob-diff":
        return p[list(correct)].sum() - p[list(incorrect)].sum()
    assert name == "log-prob", name
    return torch.log(p[list(correct)].sum())


@dataclass
class Pair:
    """One pair, cut to its own length: no padding, no batch."""

    oracle: Oracle
    clean_ids: Tensor
    corrupted_ids: Tensor
    correct: tuple[int, ...]
    incorrect: tuple[int, ...]
    metric: str
    kept: dict[str, LiteralRun] = field(default_factory=dict)

    def m(self, logits: Tensor) -> Tensor:
        """Metric of a run's logits `[pos, vocab]`."""
        clean = self.clean().logits[-1] if self.metric == "kl" else None
        return metric_of(self.metric, logits[-1], self.correct, self.incorrect, clean)

    def number(self, logits: Tensor) -> float:
        """The metric as a plain number."""
        return float(self.m(logits.detach()))

    def clean(self) -> LiteralRun:
        """The clean run, made once."""
        if "clean" not in self.kept:
            self.kept["clean"] = self.oracle.run(self.clean_ids)
        return self.kept["clean"]

    def corrupted(self) -> LiteralRun:
        """The corrupted run, made once."""
        if "corrupted" not in self.kept:
            self.kept["corrupted"] = self.oracle.run(self.corrupted_ids)
        return self.kept["corrupted"]

    def gradients(self, run: LiteralRun) -> dict[str, Tensor]:
        """∂M/∂x_v at every destination's own copy."""
        names = list(run.copies)
        found = torch.autograd.grad(
            self.m(run.logits), [run.copies[n] for n in names], retain_graph=True, allow_unused=True
        )
        return {
            n: torch.zeros_like(run.copies[n]) if g is None else g.detach() for n, g in zip(names, found, strict=True)
        }

    def at(self, gamma: Tensor) -> dict[str, Tensor]:
        """∂M/∂x_v with the embedding at `gamma`, on the clean prompt."""
        return self.gradients(self.oracle.run(self.clean_ids, gamma=gamma))


def pairs_of(model: Any, encoded: Any, metric: str = "logit-diff", oracle: Oracle | None = None) -> list[Pair]:
    """Every pair of an `EncodedPairs`."""
    oracle, out = oracle or Oracle(model), []
    for i, length in enumerate(encoded.lengths):
        clean, corrupted = (torch.from_numpy(ids[i, :length].copy()) for ids in (encoded.clean, encoded.corrupted))
        out.append(Pair(oracle, clean, corrupted, encoded.correct[i], encoded.incorrect[i], metric))
    return out


# -- scores ---------------------------------------------------------------------------------


def difference(clean: LiteralRun, other: LiteralRun) -> dict[str, Tensor]:
    """z_u − z′_u."""
    return {u: (clean.sources[u] - other.sources[u]).detach() for u in clean.sources}


def edge_scores(oracle: Oracle, delta: dict[str, Tensor], gradient: dict[str, Tensor]) -> np.ndarray:
    """`[src, dst]` Σ_pos (z_u − z′_u) · ∂M/∂x_v, edge by edge."""
    graph = oracle.graph
    scores = np.zeros((graph.n_sources, graph.n_destinations))
    for column, v in enumerate(graph.destinations):
        for u in oracle.read_by(v):
            scores[graph.sources.index(u), column] = float((delta[u] * gradient[v]).sum())
    return scores


def mean_gradient(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Average over points."""
    return {v: torch.stack([part[v] for part in parts]).mean(0) for v in parts[0]}


def eap(pair: Pair, reference: dict[str, Tensor] | None = None) -> np.ndarray:
    """Gradients at the clean input. reference: z′_u where it is not the corrupted run."""
    clean = pair.clean()
    if reference is None:
        delta = difference(clean, pair.corrupted())
    else:
        delta = {u: clean.sources[u].detach() - reference[u] for u in clean.sources}
    return edge_scores(pair.oracle, delta, pair.gradients(clean))


def clean_corrupted(pair: Pair) -> np.ndarray:
    """Gradients at both ends, averaged."""
    clean, corrupted = pair.clean(), pair.corrupted()
    gradient = mean_gradient([pair.gradients(clean), pair.gradients(corrupted)])
    return edge_scores(pair.oracle, difference(clean, corrupted), gradient)


def line_fractions(steps: int, points: str) -> list[float]:
    """α of the points x′ + α (x − x′)."""
    if points == "left":
        return [j / steps for j in range(steps)]
    if points == "right":
        return [j / steps for j in range(1, steps + 1)]
    return [(2 * j + 1) / (2 * steps) for j in range(steps)]


def eap_ig(pair: Pair, *, steps: int = 5, points: str = "left") -> np.ndarray:
    """Gradients averaged over the straight line."""
    clean, corrupted = pair.clean(), pair.corrupted()
    x, x_prime = clean.gamma.detach(), corrupted.gamma.detach()
    parts = [pair.at(x_prime + alpha * (x - x_prime)) for alpha in line_fractions(steps, points)]
    return edge_scores(pair.oracle, difference(clean, corrupted), mean_gradient(parts))


def step_length(pair: Pair, step: str | float, steps: int, distance: float, length: float) -> float:
    """s of one GradPath step: distance ‖G − G′‖² and length ‖g‖ at the point that it leaves."""
    apart = float((pair.clean().gamma.detach() - pair.corrupted().gamma.detach()).norm())
    if step == "descend":
        return min(distance / (2 * length), apart)
    return apart / steps if step == "relative" else 1.0 if step == "unit" else float(step)


def random_direction(pair: Pair, seed: int) -> Tensor:
    """The unit direction of `direction=random`."""
    clean, corrupted = pair.clean_ids.tolist(), pair.corrupted_ids.tolist()
    x = pair.clean().gamma.detach()
    drawn = torch.from_numpy(np.random.default_rng([seed, *clean, *corrupted]).standard_normal(tuple(x.shape)))
    return (drawn / drawn.norm()).to(x.dtype)


def gradpaths(
    pairs: list[Pair],
    *,
    steps: int = 5,
    step: str | float = "relative",
    objective: str = "all",
    norm: str = "pair",
    direction: str = "gradient",
    seed: int = 0,
) -> tuple[list[list[Tensor]], list[list[float]]]:
    """γ_0 … γ_k and ‖G(γ_j) − G(x′)‖² of every pair, with the logits of the whole vocabulary; all walk in step."""
    paths = [[pair.clean().gamma.detach()] for pair in pairs]
    distances: list[list[float]] = [[] for _ in pairs]
    for j in range(steps + 1):
        slopes = []
        for i, pair in enumerate(pairs):
            target = pair.corrupted().logits.detach()
            run = pair.oracle.run(pair.clean_ids, gamma=paths[i][-1])
            apart = (run.logits - target) if objective == "all" else (run.logits[-1:] - target[-1:])
            squared = (apart**2).sum()
            distances[i].append(float(squared.detach()))
            slopes.append(torch.autograd.grad(squared, run.gamma)[0])
        whole = sum(float(g.norm()) ** 2 for g in slopes) ** 0.5
        for i, (pair, g) in enumerate(zip(pairs, slopes, strict=True)):
            length, here = float(g.norm()), paths[i][-1]
            if j == steps:
                continue
            if length == 0:
                paths[i].append(here)
                continue
            far = step_length(pair, step, steps, distances[i][-1], length)
            far *= length / whole if norm == "batch" else 1.0
            along = {"gradient": -g / length, "reversed": g / length}.get(direction)
            paths[i].append(here + far * (random_direction(pair, seed) if along is None else along))
    return paths, distances


def gradpath(pair: Pair, **options: Any) -> tuple[list[Tensor], list[float]]:
    """The path of one pair alone, and its distances."""
    paths, distances = gradpaths([pair], **options)
    return paths[0], distances[0]


def eap_gps(pairs: list[Pair], *, points: str = "1..k", **options: Any) -> np.ndarray:
    """`[pair, src, dst]` gradients averaged over γ_1 … γ_k, or γ_0 … γ_{k−1}."""
    scores = []
    for pair, path in zip(pairs, gradpaths(pairs, **options)[0], strict=True):
        parts = [pair.at(gamma) for gamma in (path[1:] if points == "1..k" else path[:-1])]
        scores.append(edge_scores(pair.oracle, difference(pair.clean(), pair.corrupted()), mean_gradient(parts)))
    return np.stack(scores)


def eap_gp(pair: Pair, **options: Any) -> np.ndarray:
    """The scores of one pair alone."""
    return eap_gps([pair], **options)[0]


def exact(
    pair: Pair, edges: list[tuple[int, int]] | None = None, reference: dict[str, Tensor] | None = None
) -> np.ndarray:
    """M(clean) − M(one edge corrupted): a full forward pass for each edge; NaN where not asked for."""
    graph, clean = pair.oracle.graph, pair.clean()
    reference = reference or {u: z.detach() for u, z in pair.corrupted().sources.items()}
    base = pair.number(clean.logits)
    wanted = list(zip(*np.nonzero(graph.mask), strict=True)) if edges is None else edges
    scores = np.where(graph.mask, np.nan, 0.0)
    for row, column in wanted:
        source, destination = graph.sources[row], graph.destinations[column]
        delta = clean.sources[source].detach() - reference[source]

        def edit(name: str, residual: Tensor, _w: Any, v: str = destination, d: Tensor = delta) -> Tensor:
            return residual - d if name == v else residual

        scores[row, column] = base - pair.number(pair.oracle.run(pair.clean_ids, edit=edit).logits)
    return scores


def circuit_run(pair: Pair, inside: np.ndarray, reference: dict[str, Tensor] | None = None) -> Tensor:
    """Logits `[pos, vocab]` with every edge outside `inside` `[src, dst]` at z′.

    x_v = Σ_u (z_u of this run if u→v is inside, else z′_u) + output biases.
    """
    oracle, graph = pair.oracle, pair.oracle.graph
    reference = reference or {u: z.detach() for u, z in pair.corrupted().sources.items()}

    def edit(name: str, residual: Tensor, written: dict[str, Tensor]) -> Tensor:
        column = graph.destinations.index(name)
        total = torch.zeros_like(residual) + oracle.bias_before(name)
        for u in oracle.read_by(name):
            total = total + (written[u] if inside[graph.sources.index(u), column] else reference[u])
        return total

    return oracle.run(pair.clean_ids, edit=edit).logits.detach()


def corrupt_node(pair: Pair, node: str) -> float:
    """Metric of the clean run with one node's output corrupted on all its outgoing edges."""
    inside = pair.oracle.graph.mask.copy()
    inside[pair.oracle.graph.sources.index(node)] = False
    return pair.number(circuit_run(pair, inside))
