"""What nodes are read to do, held against Hugging Face's own outputs and a literal second computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from engine_made import hooks_left, one_thread, random_pairs, relative_error, tiny_folder, tiny_model
from tiny import CONFIGURATIONS

from eapgp.errors import OptionError
from eapgp.prompts.encode import EncodedPairs
from eapgp.readings import direct_contributions, head_pattern, promoted_tokens

one_thread()
NAMES = list(CONFIGURATIONS)
PAIRS = random_pairs(3, shortest=4, longest=7, answers=2)


def plain(name: str) -> Any:
    """The same weights as Hugging Face runs them."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        tiny_folder(name), dtype=torch.float64, attn_implementation="eager"
    ).eval()


def outputs(name: str, ids: np.ndarray[Any, Any], **wanted: bool) -> Any:
    with torch.no_grad():
        return plain(name)(torch.from_numpy(ids[None]), **wanted)


def difference(logits: torch.Tensor, pairs: EncodedPairs, pair: int) -> float:
    right, wrong = list(pairs.correct[pair]), list(pairs.incorrect[pair])
    return float(logits[right].mean() - logits[wrong].mean())


@pytest.mark.parametrize("name", NAMES)
def test_the_pattern_is_hugging_face_s_softmax(name: str) -> None:
    model = tiny_model(name)
    before = hooks_left(model)
    node, pair = f"a1.h{model.graph.n_heads - 1}", 1
    found = head_pattern(model, PAIRS, pair, node)
    length = int(PAIRS.lengths[pair])
    for side, own, tokens in (
        (PAIRS.clean, found.clean, found.clean_tokens),
        (PAIRS.corrupted, found.corrupted, found.corrupted_tokens),
    ):
        expected = outputs(name, side[pair, :length], output_attentions=True).attentions[1][0, -1]
        assert relative_error(own, expected) < 1e-5
        assert own.shape == (length, length) and len(tokens) == length
        assert np.allclose(own.sum(1), 1) and np.allclose(np.triu(own, 1), 0)
    assert found.clean_tokens != found.corrupted_tokens
    assert np.array_equal(found.difference, found.clean - found.corrupted)
    assert hooks_left(model) == before


@pytest.mark.parametrize("name", NAMES)
def test_direct_contributions_and_biases_add_up_to_the_logit_difference(name: str) -> None:
    """Before a soft cap: its inverse is applied to Hugging Face's logits."""
    model = tiny_model(name)
    before = hooks_left(model)
    found = direct_contributions(model, PAIRS, batch_size=2)
    assert found.clean.shape == (model.graph.n_sources, 3) and found.capped == (model.soft_cap is not None)
    for side, total in ((PAIRS.clean, found.clean_total), (PAIRS.corrupted, found.corrupted_total)):
        expected = []
        for pair, length in enumerate(PAIRS.lengths):
            logits = outputs(name, side[pair, :length]).logits[0, -1]
            cap = model.soft_cap
            expected.append(difference(logits if cap is None else cap * torch.atanh(logits / cap), PAIRS, pair))
        assert relative_error(total, np.array(expected)) < 1e-5
    assert hooks_left(model) == before


def test_one_head_s_contribution_is_its_output_times_the_unembedding() -> None:
    """GPT-2 by hand: z W_O of one head from Hugging Face's modules, centred, over σ, times γ and W_U."""
    model, hf = tiny_model("gpt2"), plain("gpt2")
    pair, layer, head, size = 1, 1, 2, 6
    length = int(PAIRS.lengths[pair])
    seen: dict[str, torch.Tensor] = {}
    hf.transformer.h[layer].attn.c_proj.register_forward_pre_hook(lambda _m, args: seen.update(z=args[0]))
    hf.transformer.ln_f.register_forward_pre_hook(lambda _m, args: seen.update(residual=args[0]))
    with torch.no_grad():
        hf(torch.from_numpy(PAIRS.clean[pair, :length][None]))
    part = slice(head * size, (head + 1) * size)
    written = seen["z"][0, -1, part] @ hf.transformer.h[layer].attn.c_proj.weight[part]
    residual = seen["residual"][0, -1]
    sigma = torch.sqrt(residual.var(unbiased=False) + hf.transformer.ln_f.eps)
    through = (written - written.mean()) / sigma * hf.transformer.ln_f.weight
    logits = (hf.lm_head.weight @ through).detach()
    own = direct_contributions(model, PAIRS).of(f"a{layer}.h{head}")[0][pair]
    assert own == pytest.approx(difference(logits, PAIRS, pair), rel=1e-5)
    tokens = promoted_tokens(model, PAIRS, f"a{layer}.h{head}", pair=pair, n=4)
    centred = logits - logits.mean()
    best, worst = torch.topk(centred, 4), torch.topk(-centred, 4)
    assert [value for _, value in tokens.promoted] == pytest.approx(best.values.tolist(), rel=1e-5)
    assert [value for _, value in tokens.suppressed] == pytest.approx((-worst.values).tolist(), rel=1e-5)
    texts = [model.tokenizer.convert_ids_to_tokens(int(i)) for i in best.indices]
    assert [text for text, _ in tokens.promoted] == texts
    right = [value for _, value, is_right in tokens.answers if is_right]
    assert right == pytest.approx([float(centred[i]) for i in PAIRS.correct[pair]], rel=1e-5)


def test_the_mean_over_pairs_is_the_mean_of_the_pairs() -> None:
    model = tiny_model("llama")
    everything = promoted_tokens(model, PAIRS, "m1", n=60)
    each = [dict(promoted_tokens(model, PAIRS, "m1", pair=pair, n=60).promoted) for pair in range(3)]
    for token, value in everything.promoted:
        assert value == pytest.approx(np.mean([row[token] for row in each]), rel=1e-5, abs=1e-9)
    assert everything.answers == ()


def test_batches_change_nothing_and_both_sides_are_read() -> None:
    model = tiny_model("gpt2")
    one, other = direct_contributions(model, PAIRS, batch_size=1), direct_contributions(model, PAIRS, batch_size=3)
    assert relative_error(one.clean, other.clean) < 1e-9
    assert relative_error(one.corrupted, other.corrupted) < 1e-9
    clean, corrupted = (promoted_tokens(model, PAIRS, "m0", pair=0, side=side) for side in ("clean", "corrupted"))
    assert clean.promoted != corrupted.promoted


@pytest.mark.parametrize(
    ("node", "pair", "message"), [("m0", 0, "expected an attention head"), ("a0.h1", 3, "expected a pair from 0 to 2")]
)
def test_what_cannot_be_read_is_said(node: str, pair: int, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        head_pattern(tiny_model("gpt2"), PAIRS, pair, node)
