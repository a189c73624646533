"""An attention logit taken apart: against the model's own attention, by hand, and by patching single sources."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from engine_made import one_thread, random_pairs, tiny_model
from tiny import CONFIGURATIONS

from eapgp.cli import main
from eapgp.engine.batches import make_batch
from eapgp.engine.differences import source_values
from eapgp.engine.passes import Keep, call, capture
from eapgp.errors import OptionError
from eapgp.figures.attention_terms import term_map
from eapgp.models import load_model
from eapgp.models.model import widen
from eapgp.readings import AttentionTerms, attention_terms
from eapgp.readings.head_run import BIAS
from eapgp.runs.bundled import find_bundled
from eapgp.tasks import make_prompts

one_thread()

PAIRS = random_pairs(2, shortest=6, longest=6)
NODE = "a1.h2"
WITH_POSITIONS = {"bloom", "mpt", "falcon"}  # a bias of the two positions alone, which no source writes
CLIPPED = {"olmo", "mpt"}


def seen_logits(model: Any, tokens: Any, layer: int, replaced: Any = None) -> torch.Tensor:
    """`[head, query, key]` attention logits of a layer as the model computes them; replaced: (hook, its function).

    Seen at every softmax over the whole model, so that nothing of what is tested here finds them.
    """
    seen, softmax = [], torch.nn.functional.softmax

    def watched(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        seen.append(widen(x.detach())[0])
        return softmax(x, *args, **kwargs)

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "softmax", watched)
        patch.setattr(torch, "softmax", watched)
        call(model, tokens, [replaced] if replaced else [])
    return [one for one in seen if one.ndim == 3 and one.shape[-1] == one.shape[-2]][layer]


def before_cap(model: Any, value: float) -> float:
    cap = getattr(model.layers[0].attn.original_component, "attn_logit_softcapping", None)
    return value if cap is None else cap * math.atanh(value / cap)


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_the_terms_add_up_to_the_models_own_logit(name: str) -> None:
    model = tiny_model(name)
    node = NODE if model.graph.n_heads > 2 else "a1.h1"
    layer, head = 1, int(node[-1])
    for query, key in ((5, 4), (4, 4)):
        found = attention_terms(model, PAIRS, 1, node, query, key)
        batch = make_batch(model, PAIRS, np.array([1]))
        for side, tokens in ((found.clean, batch.clean), (found.corrupted, batch.corrupted)):
            own = before_cap(model, float(seen_logits(model, tokens, layer)[head, query, key]))
            assert side.logit == pytest.approx(own, rel=1e-6, abs=1e-7)
            assert side.terms.sum() + side.rest == pytest.approx(side.logit, abs=1e-9)
            if name not in WITH_POSITIONS | CLIPPED:
                assert abs(side.rest) < 1e-6 * max(1.0, float(np.abs(side.terms).max()))
    assert found.parts == (*model.graph.sources[: model.graph.head_source(1, 0)], BIAS)
    assert np.array_equal(found.difference, found.clean.terms - found.corrupted.terms)


@pytest.mark.parametrize(
    "name", [name for name in CONFIGURATIONS if name not in {"qwen3", "olmo2", "gemma3", *CLIPPED}]
)
def test_a_row_is_what_its_source_does_to_the_query(name: str) -> None:
    """Take one source's share out of the raw query and run the model's attention; the norm before it is as it was."""
    model, query, key, head = tiny_model(name), 5, 3, 1
    found = attention_terms(model, PAIRS, 0, f"a1.h{head}", query, key)
    batch, view = make_batch(model, PAIRS, np.array([0])), model.layers[1]
    with torch.no_grad():
        run = capture(model, batch.clean, keep=Keep.SOURCES | Keep.RESIDUALS)
        residual, norm = widen(run.attn_residual[1][0, query]), view.attn_norm
        for place in (0, 2, len(found.parts) - 2):
            part = source_values(model, run)[0, place, query]
            if norm is not None:
                part = part - part.mean() if norm.centred else part
                part = part / norm.scale(residual) * (1 if norm.gamma is None else norm.gamma)
            share = part @ view.weight("q")[head]

            def less(x: torch.Tensor, share: torch.Tensor = share) -> torch.Tensor:
                out = x.clone()
                out[0, query, head] -= share
                return out

            before, after = (
                before_cap(model, float(seen_logits(model, batch.clean, 1, hook)[head, query, key]))
                for hook in (None, (view.hook_q, less))
            )
            assert found.clean.terms[place].sum() == pytest.approx(before - after, rel=1e-5, abs=1e-7)


def test_norms_of_queries_and_keys_are_held_by_hand() -> None:
    """qwen3 at one position, where the rotary embedding drops out: (γ_q q / σ_q) · (γ_k k / σ_k) / √d, part by part."""
    model, at, head = tiny_model("qwen3"), 4, 1
    found = attention_terms(model, PAIRS, 0, f"a1.h{head}", at, at)
    batch, view = make_batch(model, PAIRS, np.array([0])), model.layers[1]
    with torch.no_grad():
        run = capture(model, batch.clean, keep=Keep.SOURCES | Keep.RESIDUALS | Keep.INPUTS)
        residual = widen(run.attn_residual[1][0, at])
        written = source_values(model, run)[0, : len(found.parts) - 1, at]
        norm = view.attn_norm
        assert norm is not None and norm.gamma is not None
        sides = []
        for letter in "qk":
            raw = widen(getattr(run, letter)[1][0, at, head])
            gamma = widen(getattr(view.attn, f"{letter}_norm").original_component.weight)
            scale = (raw.square().mean() + 1e-6).sqrt()
            parts = written / norm.scale(residual) * norm.gamma @ view.weight(letter)[head]
            parts = torch.cat([parts, (raw - parts.sum(0))[None]])
            sides.append(parts * gamma / scale)
        expected = (sides[0] @ sides[1].T / math.sqrt(sides[0].shape[1])).numpy()
    assert np.allclose(found.clean.terms, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3", "olmo2", "gemma2", "olmo", "gpt-neo"])
def test_real_changes_are_those_of_patched_edges(name: str) -> None:
    """Measured: the residual that q (or k) reads with one source corrupted, through the norm as it then is."""
    model, query, key, head = tiny_model(name), 5, 3, 1
    found = attention_terms(model, PAIRS, 0, f"a1.h{head}", query, key, check=True)
    batch, view = make_batch(model, PAIRS, np.array([0])), model.layers[1]
    with torch.no_grad():
        runs = [capture(model, t, keep=Keep.SOURCES | Keep.RESIDUALS) for t in (batch.clean, batch.corrupted)]
        clean, corrupted = (source_values(model, run)[0] for run in runs)
        for check, at, hook_point in zip(found.checks, (query, key), (view.hook_q, view.hook_k), strict=True):
            for place in (0, 3):
                residual = widen(runs[0].attn_residual[1][0, at]) + corrupted[place, at] - clean[place, at]
                read = residual if view.attn_norm is None else view.attn_norm.apply(residual)
                bias = view.bias(check.letter)
                raw = read @ view.weight(check.letter)[head] + (0 if bias is None else bias[head])

                def put(x: torch.Tensor, raw: torch.Tensor = raw, at: int = at) -> torch.Tensor:
                    out = x.clone()
                    out[0, at, head] = raw
                    return out

                changed = before_cap(
                    model, float(seen_logits(model, batch.clean, 1, (hook_point, put))[head, query, key])
                )
                assert check.measured[place] == pytest.approx(found.clean.logit - changed, rel=1e-5, abs=1e-7)
            assert check.predicted[-1] == check.measured[-1] == 0 and check.parts == found.parts


def test_small_changes_are_predicted() -> None:
    """Where the two prompts hardly differ, norms hardly move, and the terms tell the real change."""
    model = load_model("demo")
    prompts = make_prompts("ioi", 4, tokenizer=model.tokenizer)
    first = attention_terms(model, prompts, 0, "a2.h1")
    differ = [at for at, (a, b) in enumerate(zip(first.tokens, first.corrupted_tokens, strict=True)) if a != b]
    found = attention_terms(model, prompts, 0, "a2.h1", key=differ[0], check=True)
    for check in found.checks:
        assert check.agreement > 0.9
        assert np.abs(check.predicted - check.measured).max() < 0.5 * np.abs(check.measured).max() + 1e-3


@pytest.fixture(scope="module")
def demo() -> AttentionTerms:
    model = load_model("demo")
    return attention_terms(model, make_prompts("ioi", 4, tokenizer=model.tokenizer), 0, "a2.h1")


def test_the_answers_position_and_the_one_looked_at_most_come_first(demo: AttentionTerms) -> None:
    from eapgp.readings import head_pattern

    model = load_model("demo")
    pattern = head_pattern(model, make_prompts("ioi", 4, tokenizer=model.tokenizer), 0, "a2.h1")
    assert demo.query == len(demo.tokens) - 1 and demo.key == pattern.clean[demo.query].argmax()
    assert demo.clean.weight == pytest.approx(pattern.clean[demo.query, demo.key])
    into_query, into_key, u, v = demo.largest(1)[0]
    assert abs(demo.clean.terms[u, v]) == np.abs(demo.clean.terms).max()
    assert (into_query, into_key) == (demo.parts[u], demo.parts[v])
    assert demo.largest(3, demo.difference)[0][2:] == np.unravel_index(
        np.abs(demo.difference).argmax(), demo.difference.shape
    )


def test_what_is_not_there_is_refused() -> None:
    model = tiny_model("mistral")  # a window of four
    for node, query, key, words in (
        ("m0", 5, 1, "attention head"),
        ("a0.h0", 6, 1, "from 0 to 5"),
        ("a0.h0", 3, 4, "from 0 to 3"),
        ("a0.h0", 5, 0, "cannot see"),
    ):
        with pytest.raises(OptionError, match=words):
            attention_terms(model, PAIRS, 0, node, query, key)
    with pytest.raises(OptionError, match="pair"):
        attention_terms(model, PAIRS, 7, "a0.h0")


def test_the_map_shows_the_largest_parts_in_their_order(demo: AttentionTerms) -> None:
    heat = term_map(demo.clean.terms, demo.parts, most=4).data[0]
    rows = [demo.parts.index(str(name)) for name in heat.y]
    columns = [demo.parts.index(str(name)) for name in heat.x]
    assert rows == sorted(rows) and len(rows) == 4 and np.array_equal(heat.z, demo.clean.terms[np.ix_(rows, columns)])
    sums = np.abs(demo.clean.terms).sum(1)
    assert min(sums[rows]) >= max(np.delete(sums, rows))
    other = term_map(demo.difference, demo.parts, of=demo.clean.terms, side="difference", most=4).data[0]
    assert list(other.x) == list(heat.x) and np.array_equal(other.z, demo.difference[np.ix_(rows, columns)])


def test_the_command_line_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = str(find_bundled("ioi-eap", 99)[0].path)
    assert main(["attention", "--run", run, "--node", "a2.h1", "--check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["terms"][0]) == {"query", "key", "clean", "corrupted", "difference"} and len(told["checks"]) == 2
    assert main(["attention", "--run", run, "--node", "a2.h1", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert told["terms"][0]["query"] in said and "belongs to no pair" in said
    assert main(["attention", "--run", run, "--node", "a2.h1", "--query", "400", "--json"]) == 2
    assert "query" in json.loads(capsys.readouterr().out)["error"]["message"]
