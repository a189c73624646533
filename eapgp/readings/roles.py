"""Which roles of `ROLES` the attention heads of a model have on prompts, each with its number and interval.

1. Run every clean prompt beside one of random words: the same length and first token, all other tokens drawn from those
   of the set. Positions stay, content goes.
2. Attention roles: the share of the head's attention on the role's keys (`role_table`), beside even attention.
3. Position alone: Σ_k min(A[q, k], R[q, k]), mean over q > 0, with R the pattern on the random words: 1 where no
   attention moves. Beside it: the same with even attention in place of R.
4. Copying: what the head adds to the logit of each token at the last position, through the final norm's frozen scale
   (`final`). With c_t that contribution, C the distinct tokens of all prompts (their first positions apart) and
   w_k ∝ A[n − 1, k] over k > 0:

       score = mean over pairs of Σ_k w_k · share of the other tokens t of C with c_t < c_{t_k}

   ½ is chance. Suppression is 1 − score. A head that keeps less than LEAST of its attention for other positions than
   the first attends to nothing that it could copy, and has neither. This is Wang et al. 2023's copy score (is the
   attended token among the top 5 of W_U W_OV applied to it?) taken from the model's own runs: it holds for any
   architecture, and ranks among the prompts' tokens in place of the vocabulary's.

A head has a role where the score reaches the role's threshold and the interval's lower end (bootstrap over pairs) lies
above the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import OptionError
from eapgp.evaluation.statistics import USUAL, Resampling, bootstrap_mean
from eapgp.graph import Graph
from eapgp.html_table import html_table
from eapgp.models.model import widen
from eapgp.readings.pairs import encoded_pairs, token_names
from eapgp.readings.role_table import KINDS, NO_ROLE, ROLES, Role, Spans
from eapgp.types import Bools, Floats, Ints, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from eapgp.engine.batches import Batch
    from eapgp.engine.passes import Tokens
    from eapgp.models.model import Model
    from eapgp.prompts.encode import EncodedPairs
    from eapgp.prompts.pairs import PromptSet
    from eapgp.readings.final import FinalStream

LEAST = 0.1
COPYING = tuple(name for name, role in ROLES.items() if role.kind == "copying")
ATTENTION = tuple(name for name, role in ROLES.items() if role.targets is not None)
_ROW = {name: row for row, name in enumerate(ROLES)}


@dataclass(frozen=True)
class Measure:
    """What was measured of one head for one role. even: what it is compared with; n_pairs: those that can tell."""

    node: str
    role: Role
    value: float
    low: float
    high: float
    even: float
    n_pairs: int

    @property
    def passes(self) -> bool:
        """Whether the head has the role."""
        return self.value >= self.role.threshold and self.low > self.even

    @property
    def number(self) -> str:
        """The score with its interval and what it is compared with, in words."""
        return self.role.told(self.value, self.low, self.high, self.even)

    @property
    def text(self) -> str:
        """The role in words with its numbers."""
        return f"{self.role.title}: {self.number}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        numbers = {name: getattr(self, name) for name in ("value", "low", "high", "even", "n_pairs")}
        return {"role": self.role.name, "text": self.text, "passes": self.passes, **numbers}


@dataclass(frozen=True, eq=False)
class HeadRoles:
    """Scores of every head for every role.

    values, even: `[role, head, pair]`, roles in the order of `ROLES`, heads layer by layer; NaN where a pair has no
    position that the role is about, or a head nothing to copy.
    """

    graph: Graph
    values: Floats
    even: Floats
    how: Resampling = USUAL

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return int(self.values.shape[2])

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads, in order."""
        return tuple(node for node in self.graph.sources if node.startswith("a"))

    @cached_property
    def measures(self) -> Mapping[str, tuple[Measure, ...]]:
        """Head → what was measured of it, in the order of `ROLES`."""
        rows: dict[str, list[Measure]] = {node: [] for node in self.heads}
        for role, values, even in zip(ROLES.values(), self.values, self.even, strict=True):
            some = ~np.isnan(values).all(axis=1)
            pairs = ~np.isnan(values[some]).all(axis=0)
            if not some.any() or not pairs.any():
                continue
            band = bootstrap_mean(values[some][:, pairs], how=self.how)
            means, n = even[some][:, pairs].mean(axis=1), int(pairs.sum())
            names = np.array(self.heads)[some]
            for node, value, low, high, mean in zip(names, band.value, band.low, band.high, means, strict=True):
                measure = Measure(str(node), role, float(value), float(low), float(high), float(mean), n)
                rows[measure.node].append(measure)
        return {node: tuple(measures) for node, measures in rows.items()}

    def of(self, node: str) -> tuple[Measure, ...]:
        """The roles of a head, by `KINDS` and then by what each has beyond its comparison; none where none passes.

        Errors: OptionError for a node that is no head.
        """
        if node not in self.measures:
            raise OptionError(f"expected an attention head of this graph, such as 'a0.h1'; got {node!r}.")
        passing = [measure for measure in self.measures[node] if measure.passes]
        return tuple(sorted(passing, key=lambda one: (KINDS.index(one.role.kind), one.even - one.value)))

    def first(self, nodes: Sequence[str] | None = None) -> dict[str, Role]:
        """Head → the role that says most about it; heads without one are left out. nodes: only of these."""
        chosen = [node for node in self.heads if nodes is None or node in nodes]
        return {node: measures[0].role for node in chosen if (measures := self.of(node))}

    def to_dict(self, nodes: Sequence[str] | None = None) -> dict[str, Any]:
        """Plain values: every role's definition and every head's measures. nodes: only of these."""
        chosen = [node for node in self.heads if nodes is None or node in nodes]
        about = {
            role.name: {"title": role.title, "about": role.about, "threshold": role.threshold}
            for role in ROLES.values()
        }
        heads = [
            {
                "node": node,
                "roles": [measure.role.name for measure in self.of(node)],
                "measures": [measure.to_dict() for measure in self.measures[node]],
            }
            for node in chosen
        ]
        return {"n_pairs": self.n_pairs, "level": self.how.level, "roles": about, "heads": heads}

    def _repr_html_(self) -> str:
        rows = [(node, "; ".join(measure.text for measure in self.of(node)) or NO_ROLE) for node in self.heads]
        with_role = sum(text != NO_ROLE for _, text in rows)
        return html_table(f"Roles of {with_role} of {len(rows)} heads on {self.n_pairs} pairs", ("head", "role"), rows)


# ---- the prompts ---------------------------------------------------------------------------------


def spans_of(model: Model, encoded: EncodedPairs) -> tuple[Spans, ...]:
    """Per pair what roles look for in its clean prompt.

    An answer is looked for where its side has one word, by its token; one of letters also as a first word, which
    tokenizers write without the space before it.
    """
    ids = sorted({int(i) for i in encoded.clean.ravel()} | {i for side in encoded.correct for i in side[:9]})
    ids = sorted({*ids, *(i for side in encoded.incorrect for i in side[:9])})
    words = {i: name.lstrip("␣") for i, name in zip(ids, token_names(model, ids), strict=True)}

    def places(tokens: Ints, answers: tuple[int, ...]) -> Bools:
        if len(answers) > 9 or len({words[i] for i in answers}) != 1:
            return np.zeros(len(tokens), dtype=np.bool_)
        word = words[answers[0]]
        first = [place < 2 and word.isalpha() and words[int(token)] == word for place, token in enumerate(tokens)]
        return np.isin(tokens, answers) | np.array(first)

    rows = []
    for pair, length in enumerate(encoded.lengths):
        clean, corrupted = encoded.clean[pair, :length], encoded.corrupted[pair, :length]
        sides = places(clean, encoded.correct[pair]), places(clean, encoded.incorrect[pair])
        rows.append(Spans(clean, clean != corrupted, *sides))
    return tuple(rows)


def random_words(encoded: EncodedPairs) -> Ints:
    """`[pair, pos]` the clean prompts with every token but the first drawn from those of the set; the draw is fixed."""
    inner = encoded.mask & (np.arange(encoded.clean.shape[1]) > 0)[None, :]
    words = encoded.clean.copy()
    if inner.any():
        words[inner] = np.random.default_rng(0).choice(encoded.clean[inner], int(inner.sum()))
    return words


def random_twin(batch: Batch, words: Ints) -> Tokens:
    """A batch's clean prompts with the tokens of `random_words` in place of their own."""
    import torch

    ids = torch.from_numpy(np.ascontiguousarray(words[batch.index, : batch.clean.ids.shape[1]]))
    return replace(batch.clean, ids=ids.to(batch.clean.ids.device))


def target_weights(spans: Sequence[Spans], width: int) -> tuple[Floats, Bools]:
    """`[role, pair, query, key]` 1 / queries on an attention role's keys, and `[role, pair]` where it has any."""
    weights = np.zeros((len(ATTENTION), len(spans), width, width))
    for row, name in enumerate(ATTENTION):
        targets = ROLES[name].targets
        assert targets is not None
        for pair, span in enumerate(spans):
            mask, n = targets(span), len(span.ids)
            weights[row, pair, :n, :n] = mask / max(1, int(mask.any(axis=1).sum()))
    return weights, np.asarray(weights.any(axis=(2, 3)))


# ---- the runs ------------------------------------------------------------------------------------


def head_roles(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> HeadRoles:
    """Measure every role of every head.

    Errors: OptionError as for `attribute`; ComputationError where one pair does not fit in memory.
    """
    from eapgp.engine.batches import run_halving, split_batches

    encoded, graph = encoded_pairs(model, prompts), model.graph
    values = np.full((len(ROLES), graph.n_layers * graph.n_heads, encoded.n), np.nan)
    even, beyond, done = np.zeros_like(values), np.zeros_like(values[0]), 0
    reader = _Reader(model, encoded)
    for part, scores in run_halving(split_batches(model, encoded, batch_size), reader.read, lambda _text: None):
        values[:, :, part], even[:, :, part], beyond[:, part] = scores
        done += len(part)
        if progress is not None:
            progress("reading what heads do", done / encoded.n)
    idle = beyond.mean(axis=1) < LEAST
    for name in COPYING:
        values[_ROW[name], idle] = np.nan
    return HeadRoles(graph, values, even)


class _Reader:
    """Scores of single batches; what they share is made once."""

    def __init__(self, model: Model, encoded: EncodedPairs) -> None:
        import torch

        self.model, self.encoded, self.spans = model, encoded, spans_of(model, encoded)
        self.words = random_words(encoded)
        inner = encoded.mask & (np.arange(encoded.clean.shape[1]) > 0)[None, :]
        self.tokens = np.unique(encoded.clean[inner])
        self.device = torch.device(model.device)

    def read(self, part: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """`[role, head, pair]` scores and comparisons, `[head, pair]` attention beyond the first position."""
        import torch

        from eapgp.engine.batches import make_batch, to_numpy
        from eapgp.readings.final import final_stream

        batch = make_batch(self.model, self.encoded, part)
        weights, present = target_weights([self.spans[pair] for pair in part], batch.clean.ids.shape[1])
        layers = [_Patterns(batch.clean, weights) for _ in self.model.layers]
        hooks = [(view.hook_pattern, layer.watch) for view, layer in zip(self.model.layers, layers, strict=True)]
        words, twice = random_twin(batch, self.words), batch.clean.repeat(2)
        both = replace(twice, ids=torch.cat([batch.clean.ids, words.ids]))
        with torch.no_grad():
            stream = final_stream(self.model, both, extra=hooks)
            copies = [self._copies(batch, stream, at, layer) for at, layer in enumerate(layers)]
        n_heads = len(self.model.layers) * self.model.graph.n_heads
        values, even = np.full((2, len(ROLES), n_heads, len(part)), np.nan)
        for row, name in enumerate(ATTENTION):
            values[_ROW[name]] = torch.cat([layer.shares[row] for layer in layers]).cpu().numpy()
            values[_ROW[name]][:, ~present[row]] = np.nan
            even[_ROW[name]] = _even_shares(weights[row])
        values[_ROW["position-only"]] = to_numpy(torch.cat([layer.kept for layer in layers]))
        even[_ROW["position-only"]] = to_numpy(torch.cat([layer.kept_evenly for layer in layers]))
        ahead = np.concatenate(copies) if len(self.tokens) > 1 else np.nan
        values[_ROW["copying"]], values[_ROW["suppression"]] = ahead, 1 - ahead
        even[[_ROW[name] for name in COPYING]] = 0.5
        return values, even, to_numpy(torch.cat([layer.last[..., 1:].sum(-1) for layer in layers]))

    def _copies(self, batch: Batch, stream: FinalStream, layer: int, patterns: _Patterns) -> Floats:
        """`[head, pair]` share of the other tokens that a head's output raises less than those it attends to."""
        import torch

        from eapgp.readings.final import normed, unembedding

        graph, size = self.model.graph, batch.size
        first = graph.head_source(layer, 0)
        written = normed(self.model, stream.sources[first : first + graph.n_heads, :size], stream.scale[:size])
        rows = unembedding(self.model)[0][torch.from_numpy(self.tokens).to(self.device)]
        logits = written @ widen(rows).to(written).T
        ahead = logits.argsort(-1).argsort(-1) / max(1, len(self.tokens) - 1)
        places = torch.from_numpy(np.searchsorted(self.tokens, batch.clean.ids.cpu().numpy())).to(ahead.device)
        of_keys = ahead.gather(-1, places.clamp(max=len(self.tokens) - 1).expand(graph.n_heads, *places.shape))
        attention = patterns.last.to(of_keys)[..., 1:]
        total = attention.sum(-1).clamp(min=torch.finfo(attention.dtype).tiny)
        return ((attention * of_keys[..., 1:]).sum(-1) / total).cpu().numpy()


class _Patterns:
    """What is kept of one layer's patterns on the clean prompts and on the random words after them.

    shares `[role, head, pair]` of attention; kept, kept_evenly `[head, pair]`: what the random words, and even
    attention, leave in place; last `[head, pair, key]`: the last position's attention.
    """

    shares: Tensor
    kept: Tensor
    kept_evenly: Tensor
    last: Tensor

    def __init__(self, tokens: Tokens, weights: Floats) -> None:
        self._tokens, self._weights = tokens, weights

    def watch(self, pattern: Tensor) -> None:
        """A hook on the pattern `[clean then random pair, head, query, key]`."""
        import torch

        both, size = widen(pattern.detach()), len(self._tokens.last)
        own, other = both[:size], both[size:]
        self.shares = torch.einsum("bhqk,rbqk->rhb", own, torch.from_numpy(self._weights).to(own))
        queries = self._tokens.mask.to(own.device).clone()
        queries[:, 0] = False
        n_queries = queries.sum(-1).clamp(min=1)

        def overlap(rows: Tensor) -> Tensor:
            """`[head, pair]` attention that both patterns share, mean over the queries."""
            shared = torch.minimum(own, rows).sum(-1) * queries[:, None]
            return (shared.sum(-1) / n_queries[:, None]).T

        self.kept = overlap(other)
        self.kept_evenly = overlap(torch.from_numpy(even_attention(own.shape[-1])).to(own))
        at = self._tokens.last.to(own.device)
        self.last = own[torch.arange(size, device=own.device), :, at].transpose(0, 1)


def even_attention(width: int) -> Floats:
    """`[query, key]` attention spread evenly over the query's position and those before it."""
    return np.tril(np.ones((width, width))) / np.arange(1, width + 1)[:, None]


def _even_shares(weights: Floats) -> Floats:
    """`[pair]` what even attention has on the keys of `[pair, query, key]` weights."""
    return np.einsum("pqk,qk->p", weights, even_attention(weights.shape[-1]))
