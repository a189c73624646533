"""Roles of heads: by hand, against literal loops, on heads built to have one, and each with its check."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from engine_made import hooks_left, one_thread, random_pairs, relative_error, tiny_folder, tiny_model

from eapgp import check_role, head_roles, load_model, make_prompts
from eapgp.cli import main
from eapgp.engine.batches import make_batch
from eapgp.engine.passes import answer_hook, call
from eapgp.errors import OptionError, UnknownNameError
from eapgp.metrics import METRICS
from eapgp.models import Model
from eapgp.prompts.encode import EncodedPairs
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.readings import ROLES, HeadRoles
from eapgp.readings.role_table import NO_ROLE, Spans
from eapgp.readings.roles import ATTENTION, LEAST, random_words, spans_of, target_weights

one_thread()
PAIRS = random_pairs(4, shortest=5, longest=8, vocab=6, answers=1)  # few tokens, so that many come again
ROW = {name: row for row, name in enumerate(ROLES)}


def span(ids: list[int], *, changed: int = -1, right: int = -1, wrong: tuple[int, ...] = ()) -> Spans:
    n = len(ids)
    marks = [np.isin(np.arange(n), places) for places in ((changed,), (right,), wrong)]
    return Spans(np.array(ids), *marks)


def test_the_keys_of_every_role_by_hand() -> None:
    """`s A B A C` (s the first position): which (query, key) count, written out."""
    prompt = span([9, 1, 2, 1, 3], changed=3, right=2, wrong=(1, 3))
    expected = {
        "answer": [(4, 2)],
        "subject": [(4, 3)],
        "distractor": [(4, 1), (4, 3)],
        "induction": [(3, 2)],
        "duplicate-token": [(3, 1)],
        "previous-token": [(2, 1), (3, 2), (4, 3)],
        "current-token": [(1, 1), (2, 2), (3, 3), (4, 4)],
        "first-position": [(1, 0), (2, 0), (3, 0), (4, 0)],
    }
    assert set(expected) == set(ATTENTION)
    for name, places in expected.items():
        targets = ROLES[name].targets
        assert targets is not None
        assert [(int(q), int(k)) for q, k in np.argwhere(targets(prompt))] == places, name


def test_the_share_of_a_hand_made_pattern() -> None:
    """Rows 2, 3, 4 have .5, .2, .8 on the previous token, and even attention 1/3, 1/4, 1/5."""
    pattern = np.zeros((5, 5))
    pattern[2, 1], pattern[3, 2], pattern[4, 3], pattern[1, 0] = 0.5, 0.2, 0.8, 1.0
    weights, present = target_weights([span([9, 1, 2, 1, 3]), span([9, 1, 2])], 5)
    row = ATTENTION.index("previous-token")
    assert (weights[row, 0] * pattern).sum() == pytest.approx((0.5 + 0.2 + 0.8) / 3)
    assert weights[row, 1, 2, 1] == 1 and weights[row, 1].sum() == 1  # the shorter prompt has one such query
    assert present[ATTENTION.index("duplicate-token")].tolist() == [True, False]


# ---- against loops -----------------------------------------------------------------------------


@functools.cache
def plain(name: str) -> Any:
    """The same weights as Hugging Face runs them."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        tiny_folder(name), dtype=torch.float64, attn_implementation="eager"
    ).eval()


def patterns_of(name: str, ids: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Per layer `[head, query, key]`, as Hugging Face gives them."""
    with torch.no_grad():
        found = plain(name)(torch.from_numpy(ids[None]), output_attentions=True).attentions
    return [layer[0].numpy() for layer in found]


def literal(role: str, a: Any, pair: int, length: int) -> float:
    """The definition of an attention role, key by key."""
    t, other = PAIRS.clean[pair], PAIRS.corrupted[pair]
    right, wrong = PAIRS.correct[pair], PAIRS.incorrect[pair]
    per_query = []
    for q in range(length):
        total, any_key = 0.0, False
        for k in range(q + 1):
            last, before = q == length - 1, 0 < k < q
            counts = {
                "answer": last and before and t[k] in right,
                "subject": last and before and t[k] != other[k],
                "distractor": last and before and t[k] in wrong,
                "induction": before and k > 1 and t[k - 1] == t[q],
                "duplicate-token": before and t[k] == t[q],
                "previous-token": before and k == q - 1,
                "current-token": k == q and q > 0,
                "first-position": k == 0 and q > 0,
            }[role]
            if counts:
                total, any_key = total + a[q, k], True
        if any_key:
            per_query.append(total)
    return float(np.mean(per_query)) if per_query else float("nan")


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_attention_scores_are_the_literal_loops(name: str) -> None:
    model = tiny_model(name)
    before = hooks_left(model)
    roles = head_roles(model, PAIRS)
    words, heads = random_words(PAIRS), model.graph.n_heads
    assert (words[:, 0] == PAIRS.clean[:, 0]).all() and (words != PAIRS.clean).any()
    for pair, length in enumerate(PAIRS.lengths):
        n = int(length)
        own, other = (patterns_of(name, side[pair, :n]) for side in (PAIRS.clean, words))
        even = np.tril(np.ones((n, n))) / np.arange(1, n + 1)[:, None]
        for layer in range(2):
            for head in range(heads):
                at = layer * heads + head
                a, r = own[layer][head], other[layer][head]
                for role in ATTENTION:
                    expected = literal(role, a, pair, n), literal(role, even, pair, n)
                    assert roles.values[ROW[role], at, pair] == pytest.approx(expected[0], nan_ok=True, abs=1e-6)
                    if not np.isnan(expected[0]):
                        assert roles.even[ROW[role], at, pair] == pytest.approx(expected[1])
                for row, of in ((roles.values, r), (roles.even, even)):
                    kept = np.mean([np.minimum(a[q], of[q]).sum() for q in range(1, n)])
                    assert row[ROW["position-only"], at, pair] == pytest.approx(kept, abs=1e-6)
    assert hooks_left(model) == before


def test_copying_is_the_literal_loop() -> None:
    """GPT-2 by hand: z W_O of one head through the final norm; which tokens of the prompts it raises less."""
    model, pair, layer, head, size = tiny_model("gpt2"), 1, 1, 2, 6
    hf, length, seen = plain("gpt2"), int(PAIRS.lengths[pair]), {}
    block = hf.transformer.h[layer].attn.c_proj
    hooks = [block.register_forward_pre_hook(lambda _m, args: seen.update(z=args[0]))]
    hooks += [hf.transformer.ln_f.register_forward_pre_hook(lambda _m, args: seen.update(residual=args[0]))]
    with torch.no_grad():
        out = hf(torch.from_numpy(PAIRS.clean[pair, :length][None]), output_attentions=True)
    for hook in hooks:
        hook.remove()
    part = slice(head * size, (head + 1) * size)
    residual = seen["residual"][0, -1]
    written = seen["z"][0, -1, part] @ block.weight[part]
    sigma = torch.sqrt(residual.var(unbiased=False) + hf.transformer.ln_f.eps)
    logits = (hf.lm_head.weight @ ((written - written.mean()) / sigma * hf.transformer.ln_f.weight)).detach().numpy()
    tokens = {int(t) for p, n in enumerate(PAIRS.lengths) for t in PAIRS.clean[p, 1:n]}
    attention = out.attentions[layer][0, head, -1, 1:].numpy()
    shares = [np.mean([logits[other] < logits[t] for other in tokens - {int(t)}]) for t in PAIRS.clean[pair, 1:length]]
    expected = float((attention * shares).sum() / attention.sum())
    roles, at = head_roles(model, PAIRS), layer * 4 + head
    assert roles.values[ROW["copying"], at, pair] == pytest.approx(expected, abs=1e-6)
    assert roles.values[ROW["suppression"], at, pair] == pytest.approx(1 - expected, abs=1e-6)


def test_neither_batches_nor_the_order_of_pairs_change_a_score() -> None:
    model = tiny_model("mistral")
    whole, single = head_roles(model, PAIRS), head_roles(model, PAIRS, batch_size=1)
    assert np.allclose(whole.values, single.values, atol=1e-9, equal_nan=True)
    order = [2, 0, 3, 1]
    turned = head_roles(model, PAIRS.take(order))
    rows = [row for name, row in ROW.items() if name != "position-only"]  # whose random words are drawn in order
    assert np.allclose(whole.values[rows][:, :, order], turned.values[rows], atol=1e-9, equal_nan=True)


# ---- heads that were built ----------------------------------------------------------------------

WIDTH, TOKENS = 48, 16


@functools.cache
def _place() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="eapgp-built-")


@functools.cache
def built() -> Model:
    """Two layers by hand: a0.h0 brings the previous token into dimensions 32–47, a1.h0 looks for its own there.

    Dimensions 0–15 hold the token, 16–31 the position; a1.h0 writes the token it attends to. All else is zero.
    """
    config = transformers.GPT2Config(
        n_embd=WIDTH, n_layer=2, n_head=3, n_positions=TOKENS, vocab_size=TOKENS, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    token, place, before, size = (slice(0, 16), slice(16, 32), slice(32, 48), 16)
    one = torch.eye(16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "ln" in name and name.endswith("weight") else 0.0)
        model.transformer.wte.weight[:, token] = one
        model.transformer.wpe.weight[:, place] = one
        first, second = (model.transformer.h[layer].attn for layer in (0, 1))
        for attn, query, key in ((first, place, place), (second, token, before)):
            attn.c_attn.weight[query, 0:size] = 12 * one
            shifted = torch.roll(one, 1, dims=1) if attn is first else one  # position j is looked for by j + 1
            attn.c_attn.weight[key, WIDTH : WIDTH + size] = shifted
            attn.c_attn.weight[token, 2 * WIDTH : 2 * WIDTH + size] = one
        first.c_proj.weight[0:size, before] = one
        second.c_proj.weight[0:size, token] = 4 * one
    folder = Path(_place().name)
    model.save_pretrained(folder)
    from tiny import build_tokenizer

    build_tokenizer(folder, TOKENS)
    return load_model(str(folder), device="cpu", dtype="float64")


def repeats() -> PromptSet:
    """`a b c … a`, which goes on with b; the corrupted prompt ends with another token."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(8):
        a, b, *rest = (f"w{i}" for i in rng.permutation(np.arange(1, 14))[:7])
        clean, corrupted = (" ".join([a, b, *rest, end]) for end in (a, "w13" if a != "w13" else "w12"))
        pairs.append(PromptPair(clean, corrupted, (b,), (rest[0],)))
    return PromptSet("built", tuple(pairs), "logit-diff")


def test_built_heads_have_the_roles_they_were_built_for() -> None:
    roles = head_roles(built(), repeats())
    names = {node: [measure.role.name for measure in roles.of(node)] for node in roles.heads}
    assert {"previous-token", "position-only"} == set(names["a0.h0"])
    assert names["a1.h0"][0] == "answer" and {"induction", "copying"} <= set(names["a1.h0"])
    assert not {"induction", "previous-token", "answer", "copying"} & {
        one for at in (1, 2) for one in names[f"a0.h{at}"]
    }
    assert roles.first(["a0.h0", "a0.h2"])["a0.h0"].name in names["a0.h0"]
    induction = next(measure for measure in roles.of("a1.h0") if measure.role.name == "induction")
    assert induction.value > 0.9 and induction.low > induction.even and induction.n_pairs == 8


def test_the_check_of_a_built_role() -> None:
    """Without what it attends to the induction head writes nothing of use; without as much else nothing changes."""
    model, prompts = built(), repeats()
    before = hooks_left(model)
    found = check_role(model, prompts, "a1.h0", "induction")
    changed, control = found.changes.value
    assert found.stands_out and changed < -0.9 * found.clean < 0 and abs(control) < 0.05 * found.clean
    assert "Blocking this attention changes the logit difference" in found.text and found.n_pairs == 8
    alike = check_role(model, prompts, "a0.h0", "position-only")
    assert abs(alike.changes.value[0]) < 1e-3 < abs(alike.changes.value[1])
    turned = check_role(model, prompts, "a1.h0", "copying", batch_size=3)
    assert turned.stands_out and set(turned.to_dict()) >= {"change", "control", "node", "role", "text"}
    assert hooks_left(model) == before


@pytest.mark.parametrize("name", ["llama", "olmo", "gemma2"])
def test_the_check_is_what_editing_the_pattern_gives(name: str) -> None:
    """Where the bridge lets a hook on the pattern change it, both ways agree (grouped queries, clipped values)."""
    model = tiny_model(name)
    found = check_role(model, PAIRS, "a0.h1", "previous-token")
    batch = make_batch(model, PAIRS, np.arange(PAIRS.n))
    targets = [ROLES["previous-token"].targets(one) for one in spans_of(model, PAIRS)]  # type: ignore[misc]

    def block(pattern: torch.Tensor) -> torch.Tensor:
        new = pattern.clone()
        for pair, mask in enumerate(targets):
            for q, k in np.argwhere(mask):
                new[pair, 1, q, k] = 0
                new[pair, 1, q] /= new[pair, 1, q].sum()
        return new

    def metric(*hooks: Any) -> Any:
        logits = call(model, batch.clean, [*hooks, answer_hook(model, batch.clean)])[:, -1]
        return METRICS["logit-diff"].compute(logits, batch.targets).numpy()

    with torch.no_grad():
        expected = metric((model.layers[0].hook_pattern, block)) - metric()
    assert relative_error(found.changes.value[0], expected.mean()) < 1e-6


def test_any_architecture_can_be_checked() -> None:
    """OPT takes no edits of its pattern; the change goes in behind it."""
    found = check_role(tiny_model("opt"), PAIRS, "a1.h0", "current-token")
    assert np.isfinite(found.changes.value).all() and abs(found.changes.value[0]) > 0


# ---- what is said -------------------------------------------------------------------------------


def test_a_role_needs_its_threshold_and_more_than_even_attention() -> None:
    graph = tiny_model("gpt2").graph
    values = np.full((len(ROLES), 8, 3), np.nan)
    even = np.full_like(values, 0.5)
    values[ROW["answer"]] = 0.6
    even[ROW["answer"]] = 0.2
    values[ROW["answer"], 1] = 0.39  # below the threshold
    even[ROW["answer"], 2] = 0.6  # no more than even attention
    values[ROW["distractor"]], even[ROW["distractor"]] = 0.3, 0.1
    values[ROW["distractor"], 0] = 0.7
    roles = HeadRoles(graph, values, even)
    assert [measure.role.name for measure in roles.of("a0.h0")] == [
        "distractor",
        "answer",
    ]
    assert not roles.of("a0.h1") and not roles.of("a0.h2") and roles.of("a0.h3")
    assert roles.of("a0.h3")[0].text == (
        "attends to the right answer: 60 % [60, 60] of its attention; even attention would give 20 %"
    )
    shown = roles._repr_html_()
    assert NO_ROLE in shown and "Roles of 6 of 8 heads on 3 pairs" in shown
    told = roles.to_dict(["a0.h0"])
    assert [head["node"] for head in told["heads"]] == ["a0.h0"] and told["heads"][0]["roles"] == [
        "distractor",
        "answer",
    ]
    with pytest.raises(OptionError, match="expected an attention head"):
        roles.of("m0")


def test_answers_are_found_as_first_words_too() -> None:
    """Without the space that they have within a sentence; sides of several words are no one place."""
    model = load_model("demo")
    prompts = PromptSet("own", (*make_prompts("ioi", 2).pairs, *make_prompts("greater-than", 1).pairs), "logit-diff")
    spans = spans_of(model, encoded := _encoded(model, prompts))
    for pair in (0, 1):
        assert spans[pair].right.sum() == 1 and spans[pair].wrong.sum() == 2 and spans[pair].changed.sum() == 1
        assert encoded.clean[pair][spans[pair].right.nonzero()[0][0]] == encoded.correct[pair][0]
    assert not spans[2].right.any() and not spans[2].wrong.any() and spans[2].changed.any()


def _encoded(model: Model, prompts: PromptSet) -> EncodedPairs:
    from eapgp.prompts.encode import encode

    return encode(prompts, model)


def test_what_cannot_be_checked_is_said() -> None:
    model = tiny_model("gpt2")
    with pytest.raises(UnknownNameError, match="mover"):
        check_role(model, PAIRS, "a0.h0", "mover")
    with pytest.raises(OptionError, match="expected an attention head"):
        check_role(model, PAIRS, "m0", "induction")
    alone = EncodedPairs(np.array([[1, 2, 3]]), np.array([[1, 2, 4]]), np.array([3]), ((5,),), ((4,),))
    with pytest.raises(OptionError, match="no prompt has a position"):
        check_role(model, alone, "a0.h0", "induction")
    assert LEAST == 0.1 and np.isnan(head_roles(model, alone).values[ROW["induction"]]).all()


def test_the_command_says_what_python_says(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["roles", "--model", "demo", "--task", "ioi", "--pairs", "4", "--node", "a3.h1", "--quiet"]
    assert main([*line, "--check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    model, prompts = load_model("demo"), make_prompts("ioi", 4)
    (head,), roles = told["heads"], head_roles(model, prompts).of("a3.h1")
    assert head["roles"] == [one.role.name for one in roles] and head["roles"][0] == "subject"
    assert [row["value"] for row in head["measures"] if row["passes"]] == pytest.approx(
        [one.value for one in sorted(roles, key=lambda one: ROW[one.role.name])]
    )
    assert [row["role"] for row in told["checks"]] == head["roles"]
    expected = check_role(model, prompts, "a3.h1", "subject").changes.value[0]
    assert told["checks"][0]["change"]["value"] == pytest.approx(expected)
    assert main(line) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "1 of 1 heads have a role on 4 pairs" in text and roles[0].text in text
    for wrong, why in ((["--node", "m0"], "expected an attention head"), (["--edges", "5"], "expected with --run")):
        assert main([*line, *wrong]) == 2
        assert why in capsys.readouterr().err
