"""Why a head looks there: one attention logit as a sum over pairs of parts, u into the query and v into the key.

The residual stream that the head reads is a sum of what earlier nodes wrote (and of biases). With the scales of all
norms as the run had them, the raw query at position i and the raw key at position j are sums too, and so

    ℓ(i, j) = Σ_u Σ_v  q_u(i) · B k_v(j)  +  rest

- q_u(i) = W_Q (γ ⊙ (z_u(i) − mean) / σ(i)), σ of the norm before attention (LayerNorm alone subtracts the mean); k_v
  likewise. The part `bias` holds b_Q, β and the output biases of earlier layers.
- B holds the scaling, the rotary embedding of i and j and, where queries and keys have a norm of their own, its weight
  over its own σ. It is read off the model's attention: that is run on unit keys, and differentiated by the query.
- rest: what depends on the two positions alone (ALiBi), and what is cut where a model clips its queries and keys.

Where a model caps attention logits, ℓ is the logit before the cap. Sums over pairs of components of an attention
logit: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (QK circuits); for features instead of
nodes Kamath et al. 2025, "Tracing Attention Computation Through Feature Interactions".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.errors import OptionError
from eapgp.prompts.align import display_tokens
from eapgp.readings.attention import head_of
from eapgp.readings.pairs import encoded_pairs, one_pair
from eapgp.types import Floats

if TYPE_CHECKING:
    from eapgp.models.model import Model
    from eapgp.prompts.encode import EncodedPairs
    from eapgp.prompts.pairs import PromptSet
    from eapgp.readings.head_run import HeadRun

HIDDEN = -1e4
"""An attention logit below this is a mask's."""


@dataclass(frozen=True)
class LogitTerms:
    """One attention logit of one run, taken apart.

    terms: `[part, part]`, into the query × into the key, in the order of `AttentionTerms.parts`. logit: their sum and
    `rest`, before a soft cap. weight: the attention probability that the head gives the key.
    """

    terms: Floats
    logit: float
    rest: float
    weight: float


@dataclass(frozen=True)
class SourceCheck:
    """What corrupting one source in the query (or key) alone does to the clean logit.

    predicted `[part]`: by the terms, norms held; measured: by running the attention on the query that the norm makes of
    the changed residual stream. Both are logit(clean) − logit(changed); `bias` is not changed and 0.
    """

    letter: str
    parts: tuple[str, ...]
    predicted: Floats
    measured: Floats

    @property
    def agreement(self) -> float:
        """Correlation of the two over the sources; NaN where one does not vary."""
        a, b = self.predicted[:-1], self.measured[:-1]
        return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and a.std() > 0 and b.std() > 0 else float("nan")


@dataclass(frozen=True)
class AttentionTerms:
    """Why one head looks from one position at another, on both prompts of a pair.

    parts: the nodes before the head, in the graph's order, and last `bias`. query, key: positions from 0. checks: of
    the query and of the key, where they were asked for.
    """

    node: str
    pair: int
    query: int
    key: int
    tokens: tuple[str, ...]
    corrupted_tokens: tuple[str, ...]
    parts: tuple[str, ...]
    clean: LogitTerms
    corrupted: LogitTerms
    capped: bool
    checks: tuple[SourceCheck, ...] = ()

    @cached_property
    def difference(self) -> Floats:
        """`[part, part]` clean − corrupted."""
        return self.clean.terms - self.corrupted.terms

    def largest(self, n: int, by: Floats | None = None) -> list[tuple[str, str, int, int]]:
        """The n pairs of largest |term| (of the clean run, or of `by`): names and places of both parts."""
        values = np.abs(self.clean.terms if by is None else by)
        order = np.argsort(-values, axis=None, kind="stable")[:n]
        rows, columns = np.unravel_index(order, values.shape)
        places = zip(rows.tolist(), columns.tolist(), strict=True)
        return [(self.parts[u], self.parts[v], u, v) for u, v in places]

    def to_dict(self, n: int = 20) -> dict[str, Any]:
        """Plain values for JSON, with the n largest pairs."""

        def row(into_query: str, into_key: str, u: int, v: int) -> dict[str, Any]:
            values = {"clean": self.clean.terms[u, v], "corrupted": self.corrupted.terms[u, v]}
            values["difference"] = self.difference[u, v]
            return {"query": into_query, "key": into_key, **{name: float(value) for name, value in values.items()}}

        sides = {
            name: {"logit": side.logit, "rest": side.rest, "attention": side.weight}
            for name, side in (("clean", self.clean), ("corrupted", self.corrupted))
        }
        checks = [
            {
                "letter": one.letter,
                "agreement": None if np.isnan(one.agreement) else one.agreement,
                "predicted": dict(zip(one.parts, one.predicted.tolist(), strict=True)),
                "measured": dict(zip(one.parts, one.measured.tolist(), strict=True)),
            }
            for one in self.checks
        ]
        return {
            "node": self.node,
            "pair": self.pair + 1,
            "query": {"position": self.query, "token": self.tokens[self.query]},
            "key": {"position": self.key, "token": self.tokens[self.key]},
            "before_soft_cap": self.capped,
            **sides,
            "terms": [row(*place) for place in self.largest(n)],
            "differences": [row(*place) for place in self.largest(n, self.difference)],
            **({"checks": checks} if checks else {}),
        }


def attention_terms(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    pair: int,
    node: str,
    query: int | None = None,
    key: int | None = None,
    *,
    check: bool = False,
) -> AttentionTerms:
    """Take the logit of one head from one position (query) to another (key) apart, on pair `pair` (from 0).

    query, key: positions from 0; None: the answer's position, and the one that it looks at most on the clean prompt.
    check: also corrupt every source in the query and in the key alone, and run the attention on that.
    Errors: OptionError for a node that is no head, a pair or position that is not there, and a key that the head
    cannot see.
    """
    from eapgp.engine.batches import make_batch
    from eapgp.readings.head_run import LETTERS, HeadRun, corrupted_sources

    layer, head = head_of(model.graph, node)
    encoded = encoded_pairs(model, prompts)
    batch = make_batch(model, encoded, one_pair(encoded, pair))
    runs = [HeadRun.of(model, tokens, layer, head) for tokens in (batch.clean, batch.corrupted)]
    i, j = _places(runs[0], query, key)
    if min(float(run.scores[i, j]) for run in runs) < HIDDEN:
        raise OptionError(f"{node} cannot see position {j} from position {i}: its window of attention ends before it.")
    forms = [run.form(i, j) for run in runs]
    sides = [_taken_apart(run, run.terms(form, i, j), i, j) for run, form in zip(runs, forms, strict=True)]
    checks = [
        SourceCheck(letter, runs[0].parts, *corrupted_sources(runs[0], runs[1], forms[0], letter, i, j))
        for letter in (LETTERS if check else ())
    ]
    clean, corrupted = (tuple(display_tokens(model.tokenizer, run.tokens.ids[0].tolist())) for run in runs)
    capped = runs[0].cap is not None
    return AttentionTerms(node, pair, i, j, clean, corrupted, runs[0].parts, sides[0], sides[1], capped, tuple(checks))


def _places(run: HeadRun, query: int | None, key: int | None) -> tuple[int, int]:
    """The two positions. Errors: OptionError for one that is not there or that lies ahead."""
    n = run.tokens.ids.shape[1]
    i = int(run.tokens.last[0]) if query is None else query
    if not 0 <= i < n:
        raise OptionError(f"query: expected a position from 0 to {n - 1}, got {i}.")
    j = int(run.scores[i, : i + 1].argmax()) if key is None else key
    if not 0 <= j <= i:
        raise OptionError(f"key: expected a position from 0 to {i}, the query's own, got {j}.")
    return i, j


def _taken_apart(run: HeadRun, terms: Floats, i: int, j: int) -> LogitTerms:
    logit = float(run.scores[i, j])
    return LogitTerms(terms, logit, logit - float(terms.sum()), float(run.pattern[i, j]))
