"""Where one attention head looks, on both prompts of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eapgp.errors import OptionError
from eapgp.graph import Graph
from eapgp.models.model import widen
from eapgp.prompts.align import display_tokens
from eapgp.readings.pairs import encoded_pairs, one_pair
from eapgp.types import Floats

if TYPE_CHECKING:
    from eapgp.models.model import Model
    from eapgp.prompts.encode import EncodedPairs
    from eapgp.prompts.pairs import PromptSet


@dataclass(frozen=True)
class HeadPattern:
    """Attention probabilities of one head on one pair.

    clean, corrupted: `[query, key]`, rows sum to 1, zero above the diagonal. clean_tokens,
    corrupted_tokens: readable text of each position; both sides have one length.
    """

    node: str
    pair: int
    clean: Floats
    corrupted: Floats
    clean_tokens: tuple[str, ...]
    corrupted_tokens: tuple[str, ...]

    @property
    def difference(self) -> Floats:
        """`[query, key]` clean − corrupted."""
        return self.clean - self.corrupted


def head_of(graph: Graph, node: str) -> tuple[int, int]:
    """Layer and head of `a{l}.h{h}`. Errors: OptionError for any other node."""
    if node not in graph.nodes or not node.startswith("a"):
        raise OptionError(f"expected an attention head of this graph, such as 'a0.h1'; got {node!r}.")
    layer, head = node[1:].split(".h")
    return int(layer), int(head)


def head_pattern(model: Model, prompts: PromptSet | EncodedPairs, pair: int, node: str) -> HeadPattern:
    """The softmax of one head's scores on pair `pair` (from 0), as the model computes it.

    Errors: OptionError for a node that is no head, or a pair that is not there.
    """
    import torch

    from eapgp.engine.batches import make_batch
    from eapgp.engine.passes import Tokens, answer_hook, call

    layer, head = head_of(model.graph, node)
    encoded = encoded_pairs(model, prompts)
    batch = make_batch(model, encoded, one_pair(encoded, pair))
    patterns: list[Floats] = []

    def run(tokens: Tokens) -> None:
        def watch(pattern: torch.Tensor) -> None:
            patterns.append(widen(pattern[0, head].detach()).cpu().numpy())

        with torch.no_grad():
            call(model, tokens, [(model.layers[layer].hook_pattern, watch), answer_hook(model, tokens)])

    run(batch.clean)
    run(batch.corrupted)
    texts = [tuple(display_tokens(model.tokenizer, side.ids[0].tolist())) for side in (batch.clean, batch.corrupted)]
    return HeadPattern(node, pair, patterns[0], patterns[1], *texts)
