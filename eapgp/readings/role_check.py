"""A role held against what happens without it: the head's attention is changed, and the metric read again.

With A the head's pattern on the clean prompts, S_q the keys of the role, v its values as attention reads them:

    attention roles    A'[q, S_q] = 0, the rest of the row scaled to sum to 1 (attention knockout); beside it the same
                       for as many other keys of the same queries, drawn at random, mean over DRAWS draws
    copying            the last position attends to the first alone; beside it the same in other heads of the layer
    position alone     A' is the pattern on random words (`roles.random_words`); beside it even attention

    change = M(z') − M(clean), per pair, with z'_q = Σ_k A'[q, k] v_k in place of the head's z and the rest run again
Source: attention knockout, Geva et al. 2023, arXiv:2304.14767, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eapgp.errors import ComputationError, OptionError, UnknownNameError
from eapgp.evaluation.statistics import Band, bootstrap_mean
from eapgp.metrics import Compute, metric_title
from eapgp.models.model import widen
from eapgp.numerals import number, signed_with
from eapgp.readings.attention import head_of
from eapgp.readings.role_table import ROLES, Role
from eapgp.readings.roles import even_attention, random_twin, random_words, spans_of
from eapgp.types import Bools, Floats, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from eapgp.engine.batches import Batch
    from eapgp.engine.passes import Tokens
    from eapgp.metrics import Metric
    from eapgp.models.model import Model
    from eapgp.prompts.encode import EncodedPairs
    from eapgp.prompts.pairs import PromptSet

DRAWS = 3
_CLOSE = 1e-3  # of the largest |z|: how far Σ A v may be from z
_NOTHING = 1e-9  # attention left in a row that counts as none
POSITION = "position-only"


@dataclass(frozen=True)
class RoleCheck:
    """The metric without what a role says, and without something else of the same size.

    changes: `[2]` of the role and of what it is compared with, M(changed) − M(clean) in units of the metric. more: the
    first minus the second. clean: M(clean) over the pairs that the role is about, n_pairs of them.
    """

    node: str
    role: Role
    metric: str
    changes: Band
    more: Band
    clean: float
    n_pairs: int

    @property
    def stands_out(self) -> bool:
        """Whether the role's change is the larger one, and the interval of the difference leaves out 0."""
        own, other = np.abs(self.changes.value)
        return bool(own > other and not self.more.low <= 0 <= self.more.high)

    @property
    def text(self) -> str:
        """What was done and what came of it, in words with numbers."""
        own, other = (signed_with(*map(float, ends)) for ends in zip(*self._ends, strict=True))
        changed, beside = _DONE[self.role.kind if self.role.targets is None else "attention"]
        title = metric_title(self.metric).lower()
        return (
            f"{changed} changes the {title} of {number(self.clean)} by {own}; {beside} by {other} "
            f"(means over {self.n_pairs} pairs)."
        )

    @property
    def _ends(self) -> tuple[Floats, Floats, Floats]:
        return self.changes.value, self.changes.low, self.changes.high

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        rest = {"clean": self.clean, "n_pairs": self.n_pairs, "stands_out": self.stands_out, "text": self.text}
        named = {"node": self.node, "role": self.role.name, "metric": self.metric}
        ends = zip(*self._ends, strict=True)
        bands = {
            name: dict(zip(("value", "low", "high"), map(float, values), strict=True))
            for name, values in zip(("change", "control"), ends, strict=True)
        }
        return {**named, **bands, **rest}


_DONE = {
    "attention": ("Blocking this attention", "blocking as many other positions"),
    "copying": ("Turning this attention away, to the first position,", "doing so in other heads of the layer"),
    "position": ("Putting its attention on random words in its place", "even attention in its place"),
}


def check_role(
    model: Model,
    prompts: PromptSet | EncodedPairs,
    node: str,
    role: str,
    *,
    metric: str | Compute | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> RoleCheck:
    """Change the attention of one head where a role says that it matters, and run the rest of the model again.

    metric: the prompts' own unless named. seed: of the draws that it is compared with.
    Errors: UnknownNameError for a role or metric; OptionError for a node that is no head, and where no prompt has a
    position that the role is about; ComputationError where one pair does not fit in memory.
    """
    from eapgp.attribution.api import prepare
    from eapgp.engine.batches import run_halving, split_batches

    if role not in ROLES:
        raise UnknownNameError.of("role", role, ROLES)
    encoded, measure = prepare(model, prompts, metric, contrast=False)
    work = _Work(model, encoded, measure, ROLES[role], head_of(model.graph, node), seed)
    clean, changed, done = np.zeros(encoded.n), np.zeros((2, encoded.n)), 0
    for part, (before, after) in run_halving(split_batches(model, encoded, batch_size), work.run, lambda _text: None):
        clean[part], changed[:, part] = before, after
        done += len(part)
        if progress is not None:
            progress("checking a role", done / encoded.n)
    about = np.array([work.is_about(pair) for pair in range(encoded.n)])
    if not about.any():
        raise OptionError(f"role {role}: no prompt has a position that it is about; expected at least one that has.")
    changes = (changed - clean)[:, about]
    return RoleCheck(
        node,
        ROLES[role],
        measure.name,
        bootstrap_mean(changes),
        bootstrap_mean(changes[0] - changes[1]),
        float(clean[about].mean()),
        int(about.sum()),
    )


@dataclass(frozen=True)
class _Seen:
    """What was seen of one layer on a batch, as hooks see it. others: its pattern on random words, where asked for."""

    stream: Tensor
    z: Tensor
    pattern: Tensor
    v: Tensor
    others: Tensor | None = None


Change = tuple[int, "Tensor"]  # a head and its pattern `[pair, query, key]`


class _Work:
    """The check of one role of one head, batch by batch."""

    def __init__(
        self, model: Model, encoded: EncodedPairs, metric: Metric, role: Role, place: tuple[int, int], seed: int
    ) -> None:
        self.model, self.encoded, self.metric, self.role = model, encoded, metric, role
        self.layer, self.head = place
        self.seed, self.spans = seed, spans_of(model, encoded)

    def is_about(self, pair: int) -> bool:
        """Whether a pair has a position that the role is about."""
        return bool(self._targets(pair).any()) if self.role.targets is not None else len(self.spans[pair].ids) > 1

    def run(self, part: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """`[pair]` the metric, and `[2, pair]` with the role's change and with what it is compared with."""
        import torch

        from eapgp.engine.batches import make_batch, to_numpy
        from eapgp.engine.passes import answer_hook, call

        batch = make_batch(self.model, self.encoded, part, self.metric)
        with torch.no_grad():
            seen, logits = self._see(batch)
            changes = self._changes(part, seen)
            tokens, n = batch.clean.repeat(len(changes)), len(changes)
            view, stream = self.model.layers[self.layer], seen.stream.repeat(n, 1, 1)
            hooks: list[Any] = [(view.hook_in, lambda _x: stream), (view.hook_z, _in_place_of(changes, seen))]
            after = widen(call(self.model, tokens, [*hooks, answer_hook(self.model, tokens)], start=self.layer)[:, -1])
            values = self.metric.compute(after, batch.targets.repeat(n)).reshape(n, -1)
            before = to_numpy(self.metric.compute(logits, batch.targets))
        return before, np.stack([to_numpy(values[0]), to_numpy(values[1:].mean(0))])

    def _see(self, batch: Batch) -> tuple[_Seen, Tensor]:
        """The layer as it is on the clean prompts (with the pattern on random words, where the role asks for it)."""
        from eapgp.engine.passes import answer_hook, call

        view = self.model.layers[self.layer]
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[Tensor], None]:
            return lambda x: seen.__setitem__(name, x.detach().clone())

        def run(tokens: Tokens, points: dict[str, Any]) -> Tensor:
            watched = [(point, keep(name)) for name, point in points.items()]
            return widen(call(self.model, tokens, [*watched, answer_hook(self.model, tokens)])[:, -1])

        points = {"stream": view.hook_in, "z": view.hook_z, "pattern": view.hook_pattern, "v": view.hook_v}
        logits = run(batch.clean, points)
        if self.role.name == POSITION:
            run(random_twin(batch, random_words(self.encoded)), {"others": view.hook_pattern})
        if (bound := self.model.qkv_bound) is not None:
            seen["v"] = seen["v"].clamp(-bound, bound)
        head = _Seen(**seen)
        _check_values(head, batch.clean.mask)
        return head, logits

    def _changes(self, part: NDArray[np.int64], seen: _Seen) -> list[Change]:
        """The role's change first, then what it is compared with."""
        import torch

        own = widen(seen.pattern[:, self.head])
        if self.role.name == POSITION:
            assert seen.others is not None
            even = torch.from_numpy(even_attention(own.shape[-1])).to(own).expand_as(own)
            return [(self.head, widen(seen.others[:, self.head])), (self.head, even)]
        if self.role.kind == "copying":
            return [(head, self._turned_away(part, widen(seen.pattern[:, head]))) for head in self._with_others()]
        masks = [self._padded(part, self._targets, own)]
        masks += [self._padded(part, partial(self._elsewhere, draw), own) for draw in range(DRAWS)]
        return [(self.head, _blocked(own, mask)) for mask in masks]

    def _with_others(self) -> list[int]:
        """The head, then others of its layer, drawn; itself where it is the only one."""
        others = [head for head in range(self.model.graph.n_heads) if head != self.head]
        drawn = np.random.default_rng(self.seed).permutation(others)[:DRAWS]
        return [self.head, *map(int, drawn if len(drawn) else [self.head])]

    def _turned_away(self, part: NDArray[np.int64], pattern: Tensor) -> Tensor:
        """The pattern with the last position attending to the first alone."""
        changed = pattern.clone()
        for row, pair in enumerate(part):
            last = len(self.spans[pair].ids) - 1
            changed[row, last] = 0
            changed[row, last, 0] = 1
        return changed

    def _targets(self, pair: int) -> Bools:
        assert self.role.targets is not None
        return self.role.targets(self.spans[pair])

    def _elsewhere(self, draw: int, pair: int) -> Bools:
        """`[query, key]` as many other keys as the role has at each query, as far as there are; not the first one."""
        targets = self._targets(pair)
        allowed = np.tril(np.ones_like(targets)) & ~targets
        allowed[:, 0] = False
        drawn = np.random.default_rng([self.seed, draw, pair]).random(targets.shape)
        place = np.where(allowed, drawn, 2.0).argsort(axis=1).argsort(axis=1)
        return allowed & (place < targets.sum(axis=1, keepdims=True))

    def _padded(self, part: NDArray[np.int64], mask_of: Callable[[int], Bools], like: Tensor) -> Tensor:
        """`[pair, query, key]` masks of a batch's pairs."""
        import torch

        masks = np.zeros(tuple(like.shape), dtype=np.bool_)
        for row, pair in enumerate(part):
            n = len(self.spans[pair].ids)
            masks[row, :n, :n] = mask_of(int(pair))
        return torch.from_numpy(masks).to(like.device)


def _blocked(pattern: Tensor, mask: Tensor) -> Tensor:
    """The pattern without its attention on some keys; of rows that lose any, the rest is scaled to sum to 1."""
    import torch

    rest = pattern.masked_fill(mask, 0.0)
    total = rest.sum(-1, keepdim=True)
    causal = torch.ones_like(mask[0]).tril() & ~mask
    evenly = causal.to(rest) / causal.sum(-1, keepdim=True).clamp(min=1)
    changed = torch.where(total > _NOTHING, rest / total.clamp(min=_NOTHING), evenly)
    return torch.where(mask.any(-1, keepdim=True), changed, pattern)


def _in_place_of(changes: Sequence[Change], seen: _Seen) -> Callable[[Tensor], Tensor]:
    """A hook on z `[change_pair, pos, head, d_head]`: each entry's head mixes its values by the entry's pattern."""

    def hook(z: Tensor) -> Tensor:
        new = z.clone().reshape(len(changes), -1, *z.shape[1:])
        for entry, (head, pattern) in enumerate(changes):
            new[entry, :, :, head] = (pattern @ widen(seen.v[:, :, head]).to(pattern)).to(z.dtype)
        return new.reshape(z.shape)

    return hook


def _check_values(seen: _Seen, mask: Tensor) -> None:
    """Errors: ComputationError where the head does not write Σ_k A[q, k] v_k."""
    import torch

    made = torch.einsum("bhqk,bkhd->bqhd", widen(seen.pattern), widen(seen.v))
    real = mask.to(made.device)[:, :, None, None]
    far = ((made - widen(seen.z)) * real).abs().max() > _CLOSE * (widen(seen.z) * real).abs().max()
    if bool(far) and seen.z.dtype in (torch.float32, torch.float64):
        raise ComputationError(
            "checking a role: expected heads that write their values weighted by their attention, this architecture's "
            "do more; the roles themselves can be measured."
        )
